"""The recipe's optimizer over a network's parameters."""

from __future__ import annotations

import torch
from torch import nn, optim

from .muon import Muon
from .recipe import Recipe


def optimizer(network: nn.Module, recipe: Recipe) -> optim.Optimizer:
    """torch's optimizer of that name; weights of two and more axes decay, biases, norms and scales do not."""
    weights = [p for p in network.parameters() if p.requires_grad and p.ndim > 1]
    others = [p for p in network.parameters() if p.requires_grad and p.ndim <= 1]
    groups = [{"params": weights, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
    groups = [group for group in groups if group["params"]]
    rate, momentum = recipe.peak, recipe.momentum
    if recipe.decoupled:
        return Decoupled(groups, rate, momentum, nesterov=recipe.optimizer == "nesterov")
    match recipe.optimizer:
        case "sgd":
            return optim.SGD(groups, rate, fused=True)
        case "momentum":
            return optim.SGD(groups, rate, momentum=momentum, fused=True)
        case "nesterov":
            return optim.SGD(groups, rate, momentum=momentum, nesterov=True, fused=True)
        case "rmsprop":
            return optim.RMSprop(groups, rate)
        case "adam":
            return optim.Adam(groups, rate, fused=True)
        case "adamw":
            return optim.AdamW(groups, rate, fused=True)
        case "muon":
            return Muon(groups, rate, momentum)


class Decoupled(optim.SGD):
    """Gradient descent with momentum whose rate, momentum and weight decay can be set one by one.

    v = momentum·v + g; w shrinks by lr·decay, then moves by lr·(1 − momentum)·v, or with Nesterov's look ahead by
    lr·(1 − momentum)·(g + momentum·v). A gradient that stays moves w by lr·g a step, whatever the momentum (Jordan
    2024, arXiv 2404.00498), and the decay does not pass through it (Loshchilov and Hutter 2019, AdamW's paper).
    """

    def __init__(self, groups: list[dict], lr: float, momentum: float, nesterov: bool) -> None:
        super().__init__(groups, lr, momentum=momentum, nesterov=nesterov, fused=True)

    @torch.no_grad()
    def step(self, closure=None):
        told = [(group["lr"], group["weight_decay"]) for group in self.param_groups]
        try:
            for group, (lr, decay) in zip(self.param_groups, told, strict=True):
                torch._foreach_mul_([weight for weight in group["params"] if weight.grad is not None], 1 - lr * decay)
                group["lr"], group["weight_decay"] = lr * (1 - group["momentum"]), 0.0
            return super().step(closure)
        finally:
            for group, (lr, decay) in zip(self.param_groups, told, strict=True):
                group["lr"], group["weight_decay"] = lr, decay
