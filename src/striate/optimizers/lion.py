"""Lion: every weight moves equally far, by the sign of a momentum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..language import say
from .record import Arithmetic, Optimizer, TensorUpdate

if TYPE_CHECKING:
    from torch import Tensor, optim

    from .record import Array, Groups, State


@dataclass(frozen=True)
class Lion(Optimizer):
    """w shrinks by rate·decay, then moves by rate·sign(c), where c = beta1·m + (1 − beta1)·g; then the running mean m

    of g goes on with beta2 (Chen et al. 2023, arXiv 2302.06675, algorithm 2). m starts at 0. As each step is as long as
    the rate, the rate is 3 to 10 times smaller than AdamW's and the decay as much larger (section 5).
    """

    NAME, YEAR, GROWTH, SHRINKS = "lion", 2023, 0.5, True

    rate: float = 0.001
    beta1: float = 0.9
    beta2: float = 0.99

    def states(self, axes: int) -> dict[str, str]:
        return {"exp_avg": "m"}

    def update(self, w: Array, g: Array, state: State) -> TensorUpdate:
        import numpy as np

        lines, before = Arithmetic(), state.get("m", 0.0)
        w = lines.shrink(w, self.rate, self.decay)
        between = lines.average(say("between m and g"), self.beta1, before, g)
        step = lines.gives(say("step"), "{0} · sign({1})", self.rate * np.sign(between), self.rate, between)
        return lines.move(w, step, {"m": lines.average(say("mean m"), self.beta2, before, g)})

    def in_torch(self, groups: Groups) -> optim.Optimizer:
        from .in_torch.steps import FunctionOptimizer

        return FunctionOptimizer(groups, move_by_sign, lr=self.rate, betas=(self.beta1, self.beta2))


def move_by_sign(weights: list[Tensor], grads: list[Tensor], states: list[dict], group: dict[str, Any]) -> None:
    import torch

    for weight, state in zip(weights, states, strict=True):
        if not state:
            state["exp_avg"] = torch.zeros_like(weight)
    means, (beta1, beta2) = [state["exp_avg"] for state in states], group["betas"]
    steps = torch._foreach_lerp(means, grads, 1 - beta1)
    torch._foreach_sign_(steps)
    torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
    torch._foreach_add_(weights, steps, alpha=-group["lr"])
    torch._foreach_lerp_(means, grads, 1 - beta2)
