"""One pass through a net: what the layers share on the way forward and on the way back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from numpy.typing import NDArray

from ...architecture.layers import Layer


@dataclass(frozen=True)
class ForwardPass:
    """One pass through a net.

    tensors  all tensors by their full names, float64
    train    whether BatchNorm normalises by the batch, dropout drops and side heads are computed
    masks    for each dropping layer, by its path, what it keeps: 1 or 0, shaped like its input or like N×1×1×1
    inputs   filled on the way forward: each layer's input by its path
    maps     likewise each layer's output
    sides    in training each side head's logits, on the way back their gradient
    slopes   filled on the way back: the gradient of the loss by each layer's output
    """

    tensors: Mapping[str, NDArray]
    train: bool = False
    masks: Mapping[str, NDArray] = field(default_factory=dict)
    inputs: dict[str, NDArray] = field(default_factory=dict)
    maps: dict[str, NDArray] = field(default_factory=dict)
    sides: dict[str, NDArray] = field(default_factory=dict)
    slopes: dict[str, NDArray] = field(default_factory=dict)

    def of(self, path: str, layer: Layer, x: NDArray) -> dict[str, NDArray]:
        """The layer's own tensors by their short names."""
        return {t.name: self.tensors[f"{path}.{t.name}"] for t in layer.tensors(x.shape[1:])}


class PassPlace(NamedTuple):
    """A layer's place in a pass: its path, "" for the whole net."""

    path: str
    way: ForwardPass

    def tensors(self, layer: Layer, x: NDArray) -> dict[str, NDArray]:
        """The layer's own tensors by their short names, for an input x, N×…."""
        return self.way.of(self.path, layer, x)

    def inside(self, name: str) -> str:
        """The path of a layer in this container."""
        return f"{self.path}.{name}" if self.path else name
