"""Convolution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ...language import say
from ..window import Padding, make_pair
from .layer import (
    Layer,
    Reach,
    SavedMap,
    Shape,
    Tensor,
    format_pair,
    need_flag,
    need_groups,
    need_init,
    need_map,
    need_padding,
    need_pair,
    need_rule,
    need_whole,
)
from .windowed import count_unread, find_even_padding, find_reaches, format_size_rule, format_window_label, slide_window

__all__ = ["Conv"]


@dataclass(frozen=True, repr=False)
class Conv(Layer):
    """2-D convolution (cross-correlation: the kernel is not flipped), as `torch.nn.Conv2d` computes it.

    C×H×W -> filters×H'×W', with H', W' by `window.slide`.
    filters   how many kernels, each over C/groups channels: the output's channels
    kernel    its side, or (rows, columns)
    padding   "valid" (none), "same" (H' = ceil(H / stride), the odd zero at the bottom and right, as in
              TensorFlow), a number of zeros on each side, or (top, bottom, left, right)
    groups    the channels are split into this many parts that do not see each other; `groups=C` is depthwise
    init      how the weights start, see `architecture.init`; biases start at 0
    params    (k·k·C/groups + 1)·filters, without the + 1 where there is no bias
    macs      k·k·C/groups·filters·H'·W' for one image

    >>> conv = Conv(6, 5)
    >>> conv.out((3, 32, 32)), conv.params((3, 32, 32)), conv.macs((3, 32, 32))
    ((6, 28, 28), 456, 352800)
    """

    KIND: ClassVar[str] = "conv"
    filters: int
    kernel: int | tuple[int, int]
    stride: int | tuple[int, int] = 1
    padding: Padding = "valid"
    dilation: int | tuple[int, int] = 1
    groups: int = 1
    bias: bool = True
    init: str = "glorot_uniform"

    def __post_init__(self) -> None:
        super().__post_init__()
        need_whole(self, "filters", "groups")
        need_pair(self, "kernel", "stride", "dilation")
        need_padding(self)
        need_flag(self, "bias")
        need_init(self)
        need_rule(
            self, "groups", self.filters % self.groups == 0, "must divide the {filters} filters", filters=self.filters
        )

    def out(self, x: Shape) -> Shape:
        need_map(self, x)
        fitting = next(g for g in range(self.groups, 0, -1) if x[0] % g == 0 == self.filters % g)
        need_groups(self.groups, x, say("{code} fits", code=f"groups={fitting}"))
        rows, columns = slide_window(self, x)
        return (self.filters, rows.size, columns.size)

    def tensors(self, x: Shape) -> tuple[Tensor, ...]:
        kh, kw = make_pair(self.kernel)
        fan_in = x[0] // self.groups * kh * kw
        shape = (self.filters, x[0] // self.groups, kh, kw)
        weight = Tensor("weight", shape, self.init, fan_in, self.filters * kh * kw)
        return (weight, Tensor("bias", (self.filters,), "zeros")) if self.bias else (weight,)

    def params(self, x: Shape) -> int:
        kh, kw = make_pair(self.kernel)
        return (x[0] // self.groups * kh * kw + self.bias) * self.filters

    def macs(self, x: Shape) -> int:
        kh, kw = make_pair(self.kernel)
        filters, h, w = self.out(x)
        return filters * (x[0] // self.groups) * kh * kw * h * w

    def reach(self, x: Shape) -> tuple[Reach, Reach]:
        return find_reaches(self, x)

    def unread(self, x: Shape) -> tuple[int, int]:
        return count_unread(self, x)

    def kept(self, x: Shape) -> SavedMap:
        """Its input, or a copy of it with the padding around it."""
        if find_even_padding(self, x) is not None:
            return SavedMap(input=True)
        rows, columns = slide_window(self, x)
        height, width = rows.before + x[1] + rows.after, columns.before + x[2] + columns.after
        return SavedMap(image=4 * x[0] * height * width)

    def size_rule(self, x: Shape) -> str:
        return format_size_rule(self, x)

    def params_rule(self, x: Shape) -> str:
        kh, kw = make_pair(self.kernel)
        inside = f"{kh}·{kw}·{x[0] // self.groups}"
        return f"({inside} + 1)·{self.filters}" if self.bias else f"{inside}·{self.filters}"

    @property
    def label(self) -> str:
        parts = [f"Conv {self.filters}@{format_pair(self.kernel)}", *format_window_label(self)]
        return " ".join([*parts, f"g{self.groups}"] if self.groups > 1 else parts)
