"""Test-time views: a finished model looks at an image several times, mirrored or moved, and averages what it says.

Jordan (2024, arXiv 2404.00498, section 3.5) averages over an image, its mirror image, and both moved by one pixel each
way, where He et al. (2016) took ten crops. A view costs as much as the image itself.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

Views = Literal["plain", "flip", "flip+shift"]
VIEWS: tuple[str, ...] = get_args(Views)

# How far a view is moved, as a share of the side: one pixel of 32.
VIEW_SHIFT = 1 / 32


class View(NamedTuple):
    """One look at an image H×W: where each of its rows and columns is read, and what the answer weighs in the mean.

    Beyond the edge the edge is read again.
    """

    weight: float
    rows: tuple[int, ...]
    columns: tuple[int, ...]


def list_views(name: str, size: tuple[int, int]) -> list[View]:
    """The views of an image of `size` (height, width); their weights sum to 1.

    plain       the image
    flip        the image and its mirror image, half each
    flip+shift  half of it those two; the other half both moved up and left, and both moved down and right

    >>> list_views("flip", (1, 3))
    [View(weight=0.5, rows=(0,), columns=(0, 1, 2)), View(weight=0.5, rows=(0,), columns=(2, 1, 0))]
    """
    height, width = size
    down, right = (max(1, round(side * VIEW_SHIFT)) for side in size)
    moves = {0: 1.0} if name != "flip+shift" else {0: 0.5, 1: 0.25, -1: 0.25}
    found = []
    for move, weight in moves.items():
        rows = tuple(min(max(y + move * down, 0), height - 1) for y in range(height))
        columns = tuple(min(max(x + move * right, 0), width - 1) for x in range(width))
        if name == "plain":
            found.append(View(weight, rows, columns))
        else:
            found += [View(weight / 2, rows, columns), View(weight / 2, rows, columns[::-1])]
    return found
