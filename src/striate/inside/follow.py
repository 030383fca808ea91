"""The way up from a value: of all values of the next layer that read it, the strongest. One function a layer."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..architecture import layers as L
from ..architecture.abilities import FOLLOW
from ..architecture.layers import Layer, Shape
from ..engines.plain import growing, windows
from ..engines.plain.pointwise import ACTIVATIONS
from .trace_place import Index, Scene, list_sources


class Reading(NamedTuple):
    """A value that a layer reads.

    path    the layer's; x the shape of its input, y its map for this image
    source  the path of the map that the value is in, and `spot` its index there
    """

    scene: Scene
    path: str
    x: Shape
    y: NDArray
    source: str
    spot: Index


def find_strongest_reader(scene: Scene, path: str, source: str, index: Index) -> Index | None:
    """The strongest unit of the layer at `path` that reads the value at `index` of the map at `source`.

    Under a window that moves, of the positions that see the value the middle one. None where none sees it.
    """
    step = scene.net.at(path)
    return FOLLOW(step.layer, Reading(scene, path, step.x, scene.maps[path], source, index))


@FOLLOW.of(*ACTIVATIONS, L.Softmax, L.BatchNorm, L.LayerNorm, L.GroupNorm, L.InstanceNorm,
           L.GlobalResponseNorm, L.LocalResponseNorm, L.LayerScale, L.PReLU, L.Dropout, L.StochasticDepth)  # fmt: skip
def follow_same_place(layer: Layer, given: Reading) -> Index:
    return given.spot


@FOLLOW.of(L.MaxPool, L.AvgPool, L.BlurPool)
def follow_pooling(layer: windows.WindowLayer, given: Reading) -> Index | None:
    spot = find_middle_position(layer, given)
    return None if spot is None else (given.spot[0], *spot)


@FOLLOW.of(L.Conv)
def follow_conv(layer: L.Conv, given: Reading) -> Index | None:
    """The strongest of the filters that see this channel."""
    spot = find_middle_position(layer, given)
    if spot is None:
        return None
    each, wide = layer.filters // layer.groups, given.x[0] // layer.groups
    first = given.spot[0] // wide * each
    return first + int(given.y[(slice(first, first + each), *spot)].argmax()), *spot


def find_middle_position(layer: windows.WindowLayer, given: Reading) -> tuple[int, int] | None:
    """The middle one of the window's positions that see the value."""
    rows, columns = (
        np.flatnonzero((taps == at).any(1))
        for taps, at in zip(windows.find_taps(layer, given.x), given.spot[1:], strict=True)
    )
    return (int(rows[len(rows) // 2]), int(columns[len(columns) // 2])) if len(rows) and len(columns) else None


@FOLLOW.of(L.ConvTranspose)
def follow_conv_transpose(layer: L.ConvTranspose, given: Reading) -> Index | None:
    """The strongest of the filters that this channel is written by, in the middle of where it writes."""
    spot = []
    for targets, at, size in zip(growing.find_targets(layer, given.x), given.spot[1:], given.y.shape[1:], strict=True):
        inside = [int(place) for place in targets[at] if 0 <= place < size]
        if not inside:
            return None
        spot.append(inside[len(inside) // 2])
    each = layer.filters // layer.groups
    first = given.spot[0] // (given.x[0] // layer.groups) * each
    row, column = spot
    return first + int(given.y[first : first + each, row, column].argmax()), row, column


@FOLLOW.of(L.ChannelConv)
def follow_channel_conv(layer: L.ChannelConv, given: Reading) -> Index:
    """The strongest of the channels whose window has this one."""
    first = max(0, given.spot[0] - layer.kernel // 2)
    near = given.y[first : given.spot[0] + layer.kernel // 2 + 1]
    return (first + int(np.array([one[given.spot[1:]] for one in near]).argmax()), *given.spot[1:])


@FOLLOW.of(L.Upsample)
def follow_upsample(layer: L.Upsample, given: Reading) -> Index | None:
    """The middle one of the places that take a share of it."""
    spot = []
    for axis, at in enumerate(given.spot[1:]):
        takers = [i for i, shares in enumerate(layer.find_shares(given.x, axis)) if at in dict(shares)]
        if not takers:
            return None
        spot.append(takers[len(takers) // 2])
    return (given.spot[0], *spot)


@FOLLOW.of(L.Dense)
def follow_dense(layer: L.Dense, given: Reading) -> Index:
    return (int(given.y.argmax()),)


@FOLLOW.of(L.Flatten)
def follow_flatten(layer: L.Flatten, given: Reading) -> Index:
    return (int(np.ravel_multi_index(given.spot, given.x)),)


@FOLLOW.of(L.GlobalAvgPool, L.GlobalMaxPool)
def follow_whole_map(layer: Layer, given: Reading) -> Index:
    return (given.spot[0], 0, 0)[: given.y.ndim]


@FOLLOW.of(L.PadChannels)
def follow_pad_channels(layer: L.PadChannels, given: Reading) -> Index:
    return (given.spot[0] + layer.before, *given.spot[1:])


@FOLLOW.of(L.SliceChannels)
def follow_slice_channels(layer: L.SliceChannels, given: Reading) -> Index | None:
    """Nowhere, where its channel is not among those that are taken."""
    inside = layer.start <= given.spot[0] < layer.start + layer.length
    return (given.spot[0] - layer.start, *given.spot[1:]) if inside else None


@FOLLOW.of(L.ChannelShuffle)
def follow_channel_shuffle(layer: L.ChannelShuffle, given: Reading) -> Index:
    return (layer.find_place(given.spot[0], given.x), *given.spot[1:])


@FOLLOW.of(L.Parallel)
def follow_parallel(layer: L.Parallel, given: Reading) -> Index | None:
    """Where a branch's value is in the joined map; a value that is stretched over the map at its strongest place."""
    index, y, first = given.spot, given.y, 0
    for other in list_sources(given.scene.net, given.path):
        shape = given.scene.maps[other].shape
        if other == given.source:
            if layer.join == "concat":
                return (first + index[0], *index[1:])
            if shape[1:] != y.shape[1:]:
                i, j = np.unravel_index(int(y[index[0]].argmax()), y.shape[1:])
                return index[0], int(i), int(j)
            return index
        first += shape[0]
    return None


FOLLOW.none_for(L.Sequence, why="its value is that of its last layer, which is gone up to in its place")
FOLLOW.none_for(L.SideHead, why="what it passes on is read by the layer after it")
