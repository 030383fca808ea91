"""Muon, in NumPy; `in_torch.muon` is the one that trains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..language import say
from .adam import AdamW
from .descent import look_ahead, update_velocity
from .newton_schulz import orthogonalise_matrix
from .record import Arithmetic, Optimizer, TensorUpdate

if TYPE_CHECKING:
    from torch import optim

    from .record import Array, Groups, State


@dataclass(frozen=True)
class Muon(Optimizer):
    """Momentum whose step is made orthogonal, so that every direction of a weight matrix moves equally far.

    (Jordan et al. 2024, kellerjordan.github.io/posts/muon.) For convolutions; all other weights move as AdamW's.
    v = momentum·v + g; the step g + momentum·v, as a matrix filters × inputs, goes through five Newton–Schulz rounds
    that bring its singular values near 1, and is scaled by 0.2·√(longer side): then its values have the root mean
    square of an Adam step (Liu et al. 2025, "Muon is scalable", section 2.2), and one learning rate serves both.
    """

    NAME, YEAR, GROWTH, SHRINKS = "muon", 2024, 0.5, True
    ABOUT = "Muon for convolutions and AdamW for everything else"

    rate: float = 0.02
    momentum: float = 0.9
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8

    @property
    def adam(self) -> AdamW:
        return AdamW(self.rate, self.decay, self.beta1, self.beta2, self.eps)

    def states(self, axes: int) -> dict[str, str]:
        return {"momentum_buffer": "v"} if axes == 4 else self.adam.states(axes)

    def update(self, w: Array, g: Array, state: State) -> TensorUpdate:
        if w.ndim != 4:
            return self.adam.update(w, g, state)
        lines = Arithmetic()
        w = lines.shrink(w, self.rate, self.decay)
        v = update_velocity(lines, self.momentum, g, state)
        ahead = look_ahead(lines, self.momentum, g, v)
        u = orthogonalise_matrix(ahead.reshape(len(w), -1))
        rows, columns = u.shape
        form = f"{{0}}, in the matrix {rows}×{columns} of all filters"
        u = lines.gives(say("made orthogonal"), form, u.reshape(w.shape), ahead)
        longer = float(max(rows, columns))
        step = lines.gives(
            say("step"), "{0} · 0.2 · √{1} · {2}", self.rate * 0.2 * longer**0.5 * u, self.rate, longer, u
        )
        return lines.move(w, step, {"v": v})

    def in_torch(self, groups: Groups) -> optim.Optimizer:
        from .in_torch.steps import TorchMuon

        return TorchMuon(groups, self.rate, self.momentum, (self.beta1, self.beta2), self.eps)
