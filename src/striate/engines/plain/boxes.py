"""Parts of maps, and what of its input a layer needs for a part of its output."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ...arch.abilities import FORWARD, NEEDS, PART
from ...arch.layers import Layer, Shape
from .one_pass import Here, Pass

Array = np.ndarray


class Box(NamedTuple):
    """Rows top ≤ r < bottom and columns left ≤ c < right of a map; a vector is a box of one."""

    top: int
    bottom: int
    left: int
    right: int


def whole(x: Shape) -> Box:
    return Box(0, x[1], 0, x[2]) if len(x) == 3 else Box(0, 1, 0, 1)


def around(a: Box, b: Box) -> Box:
    """The smallest box that holds both."""
    return Box(min(a.top, b.top), max(a.bottom, b.bottom), min(a.left, b.left), max(a.right, b.right))


def cut(values: Array, have: Box, want: Box) -> Array:
    """The part `want` of values that cover `have`."""
    if values.ndim == 2:
        return values
    return values[:, :, want.top - have.top : want.bottom - have.top, want.left - have.left : want.right - have.left]


def same_place(layer: Layer, x: Shape, want: Box) -> Box:
    """What a layer needs that looks at one position at a time."""
    return want


def whole_map(layer: Layer, x: Shape, want: Box) -> Box:
    """What a layer needs that looks at all of its input."""
    return whole(x)


def from_its_part(layer: Layer, path: str, values: Array, have: Box, want: Box, x: Shape, way: Pass) -> Array:
    """The part `want` of a layer that computes a place alike whatever stands beside it."""
    return FORWARD(layer, cut(values, have, NEEDS(layer, x, want)), Here(path, way))


def at_its_place(*records: type[Layer]) -> None:
    """Fill in what one value of these depends on: its own position."""
    NEEDS.of(*records)(same_place)
    PART.of(*records)(from_its_part)


def by_the_whole_map(*records: type[Layer]) -> None:
    """Fill in what one value of these depends on: all of the input."""
    NEEDS.of(*records)(whole_map)
    PART.of(*records)(from_its_part)
