"""One image inside a trained network: every map, the class probabilities, and the trace of any value, as plain data."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..architecture import layers as L
from ..architecture.net import Net
from ..engines import onnx
from ..inside import ablation
from ..inside.follow import find_strongest_reader
from ..inside.trace import (
    PROBABILITY,
    Trace,
    add_probability,
    check_place,
    explain_value,
    parse_address,
    resolve_path,
    trace_pixel,
)
from ..inside.trace_place import IMAGE_PATH, Scene, list_sources
from ..inside.trace_record import format_address
from ..language import find_language, render_all
from ..model.model import Model
from .packing import MOST_FILTER_WEIGHTS, describe_filters


@dataclass(frozen=True, eq=False)
class Lens:
    """A trained network made ready for many images: every layer's map is an output of its session."""

    model: Model
    cut: dict[str, tuple[Any, ...]] = field(default_factory=dict)

    @cached_property
    def probable(self) -> tuple[Net, str]:
        """The net with a softmax last, and the path of that."""
        return add_probability(self.model.net, PROBABILITY)

    @cached_property
    def paths(self) -> list[str]:
        """The layers whose maps are looked at; a Sequence's is that of its last layer."""
        steps = self.probable[0].steps
        return [s.path for s in steps if not s.side and not isinstance(s.layer, L.Sequence | L.SideHead)]

    @cached_property
    def session(self) -> Any:
        net, _ = self.probable
        return onnx.open_net(net, self.model.tensors, outputs=self.paths)

    @cached_property
    def tensors(self) -> dict[str, np.ndarray]:
        return {name: np.asarray(tensor, np.float64) for name, tensor in self.model.tensors.items()}

    @cached_property
    def readers(self) -> dict[str, list[str]]:
        """Which layers read the map at a path."""
        found: dict[str, list[str]] = {path: [] for path in [IMAGE_PATH, *self.paths]}
        for path in self.paths:
            for source in list_sources(self.probable[0], path):
                found[source].append(path)
        return found

    @cached_property
    def filters(self) -> dict[str, np.ndarray]:
        """The weights of each convolution that are shown as pictures: not too many, and more than one a channel."""
        made = {}
        for path in self.paths:
            if isinstance(self.probable[0].at(path).layer, L.Conv):
                weights = self.model.tensors[f"{path}.weight"]
                if weights.size <= MOST_FILTER_WEIGHTS and weights.shape[2:] != (1, 1):
                    made[path] = weights
        return made

    @cached_property
    def sheets(self) -> dict[str, dict[str, Any]]:
        """Those filters as one picture a layer: a column a filter."""
        return {path: describe_filters(np.asarray(weights)) for path, weights in self.filters.items()}

    def halves(self, path: str) -> tuple[Any, ...]:
        """The sessions of the net up to the map at `path`, and from a changed map on, made once."""
        if path not in self.cut:
            self.cut[path] = ablation.split_sessions(self.probable[0], self.model.tensors, path)
        return self.cut[path]

    def look(self, image: Any, name: str = "") -> Look:
        """Send one image, as `Model.prepared` takes it, through the net. Raises DataError for what is no image."""
        picture = self.model.prepared(image)
        name = name or (Path(image).name if isinstance(image, str | Path) else "image")
        net, _ = self.probable
        x = self.model.standardised(picture[None])
        _, *found = self.session.run(None, {IMAGE_PATH: x})
        maps = {IMAGE_PATH: x[0]} | {path: np.asarray(y[0]) for path, y in zip(self.paths, found, strict=True)}
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
        check_place(self.net, path, index)
        if path == IMAGE_PATH:
            return trace_pixel(self.scene, index, (self.model.preprocess.mean, self.model.preprocess.std))
        return explain_value(self.scene, resolve_path(self.net, path), index, "onnx")

    def chain(self, at: str) -> list[Trace]:
        """The trace of a value, of the operand that weighs most in it, and so on down to a pixel."""
        made = [self.trace(at)]
        while made[-1].lead:
            made.append(self.trace(made[-1].lead))
        return made

    @cached_property
    def start(self) -> str:
        """A value to begin with: on the way down from the most probable class, the first convolution's."""
        best = format_address(self.top, (int(self.scene.maps[self.top].argmax()),))
        found = [t.address for t in self.chain(best) if isinstance(self.layer(t.address), L.Conv)]
        return found[-1] if found else best

    def layer(self, at: str) -> L.Layer | None:
        """The layer that a value is of; None for the image."""
        path, _ = parse_address(at)
        return None if path == IMAGE_PATH else self.net.at(path).layer

    def reader(self, at: str) -> str | None:
        """The way up: of all units of the next layer that read this one, the strongest; None at a probability.

        Under a window that moves, of the positions that see this one the middle one.
        """
        path, index = parse_address(at)
        for other in self.lens.readers[path]:
            spot = find_strongest_reader(self.scene, other, path, index)
            if spot is not None:
                return format_address(other, spot)
        return None

    def ladder(self, at: str, key: str) -> list[dict[str, str]]:
        """The values from one on to the end, each with its address: down by what weighs most ("lead"), or else up."""
        rungs = []
        following: str | None = at
        while following:
            trace = self.trace(following)
            rungs.append({"address": trace.address, "shown": trace.shown})
            following = trace.lead if key == "lead" else self.reader(trace.address)
        return rungs

    def found(self, at: str) -> dict[str, Any]:
        """The trace and the way up, as JSON data, its texts in the language spoken."""
        trace = self.trace(at)
        return render_all(trace.spell_out(), find_language()) | {"up": self.reader(trace.address)}


def look_inside(model: Model, image: Any, name: str = "") -> Look:
    """One image inside `model`."""
    return Lens(model).look(image, name)


# As JSON data ----------------------------------------------------------------------------------------
