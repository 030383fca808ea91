"""A net in fewer layers that computes the same in evaluation: norms read into convolutions, added ones made one.

RepVGG (Ding et al. 2021) and MobileOne (Vasu et al. 2022) are trained as several convolutions side by side and run as
one: a convolution is linear, and so is a norm that goes by its running statistics.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..architecture import layers as L
from ..architecture.layers import Layer, Shape
from ..architecture.net import Net
from ..architecture.window import make_pair

Tensors = dict[str, NDArray]


@dataclass(frozen=True, eq=False)
class LinearMap:
    """What a branch computes, as one convolution: weight filters×(C/groups)×kh×kw in float64, bias, and its window.

    before  rows above and columns left of the map that the first window reaches
    conv    the record that it came from; None for what goes channel by channel, which any groups can hold
    """

    weight: NDArray
    bias: NDArray
    before: tuple[int, int]
    conv: L.Conv | None


def fuse_net(net: Net, tensors: Mapping[str, NDArray]) -> tuple[Net, Tensors]:
    """The net with each BatchNorm behind a Conv or Dense read into it, and added convolutions as one; its tensors.

    It computes what `net` does in evaluation, to float32's rounding; every layer has the name that it has in `net`, a
    joined one that of the branches. What is left of training is lost: it is for use, not for going on.
    """
    found: Tensors = {}
    layers = fuse_chain(net.body, "", net.input, tensors, found)
    made = Net(net.input, layers, name=net.name)
    return made, {name: np.ascontiguousarray(found[name], np.float32) for name in made.tensors}


def fuse_chain(chain: L.Sequence, path: str, x: Shape, tensors: Mapping[str, NDArray], found: Tensors) -> list[Layer]:
    """The layers of a chain, fused; their tensors go into `found`."""
    made: list[Layer] = []
    for name, layer in chain.named:
        own = f"{path}{name}"
        last = made[-1] if made else None
        if isinstance(layer, L.BatchNorm) and isinstance(last, L.Conv | L.Dense):
            made[-1] = fuse_norm(last, f"{path}{last.name}", layer, own, tensors, found)
        else:
            made.append(fuse_layer(layer, name, own, x, tensors, found))
        x = layer.out(x)
    return made


def fuse_layer(layer: Layer, name: str, path: str, x: Shape, tensors: Mapping[str, NDArray], found: Tensors) -> Layer:
    if isinstance(layer, L.Sequence):
        return L.Sequence(*fuse_chain(layer, f"{path}.", x, tensors, found), name=name)
    if isinstance(layer, L.Parallel):
        joined = join_branches(layer, path, x, tensors)
        if joined is not None:
            conv, weight, bias = joined
            found |= {f"{path}.weight": weight, f"{path}.bias": bias}
            return replace(conv, name=name)
        branches = [fuse_layer(one, own, f"{path}.{own}", x, tensors, found) for own, one in layer.named]
        return L.Parallel(*branches, join=layer.join, name=name)
    found |= {key: value for key, value in tensors.items() if key.startswith(f"{path}.")}
    if not isinstance(layer, L.SideHead):
        return replace(layer, name=name)
    return L.SideHead(*layer.layers, weight=layer.weight, name=name)


def read_norm(layer: L.BatchNorm, path: str, tensors: Mapping[str, NDArray]) -> tuple[NDArray, NDArray]:
    """A norm by its running statistics is x·factor + shift: both, one a channel, in float64."""
    mean, variance = (tensors[f"{path}.running_{part}"].astype(np.float64) for part in ("mean", "var"))
    factor = 1 / np.sqrt(variance + layer.eps)
    if not layer.affine:
        return factor, -mean * factor
    factor = factor * tensors[f"{path}.weight"]
    return factor, tensors[f"{path}.bias"] - mean * factor


def fuse_norm(
    before: L.Conv | L.Dense, own: str, norm: L.BatchNorm, path: str, tensors: Mapping[str, NDArray], found: Tensors
) -> Layer:
    """The layer with the norm after it in its weights, which lie in `found`."""
    factor, shift = read_norm(norm, path, tensors)
    weight = found[f"{own}.weight"].astype(np.float64)
    found[f"{own}.weight"] = weight * factor.reshape(-1, *(1,) * (weight.ndim - 1))
    found[f"{own}.bias"] = found.get(f"{own}.bias", np.zeros(len(factor))) * factor + shift
    return replace(before, bias=True)


def join_branches(
    layer: L.Parallel, path: str, x: Shape, tensors: Mapping[str, NDArray]
) -> tuple[L.Conv, NDArray, NDArray] | None:
    """The branches as one convolution, its weight and bias; None where they are not."""
    found = read_linear(layer, path, x, tensors) if len(x) == 3 else None
    if found is None or found.conv is None:
        return None
    y, (high, wide) = layer.out(x), found.weight.shape[2:]
    conv = L.Conv(y[0], (high, wide), found.conv.stride, groups=found.conv.groups)
    conv = place_window(conv, found.before, x, y)
    return (conv, found.weight, found.bias) if conv.out(x) == y else None


def add_linear(layer: L.Parallel, path: str, x: Shape, tensors: Mapping[str, NDArray]) -> LinearMap | None:
    """The sum of branches; None where one is not linear, or they differ in stride, groups or size."""
    maps = [read_linear(one, f"{path}.{name}", x, tensors) for name, one in layer.named]
    linear = [one for one in maps if one is not None]
    convs = [one.conv for one in linear if one.conv is not None]
    if layer.join != "add" or len(linear) < len(maps) or len({(c.groups, make_pair(c.stride)) for c in convs}) > 1:
        return None
    if convs and len(convs) < len(maps) and convs[0].stride != 1:
        return None
    before = max(one.before[0] for one in linear), max(one.before[1] for one in linear)
    places = [(before[0] - one.before[0], before[1] - one.before[1]) for one in linear]
    ends = [(at[0] + one.weight.shape[2], at[1] + one.weight.shape[3]) for at, one in zip(places, linear, strict=True)]
    groups = convs[0].groups if convs else x[0]
    channels = layer.out(x)[0]
    weight, bias = np.zeros((channels, x[0] // groups, *map(max, zip(*ends, strict=True)))), np.zeros(channels)
    for (top, left), one in zip(places, linear, strict=True):
        own = one.weight if one.conv else spread_channels(one.weight, groups)
        weight[:, :, top : top + own.shape[2], left : left + own.shape[3]] += own
        bias += one.bias
    return LinearMap(weight, bias, before, convs[0] if convs else None)


def place_window(conv: L.Conv, before: tuple[int, int], x: Shape, y: Shape) -> L.Conv:
    """The convolution with so much padding before the map, and as much behind it as its last window for `y` takes."""
    steps, reaches = make_pair(conv.stride), make_pair(conv.kernel)
    down, right = (max(0, (y[1 + k] - 1) * steps[k] + reaches[k] - x[1 + k] - before[k]) for k in (0, 1))
    return replace(conv, padding=(before[0], down, before[1], right))


def read_linear(layer: Layer, path: str, x: Shape, tensors: Mapping[str, NDArray]) -> LinearMap | None:
    """A branch as one convolution: itself, what it passes on, or a norm, and norms after these; else None."""
    if isinstance(layer, L.Conv) and layer.dilation == 1:
        rows, columns = L.slide_window(layer, x)
        weight = tensors[f"{path}.weight"].astype(np.float64)
        bias = tensors[f"{path}.bias"].astype(np.float64) if layer.bias else np.zeros(layer.filters)
        return LinearMap(weight, bias, (rows.before, columns.before), layer)
    if isinstance(layer, L.BatchNorm):
        return follow_with_norm(pass_on(x[0]), layer, path, tensors)
    if isinstance(layer, L.Identity | L.Dropout | L.StochasticDepth):
        return pass_on(x[0])
    if isinstance(layer, L.Parallel):
        return add_linear(layer, path, x, tensors)
    return chain_linear(layer, path, x, tensors) if isinstance(layer, L.Sequence) else None


def chain_linear(layer: L.Sequence, path: str, x: Shape, tensors: Mapping[str, NDArray]) -> LinearMap | None:
    """One layer that is linear, and norms after it; None for anything before that but what passes on."""
    found, untouched = pass_on(x[0]), True
    for name, inner in layer.named:
        own = f"{path}.{name}"
        if isinstance(inner, L.BatchNorm):
            found = follow_with_norm(found, inner, own, tensors)
        elif not isinstance(inner, L.Identity | L.Dropout | L.StochasticDepth):
            read = read_linear(inner, own, x, tensors) if untouched else None
            if read is None:
                return None
            found = read
        else:
            continue
        untouched, x = False, inner.out(x)
    return found


def pass_on(channels: int) -> LinearMap:
    """What changes nothing: a weight of 1 a channel."""
    return LinearMap(np.ones((channels, 1, 1, 1)), np.zeros(channels), (0, 0), None)


def follow_with_norm(before: LinearMap, norm: L.BatchNorm, path: str, tensors: Mapping[str, NDArray]) -> LinearMap:
    factor, shift = read_norm(norm, path, tensors)
    return replace(before, weight=before.weight * factor.reshape(-1, 1, 1, 1), bias=before.bias * factor + shift)


def spread_channels(each: NDArray, groups: int) -> NDArray:
    """A weight of one channel by itself, as one of a convolution with groups: C×(C/groups)×1×1."""
    channels = len(each)
    made = np.zeros((channels, channels // groups, 1, 1))
    made[np.arange(channels), np.arange(channels) % (channels // groups)] = each[:, 0]
    return made
