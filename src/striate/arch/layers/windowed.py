"""Layers that slide a window over the map: convolution and pooling."""

from __future__ import annotations

from dataclasses import dataclass
from math import comb, prod
from typing import ClassVar

from ...errors import ShapeError
from .. import init
from ..window import Padding, Slide, extent, pair, rule, sides, slide
from .layer import (
    Kept,
    Layer,
    Reach,
    Shape,
    Tensor,
    is_whole,
    need,
    need_flag,
    need_map,
    need_padding,
    need_pair,
    need_whole,
    show,
    ways,
)


@dataclass(frozen=True, repr=False)
class Conv(Layer):
    """2-D convolution (cross-correlation: the kernel is not flipped), as `torch.nn.Conv2d` computes it.

    C×H×W -> filters×H'×W', with H', W' by `window.slide`.
    filters   how many kernels, each over C/groups channels: the output's channels
    kernel    its side, or (rows, columns)
    padding   "valid" (none), "same" (H' = ceil(H / stride), the odd zero at the bottom and right, as in
              TensorFlow), a number of zeros on each side, or (top, bottom, left, right)
    groups    the channels are split into this many parts that do not see each other; `groups=C` is depthwise
    init      how the weights start, see `arch.init`; biases start at 0
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
        if self.init not in init.NAMES:
            need(self, "init", False, "must name an initialisation", init.hint(self.init))
        need(self, "groups", self.filters % self.groups == 0, f"must divide the {self.filters} filters")

    def out(self, x: Shape) -> Shape:
        need_map(self, x)
        if x[0] % self.groups:
            raise ShapeError(
                "",
                f"groups={self.groups} does not divide the {x[0]} channels",
                got=show(x),
                rule=f"{x[0]} mod {self.groups} = {x[0] % self.groups}, must be 0",
                hint=f"groups={next(g for g in range(self.groups, 0, -1) if x[0] % g == 0 == self.filters % g)} fits",
            )
        rows, columns = slides(self, x)
        return (self.filters, rows.size, columns.size)

    def tensors(self, x: Shape) -> tuple[Tensor, ...]:
        kh, kw = pair(self.kernel)
        fan_in = x[0] // self.groups * kh * kw
        shape = (self.filters, x[0] // self.groups, kh, kw)
        weight = Tensor("weight", shape, self.init, fan_in, self.filters * kh * kw)
        return (weight, Tensor("bias", (self.filters,), "zeros")) if self.bias else (weight,)

    def params(self, x: Shape) -> int:
        kh, kw = pair(self.kernel)
        return (x[0] // self.groups * kh * kw + self.bias) * self.filters

    def macs(self, x: Shape) -> int:
        kh, kw = pair(self.kernel)
        filters, h, w = self.out(x)
        return filters * (x[0] // self.groups) * kh * kw * h * w

    def reach(self, x: Shape) -> tuple[Reach, Reach]:
        return reaches(self, x)

    def unread(self, x: Shape) -> tuple[int, int]:
        return unread(self, x)

    def kept(self, x: Shape) -> Kept:
        return kept_input(self, x)

    def size_rule(self, x: Shape) -> str:
        return size_rule(self, x)

    def params_rule(self, x: Shape) -> str:
        kh, kw = pair(self.kernel)
        inside = f"{kh}·{kw}·{x[0] // self.groups}"
        return f"({inside} + 1)·{self.filters}" if self.bias else f"{inside}·{self.filters}"

    @property
    def label(self) -> str:
        parts = [f"Conv {self.filters}@{ways(self.kernel)}", *window_label(self)]
        return " ".join([*parts, f"g{self.groups}"] if self.groups > 1 else parts)


@dataclass(frozen=True, repr=False)
class MaxPool(Layer):
    """The largest value under a sliding window, channel by channel; padding never wins.

    C×H×W -> C×H'×W', with H', W' by `window.slide`; no parameters, no MACs.
    stride   the window's own size where it is None
    ceil     round the output size up instead of down, so that the last pixels are read too
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
        rows, columns = slides(self, x)
        need_pixels(self, x, (rows, columns))
        return (x[0], rows.size, columns.size)

    def reach(self, x: Shape) -> tuple[Reach, Reach]:
        return reaches(self, x)

    def unread(self, x: Shape) -> tuple[int, int]:
        return unread(self, x)

    def kept(self, x: Shape) -> Kept:
        """Its input, and where each maximum was, as an int64."""
        k = kept_input(self, x)
        return k._replace(image=k.image + 8 * prod(self.out(x)))

    def size_rule(self, x: Shape) -> str:
        return size_rule(self, x)

    @property
    def label(self) -> str:
        return " ".join([f"MaxPool {ways(self.kernel)}", *window_label(self)])


