"""Arrays as text for the page: levels, values and filters, packed."""

from __future__ import annotations

import zlib
from base64 import b64encode
from collections.abc import Iterable
from typing import Any

import numpy as np

from ..report import pictures

# The filters of a convolution with more weights than this are not drawn.
MOST_FILTER_WEIGHTS = 40_000


def describe_filters(weights: np.ndarray) -> dict[str, Any]:
    """The filters F×C×h×w as one picture."""
    drawn = pictures.paint_filters(weights)
    across = min(len(drawn), 16) if weights.shape[1] in (1, 3) else len(drawn)
    sheet = pictures.tile_pictures(drawn, across, gap=2, ground=128)
    return {
        "src": pictures.encode_data_uri(sheet),
        "shape": list(weights.shape),
        "size": [sheet.shape[1], sheet.shape[0]],
    }


def convert_to_bytes(values: np.ndarray) -> np.ndarray:
    """A layer's maps on 0…255, all on one scale as in `pictures.maps`."""
    return (pictures.scale_to_unit(values) * 255).round().astype(np.uint8)


def list_palette(name: str) -> list[list[int]]:
    """The colour of each of the 256 levels."""
    anchors = {"rising": pictures.RISING_COLOURS, "signed": pictures.SIGNED_COLOURS}[name]
    return pictures.colour_shares(np.arange(256) / 255, anchors).tolist()


def join_arrays(arrays: Iterable[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.asarray(array, "<f4").ravel() for array in arrays])


def pack_array(array: np.ndarray) -> str:
    """An array's bytes, packed by zlib, as base64: first all first bytes, then all second ones, and so on."""
    plain = np.ascontiguousarray(array)
    planes = plain.view(np.uint8).reshape(-1, plain.itemsize).T
    return b64encode(zlib.compress(np.ascontiguousarray(planes).tobytes(), 6)).decode("ascii")
