"""Optimizers written by others, over our records' settings: who says what a step must be."""

from __future__ import annotations

from typing import Any

import torch
from torch import optim

from striate.optimizers.in_torch.steps import TorchMuon

from .oracles import torchvision


def lion(parameters: Any, s: Any) -> optim.Optimizer:
    torchvision()  # which timm imports
    from timm.optim.lion import Lion

    return Lion(parameters, s.rate, (s.beta1, s.beta2), s.decay, foreach=False)


def decoupled(parameters: Any, s: Any, nesterov: bool) -> optim.Optimizer:
    """torch's SGD at the shared-out rate, the weights shrunk by hand before it steps."""
    sgd = optim.SGD(parameters, s.rate * (1 - s.momentum), momentum=s.momentum, nesterov=nesterov)

    @torch.no_grad()
    def shrink(*_: Any) -> None:
        for weight in parameters:
            weight.mul_(1 - s.rate * s.decay)

    sgd.register_step_pre_hook(shrink)
    return sgd


def momentum(parameters: Any, s: Any, nesterov: bool = False) -> optim.Optimizer:
    if s.decoupled:
        return decoupled(parameters, s, nesterov)
    return optim.SGD(parameters, s.rate, s.momentum, weight_decay=s.decay, nesterov=nesterov)


JUDGES = {
    "sgd": lambda p, s: optim.SGD(p, s.rate, weight_decay=s.decay),
    "momentum": momentum,
    "nesterov": lambda p, s: momentum(p, s, nesterov=True),
    "rmsprop": lambda p, s: optim.RMSprop(p, s.rate, s.keep, s.eps, s.decay),
    "adam": lambda p, s: optim.Adam(p, s.rate, (s.beta1, s.beta2), s.eps, s.decay),
    "adamw": lambda p, s: optim.AdamW(p, s.rate, (s.beta1, s.beta2), s.eps, s.decay),
    "lion": lion,
    # Our own in torch, which NumPy's singular values judge in test_training.py.
    "muon": lambda p, s: TorchMuon(
        [{"params": p, "weight_decay": s.decay}], s.rate, s.momentum, (s.beta1, s.beta2), s.eps
    ),
}
