"""Muon's step in torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, optim

from ..newton_schulz import QUINTIC, ROUNDS

# Rows from which on a second thread helps to make a matrix orthogonal. On two cores, one thread and two took 0.2 and
# 2.4 ms for 32×144, 0.4 and 2.6 for 64×576, 2.4 and 4.0 for 128×1152, 5.7 and 6.0 for 192×1728: waking it costs more.
MANY_ROWS = 256


class TorchMuon(optim.Optimizer):
    """`optimizers.muon.Muon` in torch."""

    def __init__(self, groups: list[dict], lr: float, momentum: float, betas=(0.9, 0.999), eps: float = 1e-8) -> None:
        super().__init__(groups, {"lr": lr, "momentum": momentum, "betas": betas, "eps": eps, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    weight.mul_(1 - group["lr"] * group["weight_decay"])
                    (self.muon if weight.ndim == 4 else self.adam)(weight, weight.grad, self.state[weight], group)

    def muon(self, weight: Tensor, g: Tensor, state: dict, group: dict) -> None:
        if not state:
            state["momentum_buffer"] = torch.zeros_like(g)
        v = state["momentum_buffer"].mul_(group["momentum"]).add_(g)
        matrix = g.add(v, alpha=group["momentum"]).flatten(1)
        with limit_threads(1 if min(matrix.shape) < MANY_ROWS else torch.get_num_threads()):
            u = orthogonalise_in_torch(matrix)
        weight.add_(u.view(weight.shape), alpha=-group["lr"] * 0.2 * max(u.shape) ** 0.5)

    def adam(self, weight: Tensor, g: Tensor, state: dict, group: dict) -> None:
        """Kingma and Ba 2014, algorithm 1; `step` counts from 1."""
        if not state:
            state["step"] = torch.zeros(())
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(g), torch.zeros_like(g)
        state["step"] += 1
        (beta1, beta2), t = group["betas"], int(state["step"])
        m = state["exp_avg"].lerp_(g, 1 - beta1)
        v = state["exp_avg_sq"].mul_(beta2).addcmul_(g, g, value=1 - beta2)
        spread = v.div(1 - beta2**t).sqrt_().add_(group["eps"])
        weight.addcdiv_(m, spread, value=-group["lr"] / (1 - beta1**t))


def orthogonalise_in_torch(matrix: Tensor, rounds: int = ROUNDS) -> Tensor:
    """The matrix with its singular values near 1: an approximate U·Vᵀ, by Newton–Schulz rounds of odd polynomials.

    Every round multiplies X from the left by a polynomial of the small square XXᵀ, and all these commute; so the rounds
    go on among the squares, and X itself is multiplied once, at the end.
    """
    a, b, c = QUINTIC
    x = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    square = x @ x.T
    length = square.diagonal().sum().sqrt() + 1e-7
    square = square / length**2
    whole = torch.eye(len(x), dtype=x.dtype, device=x.device)
    for _ in range(rounds):
        once = torch.addmm(square, square, square, beta=b, alpha=c)
        once.diagonal().add_(a)
        whole, square = once @ whole, once @ square @ once
    found = (whole / length) @ x
    return found.T if matrix.shape[0] > matrix.shape[1] else found


@contextmanager
def limit_threads(count: int) -> Iterator[None]:
    """torch's operations use `count` threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class DecoupledMomentum(optim.SGD):
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


# (weights, their gradients, their states, settings of their group): changes weights and states in place.
MoveWeights = Callable[[list[Tensor], list[Tensor], list[dict[str, Any]], dict[str, Any]], None]


class FunctionOptimizer(optim.Optimizer):
    """Each step hands the weights of every group to `move`; a weight's state is empty at first."""

    def __init__(self, groups: list[dict[str, Any]], move: MoveWeights, **settings: Any) -> None:
        super().__init__(groups, {"weight_decay": 0.0, **settings})
        self.move = move

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            if weights:
                self.move(weights, [w.grad for w in weights], [self.state[w] for w in weights], group)
