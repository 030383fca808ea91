"""Pooling: one value for a window, or for a whole map, channel by channel."""

from __future__ import annotations

from dataclasses import dataclass
from math import comb, prod
from typing import ClassVar

from ...errors import ShapeError
from ...language import say
from ..window import Padding, Slide, make_pair, measure_extent, split_sides
from .layer import (
    Examples,
    Layer,
    Reach,
    SavedMap,
    Shape,
    format_pair,
    format_shape,
    is_whole,
    need_flag,
    need_map,
    need_padding,
    need_pair,
    need_rule,
)
from .windowed import (
    count_unread,
    find_dilation,
    find_even_padding,
    find_reaches,
    find_strides,
    format_size_rule,
    format_window_label,
    measure_overhang,
    slide_window,
)

__all__ = ["MaxPool", "AvgPool", "BlurPool", "GlobalAvgPool", "GlobalMaxPool"]


@dataclass(frozen=True, repr=False)
class MaxPool(Layer):
    """The largest value under a sliding window, channel by channel; padding never wins.

    C×H×W -> C×H'×W', with H', W' by `window.slide`; no parameters, no MACs.
    stride   the window's own size where it is None
    ceil     round the output size up instead of down, so that the last pixels are read too

    >>> MaxPool(2).out((6, 28, 28)), MaxPool(3, 2, ceil=True).out((64, 112, 112))
    ((6, 14, 14), (64, 56, 56))
    """

    KIND: ClassVar[str] = "pool"
    kernel: int | tuple[int, int]
    stride: int | tuple[int, int] | None = None
    padding: Padding = "valid"
    dilation: int | tuple[int, int] = 1
    ceil: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        need_pair(self, "kernel", "dilation")
        need_pool(self)

    def out(self, x: Shape) -> Shape:
        need_map(self, x)
        rows, columns = slide_window(self, x)
        need_pixels(self, x, (rows, columns))
        return (x[0], rows.size, columns.size)

    def reach(self, x: Shape) -> tuple[Reach, Reach]:
        return find_reaches(self, x)

    def unread(self, x: Shape) -> tuple[int, int]:
        return count_unread(self, x)

    def kept(self, x: Shape) -> SavedMap:
        """Its input, and where each maximum was, as an int64."""
        k = find_saved_map(self, x)
        return k._replace(image=k.image + 8 * prod(self.out(x)))

    def size_rule(self, x: Shape) -> str:
        return format_size_rule(self, x)

    @property
    def label(self) -> str:
        return " ".join([f"MaxPool {format_pair(self.kernel)}", *format_window_label(self)])


@dataclass(frozen=True, repr=False)
class AvgPool(Layer):
    """The mean under a sliding window, channel by channel.

    C×H×W -> C×H'×W', with H', W' by `window.slide`; no parameters, no MACs.
    stride         the window's own size where it is None
    count_padding  divide by the whole window where part of it lies in the padding (torch's
                   `count_include_pad=True`); otherwise by the pixels that are there, as TensorFlow does

    >>> AvgPool(2).out((6, 28, 28)), AvgPool(2).size_rule((6, 28, 28))
    ((6, 14, 14), '(28 + 2·0 − 2)/2 + 1 = 14')
    """

    KIND: ClassVar[str] = "pool"
    kernel: int | tuple[int, int]
    stride: int | tuple[int, int] | None = None
    padding: Padding = "valid"
    ceil: bool = False
    count_padding: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        need_pair(self, "kernel")
        need_flag(self, "count_padding")
        need_pool(self)

    def out(self, x: Shape) -> Shape:
        need_map(self, x)
        rows, columns = slide_window(self, x)
        return (x[0], rows.size, columns.size)

    def reach(self, x: Shape) -> tuple[Reach, Reach]:
        return find_reaches(self, x)

    def unread(self, x: Shape) -> tuple[int, int]:
        return count_unread(self, x)

    def kept(self, x: Shape) -> SavedMap:
        """Its input, and the share of each window that counts where not all of it does."""
        k, y = find_saved_map(self, x), self.out(x)
        if find_even_pool_padding(self, x) is not None:
            return k
        rows, columns = slide_window(self, x)
        (top, bottom), (left, right) = measure_overhang(self, x)
        if self.count_padding:
            cut = bottom > rows.after or right > columns.after
        else:
            cut = any((top, bottom, left, right))
        return k._replace(once=4 * y[1] * y[2]) if cut else k

    def size_rule(self, x: Shape) -> str:
        return format_size_rule(self, x)

    @property
    def label(self) -> str:
        return " ".join([f"AvgPool {format_pair(self.kernel)}", *format_window_label(self)])


