"""What each layer makes of one image: its feature maps, strongest first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..arch.net import Net
from ..engines import onnx
from ..evaluate import pictures
from ..evaluate.sheet import below, captioned, grid, margined, shown, words


@dataclass(frozen=True, eq=False)
class Features:
    """The output of one layer for one image.

    maps      C×H×W, or a vector of C values
    strength  of each channel: the mean magnitude of its map
    order     the channels, strongest first
    """

    path: str
    maps: NDArray
    strength: NDArray
    order: NDArray

    def as_dict(self, count: int = 8) -> dict:
        """The shape and the `count` strongest channels, as plain data."""
        best = [{"channel": int(c), "strength": float(self.strength[c])} for c in self.order[:count]]
        return {"path": self.path, "shape": list(self.maps.shape), "strongest": best}


def features(
    net: Net, tensors: Mapping[str, NDArray], x: NDArray, paths: Iterable[str] | None = None
) -> tuple[Features, ...]:
    """The maps of the layers at `paths`, or of every layer, for one image x, C×H×W after preprocessing."""
    found = onnx.maps(net, tensors, np.asarray(x, np.float32)[None], paths)
    return tuple(of_map(path, y[0]) for path, y in found.items())


def of_map(path: str, maps: NDArray) -> Features:
    strength = abs(maps.reshape(len(maps), -1)).mean(1)
    return Features(path, maps, strength, np.argsort(-strength, kind="stable"))


def picture(given: Sequence[Features], image: NDArray | None = None, count: int = 12, side: int = 64) -> NDArray:
    """The `count` strongest maps of each layer, a strip a layer, uint8 H×W×3; the image first where it is given.

    A layer's maps share one scale: dark is 0, light the largest; with negative values blue, grey (0) and orange.
    """
    parts = [] if image is None else [captioned(shown(image, 2 * side), "the image")]
    return margined(below([*parts, *(strip(item, count, side) for item in given)], 10))


def strip(item: Features, count: int, side: int) -> NDArray:
    size = "×".join(map(str, item.maps.shape))
    if item.maps.ndim == 1 or item.maps.shape[1:] == (1, 1):
        row = pictures.maps(item.maps.reshape(1, 1, -1)[:, :, :128])[0]
        bar = pictures.enlarge(row, max(1, min(16, 12 * side // row.shape[1])))
        return below([words(f"{item.path}   {size}"), np.repeat(bar, max(1, 16 // bar.shape[0]), axis=0)], 2)
    chosen = item.order[:count]
    cells = [
        captioned(shown(p, side), str(c), 10) for c, p in zip(chosen, pictures.maps(item.maps[chosen]), strict=True)
    ]
    some = f", {len(chosen)} strongest" if len(chosen) < len(item.maps) else ", strongest first"
    return below([words(f"{item.path}   {size}{some}"), grid(cells, count, 4)], 2)
