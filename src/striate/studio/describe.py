"""One image inside a trained network as plain data: all that the page needs to draw it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..architecture.abilities import DRAW
from ..data.read.bands import show_bands
from ..inside.features import make_features
from ..inside.trace_place import IMAGE_PATH, list_sources
from ..model.model import Model
from ..report import pictures
from ..summaries.summary import summarise_net
from .look import Lens, Look
from .packing import convert_to_bytes, join_arrays, list_palette, pack_array

# So many values of maps go to the page as float32 as well; with more only their pictures do.
MOST_VALUES = 600_000


def describe_look(given: Look, *, packed: bool = True) -> dict[str, Any]:
    """All that the page needs to draw it: the layers with their rows of the summary, and every map as a picture.

    packed  whether the maps come too, as text; else the page asks for those that it shows, see `Looks.maps`
    "few"   says whether the maps' values are few enough to be sent, and not their pictures alone
    """
    layers = [layer | describe_maps(given, layer["path"]) for layer in describe_layers(given.lens, given.lens.sheets)]
    few = sum(y.size for y in given.scene.maps.values()) <= MOST_VALUES
    maps = given.scene.maps.values()
    return {
        "name": given.name,
        "net": given.model.net.name,
        "picture": pictures.encode_data_uri(show_bands(given.picture)),
        "classes": list(given.model.classes),
        "probabilities": given.probabilities,
        "top": given.top,
        "start": given.start,
        "layers": layers,
        "ink": choose_ink(given.model),
        "palettes": list_palettes(),
        "few": few,
        "pictures": pack_array(np.concatenate([convert_to_bytes(y).ravel() for y in maps])) if packed else None,
        "values": pack_array(join_arrays(maps)) if packed and few else None,
    }


def choose_ink(model: Model) -> str:
    """What to draw with: "light" on a dark ground, or "dark" on a light one, as the images it was trained on."""
    mean = model.preprocess.mean
    return "light" if sum(mean) / len(mean) < 0.5 else "dark"


def list_palettes() -> dict[str, list[list[int]]]:
    return {name: list_palette(name) for name in ("rising", "signed")}


def describe_maps(given: Look, path: str) -> dict[str, Any]:
    """How a layer's maps are drawn for this image."""
    y = given.scene.maps[path]
    return {
        "signed": bool((y < 0).any()),
        "limit": float(np.abs(y).max(initial=0)),
        "order": make_features(path, y).order.tolist(),
    }


def describe_layers(lens: Lens, sheets: Mapping[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """What is known of each layer before an image comes, the image's own place first.

    sheets  what is known of the filters that are shown as pictures, by their layer's path
    """
    net = lens.probable[0]
    rows = {row.path: row.as_dict() | {"size_rule": row.size_rule} for row in summarise_net(net).rows}
    image = {"path": IMAGE_PATH, "shape": list(net.input), "sources": [], "kind": "image", "colour": "input",
             "layer": "", "rule": "", "params": "", "field": [1, 1], "stride": [1, 1], "start": [0, 0],
             "filters": None}  # fmt: skip
    return [image, *(describe_layer(lens, path, rows[path]) | {"filters": sheets.get(path)} for path in lens.paths)]


def describe_layer(lens: Lens, path: str, row: dict[str, Any]) -> dict[str, Any]:
    net = lens.probable[0]
    step = net.at(path)
    colour = DRAW(step.layer).kind
    return {
        "path": path,
        "shape": list(step.y),
        "sources": list_sources(net, path),
        "kind": row["kind"],
        "colour": "join" if colour == "none" else colour,
        "layer": row["layer"],
        "rule": row["size_rule"],
        "params": row["params_rule"],
        "field": row["field"],
        "stride": row["stride"],
        "start": row["start"],
    }
