"""Parts -> named layers and their tensors: the module's own names, its blocks as sequences."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

import numpy as np

from ..architecture import layers as L
from ..architecture.layers import Layer, Shape
from ..architecture.net import Net
from ..architecture.window import make_pair
from ..errors import ShapeError
from .structure import Part


def assemble_net(parts: Sequence[Part], input: tuple[int, ...], name: str) -> tuple[Net, dict[str, np.ndarray]]:
    """The Net of these parts, and its tensors by their full names."""
    chain = end_in_vector(list(parts), input)
    net = Net(input, name_parts(chain, 0), name=name)
    tensors = list(walk_tensors(chain))
    paths = [step.path for step in net.steps if step.layer.tensors(step.x)]
    found: dict[str, np.ndarray] = {}
    for path, own in zip(paths, tensors, strict=True):
        found |= {f"{path}.{key}": np.ascontiguousarray(value, np.float32) for key, value in own.items()}
    return net, {key: found[key] for key in net.tensors}


def walk_tensors(parts: Sequence[Part]) -> Any:
    """The tensors of each layer that has some, in the order of the net's steps."""
    for part in parts:
        if part.layer is None:
            for branch in part.branches:
                yield from walk_tensors(branch)
        elif part.tensors:
            yield part.tensors


def end_in_vector(parts: list[Part], input: tuple[int, ...]) -> list[Part]:
    """The classifier behind the last pooling as dense layers, where it is convolutions of maps of one place."""
    shapes = [input]
    for part in parts:
        shapes.append(name_parts([part], 0)[0].out(shapes[-1]))
    begin = len(parts)
    while begin and shapes[begin - 1][1:] == (1, 1) and takes_vector(parts[begin - 1].layer, shapes[begin - 1]):
        begin -= 1
    if shapes[-1][1:] != (1, 1):
        return parts
    last = parts[begin - 1].layer if begin else None
    head, tail = parts[:begin], [make_dense(part) for part in parts[begin:]]
    if isinstance(last, L.GlobalAvgPool | L.GlobalMaxPool):
        return [*head[:-1], replace(head[-1], layer=replace(last, keepdims=False)), *tail]
    return [*head, Part(L.Flatten()), *tail]


def takes_vector(layer: Layer | None, x: Shape) -> bool:
    """Whether a layer of maps of one place is the same one of vectors, or as a Dense layer."""
    if isinstance(layer, L.Conv):
        return make_pair(layer.kernel) == (1, 1) and layer.groups == 1 and layer.out(x) == (layer.filters, 1, 1)
    try:
        return layer is not None and len(layer.out(x[:1])) == 1
    except ShapeError:
        return False


def make_dense(part: Part) -> Part:
    """A convolution of one place as a Dense layer; another layer as it is."""
    if not isinstance(part.layer, L.Conv):
        return part
    weight = part.tensors["weight"]
    tensors = dict(part.tensors) | {"weight": weight[:, :, 0, 0]}
    return replace(part, layer=L.Dense(part.layer.filters, part.layer.bias), tensors=tensors)


def name_parts(parts: Sequence[Part], depth: int) -> list[Layer]:
    """The layers of parts one after another; those of one module as a sequence of its name."""
    made: list[Layer] = []
    used: set[str] = set()
    first = find_name(parts[0], depth) if parts else None
    if first and all(find_name(part, depth + 1) and find_name(part, depth) == first for part in parts):
        return name_parts(parts, depth + 1)
    for name, some in groupby(parts, key=lambda part: find_name(part, depth)):
        run = list(some)
        if name and len(run) > 1 and name not in used:
            used.add(name)
            made.append(L.Sequence(*name_parts(run, depth + 1), name=name))
            continue
        for part in run:
            layer = build_layer(part, depth)
            own = find_name(part, len(part.path) - 1) if part.tensors else None
            if own and own not in used and not own.isdecimal():
                used.add(own)
                layer = replace(layer, name=own)
            made.append(layer)
    return made


def build_layer(part: Part, depth: int) -> Layer:
    if part.layer is not None:
        return part.layer
    branches = [name_parts(branch, min(depth + 1, len(part.path))) for branch in part.branches]
    made = [branch[0] if len(branch) == 1 else branch or L.Identity() for branch in branches]
    return L.Parallel(*made, join=part.join)


def find_name(part: Part, depth: int) -> str | None:
    """The module's name at a depth, as a layer may have it."""
    if not 0 <= depth < len(part.path):
        return None
    return re.sub(r"\W", "_", part.path[depth])
