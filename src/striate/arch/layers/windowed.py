"""What a window that slides over a map does, for every record that has one: sizes, reach, rules in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from ...errors import ShapeError
from ..window import Padding, Slide, extent, pair, rule, sides, slide
from .layer import Reach, Shape, show, ways

if TYPE_CHECKING:  # making a Protocol takes 1 ms of the 40 in which all records load

    class Windowed(Protocol):
        """A record with a window; some have `dilation` and `ceil` too."""

        @property
        def kernel(self) -> int | tuple[int, int]: ...
        @property
        def stride(self) -> int | tuple[int, int] | None: ...
        @property
        def padding(self) -> Padding: ...


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
    """The padding of rows and of columns where it is the same before and after; None where it is not."""
    rows, columns = slides(layer, x)
    if rows.before != rows.after or columns.before != columns.after:
        return None
    return rows.before, columns.before


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
    if layer.stride not in (None, type(layer).stride):
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
