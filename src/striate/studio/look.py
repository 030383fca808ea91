"""One image inside a trained network: every map, the class probabilities, and the trace of any value, as plain data."""

from __future__ import annotations

import zlib
from base64 import b64encode
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..arch import layers as L
from ..arch.abilities import DRAW
from ..arch.net import Net
from ..arch.summary import summarise
from ..engines import onnx
from ..evaluate import pictures
from ..inside import lesion
from ..inside.features import of_map
from ..inside.follow import read_by
from ..inside.trace import (
    PROBABILITY,
    Trace,
    explained,
    parse_address,
    pixel,
    place,
    settled,
    with_probability,
)
from ..inside.trace_layers import IMAGE, Scene, sources
from ..inside.trace_record import address
from ..ship.model import Model

MOST_VALUES = 600_000
"""So many values of maps go to the page as float32 as well; with more only their pictures do."""

MOST_FILTER_WEIGHTS = 40_000
"""The filters of a convolution with more weights than this are not drawn."""


@dataclass(frozen=True, eq=False)
class Lens:
    """A trained network made ready for many images: every layer's map is an output of its session."""

    model: Model
    cut: dict[str, tuple[Any, ...]] = field(default_factory=dict)

    @cached_property
    def probable(self) -> tuple[Net, str]:
        """The net with a softmax last, and the path of that."""
        return with_probability(self.model.net, PROBABILITY)

    @cached_property
    def paths(self) -> list[str]:
        """The layers whose maps are looked at; a Sequence's is that of its last layer."""
        steps = self.probable[0].steps
        return [s.path for s in steps if not s.side and not isinstance(s.layer, L.Sequence | L.SideHead)]

    @cached_property
    def session(self) -> Any:
        net, _ = self.probable
        return onnx.session(onnx.graph(net, self.model.tensors, outputs=self.paths))

    @cached_property
    def tensors(self) -> dict[str, np.ndarray]:
        return {name: np.asarray(tensor, np.float64) for name, tensor in self.model.tensors.items()}

    @cached_property
    def readers(self) -> dict[str, list[str]]:
        """Which layers read the map at a path."""
        found: dict[str, list[str]] = {path: [] for path in [IMAGE, *self.paths]}
        for path in self.paths:
            for source in sources(self.probable[0], path):
                found[source].append(path)
        return found

    @cached_property
    def sheets(self) -> dict[str, dict[str, Any]]:
        """The filters of each convolution that has not too many weights, as one picture: a column a filter."""
        made = {}
        for path in self.paths:
            if isinstance(self.probable[0].at(path).layer, L.Conv):
                weights = self.tensors[f"{path}.weight"]
                if weights.size <= MOST_FILTER_WEIGHTS and weights.shape[2:] != (1, 1):
                    made[path] = filter_sheet(weights)
        return made

    def halves(self, path: str) -> tuple[Any, ...]:
        """The sessions of the net up to the map at `path`, and from a changed map on, made once."""
        if path not in self.cut:
            self.cut[path] = lesion.halves(self.probable[0], self.model.tensors, path)
        return self.cut[path]

    def look(self, image: Any, name: str = "") -> Look:
        """Send one image, as `Model.prepared` takes it, through the net. Raises DataError for what is no image."""
        picture = self.model.prepared(image)
        name = name or (Path(image).name if isinstance(image, str | Path) else "image")
        net, _ = self.probable
        x = self.model.standardised(picture[None])
        _, *found = self.session.run(None, {IMAGE: x})
        maps = {IMAGE: x[0]} | {path: np.asarray(y[0]) for path, y in zip(self.paths, found, strict=True)}
        return Look(self, picture, Scene(net, self.tensors, maps), name)


