"""Gradient descent, plain and with momentum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..language import say
from .record import Arithmetic, Optimizer, TensorUpdate

if TYPE_CHECKING:
    from torch import optim

    from .record import Array, Groups, State

# The usual rates of momentum and nesterov go with it.
USUAL_MOMENTUM = 0.9


@dataclass(frozen=True)
class GradientDescent(Optimizer):
    """w − rate·g (Cauchy 1847; Robbins and Monro 1951 for batches)."""

    NAME, YEAR, GROWTH, SHRINKS = "sgd", 1951, 1.0, False

    rate: float = 0.1

    def states(self, axes: int) -> dict[str, str]:
        return {}

    def update(self, w: Array, g: Array, state: State) -> TensorUpdate:
        lines = Arithmetic()
        g = lines.add_decay(w, g, self.decay)
        return lines.move(w, lines.gives(say("step"), "{0} · {1}", self.rate * g, self.rate, g), {})

    def in_torch(self, groups: Groups) -> optim.Optimizer:
        from torch.optim import SGD

        return SGD(groups, self.rate, fused=True)


@dataclass(frozen=True)
class Momentum(Optimizer):
    """The velocity v = momentum·v + g, and w − rate·v (Polyak 1964, the heavy ball). v starts as the first g.

    decoupled  see `Nesterov`
    """

    NAME, YEAR, GROWTH, SHRINKS = "momentum", 1964, 1.0, False

    rate: float = 0.05
    momentum: float = USUAL_MOMENTUM
    decoupled: bool = False

    def usual_rate(self) -> float:
        return sum_momentum(Momentum.rate) if self.decoupled else Momentum.rate

    def states(self, axes: int) -> dict[str, str]:
        return {"momentum_buffer": "v"}

    def update(self, w: Array, g: Array, state: State) -> TensorUpdate:
        return move_by_velocity(self, w, g, state)

    def in_torch(self, groups: Groups) -> optim.Optimizer:
        return build_with_velocity(self, groups)


@dataclass(frozen=True)
class Nesterov(Optimizer):
    """As momentum, but the step is g + momentum·v: the gradient as if already further on (Sutskever et al. 2013).

    decoupled  a step is rate·(1 − momentum) times as long, so that a gradient that stays moves a weight by rate·g a
               step whatever the momentum, and w shrinks by rate·decay beside it (Jordan 2024, arXiv 2404.00498)
    """

    NAME, YEAR, GROWTH, SHRINKS = "nesterov", 1983, 1.0, False

    rate: float = 0.05
    momentum: float = USUAL_MOMENTUM
    decoupled: bool = False

    def usual_rate(self) -> float:
        return sum_momentum(Nesterov.rate) if self.decoupled else Nesterov.rate

    def states(self, axes: int) -> dict[str, str]:
        return {"momentum_buffer": "v"}

    def update(self, w: Array, g: Array, state: State) -> TensorUpdate:
        return move_by_velocity(self, w, g, state)

    def in_torch(self, groups: Groups) -> optim.Optimizer:
        return build_with_velocity(self, groups)


def sum_momentum(rate: float) -> float:
    """How far a gradient moves a weight in the end, at the usual momentum: rate·(1 + m + m² + …)."""
    return rate / (1 - USUAL_MOMENTUM)


def move_by_velocity(chosen: Momentum | Nesterov, w: Array, g: Array, state: State) -> TensorUpdate:
    lines, rate = Arithmetic(), chosen.rate
    if chosen.decoupled:
        w = lines.shrink(w, rate, chosen.decay)
        rate = lines.gives(
            say("rate of a step"), "{0} · (1 − {1})", rate * (1 - chosen.momentum), rate, chosen.momentum
        )
    else:
        g = lines.add_decay(w, g, chosen.decay)
    v = update_velocity(lines, chosen.momentum, g, state)
    ahead = look_ahead(lines, chosen.momentum, g, v) if isinstance(chosen, Nesterov) else v
    return lines.move(w, lines.gives(say("step"), "{0} · {1}", rate * ahead, rate, ahead), {"v": v})


def update_velocity(lines: Arithmetic, momentum: float, g: Any, state: State) -> Any:
    """The velocity, momentum·v + g; at first it is g."""
    if "v" not in state:
        return g
    kept = lines.gives(say("velocity kept"), "{0} · {1}", momentum * state["v"], momentum, state["v"])
    return lines.adds(say("velocity"), kept, g)


def look_ahead(lines: Arithmetic, momentum: float, g: Any, v: Any) -> Any:
    return lines.adds(
        say("gradient ahead"), g, lines.gives(say("velocity ahead"), "{0} · {1}", momentum * v, momentum, v)
    )


def build_with_velocity(chosen: Momentum | Nesterov, groups: Groups) -> optim.Optimizer:
    from torch.optim import SGD

    nesterov = isinstance(chosen, Nesterov)
    if chosen.decoupled:
        from .in_torch.steps import DecoupledMomentum

        return DecoupledMomentum(groups, chosen.rate, chosen.momentum, nesterov)
    return SGD(groups, chosen.rate, momentum=chosen.momentum, nesterov=nesterov, fused=True)
