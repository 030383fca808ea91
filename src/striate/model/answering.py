"""What the models of several labels and of a number do alike, be they in a run, a model file or an exported file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from ..data.images import Images, Skipped
from ..data.reading import choose_reading
from ..data.sources.load import list_source, load_images
from ..engines.answers import ANSWERS, NumberScale, check_outputs
from ..engines.model_file import Known, read_head
from ..errors import DataError, ModelError
from ..formats.onnx_file import read_exported
from ..language import say
from ..run_files import RunFiles
from ..threads import map_in_threads
from .exported import ExportedModel
from .known import leave_known_out
from .model import Model, read_model_at
from .prediction import count_workers, find_depth, find_image

Answer = TypeVar("Answer")


class Answerer(NamedTuple):
    """A model that answers otherwise than by one class, with what its file says of it.

    source   what computes: its `probabilities` are those of the labels, each alone, or the numbers N×1
    outputs  a key of `engines.answers.ANSWERS`; names  of the outputs: the labels, or the number's
    reading, seed, fingerprint, known  of the data that it was trained on, as in `ModelHeader`
    """

    source: Model | ExportedModel
    path: Path
    outputs: str
    names: tuple[str, ...]
    thresholds: tuple[float, ...]
    number: NumberScale | None
    reading: dict[str, Any]
    seed: int
    fingerprint: str
    known: Known | None


def open_answerer(path: str | Path, outputs: str) -> Answerer:
    """The model at a run folder, a model file or an exported .onnx file. Raises ModelError, also for other outputs."""
    if str(path).endswith(".onnx"):
        return describe_exported(ExportedModel(read_exported(path, 1), Path(path)), outputs)
    header, tensors, place = read_model_at(path)
    check_outputs(path, header.outputs, outputs)
    return describe_model(Model(header, tensors, place))


def describe_model(model: Model) -> Answerer:
    """A Model whose header says that it answers otherwise than by a class."""
    header = model.header
    return Answerer(
        model, model.path or Path(), header.outputs, header.classes, header.thresholds, header.number,
        header.reading, header.recipe.get("seed", 0), header.fingerprint, header.known,
    )  # fmt: skip


def take_model(given: Any) -> Any:
    """The Model, or the ExportedModel, behind a LabelModel or a NumberModel; anything else as it is."""
    about = getattr(given, "about", None)
    return about.source if isinstance(about, Answerer) else given


def describe_exported(model: ExportedModel, outputs: str) -> Answerer:
    """An exported file that is open already. Raises ModelError for other outputs."""
    card = model.card
    check_outputs(model.path, card.outputs, outputs)
    more = card.more
    return Answerer(
        model, model.path, card.outputs, card.classes, card.thresholds, card.number,
        more.get("reading", {}), more.get("seed", 0), more.get("fingerprint", ""), None,
    )  # fmt: skip


def predict_each(
    source: Model | ExportedModel, files: Iterable[Path | str], name: Callable[[str, np.ndarray], Answer]
) -> Iterator[Answer | Skipped]:
    """What `name` makes of each file's or address's answer in order, or, where it is no readable image, Skipped."""

    def one(file: Path | str) -> Answer | Skipped:
        try:
            image = source.prepared(find_image(file))
        except DataError as e:
            return Skipped(str(file), e.what)
        return name(str(file), source.at_once(image[None])[0])

    return map_in_threads(one, files, count_workers(), at_once=True)


def find_measured(
    given: Answerer,
    data: Any,
    known: bool = False,
    on_skip: Callable[[Skipped], None] | None = None,
    memory: int | str | None = None,
    **reading: Any,
) -> tuple[Images, int | None]:
    """The images of `data` to measure a model on, and how many were left out because it had learnt from them.

    The test split, or all of a source without splits; of what it was trained on, the split that was held back. Those
    that it was trained on, pixel for pixel, are left out unless `known`; None: the file cannot tell them.
    Raises DataError, also where the data are not read as this model's were.
    """
    read, pre = choose_reading(reading, given.reading), given.source.preprocess
    listing = list_source(data, read)
    if listing is None or read.outputs != given.outputs:
        what = say("this model gives {answer}", answer=say(ANSWERS[given.outputs].told))
        hint = say("leave the options away: then they are read as those that it was trained on")
        raise DataError(say("data"), what, hint=hint)
    texts = tuple(sorted({entry.label for entry in listing.entries}))
    channels = len(pre.mean)
    images = load_images(
        data, texts, size=pre.size, channels=channels, fit=pre.fit, seed=given.seed, on_skip=on_skip,
        trained_on=given.fingerprint, memory=memory, reading=read, depth=find_depth(pre),
    )  # fmt: skip
    if given.known is None:
        return images, None
    images, count = leave_known_out(given.known, images, known)
    return images, None if known else count


def find_outputs(path: str | Path) -> str:
    """How the model of a run folder or a model file answers; "softmax" for all else, and for a file that is broken."""
    place = RunFiles(Path(path)).model if Path(path).is_dir() else Path(path)
    if place.suffix != ".safetensors" or not place.is_file():
        return "softmax"
    try:
        header = read_head(place)
    except ModelError:
        return "softmax"  # which whoever loads it will say
    return "softmax" if header is None else header.outputs
