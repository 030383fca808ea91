"""Momentum in torch whose rate, momentum and weight decay can be set one by one."""

from __future__ import annotations

import torch
from torch import optim


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
