"""A model that answers with a number: what predicts and evaluates it. It is no `Model`, as a `LabelModel` is none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..data.images import Skipped
from ..data.number_labels import make_numbers
from ..formats.onnx_file import Card
from ..metrics.number_report import NumberReport, score_numbers
from ..terminal import format_row
from .answering import Answerer, find_measured, open_answerer, predict_each


class NumberPrediction(NamedTuple):
    """The answer for one picture: the number, and within what of it the truth was for nine in ten unseen pictures."""

    file: str
    number: float
    margin: float

    def as_dict(self) -> dict[str, Any]:
        return self._asdict()

    def line(self) -> tuple[str, ...]:
        """File, number and margin, to be read."""
        return self.file, f"{self.number:.6g}", f"±{self.margin:.3g}"

    def cells(self, everything: bool = False) -> tuple[str, ...]:
        """The cells of a CSV: file and number; with `everything` the margin too."""
        told = self.file, f"{self.number:.9g}"
        return (*told, f"{self.margin:.9g}") if everything else told

    def as_csv(self) -> str:
        return format_row(self.cells(), ",")


class NumberModel:
    """A model that answers with a number, of `load_number`.

    name    of the number: the column that it was learnt from
    number  what is known of the numbers that it learnt from: mean, deviation, low, high, margin
    """

    def __init__(self, path: str | Path | Answerer) -> None:
        self.about = path if isinstance(path, Answerer) else open_answerer(path, "identity")
        assert self.about.number is not None  # a header without it is refused
        [self.name], self.number, self.path = self.about.names, self.about.number, self.about.path
        self._model = self.about.source

    def prepared(self, image: Any) -> np.ndarray:
        """One image as uint8 h×w×C at the net's size: as `Model.prepared`. Raises DataError for what is no image."""
        return self._model.prepared(image)

    def numbers(self, x: np.ndarray) -> np.ndarray:
        """The number of each image, float64 N, of uint8 images N×h×w×C at the net's size."""
        return self._model.probabilities(x)[:, 0]

    def name_answer(self, file: str, y: np.ndarray) -> NumberPrediction:
        """The prediction of one picture's answer, float 1."""
        return NumberPrediction(file, float(y[0]), self.number.margin)

    def predict(self, image: Any) -> NumberPrediction:
        """The NumberPrediction for one image: a path, bytes, a Pillow image, a uint8 array H×W×C. Raises DataError."""
        name = str(image) if isinstance(image, str | Path) else "image"
        return self.name_answer(name, self._model.at_once(self.prepared(image)[None])[0])

    def predict_files(self, files: Iterable[Path | str]) -> Iterator[NumberPrediction | Skipped]:
        """The prediction for each file or address in order, or, where it is no readable image, Skipped."""
        return predict_each(self._model, files, self.name_answer)

    def columns(self, everything: bool = False) -> tuple[str, ...]:
        """The columns of a CSV of its predictions, of which `NumberPrediction.cells` are the rows."""
        return ("file", self.name, "margin") if everything else ("file", self.name)

    def export(self, path: str | Path, **options: Any) -> Card:
        """Write one .onnx file that takes raw uint8 images, as `Model.export`; `striate.export` compares it too."""
        return self._model.export(path, **options)

    def evaluate(self, data: Any, known: bool = False, **options: Any) -> NumberReport:
        """The report on pictures with their numbers; those that it was trained on, pixel for pixel, are left out

        unless `known`. data  a table, as for `train`; read as the training data were, where no other reading is given
        """
        images, count = find_measured(self.about, data, known, **options)
        return score_numbers(
            self.numbers(images.x), make_numbers(images), images.files, name=self.name, mean=self.number.mean,
            margin=self.number.margin, known=count,
        )  # fmt: skip


def load_number(path: str | Path) -> NumberModel:
    """The model in a run folder, a model file or an exported .onnx file that answers with a number (regression).

    `predict` gives a picture's number, `numbers` those of many at once, `evaluate` a NumberReport.
    Raises ModelError, also where the model gives one class a picture, which `striate.load` takes.

    >>> import striate
    >>> try:
    ...     load_number("runs/none.safetensors")
    ... except striate.StriateError as e:
    ...     print(e.what)
    there is no such file
    """
    return NumberModel(path)
