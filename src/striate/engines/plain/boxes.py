"""Parts of maps, and what of its input a layer needs for a part of its output."""

from __future__ import annotations

from typing import NamedTuple

from numpy.typing import NDArray

from ...architecture.abilities import FORWARD, NEEDS, PART
from ...architecture.layers import Layer, Shape
from .one_pass import ForwardPass, PassPlace


class Box(NamedTuple):
    """Rows top ≤ r < bottom and columns left ≤ c < right of a map; a vector is a box of one."""

    top: int
    bottom: int
    left: int
    right: int


def make_whole_box(x: Shape) -> Box:
    return Box(0, x[1], 0, x[2]) if len(x) == 3 else Box(0, 1, 0, 1)


def join_boxes(a: Box, b: Box) -> Box:
    """The smallest box that holds both."""
    return Box(min(a.top, b.top), max(a.bottom, b.bottom), min(a.left, b.left), max(a.right, b.right))


def cut_values(values: NDArray, have: Box, want: Box) -> NDArray:
    """The part `want` of values that cover `have`."""
    if values.ndim == 2:
        return values
    return values[:, :, want.top - have.top : want.bottom - have.top, want.left - have.left : want.right - have.left]


def need_same_place(layer: Layer, x: Shape, want: Box) -> Box:
    """What a layer needs that looks at one position at a time."""
    return want


def need_whole_map(layer: Layer, x: Shape, want: Box) -> Box:
    """What a layer needs that looks at all of its input."""
    return make_whole_box(x)


def compute_from_part(
    layer: Layer, path: str, values: NDArray, have: Box, want: Box, x: Shape, way: ForwardPass
) -> NDArray:
    """The part `want` of a layer that computes a place alike whatever stands beside it."""
    return FORWARD(layer, cut_values(values, have, NEEDS(layer, x, want)), PassPlace(path, way))


def cut_from_whole(
    layer: Layer, path: str, values: NDArray, have: Box, want: Box, x: Shape, way: ForwardPass
) -> NDArray:
    """The part `want` of a layer that keeps the map's size and looks at all of it for each place."""
    return cut_values(FORWARD(layer, values, PassPlace(path, way)), make_whole_box(x), want)


def register_from_whole_map(*records: type[Layer]) -> None:
    """Fill in what one value of these depends on: all of the input, of which the output is as large."""
    NEEDS.of(*records)(need_whole_map)
    PART.of(*records)(cut_from_whole)


def register_same_place(*records: type[Layer]) -> None:
    """Fill in what one value of these depends on: its own position."""
    NEEDS.of(*records)(need_same_place)
    PART.of(*records)(compute_from_part)


def register_whole_map(*records: type[Layer]) -> None:
    """Fill in what one value of these depends on: all of the input."""
    NEEDS.of(*records)(need_whole_map)
    PART.of(*records)(compute_from_part)
