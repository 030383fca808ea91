"""One image inside a trained network as plain data: all that the page needs to draw it."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..architecture.abilities import DRAW
from ..data.read.bands import show_bands
from ..inside.features import make_features
from ..inside.trace_place import IMAGE_PATH, list_sources
from ..report import pictures
from ..summaries.summary import summarise_net
from .look import Look
from .packing import convert_to_bytes, join_arrays, list_palette, pack_array

# So many values of maps go to the page as float32 as well; with more only their pictures do.
MOST_VALUES = 600_000


def describe_look(given: Look, *, values: bool | None = None) -> dict[str, Any]:
    """All that the page needs to draw it: the layers with their rows of the summary, and every map as a picture.

    values  whether the maps' float32 values come too; None: where they are few enough
    """
    rows = {row.path: row.as_dict() | {"size_rule": row.size_rule} for row in summarise_net(given.net).rows}
    layers = [describe_layer(given, path, rows.get(path)) for path in given.scene.maps]
    count = sum(y.size for y in given.scene.maps.values())
    values = count <= MOST_VALUES if values is None else values
    mean = given.model.preprocess.mean
    return {
        "name": given.name,
        "net": given.model.net.name,
        "picture": pictures.encode_data_uri(show_bands(given.picture)),
        "classes": list(given.model.classes),
        "probabilities": given.probabilities,
        "top": given.top,
        "start": given.start,
        "layers": layers,
        "ink": "light" if sum(mean) / len(mean) < 0.5 else "dark",
        "palettes": {name: list_palette(name) for name in ("rising", "signed")},
        "pictures": pack_array(np.concatenate([convert_to_bytes(y).ravel() for y in given.scene.maps.values()])),
        "values": pack_array(join_arrays(given.scene.maps.values())) if values else None,
    }


def describe_layer(given: Look, path: str, row: dict[str, Any] | None) -> dict[str, Any]:
    y = given.scene.maps[path]
    made: dict[str, Any] = {
        "path": path,
        "shape": list(y.shape),
        "signed": bool((y < 0).any()),
        "limit": float(np.abs(y).max(initial=0)),
        "order": make_features(path, y).order.tolist(),
        "sources": [] if path == IMAGE_PATH else list_sources(given.net, path),
    }
    if row is None:
        return made | {"kind": "image", "colour": "input", "layer": "", "rule": "", "params": "", "field": [1, 1],
                       "stride": [1, 1], "start": [0, 0], "filters": None}  # fmt: skip
    colour = DRAW(given.net.at(path).layer).kind
    return made | {
        "kind": row["kind"],
        "colour": "join" if colour == "none" else colour,
        "layer": row["layer"],
        "rule": row["size_rule"],
        "params": row["params_rule"],
        "field": row["field"],
        "stride": row["stride"],
        "start": row["start"],
        "filters": given.lens.sheets.get(path),
    }
