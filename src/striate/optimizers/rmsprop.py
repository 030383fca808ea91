"""RMSProp."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..language import say
from .record import Arithmetic, Optimizer, TensorUpdate

if TYPE_CHECKING:
    from torch import optim

    from .record import Array, Groups, State


@dataclass(frozen=True)
class RMSProp(Optimizer):
    """A running mean s of g², and w − rate·g / (√s + eps) (Hinton 2012, lecture 6e). s starts at 0."""

    NAME, YEAR, GROWTH, SHRINKS = "rmsprop", 2012, 0.5, False

    rate: float = 0.001
    keep: float = 0.99
    eps: float = 1e-8

    def states(self, axes: int) -> dict[str, str]:
        return {"square_avg": "s", "step": "t"}

    def update(self, w: Array, g: Array, state: State) -> TensorUpdate:
        import numpy as np

        lines = Arithmetic()
        g = lines.add_decay(w, g, self.decay)
        s = lines.average(say("mean square s"), self.keep, state.get("s", 0.0), g**2)
        form = "{0} · {1} / (√{2} + {3})"
        step = lines.gives(say("step"), form, self.rate * g / (np.sqrt(s) + self.eps), self.rate, g, s, self.eps)
        return lines.move(w, step, {"s": s, "t": state.get("t", 0) + 1})

    def in_torch(self, groups: Groups) -> optim.Optimizer:
        from torch.optim import RMSprop

        return RMSprop(groups, self.rate, self.keep, self.eps)