@dataclass(frozen=True, repr=False)
class AvgPool(Layer):
    """The mean under a sliding window, channel by channel.

    C×H×W -> C×H'×W', with H', W' by `window.slide`; no parameters, no MACs.
    stride         the window's own size where it is None
    count_padding  divide by the whole window where part of it lies in the padding (torch's
                   `count_include_pad=True`); otherwise by the pixels that are there, as TensorFlow does
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
        rows, columns = slides(self, x)
        return (x[0], rows.size, columns.size)

    def reach(self, x: Shape) -> tuple[Reach, Reach]:
        return reaches(self, x)

    def unread(self, x: Shape) -> tuple[int, int]:
        return unread(self, x)

    def kept(self, x: Shape) -> Kept:
        """Its input, and the share of each window that counts where not all of it does."""
        k, y = kept_input(self, x), self.out(x)
        if even(self, x) is not None:
            return k
        rows, columns = slides(self, x)
        (top, bottom), (left, right) = beyond(self, x)
        if self.count_padding:
            cut = bottom > rows.after or right > columns.after
        else:
            cut = any((top, bottom, left, right))
        return k._replace(once=4 * y[1] * y[2]) if cut else k

    def size_rule(self, x: Shape) -> str:
        return size_rule(self, x)

    @property
    def label(self) -> str:
        return " ".join([f"AvgPool {ways(self.kernel)}", *window_label(self)])


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
    kernel: int = 4
    stride: int | tuple[int, int] = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        need(self, "kernel", is_whole(self.kernel, 1) and self.kernel <= 7, "must be a whole number from 1 to 7")
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
                f"a {x[1]}×{x[2]} map is too small to be reflected by {self.kernel // 2} pixels",
                got=show(x),
                rule=f"kernel {self.kernel} needs {self.kernel // 2 + 1} or more rows and columns",
                hint=f"kernel={2 * min(x[1:]) - 1} fits",
            )
        rows, columns = slides(self, x)
        return (x[0], rows.size, columns.size)

    def macs(self, x: Shape) -> int:
        return self.kernel * self.kernel * prod(self.out(x))

    def reach(self, x: Shape) -> tuple[Reach, Reach]:
        return reaches(self, x)

    def unread(self, x: Shape) -> tuple[int, int]:
        return unread(self, x)

    def kept(self, x: Shape) -> Kept:
        """Its input, and the reflected copy of it."""
        grown = 4 * x[0] * (x[1] + self.kernel - 1) * (x[2] + self.kernel - 1)
        return Kept(input=True, image=grown if self.kernel > 1 else 0)

    def size_rule(self, x: Shape) -> str:
        return size_rule(self, x)

    @property
    def label(self) -> str:
        step = "" if self.stride == 1 else f" /{self.stride if isinstance(self.stride, int) else ways(self.stride)}"
        return f"BlurPool {self.kernel}×{self.kernel}{step}"


@dataclass(frozen=True, repr=False)
class GlobalAvgPool(Layer):
    """The mean of each whole map: C×H×W -> C, or C×1×1 with `keepdims`.

    It has no parameters and takes any H and W, where Flatten and Dense fix both (Lin et al. 2013, section 3.2).
    """

    KIND: ClassVar[str] = "gap"
    KEPT: ClassVar[Kept] = Kept()
    keepdims: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        need_flag(self, "keepdims")

    def out(self, x: Shape) -> Shape:
        need_map(self, x)
        return (x[0], 1, 1) if self.keepdims else (x[0],)

    def reach(self, x: Shape) -> tuple[Reach, Reach]:
        return Reach(x[1], x[1], 0), Reach(x[2], x[2], 0)

    def size_rule(self, x: Shape) -> str:
        return f"mean of {x[1]}·{x[2]}"


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
    tall, wide = (extent(k, d) for k, d in zip(pair(layer.kernel), pair(dilation(layer)), strict=True))
    (top, bottom), (left, right) = sides(layer.padding)  # type: ignore[str-unpack]
    fits = max(top, bottom) < tall and max(left, right) < wide  # type: ignore[operator]
    need(layer, "padding", fits, f"must be smaller than the {tall}×{wide} window", "padding=0")


def need_pixels(layer: MaxPool, x: Shape, slid: tuple[Slide, Slide]) -> None:
    """Raise ShapeError where a dilated window's taps may all miss the map, so that there is no largest value."""
    for n, axis, kernel, stride, step in zip(
        x[1:], slid, pair(layer.kernel), strides(layer), pair(layer.dilation), strict=True
    ):
        for first in range(-axis.before, axis.size * stride - axis.before, stride) if step > 1 else ():
            if not any(0 <= first + tap * step < n for tap in range(kernel)):
                raise ShapeError(
                    "",
                    f"a dilated window would see padding alone on a {x[1]}×{x[2]} map",
                    got=show(x),
                    rule=f"of the rows or columns {first}, {first + step}, … one must be from 0 to {n - 1}",
                    hint="dilation=1, padding='same' fits",
                )


Windowed = Conv | MaxPool | AvgPool | BlurPool


def strides(layer: Windowed) -> tuple[int, int]:
    """(rows, columns); a pooling window without a stride steps by its own size."""
    return pair(layer.kernel if layer.stride is None else layer.stride)


def dilation(layer: Windowed) -> int | tuple[int, int]:
    return getattr(layer, "dilation", 1)


