"""Where a traced value stands: the maps and tensors around it, and which map its layer reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..architecture import layers as L
from ..architecture.net import Net
from .trace_record import Term, format_address

Index = tuple[int, ...]
# The address of the net's input.
IMAGE_PATH = "image"


class Scene(NamedTuple):
    """What a value is explained from: the maps of one image by path, C×H×W or a vector, `image` among them."""

    net: Net
    tensors: Mapping[str, NDArray]
    maps: Mapping[str, NDArray]


@dataclass(frozen=True)
class ValuePlace:
    """One value of one layer: the layer's path and input, the address of that input, and the index."""

    scene: Scene
    path: str
    source: str
    x: NDArray
    index: Index

    def tensor_row(self, name: str, unit: int) -> NDArray:
        """What the layer's tensor holds for one output, in float64: of a large layer the whole would be gigabytes."""
        return np.asarray(self.scene.tensors[f"{self.path}.{name}"][unit], np.float64)

    def weight_at(self, name: str, *index: int) -> str:
        return format_address(f"{self.path}.{name}", index)

    def input(self, *index: int) -> Term:
        """The operand at `index` of the layer's input, as it is."""
        x = float(self.x[index])
        return Term(x, x, format_address(self.source, index))


def resolve_path(net: Net, path: str) -> str:
    """The path whose map this one's is: a Sequence's is that of its last layer, a side head's that of its input."""
    layer = net.at(path).layer
    if isinstance(layer, L.Sequence) and layer.layers:
        return resolve_path(net, f"{path}.{layer.named[-1][0]}")
    return find_feed(net, path) if isinstance(layer, L.Sequence | L.SideHead) else path


def find_feed(net: Net, path: str) -> str:
    """The path of the map that the layer at `path` reads, or IMAGE."""
    parent, _, name = path.rpartition(".")
    holder = net.at(parent).layer if parent else net.body
    names = [other for other, _ in holder.named]  # type: ignore[attr-defined]
    place = 0 if isinstance(holder, L.Parallel) else names.index(name)
    if place:
        return resolve_path(net, f"{parent}.{names[place - 1]}" if parent else names[place - 1])
    return find_feed(net, parent) if parent else IMAGE_PATH


def list_sources(net: Net, path: str) -> list[str]:
    """The paths of all maps that the value of `path` is made of: one, or for joined branches one each."""
    layer = net.at(path).layer
    if isinstance(layer, L.Parallel):
        return [resolve_path(net, f"{path}.{name}") for name, _ in layer.named]
    return [find_feed(net, path)]