@dataclass(frozen=True, eq=False)
class Look:
    """An image's way through the network of `lens`.

    picture  uint8 h×w×C at the net's size
    scene    net, tensors (float64) and the map of every layer, that of the image at "image"
    name     of the image, to show
    """

    lens: Lens
    picture: np.ndarray
    scene: Scene
    name: str

    @property
    def model(self) -> Model:
        return self.lens.model

    @property
    def net(self) -> Net:
        """The model's, with a softmax last."""
        return self.scene.net

    @property
    def top(self) -> str:
        """The path of that softmax."""
        return self.lens.probable[1]

    @property
    def probabilities(self) -> list[float]:
        return [float(p) for p in self.scene.maps[self.top]]

    def trace(self, at: str) -> Trace:
        """The trace of the value at an address. Raises TraceError for one that is nowhere."""
        path, index = parse_address(at)
        path = self.top if path == PROBABILITY else path
        place(self.net, path, index)
        if path == IMAGE:
            return pixel(self.scene, index, (self.model.preprocess.mean, self.model.preprocess.std))
        return explained(self.scene, settled(self.net, path), index, "onnx")

    def chain(self, at: str) -> list[Trace]:
        """The trace of a value, of the operand that weighs most in it, and so on down to a pixel."""
        made = [self.trace(at)]
        while made[-1].lead:
            made.append(self.trace(made[-1].lead))
        return made

    @cached_property
    def start(self) -> str:
        """A value to begin with: on the way down from the most probable class, the first convolution's."""
        best = address(self.top, (int(self.scene.maps[self.top].argmax()),))
        found = [t.address for t in self.chain(best) if isinstance(self.layer(t.address), L.Conv)]
        return found[-1] if found else best

    def layer(self, at: str) -> L.Layer | None:
        """The layer that a value is of; None for the image."""
        path, _ = parse_address(at)
        return None if path == IMAGE else self.net.at(path).layer

    def reader(self, at: str) -> str | None:
        """The way up: of all units of the next layer that read this one, the strongest; None at a probability.

        Under a window that moves, of the positions that see this one the middle one.
        """
        path, index = parse_address(at)
        for other in self.lens.readers[path]:
            spot = read_by(self.scene, other, path, index)
            if spot is not None:
                return address(other, spot)
        return None

    def found(self, at: str) -> dict[str, Any]:
        """The trace and the way up, as JSON data."""
        return self.trace(at).as_dict() | {"up": self.reader(at)}


def look(model: Model, image: Any, name: str = "") -> Look:
    """One image inside `model`."""
    return Lens(model).look(image, name)


# As JSON data ----------------------------------------------------------------------------------------


def as_dict(given: Look, *, values: bool | None = None) -> dict[str, Any]:
    """All that the page needs to draw it: the layers with their rows of the summary, and every map as a picture.

    values  whether the maps' float32 values come too; None: where they are few enough
    """
    rows = {row.path: row.as_dict() for row in summarise(given.net).rows}
    layers = [layer_data(given, path, rows.get(path)) for path in given.scene.maps]
    count = sum(y.size for y in given.scene.maps.values())
    values = count <= MOST_VALUES if values is None else values
    mean = given.model.preprocess.mean
    return {
        "name": given.name,
        "net": given.model.net.name,
        "picture": pictures.data_uri(given.picture),
        "classes": list(given.model.classes),
        "probabilities": given.probabilities,
        "top": given.top,
        "start": given.start,
        "layers": layers,
        "ink": "light" if sum(mean) / len(mean) < 0.5 else "dark",
        "palettes": {name: palette(name) for name in ("rising", "signed")},
        "pictures": blob(np.concatenate([as_bytes(y).ravel() for y in given.scene.maps.values()])),
        "values": blob(joined(given.scene.maps.values())) if values else None,
    }


def layer_data(given: Look, path: str, row: dict[str, Any] | None) -> dict[str, Any]:
    y = given.scene.maps[path]
    made: dict[str, Any] = {
        "path": path,
        "shape": list(y.shape),
        "signed": bool((y < 0).any()),
        "limit": float(np.abs(y).max(initial=0)),
        "order": of_map(path, y).order.tolist(),
        "sources": [] if path == IMAGE else sources(given.net, path),
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


def filter_sheet(weights: np.ndarray) -> dict[str, Any]:
    """The filters F×C×h×w as one picture."""
    drawn = pictures.filters(weights)
    across = min(len(drawn), 16) if weights.shape[1] in (1, 3) else len(drawn)
    sheet = pictures.tile(drawn, across, gap=2, ground=128)
    return {"src": pictures.data_uri(sheet), "shape": list(weights.shape), "size": [sheet.shape[1], sheet.shape[0]]}


def as_bytes(values: np.ndarray) -> np.ndarray:
    """A layer's maps on 0…255, all on one scale as in `pictures.maps`."""
    return (pictures.unit(values) * 255).round().astype(np.uint8)


def palette(name: str) -> list[list[int]]:
    """The colour of each of the 256 levels."""
    anchors = {"rising": pictures.RISING, "signed": pictures.SIGNED}[name]
    return pictures.colour(np.arange(256) / 255, anchors).tolist()


def joined(arrays: Iterable[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.asarray(array, "<f4").ravel() for array in arrays])


def blob(array: np.ndarray) -> str:
    """An array's bytes, packed by zlib, as base64: first all first bytes, then all second ones, and so on."""
    plain = np.ascontiguousarray(array)
    planes = plain.view(np.uint8).reshape(-1, plain.itemsize).T
    return b64encode(zlib.compress(np.ascontiguousarray(planes).tobytes(), 6)).decode("ascii")
