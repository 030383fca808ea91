"""A window sliding along one axis: the output-size rule that convolution and pooling share."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from ..errors import ShapeError
from ..language import say

Padding = str | int | tuple[int, int, int, int]


class Slide(NamedTuple):
    """What a window does along one axis of `n` pixels.

    size    how many positions it takes, the output size
    before  zeros put before the first pixel
    after   zeros put after the last one
    unread  pixels at the end that no position covers
    """

    size: int
    before: int
    after: int
    unread: int


def measure_extent(kernel: int, dilation: int) -> int:
    """Pixels from a dilated kernel's first tap to its last: `(kernel − 1)·dilation + 1`."""
    return (kernel - 1) * dilation + 1


@lru_cache(maxsize=4096)
def slide_axis(
    n: int, kernel: int, stride: int, pad: str | tuple[int, int], dilation: int = 1, ceil: bool = False
) -> Slide:
    """The size rule: `floor((n + before + after − extent) / stride) + 1`, or `ceil(n / stride)` for "same".

    pad   "valid", "same" or (before, after). "same" puts the odd zero after, as TensorFlow and Keras do.
    ceil  round up instead of down, as `torch.nn.MaxPool2d(ceil_mode=True)`: a last position that would
          start in the padding after the map is dropped.
    Raises ShapeError where the window does not fit.

    >>> slide_axis(32, kernel=5, stride=1, pad="valid")
    Slide(size=28, before=0, after=0, unread=0)
    >>> slide_axis(224, kernel=3, stride=2, pad="same")
    Slide(size=112, before=0, after=1, unread=0)
    """
    reach = (kernel - 1) * dilation + 1
    if pad == "same":
        size = -(-n // stride)
        total = max((size - 1) * stride + reach - n, 0)
        before, after = total // 2, total - total // 2
    else:
        before, after = (0, 0) if isinstance(pad, str) else pad
        room = n + before + after - reach
        size = (-(-room // stride) if ceil else room // stride) + 1
        if ceil and (size - 1) * stride >= n + before:
            size -= 1
        if size < 1:
            what = say("a window of {reach} does not fit {n} pixels", reach=reach, n=n)
            raise ShapeError("", what, got=n, rule=format_slide_rule(n, kernel, stride, pad, dilation, ceil))
    last = min(size - 1, (n - 1 + before) // stride)  # the last position that starts within the map
    return Slide(size, before, after, min(n, max(0, n + before - last * stride - reach)))


def format_slide_rule(
    n: int, kernel: int, stride: int, pad: str | tuple[int, int], dilation: int = 1, ceil: bool = False
) -> str:
    """The size rule with its numbers in it.

    >>> format_slide_rule(32, 5, 1, "valid"), format_slide_rule(224, 7, 2, (3, 3)), format_slide_rule(28, 3, 2, "same")
    ('(32 + 2·0 − 5)/1 + 1 = 28', '⌊(224 + 2·3 − 7)/2⌋ + 1 = 112', '⌈28/2⌉ = 14')
    """
    if pad == "same":
        return f"⌈{n}/{stride}⌉ = {-(-n // stride)}"
    before, after = (0, 0) if isinstance(pad, str) else pad
    reach = measure_extent(kernel, dilation)
    room = n + before + after - reach
    zeros = f"2·{before}" if before == after else f"{before} + {after}"
    left, right = ("", "") if room % stride == 0 else ("⌈", "⌉") if ceil else ("⌊", "⌋")
    line = f"{left}({n} + {zeros} − {reach})/{stride}{right} + 1 = "
    size = (-(-room // stride) if ceil else room // stride) + 1
    if size < 1:
        return say("{result}, must be 1 or more", result=f"{line}{size}")
    if ceil and (size - 1) * stride >= n + before:
        return say("{result}, less 1 (it would start in the padding)", result=f"{line}{size}")
    return f"{line}{size}"


def split_sides(padding: Padding) -> tuple[str | tuple[int, int], str | tuple[int, int]]:
    """A layer's `padding` as what `slide_axis` takes for the rows and for the columns."""
    if isinstance(padding, str):
        return padding, padding
    if isinstance(padding, int):
        return (padding, padding), (padding, padding)
    top, bottom, left, right = padding
    return (top, bottom), (left, right)


def make_pair(value: int | tuple[int, int]) -> tuple[int, int]:
    """A kernel, stride or dilation as (rows, columns)."""
    return (value, value) if isinstance(value, int) else value
