"""The transposed convolution: a window that writes where a convolution reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ...errors import ShapeError
from ...language import say
from ..window import make_pair
from .layer import (
    Examples,
    Layer,
    Reach,
    SavedMap,
    Shape,
    Tensor,
    format_pair,
    format_shape,
    is_whole,
    need_flag,
    need_groups,
    need_init,
    need_map,
    need_pair,
    need_rule,
    need_whole,
)

__all__ = ["ConvTranspose"]


@dataclass(frozen=True, repr=False)
class ConvTranspose(Layer):
    """Each value adds itself, times the filter, to a window of a larger map: the convolution turned round.

    C×H×W -> filters×H'×W' with H' = (H − 1)·stride − 2·padding + dilation·(kernel − 1) + output_padding + 1, as
    torch.nn.ConvTranspose2d has it (Zeiler et al. 2010; called a deconvolution there).
    padding         rows and columns that are cut from each side of what is written
    output_padding  rows and columns more at the bottom and at the right
    params   C·(filters/groups)·kernel², plus filters with bias
    macs     C·(filters/groups)·kernel²·H·W: each value is multiplied once by every weight of its channel
    raises   ShapeError where groups does not divide the channels, or nothing is left of the map

    >>> up = ConvTranspose(32, 4, 2, 1)
    >>> up.out((64, 7, 7)), up.params((64, 7, 7)), up.macs((64, 7, 7))
    ((32, 14, 14), 32800, 1605632)
    """

    KIND: ClassVar[str] = "convt"
    EXAMPLES: ClassVar[Examples] = {
        "filters": (1, 2, 4), "kernel": (1, 2, 3, (2, 3)), "stride": (1, 2, (1, 2)), "padding": (0, 1),
        "output_padding": (0, 1), "dilation": (1, 2), "groups": (1, 2), "bias": (True, False),
    }  # fmt: skip
    filters: int
    kernel: int | tuple[int, int]
    stride: int | tuple[int, int] = 1
    padding: int | tuple[int, int] = 0
    output_padding: int | tuple[int, int] = 0
    dilation: int | tuple[int, int] = 1
    groups: int = 1
    bias: bool = True
    init: str = "glorot_uniform"

    def __post_init__(self) -> None:
        super().__post_init__()
        need_whole(self, "filters", "groups")
        need_pair(self, "kernel", "stride", "dilation")
        need_sides(self, "padding", "output_padding")
        need_flag(self, "bias")
        need_init(self)

    def out(self, x: Shape) -> Shape:
        need_map(self, x)
        need_groups(self.groups, x, say("{code} fits", code="groups=1"))
        if self.filters % self.groups:
            rule = say(
                "{filters} mod {groups} = {rest}, must be 0",
                filters=self.filters,
                groups=self.groups,
                rest=self.filters % self.groups,
            )
            raise ShapeError(
                "",
                say("groups={groups} does not divide the {filters} filters", groups=self.groups, filters=self.filters),
                rule=rule,
            )
        for more, step, reach in zip(*map(make_pair, (self.output_padding, self.stride, self.dilation)), strict=True):
            if more >= max(step, reach):
                what = say("output_padding must be smaller than the stride or the dilation")
                raise ShapeError(
                    "",
                    what,
                    got=more,
                    rule=f"{more} < {max(step, reach)}",
                    hint=say("{code} fits", code="output_padding=0"),
                )
        height, width = (grow_axis(self, x, axis) for axis in (0, 1))
        if min(height, width) < 1:
            what = say("nothing is left of the map that it writes")
            raise ShapeError(
                "", what, got=format_shape(x), rule=self.size_rule(x), hint=say("{code} fits", code="padding=0")
            )
        return (self.filters, height, width)

    def tensors(self, x: Shape) -> tuple[Tensor, ...]:
        kh, kw = make_pair(self.kernel)
        shape = (x[0], self.filters // self.groups, kh, kw)
        weight = Tensor("weight", shape, self.init, x[0] // self.groups * kh * kw, self.filters * kh * kw)
        return (weight, Tensor("bias", (self.filters,), "zeros")) if self.bias else (weight,)

    def macs(self, x: Shape) -> int:
        kh, kw = make_pair(self.kernel)
        return x[0] * (self.filters // self.groups) * kh * kw * x[1] * x[2]

    def reach(self, x: Shape) -> tuple[Reach, Reach]:
        """At most: which values a place is made of changes from place to place, with a stride of more than 1."""
        made = []
        for k, s, p, d in zip(*map(make_pair, (self.kernel, self.stride, self.padding, self.dilation)), strict=True):
            before, after = -(-(d * (k - 1) - p) // s), -(-p // s)
            made.append(Reach(before + after + 1, 1 if s == 1 else 1 / s, before))
        return made[0], made[1]

    def kept(self, x: Shape) -> SavedMap:
        return SavedMap(input=True)

    def size_rule(self, x: Shape) -> str:
        high, wide = (format_growth_rule(self, x, axis) for axis in (0, 1))
        return high if high == wide else f"{high}; {wide}"

    def params_rule(self, x: Shape) -> str:
        kh, kw = make_pair(self.kernel)
        inside = f"{kh}·{kw}·{x[0]}·{self.filters // self.groups}"
        return f"{inside} + {self.filters}" if self.bias else inside

    @property
    def label(self) -> str:
        parts = [f"ConvTranspose {self.filters}@{format_pair(self.kernel)}"]
        parts += [f"/{self.stride if isinstance(self.stride, int) else format_pair(self.stride)}"] * (self.stride != 1)
        return " ".join([*parts, f"g{self.groups}"] if self.groups > 1 else parts)


def need_sides(layer: Layer, *names: str) -> None:
    """Each field must be a whole number of at least 0 or (rows, columns); equal pairs are stored as one number."""
    for name in names:
        value = getattr(layer, name)
        pair = tuple(value) if isinstance(value, list | tuple) else (value, value)
        ok = len(pair) == 2 and all(is_whole(one, 0) for one in pair)
        need_rule(layer, name, ok, "must be a whole number of at least 0, or a pair (rows, columns)", f"{name}=0")
        object.__setattr__(layer, name, pair[0] if pair[0] == pair[1] else pair)


def grow_axis(layer: ConvTranspose, x: Shape, axis: int) -> int:
    """The size of the map that is written, along one axis."""
    k, s, p, more, d = take_axis(layer, axis)
    return (x[1 + axis] - 1) * s - 2 * p + d * (k - 1) + more + 1


def take_axis(layer: ConvTranspose, axis: int) -> tuple[int, ...]:
    """Kernel, stride, padding, output padding and dilation along one axis."""
    fields = (layer.kernel, layer.stride, layer.padding, layer.output_padding, layer.dilation)
    return tuple(make_pair(value)[axis] for value in fields)


def format_growth_rule(layer: ConvTranspose, x: Shape, axis: int) -> str:
    k, s, p, more, d = take_axis(layer, axis)
    size = grow_axis(layer, x, axis)
    return f"({x[1 + axis]} − 1)·{s} − 2·{p} + {d}·({k} − 1) + {more} + 1 = {size}"
