"""One value without its map: only what it depends on is computed, a cone from the value down to its pixels."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce

import numpy as np

from ...arch import layers as L
from ...arch.abilities import NEEDS, PART
from ...arch.layers import Layer, Shape
from . import network, windows
from .boxes import Box, around, cut, same_place, whole
from .one_pass import Pass

Array = np.ndarray


WINDOWED = (L.Conv, L.MaxPool, L.AvgPool, L.BlurPool)


# What a part of a layer's output depends on -----------------------------------------------------------


@NEEDS.of(*WINDOWED)
def under_windows(layer: windows.Windowed, x: Shape, want: Box) -> Box:
    rows, columns = windows.taps(layer, x)
    return Box(*span(rows[want.top : want.bottom], x[1]), *span(columns[want.left : want.right], x[2]))


NEEDS.of(L.SideHead)(same_place)


@NEEDS.of(L.Sequence)
def through_all(layer: L.Sequence, x: Shape, want: Box) -> Box:
    return plan(layer, x, want)[0]


@NEEDS.of(L.Parallel)
def by_any_branch(layer: L.Parallel, x: Shape, want: Box) -> Box:
    y = layer.out(x)
    return reduce(around, (NEEDS(branch, x, share(branch.out(x), y, want)) for branch in layer.branches))


def span(places: Array, n: int) -> tuple[int, int]:
    """From the first place within the map to past the last; one pixel at least, where all lie in the padding."""
    low = min(max(int(places.min()), 0), n - 1)
    return low, max(min(int(places.max()) + 1, n), low + 1)


def share(branch: Shape, y: Shape, want: Box) -> Box:
    """What a branch must give for `want` of the joined map: the same, or its one value where it is stretched."""
    return want if branch[1:] == y[1:] else whole(branch)


def plan(layer: L.Sequence, x: Shape, want: Box) -> list[Box]:
    """The box of each child's input, and last of the output, so that the output covers `want`."""
    shapes = [x]
    for child in layer.layers:
        shapes.append(child.out(shapes[-1]))
    boxes = [want]
    for child, shape in zip(reversed(layer.layers), reversed(shapes[:-1]), strict=True):
        boxes.append(NEEDS(child, shape, boxes[-1]))
    return boxes[::-1]


# A part of a layer's output -------------------------------------------------------------------------


@PART.of(L.SideHead)
def passed_on(layer: L.SideHead, path: str, values: Array, have: Box, want: Box, x: Shape, way: Pass) -> Array:
    return cut(values, have, want)


@PART.of(*WINDOWED)
def of_windows(layer: windows.Windowed, path: str, values: Array, have: Box, want: Box, x: Shape, way: Pass) -> Array:
    rows, columns = windows.taps(layer, x)
    rows, columns = rows[want.top : want.bottom], columns[want.left : want.right]
    seen = windows.look(layer, values, rows - have.top, columns - have.left)
    tensors = {t.name: way.tensors[f"{path}.{t.name}"] for t in layer.tensors(x)}
    return windows.apply(layer, seen, rows, columns, x, tensors)


@PART.of(L.Sequence)
def of_all(layer: L.Sequence, path: str, values: Array, have: Box, want: Box, x: Shape, way: Pass) -> Array:
    boxes = plan(layer, x, want)
    values = cut(values, have, boxes[0]) if len(x) == 3 else values
    for (name, child), a, b in zip(layer.named, boxes, boxes[1:], strict=False):
        values = PART(child, f"{path}.{name}" if path else name, values, a, b, x, way)
        x = child.out(x)
    return values


@PART.of(L.Parallel)
def of_branches(layer: L.Parallel, path: str, values: Array, have: Box, want: Box, x: Shape, way: Pass) -> Array:
    y = layer.out(x)
    outputs = [
        PART(branch, f"{path}.{name}", values, have, share(branch.out(x), y, want), x, way)
        for name, branch in layer.named
    ]
    return network.join(layer, outputs)


# One value ------------------------------------------------------------------------------------------


def of_layer(layer: Layer, x: Array, tensors: Mapping[str, Array], index: tuple[int, ...]) -> float:
    """The value at `index` of one layer's output, from its whole input x, C×H×W or a vector, and its own tensors."""
    way = Pass({f"layer.{name}": tensor for name, tensor in tensors.items()})
    want = at(index, layer.out(x.shape))
    return picked(PART(layer, "layer", x[None], whole(x.shape), want, x.shape, way), index)


def at(index: tuple[int, ...], y: Shape) -> Box:
    """The one place of a map of shape y that `index` names; a vector is computed whole."""
    return Box(index[1], index[1] + 1, index[2], index[2] + 1) if len(index) == 3 else whole(y)


def picked(values: Array, index: tuple[int, ...]) -> float:
    """The value at `index` of what was computed for it."""
    return float(values.reshape(len(values), -1)[0][index[0]] if len(index) == 1 else values[0, index[0], 0, 0])


def value(net, tensors, x: Array, path: str, index: tuple[int, ...]) -> float:
    """The value at `index` of the output of `path` for one image x, C×H×W."""
    way = Pass(tensors)
    steps = network.route(net, path)
    boxes = [at(index, steps[-1][1].out(steps[-1][2]))]
    for _, layer, before in reversed(steps):
        boxes.append(NEEDS(layer, before, boxes[-1]))
    boxes = boxes[::-1]
    values = cut(x[None], whole(net.input), boxes[0])
    for (name, layer, before), a, b in zip(steps, boxes, boxes[1:], strict=False):
        values = PART(layer, name, values, a, b, before, way)
    return picked(values, index)
