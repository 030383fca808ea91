"""From maps to a vector, and from a vector to the next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ...errors import ShapeError
from ...language import say
from .layer import Layer, Reach, SavedMap, Shape, Tensor, format_shape, need_flag, need_init, need_map, need_whole

__all__ = ["Flatten", "Dense"]


@dataclass(frozen=True, repr=False)
class Flatten(Layer):
    """C×H×W -> one vector of C·H·W values, channel by channel, row by row (torch's order).

    >>> Flatten().out((16, 5, 5)), Flatten().size_rule((16, 5, 5))
    ((400,), '16·5·5')
    """

    KIND: ClassVar[str] = "flatten"
    KEPT: ClassVar[SavedMap] = SavedMap(view=True)

    def out(self, x: Shape) -> Shape:
        need_map(self, x)
        return (x[0] * x[1] * x[2],)

    def reach(self, x: Shape) -> tuple[Reach, Reach]:
        """As the dense layer after it sees the whole map, so does the vector that it makes."""
        return Reach(x[1], x[1], 0), Reach(x[2], x[2], 0)

    def size_rule(self, x: Shape) -> str:
        return "·".join(map(str, x))


@dataclass(frozen=True, repr=False)
class Dense(Layer):
    """A fully connected layer: n values -> `units` values, each a weighted sum of all n and a bias.

    params  (n + 1)·units, without the + 1 where there is no bias; macs  n·units

    >>> Dense(120).params((400,))
    48120
    """

    KIND: ClassVar[str] = "dense"
    KEPT: ClassVar[SavedMap] = SavedMap(input=True)
    units: int
    bias: bool = True
    init: str = "glorot_uniform"

    def __post_init__(self) -> None:
        super().__post_init__()
        need_whole(self, "units")
        need_flag(self, "bias")
        need_init(self)

    def out(self, x: Shape) -> Shape:
        if len(x) != 1:
            raise ShapeError(
                "",
                say("Dense takes a vector, but its input is a feature map"),
                got=format_shape(x),
                hint=say("put Flatten() or GlobalAvgPool() before it"),
            )
        return (self.units,)

    def tensors(self, x: Shape) -> tuple[Tensor, ...]:
        weight = Tensor("weight", (self.units, x[0]), self.init, x[0], self.units)
        return (weight, Tensor("bias", (self.units,), "zeros")) if self.bias else (weight,)

    def params(self, x: Shape) -> int:
        return (x[0] + self.bias) * self.units

    def macs(self, x: Shape) -> int:
        return x[0] * self.units

    def params_rule(self, x: Shape) -> str:
        return f"({x[0]} + 1)·{self.units}" if self.bias else f"{x[0]}·{self.units}"

    @property
    def label(self) -> str:
        return f"Dense {self.units}"
