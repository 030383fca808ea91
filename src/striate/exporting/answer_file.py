"""The ONNX file of a model that answers with several labels or a number, and its proof against the model."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from .. import atomic_file
from ..data.read.decode import decode_image
from ..data.read.files import spread_places
from ..data.reading import make_reading
from ..data.sources.load import list_source
from ..engines.answers import ANSWERS
from ..errors import ModelError
from ..formats.onnx_file import read_exported
from ..language import say
from ..model.answering import describe_model, find_measured
from ..model.exported import ExportedModel
from ..model.model import Model
from ..model.prediction import find_depth
from .parity import draw_calibration, run_in_batches

# By how much an answer may differ at the net's size, and from files at their own, which the graph resizes by itself:
# a probability, or a number in deviations of those that it learnt from. The same for a class (`parity.BOUNDS`).
LARGEST_AT_SIZE, LARGEST_FROM_FILES = 0.001, 0.02
# Images that are compared at most.
COMPARED = 256


@dataclass(frozen=True)
class AnswerParity:
    """An exported file's answers beside the model's, on so many images; differences as in LARGEST_AT_SIZE.

    reference   what computed the model: "torch", or where it is not installed "model (no torch)"
    difference  the largest at the net's size; from_files  the largest from files at their own size, None without any
    """

    images: int
    reference: str
    difference: float
    from_files: float | None

    def as_dict(self) -> dict[str, Any]:
        bounds = {"difference": LARGEST_AT_SIZE, "from_files": LARGEST_FROM_FILES}
        return {name: getattr(self, name) for name in self.__dataclass_fields__} | {"bounds": bounds}

    def __str__(self) -> str:
        told = say(
            "{images} images at the net's size: answers within {difference:.1e} of {reference}'s (allowed: {most:g})",
            images=self.images, difference=self.difference, reference=self.reference, most=LARGEST_AT_SIZE,
        )  # fmt: skip
        if self.from_files is None:
            return told
        own = say(
            "the same files at their own size: within {difference:.1e} (allowed: {most:g})",
            difference=self.from_files, most=LARGEST_FROM_FILES,
        )  # fmt: skip
        return f"{told}\n{own}"

    def held(self) -> AnswerParity:
        """The same. Raises ModelError where a bound is broken."""
        if self.difference > LARGEST_AT_SIZE or (self.from_files or 0.0) > LARGEST_FROM_FILES:
            raise ModelError("export", say("the exported file's answers differ from the model's"), got=str(self),
                             hint=say("this is a bug in striate"))  # fmt: skip
        return self


def export_answers(
    model: Model,
    out: Path,
    data: Any,
    *,
    kind: str,
    int8: bool,
    fp16: bool,
    plain: bool,
    licence: str | None,
) -> AnswerParity:
    """The file at `out`, compared with the model on the data's images, or without data on drawn ones.

    Raises ModelError, and leaves `out` as it was, where a bound is broken, and for a form that there is not yet.
    """
    refused = next((name for name, given in (("int8", int8), ("fp16", fp16), ("plain", plain)) if given), None)
    if kind != "onnx" or refused:
        what = say(
            "{answer}: exported as ONNX in 32-bit floats alone, and not as {kind}",
            answer=say(ANSWERS[model.header.outputs].told), kind=refused or kind,
        )  # fmt: skip
        raise ModelError("export", what, hint="-o model.onnx")
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "model.onnx"
        model.export(made, licence=licence)
        found = compare_file(model, made, data)
        atomic_file.write_file(out, made.read_bytes())
    return found


def compare_file(model: Model, file: Path, data: Any = None) -> AnswerParity:
    """The file's answers beside the model's. Raises ModelError where a bound is broken."""
    exported = ExportedModel(read_exported(file, 1), file)
    scale = 1.0 if model.header.number is None else model.header.number.deviation
    pictures: Sequence[np.ndarray] = []
    if data is None:
        x = draw_calibration(*model.preprocess.size, model.net.input[0])
    else:
        x, pictures = choose_pictures(model, data)
    name, ask = make_reference(model)
    sized = measure_difference(ask(x), exported.probabilities(x)) / scale
    found = AnswerParity(len(x), name, sized, None)
    if pictures:
        whole = np.concatenate([exported.exported.one(picture) for picture in pictures]).astype(np.float64)
        found = replace(found, from_files=measure_difference(ask(x), whole) / scale)
    return found.held()


def choose_pictures(model: Model, data: Any) -> tuple[np.ndarray, list[np.ndarray]]:
    """Images of the test split at the net's size, and the same files decoded at their own."""
    images, _ = find_measured(describe_model(model), data, known=True)
    images = images.take(spread_places(len(images), COMPARED))
    listing = list_source(data, make_reading(model.header.reading), strict=False)
    named = {entry.file: entry for entry in listing.entries} if listing is not None else {}
    depth, alpha = find_depth(model.preprocess), model.preprocess.alpha
    own = [decode_image(named[file].path, model.net.input[0], depth=depth, alpha=alpha) for file in images.files]
    return images.x[:], own


def make_reference(model: Model) -> tuple[str, Any]:
    """The model in torch, or, where torch is not installed, in striate's own ONNX graph of it; images to answers."""
    if find_spec("torch") is None:
        return "model (no torch)", model.probabilities
    from ..formats.torch_program import make_answering

    network = make_answering(model.net, model.tensors, model.preprocess, model.header.outputs)
    return "torch", run_in_batches(lambda x: network(model.standardised(x)))


def measure_difference(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one - other).max())
