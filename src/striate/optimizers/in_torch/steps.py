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
            weights = [weight for weight in group["params"] if weight.grad is not None]
            if weights:
                torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
            for move, chosen in (
                (self.muon, [weight for weight in weights if weight.ndim == 4]),
                (self.adam, [weight for weight in weights if weight.ndim != 4]),
            ):
                if chosen:
                    move(chosen, [weight.grad for weight in chosen], [self.state[weight] for weight in chosen], group)

    def muon(self, weights: list[Tensor], gradients: list[Tensor], states: list[dict], group: dict) -> None:
        for g, state in zip(gradients, states, strict=True):
            if not state:
                state["momentum_buffer"] = torch.zeros_like(g)
        v = [state["momentum_buffer"] for state in states]
        torch._foreach_mul_(v, group["momentum"])
        torch._foreach_add_(v, gradients)
        ahead = torch._foreach_add(gradients, v, alpha=group["momentum"])
        for places in list_alike(weights):
            matrices = [ahead[k].flatten(1) for k in places]
            with limit_threads(matrices[0]):
                u = orthogonalise_in_torch(torch.stack(matrices) if len(matrices) > 1 else matrices[0])
            rate = group["lr"] * 0.2 * max(matrices[0].shape) ** 0.5
            moves = u.view(len(places), *weights[places[0]].shape).unbind()
            torch._foreach_add_([weights[k] for k in places], list(moves), alpha=-rate)

    def adam(self, weights: list[Tensor], gradients: list[Tensor], states: list[dict], group: dict) -> None:
        """Kingma and Ba 2014, algorithm 1; `step` counts from 1."""
        for g, state in zip(gradients, states, strict=True):
            if not state:
                state["step"] = torch.zeros(())
                state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(g), torch.zeros_like(g)
            state["step"] += 1
        (beta1, beta2), taken = group["betas"], [int(state["step"]) for state in states]
        m, v = [state["exp_avg"] for state in states], [state["exp_avg_sq"] for state in states]
        torch._foreach_lerp_(m, gradients, 1 - beta1)
        torch._foreach_mul_(v, beta2)
        torch._foreach_addcmul_(v, gradients, gradients, 1 - beta2)
        spread = torch._foreach_div(v, [1 - beta2**t for t in taken])
        torch._foreach_sqrt_(spread)
        torch._foreach_add_(spread, group["eps"])
        torch._foreach_addcdiv_(weights, m, spread, [-group["lr"] / (1 - beta1**t) for t in taken])


def list_alike(weights: list[Tensor]) -> list[list[int]]:
    """The places of weights that are made orthogonal at once: on a GPU all of one shape, else each by itself.

    A GPU has done a small matrix before the next is asked for; on a CPU one after another is as fast.
    """
    found: dict[Any, list[int]] = {}
    for k, weight in enumerate(weights):
        found.setdefault((weight.device, weight.shape) if weight.is_cuda else k, []).append(k)
    return list(found.values())


def orthogonalise_in_torch(matrix: Tensor, rounds: int = ROUNDS) -> Tensor:
    """The matrix, or each of a stack, with its singular values near 1: an approximate U·Vᵀ, by Newton–Schulz rounds.

    Every round multiplies X from the left by a polynomial of the small square XXᵀ, and all these commute; so the rounds
    go on among the squares, and X itself is multiplied once, at the end.
    """
    a, b, c = QUINTIC
    tall = matrix.shape[-2] > matrix.shape[-1]
    x = matrix.mT if tall else matrix
    add_product = torch.addmm if x.ndim == 2 else torch.baddbmm
    square = x @ x.mT
    length = square.diagonal(dim1=-2, dim2=-1).sum(-1).sqrt()[..., None, None] + 1e-7
    square = square / length**2
    whole = torch.eye(x.shape[-2], dtype=x.dtype, device=x.device).expand_as(square)
    for _ in range(rounds):
        once = add_product(square, square, square, beta=b, alpha=c)
        once.diagonal(dim1=-2, dim2=-1).add_(a)
        whole, square = once @ whole, once @ square @ once
    found = (whole / length) @ x
    return found.mT if tall else found


@contextmanager
def limit_threads(matrix: Tensor) -> Iterator[None]:
    """torch's operations on a small matrix of the CPU use one thread."""
    if matrix.is_cuda or min(matrix.shape) >= MANY_ROWS:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
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
