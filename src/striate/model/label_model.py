"""A model that gives several labels a picture: what predicts and evaluates it.

It is no `Model`: what works with one class a picture refuses such a file (`engines.answers`), so that nothing takes
the probabilities of labels for those of classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..data.images import Skipped
from ..data.label_sets import make_targets
from ..formats.onnx_file import Card
from ..metrics.label_report import LabelReport, score_labels
from ..terminal import format_row
from .answering import Answerer, find_measured, open_answerer, predict_each


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

    def __init__(self, path: str | Path | Answerer) -> None:
        self.about = path if isinstance(path, Answerer) else open_answerer(path, "sigmoid")
        self.labels, self.thresholds, self.path = self.about.names, self.about.thresholds, self.about.path
        self._model = self.about.source

    def prepared(self, image: Any) -> np.ndarray:
        """One image as uint8 h×w×C at the net's size: as `Model.prepared`. Raises DataError for what is no image."""
        return self._model.prepared(image)

    def probabilities(self, x: np.ndarray) -> np.ndarray:
        """The probability of each label, float64 N×K, of uint8 images N×h×w×C at the net's size, each alone."""
        return self._model.probabilities(x)

    def name_answer(self, file: str, p: np.ndarray) -> LabelPrediction:
        """The prediction of one picture's probabilities, float K."""
        told = dict(zip(self.labels, p.tolist(), strict=True))
        given = [label for label, least in zip(self.labels, self.thresholds, strict=True) if told[label] >= least]
        return LabelPrediction(file, tuple(given), told)

    def predict(self, image: Any) -> LabelPrediction:
        """The LabelPrediction for one image: a path, bytes, a Pillow image, a uint8 array H×W×C. Raises DataError."""
        name = str(image) if isinstance(image, str | Path) else "image"
        return self.name_answer(name, self._model.at_once(self.prepared(image)[None])[0])

    def predict_files(self, files: Iterable[Path | str]) -> Iterator[LabelPrediction | Skipped]:
        """The prediction for each file or address in order, or, where it is no readable image, Skipped."""
        return predict_each(self._model, files, self.name_answer)

    def columns(self, everything: bool = False) -> tuple[str, ...]:
        """The columns of a CSV of its predictions, of which `LabelPrediction.cells` are the rows."""
        return "file", *(self.labels if everything else ("labels",))

    def export(self, path: str | Path, **options: Any) -> Card:
        """Write one .onnx file that takes raw uint8 images, as `Model.export`; `striate.export` compares it too."""
        return self._model.export(path, **options)

    def evaluate(self, data: Any, known: bool = False, **options: Any) -> LabelReport:
        """The report on labelled pictures; those that it was trained on, pixel for pixel, are left out unless `known`.

        data  a table, as for `train`; read as the training data were, where no other reading is given
        """
        images, count = find_measured(self.about, data, known, **options)
        truth = make_targets(images, self.labels)
        return score_labels(self.probabilities(images.x), truth, self.labels, self.thresholds, count)


def load_labels(path: str | Path) -> LabelModel:
    """The model in a run folder, a model file or an exported .onnx file that gives several labels a picture.

    `predict` gives a picture's labels, `probabilities` those of all labels, `evaluate` a LabelReport.
    Raises ModelError, also where the model gives one class a picture, which `striate.load` takes.

    >>> import striate
    >>> try:
    ...     load_labels("runs/none.safetensors")
    ... except striate.StriateError as e:
    ...     print(e.what)
    there is no such file
    """
    return LabelModel(path)
