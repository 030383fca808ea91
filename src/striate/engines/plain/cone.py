"""One value without its map: only what it depends on is computed, a cone from the value down to its pixels."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce

from numpy.typing import NDArray

from ...architecture import layers as L
from ...architecture.abilities import NEEDS, PART
from ...architecture.layers import Layer, Shape
from . import network, windows
from .boxes import Box, cut_values, join_boxes, make_whole_box, need_same_place
from .one_pass import ForwardPass

WINDOW_LAYERS = (L.Conv, L.MaxPool, L.AvgPool, L.BlurPool)


# What a part of a layer's output depends on -----------------------------------------------------------


@NEEDS.of(*WINDOW_LAYERS)
def need_under_windows(layer: windows.WindowLayer, x: Shape, want: Box) -> Box:
    rows, columns = windows.find_taps(layer, x)
    return Box(*find_span(rows[want.top : want.bottom], x[1]), *find_span(columns[want.left : want.right], x[2]))


NEEDS.of(L.SideHead)(need_same_place)


@NEEDS.of(L.Sequence)
def need_through_all(layer: L.Sequence, x: Shape, want: Box) -> Box:
    return plan_boxes(layer, x, want)[0]


@NEEDS.of(L.Parallel)
def need_by_any_branch(layer: L.Parallel, x: Shape, want: Box) -> Box:
    y = layer.out(x)
    return reduce(
        join_boxes, (NEEDS(branch, x, find_branch_share(branch.out(x), y, want)) for branch in layer.branches)
    )


def find_span(places: NDArray, n: int) -> tuple[int, int]:
    """From the first place within the map to past the last; one pixel at least, where all lie in the padding."""
    low = min(max(int(places.min()), 0), n - 1)
    return low, max(min(int(places.max()) + 1, n), low + 1)


def find_branch_share(branch: Shape, y: Shape, want: Box) -> Box:
    """What a branch must give for `want` of the joined map: the same, or its one value where it is stretched."""
    return want if branch[1:] == y[1:] else make_whole_box(branch)


def plan_boxes(layer: L.Sequence, x: Shape, want: Box) -> list[Box]:
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
def pass_on_part(
    layer: L.SideHead, path: str, values: NDArray, have: Box, want: Box, x: Shape, way: ForwardPass
) -> NDArray:
    return cut_values(values, have, want)


@PART.of(*WINDOW_LAYERS)
def compute_window_part(
    layer: windows.WindowLayer, path: str, values: NDArray, have: Box, want: Box, x: Shape, way: ForwardPass
) -> NDArray:
    rows, columns = windows.find_taps(layer, x)
    rows, columns = rows[want.top : want.bottom], columns[want.left : want.right]
    seen = windows.read_windows(layer, values, rows - have.top, columns - have.left)
    tensors = {t.name: way.tensors[f"{path}.{t.name}"] for t in layer.tensors(x)}
    return windows.apply_window(layer, seen, rows, columns, x, tensors)


@PART.of(L.Sequence)
def compute_sequence_part(
    layer: L.Sequence, path: str, values: NDArray, have: Box, want: Box, x: Shape, way: ForwardPass
) -> NDArray:
    boxes = plan_boxes(layer, x, want)
    values = cut_values(values, have, boxes[0]) if len(x) == 3 else values
    for (name, child), a, b in zip(layer.named, boxes, boxes[1:], strict=False):
        values = PART(child, f"{path}.{name}" if path else name, values, a, b, x, way)
        x = child.out(x)
    return values


@PART.of(L.Parallel)
def compute_branches_part(
    layer: L.Parallel, path: str, values: NDArray, have: Box, want: Box, x: Shape, way: ForwardPass
) -> NDArray:
    y = layer.out(x)
    outputs = [
        PART(branch, f"{path}.{name}", values, have, find_branch_share(branch.out(x), y, want), x, way)
        for name, branch in layer.named
    ]
    return network.forward_join(layer, outputs)


# One value ------------------------------------------------------------------------------------------


def compute_layer_value(layer: Layer, x: NDArray, tensors: Mapping[str, NDArray], index: tuple[int, ...]) -> float:
    """The value at `index` of one layer's output, from its whole input x, C×H×W or a vector, and its own tensors."""
    way = ForwardPass({f"layer.{name}": tensor for name, tensor in tensors.items()})
    want = make_one_place(index, layer.out(x.shape))
    return pick_value(PART(layer, "layer", x[None], make_whole_box(x.shape), want, x.shape, way), index)


def make_one_place(index: tuple[int, ...], y: Shape) -> Box:
    """The one place of a map of shape y that `index` names; a vector is computed whole."""
    return Box(index[1], index[1] + 1, index[2], index[2] + 1) if len(index) == 3 else make_whole_box(y)


def pick_value(values: NDArray, index: tuple[int, ...]) -> float:
    """The value at `index` of what was computed for it."""
    return float(values.reshape(len(values), -1)[0][index[0]] if len(index) == 1 else values[0, index[0], 0, 0])


def compute_cone_value(net, tensors, x: NDArray, path: str, index: tuple[int, ...]) -> float:
    """The value at `index` of the output of `path` for one image x, C×H×W."""
    way = ForwardPass(tensors)
    steps = network.find_route(net, path)
    boxes = [make_one_place(index, steps[-1][1].out(steps[-1][2]))]
    for _, layer, before in reversed(steps):
        boxes.append(NEEDS(layer, before, boxes[-1]))
    boxes = boxes[::-1]
    values = cut_values(x[None], make_whole_box(net.input), boxes[0])
    for (name, layer, before), a, b in zip(steps, boxes, boxes[1:], strict=False):
        values = PART(layer, name, values, a, b, before, way)
    return pick_value(values, index)
