"""What an optimizer is: its settings, its states, its step in NumPy line by line, and its step in torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from ..language import say

if TYPE_CHECKING:
    import numpy as np
    from torch import optim

    Array = np.ndarray
    State = Mapping[str, Any]
    Groups = list[dict[str, Any]]


class StepLine(NamedTuple):
    """One line of a step's arithmetic, over a whole tensor: `parts`, numbers or arrays, give `value`.

    form  the text, {0}, {1}, … where the parts go; "" where they are added up
    """

    name: str
    form: str
    value: Any
    parts: tuple[Any, ...]


class TensorUpdate(NamedTuple):
    """What one step makes of a tensor: its new weights and state, and the lines that led to them."""

    weights: Array
    state: dict[str, Any]
    lines: tuple[StepLine, ...]


@dataclass(frozen=True)
class Optimizer(ABC):
    """An optimizer with its settings, for one tensor.

    rate   the learning rate; its default is the usual peak for batches of 64
    decay  weight decay
    Further fields that a `Recipe` has too, such as momentum, are the recipe's to set. A subclass gives:

    NAME    what a recipe calls it
    YEAR    when it was published; lists of optimizers have the oldest first
    GROWTH  for other batches the usual rate is multiplied by (batch / 64)^GROWTH: 1 for gradient descent (Goyal et al.
            2017), 1/2 where a step does not grow with the gradient (Malladi et al. 2022)
    SHRINKS whether decay shrinks the weights beside the gradient (Loshchilov and Hutter 2019), or is added to it
    ABOUT   what its name does not say, in a few words; may be empty
    """

    NAME: ClassVar[str]
    YEAR: ClassVar[int]
    GROWTH: ClassVar[float]
    SHRINKS: ClassVar[bool]
    ABOUT: ClassVar[str] = ""

    rate: float = 0.01
    decay: float = 0.0

    @abstractmethod
    def states(self, axes: int) -> dict[str, str]:
        """What is kept of a tensor of so many axes from step to step: torch's name of it -> that in `update`.

        torch counts the steps under "step", one number a tensor; each other state is as large as the tensor.
        """

    @abstractmethod
    def update(self, w: Array, g: Array, state: State) -> TensorUpdate:
        """One step in NumPy, from the weights, their gradient and the last step's state ({} at first).

        Nothing is changed in place.
        """

    @abstractmethod
    def in_torch(self, groups: Groups) -> optim.Optimizer:
        """torch's, over `groups` of parameters, each with its own weight_decay."""

    def usual_rate(self) -> float:
        """The peak learning rate with these other settings, for batches of 64."""
        return type(self)().rate

    def step(self, w: Array, g: Array, state: State) -> tuple[Array, dict[str, Any]]:
        """The new weights and the new state."""
        return self.update(w, g, state)[:2]

    def state_numbers(self, axes: int) -> int:
        """How many numbers are kept for each weight of a tensor of so many axes."""
        return sum(name != "step" for name in self.states(axes))

    @classmethod
    def settings(cls) -> set[str]:
        """The names of the fields besides rate and decay."""
        return {field.name for field in fields(cls)} - {"rate", "decay"}


class Arithmetic:
    """The lines of a step, collected while they are computed."""

    def __init__(self) -> None:
        self.lines: list[StepLine] = []

    def gives(self, name: str, form: str, value: Any, *parts: Any) -> Any:
        self.lines.append(StepLine(name, form, value, parts))
        return value

    def adds(self, name: str, one: Any, other: Any) -> Any:
        return self.gives(name, "", one + other, one, other)

    def add_decay(self, w: Any, g: Any, decay: float) -> Any:
        """The gradient of the loss with decay/2·|w|² added to it."""
        if not decay:
            return g
        return self.adds(say("gradient with decay"), g, self.gives(say("decay"), "{0} · {1}", decay * w, decay, w))

    def shrink(self, w: Any, rate: float, decay: float) -> Any:
        """Decoupled weight decay: the weights shrink by rate·decay, and the gradient knows nothing of it."""
        if not decay:
            return w
        return self.gives(say("weight, decayed"), "{0} · (1 − {1} · {2})", w * (1 - rate * decay), w, rate, decay)

    def average(self, name: str, keep: float, before: Any, new: Any) -> Any:
        """A running mean moved on: keep·before + (1 − keep)·new."""
        old = self.gives(say("{name} kept", name=name), "{0} · {1}", keep * before, keep, before)
        fresh = self.gives(say("{name} new", name=name), "(1 − {0}) · {1}", (1 - keep) * new, keep, new)
        return self.adds(name, old, fresh)

    def move(self, w: Any, step: Any, state: dict[str, Any]) -> TensorUpdate:
        """The last line: the weights less the step."""
        return TensorUpdate(self.adds(say("new weight"), w, -step), state, tuple(self.lines))
