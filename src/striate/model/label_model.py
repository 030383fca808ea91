"""A model that gives several labels a picture: what predicts and evaluates it.

It is no `Model`: what works with one class a picture refuses such a file (`model.load_model`), so that nothing takes
the probabilities of labels for those of classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..data.images import Images, Skipped
from ..data.label_sets import make_targets
from ..data.reading import choose_reading
from ..data.sources.load import list_source, load_images
from ..engines import onnx
from ..engines.finite import check_answers
from ..errors import DataError, ModelError
from ..language import say
from ..metrics.label_report import LabelReport, score_labels
from ..run_files import RunFiles
from ..terminal import format_row
from ..threads import map_in_threads
from .known import leave_known_out
from .model import Model, explain_several, read_model_at
from .prediction import count_workers, find_depth, find_image, run_in_pieces


class LabelPrediction(NamedTuple):
    """The answer for one picture: the labels whose probability is at least their threshold, and all probabilities."""

    file: str
    labels: tuple[str, ...]
    probabilities: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        return self._asdict() | {"labels": list(self.labels)}

    def line(self) -> tuple[str, ...]:
        """File, and each label with its probability, to be read; "-" where there is no label."""
        told = [f"{label} {self.probabilities[label]:.4f}" for label in self.labels]
        return self.file, ", ".join(told) or "-"

    def cells(self, everything: bool = False) -> tuple[str, ...]:
        """The cells of a CSV: file, labels with ; between; with `everything` the probability of each label."""
        if everything:
            return self.file, *(f"{p:.6f}" for p in self.probabilities.values())
        return self.file, ";".join(self.labels)

    def as_csv(self) -> str:
        return format_row(self.cells(), ",")


class LabelModel:
    """A model that gives several labels a picture, of `load_labels`.

    labels      in the order of the net's outputs
    thresholds  one a label: from that probability on a picture has it
    """

    def __init__(self, path: str | Path) -> None:
        header, tensors, self.path = read_model_at(path)
        if header.outputs != "sigmoid":
            what = say("this model gives one class a picture, and not several labels")
            raise ModelError(str(path), what, hint="striate.load")
        self.header, self.labels, self.thresholds = header, header.classes, header.thresholds
        self._model = Model(header, tensors, self.path)

    def prepared(self, image: Any) -> np.ndarray:
        """One image as uint8 h×w×C at the net's size: as `Model.prepared`. Raises DataError for what is no image."""
        return self._model.prepared(image)

    def probabilities(self, x: np.ndarray) -> np.ndarray:
        """The probability of each label, float64 N×K, of uint8 images N×h×w×C at the net's size, each alone."""
        return run_in_pieces(self.at_once, x, len(self.labels))

    def at_once(self, x: np.ndarray) -> np.ndarray:
        """`probabilities` of a few images, in this thread alone: the sigmoid of each log odds."""
        standard = self._model.standardised(x)
        y = onnx.run_session(self._model.session, standard).astype(np.float64)
        check_answers(self.header.net, self._model.tensors, standard, y)
        return compute_sigmoid(y)

    def name_labels(self, file: str, p: np.ndarray) -> LabelPrediction:
        """The prediction of one picture's probabilities, float K."""
        told = dict(zip(self.labels, p.tolist(), strict=True))
        given = [label for label, least in zip(self.labels, self.thresholds, strict=True) if told[label] >= least]
        return LabelPrediction(file, tuple(given), told)

    def predict(self, image: Any) -> LabelPrediction:
        """The LabelPrediction for one image: a path, bytes, a Pillow image, a uint8 array H×W×C. Raises DataError."""
        name = str(image) if isinstance(image, str | Path) else "image"
        return self.name_labels(name, self.at_once(self.prepared(image)[None])[0])

    def predict_files(self, files: Iterable[Path | str]) -> Iterator[LabelPrediction | Skipped]:
        """The prediction for each file or address in order, or, where it is no readable image, Skipped."""

        def one(file: Path | str) -> LabelPrediction | Skipped:
            try:
                image = self.prepared(find_image(file))
            except DataError as e:
                return Skipped(str(file), e.what)
            return self.name_labels(str(file), self.at_once(image[None])[0])

        return map_in_threads(one, files, count_workers(), at_once=True)

    def images(self, data: Any, on_skip: Any = None, memory: int | str | None = None, **reading: Any) -> Images:
        """The images of `data`'s test split, or of all of it; of what it was trained on, the split that was held back.

        Their classes are the sets of labels. Raises DataError where the data are not read as several labels a picture.
        """
        read, pre = choose_reading(reading, self.header.reading), self.header.preprocess
        listing = list_source(data, read)
        if listing is None or not read.several:
            hint = say("leave the options away: then they are read as those that it was trained on")
            raise DataError(say("labels"), say("this model gives several labels a picture"), hint=hint)
        sets = tuple(sorted({entry.label for entry in listing.entries}))
        return load_images(
            data, sets, size=pre.size, channels=self.header.net.input[0], fit=pre.fit,
            seed=self.header.recipe.get("seed", 0), on_skip=on_skip, trained_on=self.header.fingerprint,
            memory=memory, reading=read, depth=find_depth(pre),
        )  # fmt: skip

    def export(self, *given: Any, **options: Any) -> None:
        """Raises ModelError: exported files answer with one class a picture."""
        raise explain_several(self.path)

    def evaluate(self, data: Any, known: bool = False, **options: Any) -> LabelReport:
        """The report on labelled pictures; those that it was trained on, pixel for pixel, are left out unless `known`.

        data  a table, as for `train`; read as the training data were, where no other reading is given
        """
        images, count = self.images(data, **options), None
        if self.header.known is not None:
            images, count = leave_known_out(self.header.known, images, known)
        truth = make_targets(images, self.labels)
        return score_labels(self.probabilities(images.x), truth, self.labels, self.thresholds, None if known else count)


def compute_sigmoid(x: np.ndarray) -> np.ndarray:
    """1/(1 + e⁻ˣ), without overflow.

    >>> compute_sigmoid(np.array([-1000.0, 0.0, 1000.0])).tolist()
    [0.0, 0.5, 1.0]
    """
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + small), small / (1 + small))


def load_labels(path: str | Path) -> LabelModel:
    """The model in a run folder or a model file that gives several labels a picture.

    `predict` gives a picture's labels, `probabilities` those of all labels, `evaluate` a LabelReport.
    Raises ModelError, also where the model gives one class a picture, which `striate.load` takes.

    >>> try:
    ...     load_labels("runs/none.safetensors")
    ... except ModelError as e:
    ...     print(e.what)
    there is no such file
    """
    return LabelModel(path)


def gives_labels(path: str | Path) -> bool:
    """Whether a run folder or a model file is of a model that gives several labels a picture; False for all else."""
    from ..engines.model_file import read_head

    place = RunFiles(Path(path)).model if Path(path).is_dir() else Path(path)
    if place.suffix != ".safetensors" or not place.is_file():
        return False
    try:
        header = read_head(place)
    except ModelError:
        return False  # which whoever loads it will say
    return header is not None and header.outputs == "sigmoid"
