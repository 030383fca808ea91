"""What each layer makes of one image: its feature maps, strongest first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..architecture.net import Net
from ..engines import onnx
from ..report import pictures
from ..report.sheet import add_caption, add_margin, arrange_grid, draw_text, place_below, scale_for_sheet


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


def compute_features(
    net: Net, tensors: Mapping[str, NDArray], x: NDArray, paths: Iterable[str] | None = None
) -> tuple[Features, ...]:
    """The maps of the layers at `paths`, or of every layer, for one image x, C×H×W after preprocessing."""
    found = onnx.run_maps(net, tensors, np.asarray(x, np.float32)[None], paths)
    return tuple(make_features(path, y[0]) for path, y in found.items())


def make_features(path: str, maps: NDArray) -> Features:
    strength = abs(maps.reshape(len(maps), -1)).mean(1)
    return Features(path, maps, strength, np.argsort(-strength, kind="stable"))


def draw_features(given: Sequence[Features], image: NDArray | None = None, count: int = 12, side: int = 64) -> NDArray:
    """The `count` strongest maps of each layer, a strip a layer, uint8 H×W×3; the image first where it is given.

    A layer's maps share one scale: dark is 0, light the largest; with negative values blue, grey (0) and orange.
    """
    parts = [] if image is None else [add_caption(scale_for_sheet(image, 2 * side), "the image")]
    return add_margin(place_below([*parts, *(draw_feature_strip(item, count, side) for item in given)], 10))


def draw_feature_strip(item: Features, count: int, side: int) -> NDArray:
    size = "×".join(map(str, item.maps.shape))
    if item.maps.ndim == 1 or item.maps.shape[1:] == (1, 1):
        row = pictures.paint_maps(item.maps.reshape(1, 1, -1)[:, :, :128])[0]
        bar = pictures.enlarge_picture(row, max(1, min(16, 12 * side // row.shape[1])))
        return place_below([draw_text(f"{item.path}   {size}"), np.repeat(bar, max(1, 16 // bar.shape[0]), axis=0)], 2)
    chosen = item.order[:count]
    cells = [
        add_caption(scale_for_sheet(p, side), str(c), 10)
        for c, p in zip(chosen, pictures.paint_maps(item.maps[chosen]), strict=True)
    ]
    some = f", {len(chosen)} strongest" if len(chosen) < len(item.maps) else ", strongest first"
    return place_below([draw_text(f"{item.path}   {size}{some}"), arrange_grid(cells, count, 4)], 2)
