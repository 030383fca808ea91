"""What a window that slides over a map does, for every record that has one: sizes, reach, rules in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from ...errors import ShapeError
from ...language import say
from ..window import Padding, Slide, format_slide_rule, make_pair, measure_extent, slide_axis, split_sides
from .layer import Reach, Shape, format_pair, format_shape

if TYPE_CHECKING:  # making a Protocol takes 1 ms of the 40 in which all records load

    class Windowed(Protocol):
        """A record with a window; some have `find_dilation` and `ceil` too."""

        @property
        def kernel(self) -> int | tuple[int, int]: ...
        @property
        def stride(self) -> int | tuple[int, int] | None: ...
        @property
        def padding(self) -> Padding: ...


def find_strides(layer: Windowed) -> tuple[int, int]:
    """(rows, columns); a pooling window without a stride steps by its own size."""
    return make_pair(layer.kernel if layer.stride is None else layer.stride)


def find_dilation(layer: Windowed) -> int | tuple[int, int]:
    return getattr(layer, "dilation", 1)


def slide_window(layer: Windowed, x: Shape) -> tuple[Slide, Slide]:
    """What the layer's window does over the rows and over the columns of the map `x`. Raises ShapeError."""
    (kh, kw), (sh, sw), (dh, dw) = make_pair(layer.kernel), find_strides(layer), make_pair(find_dilation(layer))
    ph, pw = split_sides(layer.padding)
    up = getattr(layer, "ceil", False)
    try:
        rows = slide_axis(x[1], kh, sh, ph, dh, up)
        columns = rows if (x[2], kw, sw, pw, dw) == (x[1], kh, sh, ph, dh) else slide_axis(x[2], kw, sw, pw, dw, up)
    except ShapeError as e:
        tall, wide = measure_extent(kh, dh), measure_extent(kw, dw)
        e.what = say(
            "a {tall}×{wide} window does not fit a {height}×{width} map", tall=tall, wide=wide, height=x[1], width=x[2]
        )
        e.got, e.hint = format_shape(x), suggest_fit(layer, x)
        raise
    return rows, columns


def suggest_fit(layer: Windowed, x: Shape) -> str:
    """What would fit: the largest smaller kernel, else "same" padding."""
    (kh, kw), (dh, dw) = make_pair(layer.kernel), make_pair(find_dilation(layer))
    ph, pw = split_sides(layer.padding)
    largest = []
    for n, k, d, p in ((x[1], kh, dh, ph), (x[2], kw, dw, pw)):
        before, after = (0, 0) if isinstance(p, str) else p
        largest.append(min(k, (n + before + after - 1) // d + 1))
    kernel = min(largest) if kh == kw else (largest[0], largest[1])
    return say("{code} fits", code=f"kernel={kernel}")


def find_reaches(layer: Windowed, x: Shape) -> tuple[Reach, Reach]:
    (kh, kw), (sh, sw), (dh, dw) = make_pair(layer.kernel), find_strides(layer), make_pair(find_dilation(layer))
    rows, columns = slide_window(layer, x)
    return Reach(measure_extent(kh, dh), sh, rows.before), Reach(measure_extent(kw, dw), sw, columns.before)


def find_even_padding(layer: Windowed, x: Shape) -> tuple[int, int] | None:
    """The padding of rows and of columns where it is the same before and after; None where it is not."""
    rows, columns = slide_window(layer, x)
    if rows.before != rows.after or columns.before != columns.after:
        return None
    return rows.before, columns.before


def measure_overhang(layer: Windowed, x: Shape) -> tuple[tuple[int, int], tuple[int, int]]:
    """How far the windows reach beyond the map: (top, bottom) and (left, right)."""
    found = []
    ways = zip(
        slide_window(layer, x),
        make_pair(layer.kernel),
        find_strides(layer),
        make_pair(find_dilation(layer)),
        x[1:],
        strict=True,
    )
    for slid, k, s, d, n in ways:
        last = (slid.size - 1) * s + measure_extent(k, d)
        found.append((slid.before, max(0, last - n - slid.before)))
    return found[0], found[1]


def count_unread(layer: Windowed, x: Shape) -> tuple[int, int]:
    rows, columns = slide_window(layer, x)
    return rows.unread, columns.unread


def format_size_rule(layer: Windowed, x: Shape) -> str:
    """One rule where rows and columns share it, else both."""
    (kh, kw), (sh, sw), (dh, dw) = make_pair(layer.kernel), find_strides(layer), make_pair(find_dilation(layer))
    ph, pw = split_sides(layer.padding)
    up = getattr(layer, "ceil", False)
    high, wide = format_slide_rule(x[1], kh, sh, ph, dh, up), format_slide_rule(x[2], kw, sw, pw, dw, up)
    return high if high == wide else f"{high}; {wide}"


def format_window_label(layer: Windowed) -> list[str]:
    """Stride, padding and dilation where they are not the plain ones: "/2", "same", "pad 1", "dilated 2"."""
    parts = []
    if layer.stride not in (None, type(layer).stride):
        parts.append("/" + (str(layer.stride) if isinstance(layer.stride, int) else format_pair(layer.stride)))
    if layer.padding == "same":
        parts.append("same")
    elif isinstance(layer.padding, tuple):
        parts.append("pad " + ",".join(map(str, layer.padding)))
    elif layer.padding != "valid" and layer.padding != 0:
        parts.append(f"pad {layer.padding}")
    if find_dilation(layer) != 1:
        parts.append(f"dilated {find_dilation(layer)}")
    return parts