@dataclass(frozen=True, repr=False)
class BlurPool(Layer):
    """Anti-aliased pooling: a fixed binomial blur and then every `stride`-th value, channel by channel.

    C×H×W -> C×⌈H/stride⌉×⌈W/stride⌉. Zhang 2019, "Making Convolutional Networks Shift-Invariant Again"; his
    MaxBlurPool is `MaxPool(2, stride=1), BlurPool(4)`, and a strided convolution with its ReLU becomes the same two
    at stride 1 and a BlurPool.
    kernel  1 to 7: so many binomial coefficients over their sum, along rows and along columns (4: 1 3 3 1 over 8).
            The map is reflected at its edges (the pixel before the first is the second), by ⌊(kernel − 1)/2⌋ before
            and ⌈(kernel − 1)/2⌉ after; it must be larger than that
    params  none: it learns nothing
    macs    kernel·kernel·C·H'·W' for one image: those of the depthwise convolution that it is

    >>> blur = BlurPool(4)
    >>> blur.out((6, 28, 28)), blur.macs((6, 28, 28)), blur.taps
    ((6, 14, 14), 18816, (0.125, 0.375, 0.375, 0.125))
    """

    KIND: ClassVar[str] = "pool"
    EXAMPLES: ClassVar[Examples] = {"kernel": (1, 2, 3, 4, 5, 6, 7), "stride": (1, 2, 2, 3, (1, 2), (3, 1))}
    kernel: int = 4
    stride: int | tuple[int, int] = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        need_rule(self, "kernel", is_whole(self.kernel, 1) and self.kernel <= 7, "must be a whole number from 1 to 7")
        need_pair(self, "stride")

    @property
    def taps(self) -> tuple[float, ...]:
        """The blur along one axis; the two-dimensional filter is their products."""
        return tuple(comb(self.kernel - 1, i) / 2 ** (self.kernel - 1) for i in range(self.kernel))

    @property
    def padding(self) -> tuple[int, int, int, int]:
        """By how much the map is reflected: (top, bottom, left, right)."""
        before, after = (self.kernel - 1) // 2, self.kernel // 2
        return before, after, before, after

    def out(self, x: Shape) -> Shape:
        need_map(self, x)
        if min(x[1:]) <= self.kernel // 2:
            raise ShapeError(
                "",
                say(
                    "a {height}×{width} map is too small to be reflected by {pixels} pixels",
                    height=x[1],
                    width=x[2],
                    pixels=self.kernel // 2,
                ),
                got=format_shape(x),
                rule=say(
                    "kernel {kernel} needs {least} or more rows and columns",
                    kernel=self.kernel,
                    least=self.kernel // 2 + 1,
                ),
                hint=say("{code} fits", code=f"kernel={2 * min(x[1:]) - 1}"),
            )
        rows, columns = slide_window(self, x)
        return (x[0], rows.size, columns.size)

    def macs(self, x: Shape) -> int:
        return self.kernel * self.kernel * prod(self.out(x))

    def reach(self, x: Shape) -> tuple[Reach, Reach]:
        return find_reaches(self, x)

    def unread(self, x: Shape) -> tuple[int, int]:
        return count_unread(self, x)

    def kept(self, x: Shape) -> SavedMap:
        """Its input, and the reflected copy of it."""
        grown = 4 * x[0] * (x[1] + self.kernel - 1) * (x[2] + self.kernel - 1)
        return SavedMap(input=True, image=grown if self.kernel > 1 else 0)

    def size_rule(self, x: Shape) -> str:
        return format_size_rule(self, x)

    @property
    def label(self) -> str:
        step = (
            "" if self.stride == 1 else f" /{self.stride if isinstance(self.stride, int) else format_pair(self.stride)}"
        )
        return f"BlurPool {self.kernel}×{self.kernel}{step}"


@dataclass(frozen=True, repr=False)
class GlobalAvgPool(Layer):
    """The mean of each whole map: C×H×W -> C, or C×1×1 with `keepdims`.

    It has no parameters and takes any H and W, where Flatten and Dense fix both (Lin et al. 2013, section 3.2).

    >>> GlobalAvgPool().out((512, 7, 7))
    (512,)
    """

    KIND: ClassVar[str] = "gap"
    KEPT: ClassVar[SavedMap] = SavedMap()
    EXAMPLES: ClassVar[Examples] = {"keepdims": (False, True)}
    keepdims: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        need_flag(self, "keepdims")

    def out(self, x: Shape) -> Shape:
        return collapse_map(self, x)

    def reach(self, x: Shape) -> tuple[Reach, Reach]:
        return reach_whole_map(x)

    def size_rule(self, x: Shape) -> str:
        return say("mean of {height}·{width}", height=x[1], width=x[2])