def slides(layer: Windowed, x: Shape) -> tuple[Slide, Slide]:
    """What the layer's window does over the rows and over the columns of the map `x`. Raises ShapeError."""
    (kh, kw), (sh, sw), (dh, dw) = pair(layer.kernel), strides(layer), pair(dilation(layer))
    ph, pw = sides(layer.padding)
    up = getattr(layer, "ceil", False)
    try:
        rows = slide(x[1], kh, sh, ph, dh, up)
        columns = rows if (x[2], kw, sw, pw, dw) == (x[1], kh, sh, ph, dh) else slide(x[2], kw, sw, pw, dw, up)
    except ShapeError as e:
        e.what = f"a {extent(kh, dh)}×{extent(kw, dw)} window does not fit a {x[1]}×{x[2]} map"
        e.got, e.hint = show(x), fitting(layer, x)
        raise
    return rows, columns


def fitting(layer: Windowed, x: Shape) -> str:
    """What would fit: the largest smaller kernel, else "same" padding."""
    (kh, kw), (dh, dw) = pair(layer.kernel), pair(dilation(layer))
    ph, pw = sides(layer.padding)
    largest = []
    for n, k, d, p in ((x[1], kh, dh, ph), (x[2], kw, dw, pw)):
        before, after = (0, 0) if isinstance(p, str) else p
        largest.append(min(k, (n + before + after - 1) // d + 1))
    kernel = min(largest) if kh == kw else (largest[0], largest[1])
    return f"kernel={kernel} fits"


def reaches(layer: Windowed, x: Shape) -> tuple[Reach, Reach]:
    (kh, kw), (sh, sw), (dh, dw) = pair(layer.kernel), strides(layer), pair(dilation(layer))
    rows, columns = slides(layer, x)
    return Reach(extent(kh, dh), sh, rows.before), Reach(extent(kw, dw), sw, columns.before)


def even(layer: Windowed, x: Shape) -> tuple[int, int] | None:
    """The padding of rows and of columns where it is the same before and after, and a library's own kernel takes it.

    None where the map must be copied with its padding around it first. Torch's poolings take up to half a window.
    """
    rows, columns = slides(layer, x)
    if rows.before != rows.after or columns.before != columns.after:
        return None
    kh, kw = pair(layer.kernel)
    if not isinstance(layer, Conv) and (2 * rows.before > kh or 2 * columns.before > kw):
        return None
    return rows.before, columns.before


def kept_input(layer: Windowed, x: Shape) -> Kept:
    """The map that the window slides over: the input, or a copy of it with the padding around it."""
    if even(layer, x) is not None:
        return Kept(input=True)
    rows, columns = slides(layer, x)
    (top, bottom), (left, right) = (rows.before, rows.after), (columns.before, columns.after)
    if not isinstance(layer, Conv):
        (top, bottom), (left, right) = beyond(layer, x)
    if not (top or bottom or left or right):
        return Kept(input=True)
    return Kept(image=4 * x[0] * (top + x[1] + bottom) * (left + x[2] + right))


def beyond(layer: Windowed, x: Shape) -> tuple[tuple[int, int], tuple[int, int]]:
    """How far the windows reach beyond the map: (top, bottom) and (left, right)."""
    found = []
    ways = zip(slides(layer, x), pair(layer.kernel), strides(layer), pair(dilation(layer)), x[1:], strict=True)
    for slid, k, s, d, n in ways:
        last = (slid.size - 1) * s + extent(k, d)
        found.append((slid.before, max(0, last - n - slid.before)))
    return found[0], found[1]


def unread(layer: Windowed, x: Shape) -> tuple[int, int]:
    rows, columns = slides(layer, x)
    return rows.unread, columns.unread


def size_rule(layer: Windowed, x: Shape) -> str:
    """One rule where rows and columns share it, else both."""
    (kh, kw), (sh, sw), (dh, dw) = pair(layer.kernel), strides(layer), pair(dilation(layer))
    ph, pw = sides(layer.padding)
    up = getattr(layer, "ceil", False)
    high, wide = rule(x[1], kh, sh, ph, dh, up), rule(x[2], kw, sw, pw, dw, up)
    return high if high == wide else f"{high}; {wide}"


def window_label(layer: Windowed) -> list[str]:
    """Stride, padding and dilation where they are not the plain ones: "/2", "same", "pad 1", "dilated 2"."""
    parts = []
    if layer.stride is not None and layer.stride != 1 or (layer.stride == 1 and not isinstance(layer, Conv)):
        parts.append("/" + (str(layer.stride) if isinstance(layer.stride, int) else ways(layer.stride)))
    if layer.padding == "same":
        parts.append("same")
    elif isinstance(layer.padding, tuple):
        parts.append("pad " + ",".join(map(str, layer.padding)))
    elif layer.padding != "valid" and layer.padding != 0:
        parts.append(f"pad {layer.padding}")
    if dilation(layer) != 1:
        parts.append(f"dilated {dilation(layer)}")
    return parts
