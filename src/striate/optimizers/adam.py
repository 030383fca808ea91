"""Adam, and AdamW with its weight decay apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..language import say
from .record import Arithmetic, Optimizer, TensorUpdate

if TYPE_CHECKING:
    from torch import optim

    from .record import Array, Groups, State

ADAM_STATES = {"exp_avg": "m", "exp_avg_sq": "v", "step": "t"}


@dataclass(frozen=True)
class Adam(Optimizer):
    """Running means m of g and v of g², each freed of its start at 0, and w − rate·m̂ / (√v̂ + eps).

    (Kingma and Ba 2014, algorithm 1.) t counts the steps from 1.
    """

    NAME, YEAR, GROWTH, SHRINKS = "adam", 2014, 0.5, False

    rate: float = 0.003
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8

    def states(self, axes: int) -> dict[str, str]:
        return ADAM_STATES

    def update(self, w: Array, g: Array, state: State) -> TensorUpdate:
        lines = Arithmetic()
        g = lines.add_decay(w, g, self.decay)
        step, state = adapt_step(lines, self.rate, self.beta1, self.beta2, self.eps, g, state)
        return lines.move(w, step, state)

    def in_torch(self, groups: Groups) -> optim.Optimizer:
        from torch.optim import Adam

        return Adam(groups, self.rate, (self.beta1, self.beta2), self.eps, fused=True)


@dataclass(frozen=True)
class AdamW(Optimizer):
    """Adam whose decay shrinks the weights by rate·decay apart from the gradient (Loshchilov and Hutter 2017)."""

    NAME, YEAR, GROWTH, SHRINKS = "adamw", 2017, 0.5, True

    rate: float = 0.003
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8

    def states(self, axes: int) -> dict[str, str]:
        return ADAM_STATES

    def update(self, w: Array, g: Array, state: State) -> TensorUpdate:
        lines = Arithmetic()
        w = lines.shrink(w, self.rate, self.decay)
        step, state = adapt_step(lines, self.rate, self.beta1, self.beta2, self.eps, g, state)
        return lines.move(w, step, state)

    def in_torch(self, groups: Groups) -> optim.Optimizer:
        from torch.optim import AdamW

        return AdamW(groups, self.rate, (self.beta1, self.beta2), self.eps, fused=True)


def adapt_step(
    lines: Arithmetic, rate: float, beta1: float, beta2: float, eps: float, g: Any, state: State
) -> tuple[Any, dict[str, Any]]:
    """Adam's step and its new state."""
    import numpy as np

    t = state.get("t", 0) + 1
    m = lines.average(say("mean m"), beta1, state.get("m", 0.0), g)
    v = lines.average(say("mean square v"), beta2, state.get("v", 0.0), g**2)
    form = f"{{0}} / (1 − {{1}}^{t})"
    m_hat = lines.gives(say("m, bias-corrected"), form, m / (1 - beta1**t), m, beta1)
    v_hat = lines.gives(say("v, bias-corrected"), form, v / (1 - beta2**t), v, beta2)
    step = rate * m_hat / (np.sqrt(v_hat) + eps)
    lines.gives(say("step"), "{0} · {1} / (√{2} + {3})", step, rate, m_hat, v_hat, eps)
    return step, {"m": m, "v": v, "t": t}