@dataclass(frozen=True, repr=False)
class GlobalMaxPool(Layer):
    """The largest value of each whole map: C×H×W -> C, or C×1×1 with `keepdims` (Oquab et al. 2015, section 3).

    It has no parameters and takes any H and W. Where the mean asks how much of something there is, this asks whether
    it is anywhere.

    >>> GlobalMaxPool(keepdims=True).out((512, 7, 7))
    (512, 1, 1)
    """

    KIND: ClassVar[str] = "gmp"
    EXAMPLES: ClassVar[Examples] = {"keepdims": (False, True)}
    keepdims: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        need_flag(self, "keepdims")

    def out(self, x: Shape) -> Shape:
        return collapse_map(self, x)

    def reach(self, x: Shape) -> tuple[Reach, Reach]:
        return reach_whole_map(x)

    def kept(self, x: Shape) -> SavedMap:
        """Its input, and where each maximum was, as an int64."""
        return SavedMap(input=True, image=8 * x[0])

    def size_rule(self, x: Shape) -> str:
        return say("largest of {height}·{width}", height=x[1], width=x[2])


def collapse_map(layer: GlobalAvgPool | GlobalMaxPool, x: Shape) -> Shape:
    """One value a channel: C×1×1 with `keepdims`, else C. Raises ShapeError where `x` is no map."""
    need_map(layer, x)
    return (x[0], 1, 1) if layer.keepdims else (x[0],)


def reach_whole_map(x: Shape) -> tuple[Reach, Reach]:
    return Reach(x[1], x[1], 0), Reach(x[2], x[2], 0)


def find_even_pool_padding(layer: MaxPool | AvgPool, x: Shape) -> tuple[int, int] | None:
    """The padding of rows and of columns where a library's own kernel takes it: equal sides, up to half a window.

    None where the map must be copied with its padding around it first.
    """
    found = find_even_padding(layer, x)
    kh, kw = make_pair(layer.kernel)
    return None if found is None or 2 * found[0] > kh or 2 * found[1] > kw else found


def find_saved_map(layer: MaxPool | AvgPool, x: Shape) -> SavedMap:
    """The map that the window slides over: the input, or a copy of it with the padding around it."""
    (top, bottom), (left, right) = measure_overhang(layer, x)
    if find_even_pool_padding(layer, x) is not None or not (top or bottom or left or right):
        return SavedMap(input=True)
    return SavedMap(image=4 * x[0] * (top + x[1] + bottom) * (left + x[2] + right))


def need_pool(layer: MaxPool | AvgPool) -> None:
    """The checks that the two poolings share: a given stride, padding below the window, ceil."""
    if layer.stride is not None:
        need_pair(layer, "stride")
        if layer.stride == layer.kernel:
            object.__setattr__(layer, "stride", None)
    need_padding(layer)
    need_flag(layer, "ceil")
    if isinstance(layer.padding, str):
        return
    # A position that lies in the padding alone would have no largest value and no mean.
    tall, wide = (
        measure_extent(k, d) for k, d in zip(make_pair(layer.kernel), make_pair(find_dilation(layer)), strict=True)
    )
    (top, bottom), (left, right) = split_sides(layer.padding)  # type: ignore[str-unpack]
    fits = max(top, bottom) < tall and max(left, right) < wide  # type: ignore[operator]
    need_rule(
        layer, "padding", fits, "must be smaller than the {tall}×{wide} window", "padding=0", tall=tall, wide=wide
    )


def need_pixels(layer: MaxPool, x: Shape, slid: tuple[Slide, Slide]) -> None:
    """Raise ShapeError where a dilated window's taps may all miss the map, so that there is no largest value."""
    for n, axis, kernel, stride, step in zip(
        x[1:], slid, make_pair(layer.kernel), find_strides(layer), make_pair(layer.dilation), strict=True
    ):
        for first in range(-axis.before, axis.size * stride - axis.before, stride) if step > 1 else ():
            if not any(0 <= first + tap * step < n for tap in range(kernel)):
                raise ShapeError(
                    "",
                    say("a dilated window would see padding alone on a {height}×{width} map", height=x[1], width=x[2]),
                    got=format_shape(x),
                    rule=say(
                        "of the rows or columns {first}, {second}, … one must be from 0 to {last}",
                        first=first,
                        second=first + step,
                        last=n - 1,
                    ),
                    hint=say("{code} fits", code="dilation=1, padding='same'"),
                )
