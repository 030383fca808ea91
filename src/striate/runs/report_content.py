"""What the report of a run shows, gathered from its model and its data."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..architecture.layers import Container, Conv
from ..data.check.label_errors import Doubts
from ..data.images import Dataset
from ..data.read.bands import show_bands
from ..engines import onnx
from ..inside.filters_by_hand import draw_filtered, filter_image
from ..language import say
from ..metrics.classification import find_mistakes, score_probabilities
from ..metrics.hard_images import find_hard_images
from ..metrics.verdict import judge_report
from ..model.known import find_known
from ..model.model import Model
from ..report.run_page import Journey, MistakePicture, ReportPage, Split
from ..summaries.summary import summarise_net

if TYPE_CHECKING:
    from ..transfer.result import OutOfFold

SHOWN_MISTAKES, SHOWN_JOURNEYS, DOUBTFUL = 24, 3, 48
# Images on which answers known beforehand are compared with the model's own, and by how much they may differ.
CHECKED_ANSWERS, ANSWER_TOLERANCE = 4, 1e-4


def gather_report(
    model: Model,
    data: Dataset,
    run: str,
    epochs: Sequence[Mapping[str, Any]],
    measured: Measured,
    doubts: Doubts | None = None,
    unseen: OutOfFold | None = None,
    strengths: Sequence[Mapping[str, float]] = (),
) -> ReportPage:
    """The page's content.

    measured   what it is about (`measure_run`)
    doubts     what is said of the labels; its rows count the images to train on first, then those to validate on
    unseen     what cross-validation said of the images, where the model then learnt from those to validate on too
    strengths  those of a transfer's head that were cross-validated
    """
    from .. import __version__

    p, net = measured.probabilities, model.net
    report = replace(score_probabilities(p, measured.y, model.classes), known=measured.known)
    learnt = data.train.y if unseen is None else np.concatenate([data.train.y, data.valid.y])
    trained = dict(zip(data.classes, np.bincount(learnt, minlength=len(data.classes)).tolist(), strict=True))
    hard = find_hard_images(measured.x, p.argmax(1) == measured.y)
    first = next((step for step in net.steps if isinstance(step.layer, Conv)), None)
    shown = [step.path for step in net.steps if not step.side and not isinstance(step.layer, Container)]
    journeys = []
    for i in range(min(SHOWN_JOURNEYS, len(p))):
        maps = onnx.run_maps(net, model.tensors, model.standardised(measured.x[i][None]), shown)
        caption = say(
            "{file}: {truth}, predicted {told}",
            file=measured.files[i], truth=model.classes[measured.y[i]], told=model.classes[p[i].argmax()],
        )  # fmt: skip
        journeys.append(Journey(measured.x[i], [(path, maps[path][0]) for path in shown], caption))
    return ReportPage(
        run=run,
        dataset=data.name,
        summary=summarise_net(net),
        report=report,
        report_split=measured.split,
        verdict=judge_report(report, measured.split, trained=trained, doubts=doubts, hard=hard),
        recipe=model.header.recipe,
        epochs=epochs,
        strengths=strengths,
        mistakes=[
            MistakePicture(measured.x[m.index], m.truth, m.predicted, m.probability, measured.files[m.index])
            for m in find_mistakes(p, measured.y, SHOWN_MISTAKES)
        ],
        doubts=doubts,
        doubtful=[] if doubts is None else [take_picture(data, error.row) for error in doubts.errors[:DOUBTFUL]],
        by_hand=draw_filtered(filter_image(show_bands(measured.x[0]), "sobel", padding="same")),
        filters=model.tensors[f"{first.path}.weight"] if first else None,
        maps=journeys,
        skipped=[(item.file, item.why) for item in data.skipped],
        notes=data.notes,
        versions={"striate": __version__, "Python": platform.python_version()},
    )


class Measured(NamedTuple):
    """The images that a report is about: what was said of them, their labels and files; `x[k]` is one, or several.

    known  how many of them whoever said it had been trained on; None where that cannot be told
    """

    split: Split
    probabilities: np.ndarray
    y: np.ndarray
    files: Sequence[str]
    known: int | None
    x: Any


def measure_run(model: Model, data: Dataset, unseen: OutOfFold | None, answers: np.ndarray | None) -> Measured:
    """What was said of the test split, or where there is none in cross-validation, or of the images to validate on.

    answers  the model's probabilities of the images to measure it on, where they are known already
    """
    if unseen is not None and data.test is None:
        return measure_unseen(data, unseen)
    return measure_split(model, data, answers)


def measure_split(model: Model, data: Dataset, answers: np.ndarray | None = None) -> Measured:
    """What the model says of the test split, or of validation: by `answers` where they are known and its own."""
    split: Split = "valid" if data.test is None else "test"
    images = data.measured
    known = None if model.header.known is None else int(find_known(model.header.known, images).sum())
    if answers is None or not are_own_answers(model, images.x, answers):
        answers = model.probabilities(images.x)
    return Measured(split, answers, images.y, images.files, known, images.x)


def are_own_answers(model: Model, x: Any, answers: np.ndarray) -> bool:
    """Whether the model itself, asked about some images spread over all, says what `answers` do."""
    rows = np.unique(np.linspace(0, len(answers) - 1, CHECKED_ANSWERS).round().astype(int))
    return bool(np.abs(model.probabilities(x[rows]) - answers[rows]).max() <= ANSWER_TOLERANCE)


def measure_unseen(data: Dataset, unseen: OutOfFold) -> Measured:
    """What cross-validation said of the images to train and to validate on."""
    rows, y, files = unseen.rows, np.concatenate([data.train.y, data.valid.y]), data.train.files + data.valid.files
    pictures = LearntPictures(data, rows)
    return Measured("cross-validation", unseen.probabilities, y[rows], [files[row] for row in rows], 0, pictures)


class LearntPictures:
    """The images at some rows of those to train on and, behind them, to validate on, read when they are asked for."""

    def __init__(self, data: Dataset, rows: np.ndarray) -> None:
        self.data, self.rows = data, rows

    def __getitem__(self, place: Any) -> np.ndarray:
        rows = self.rows[place]
        return np.stack([take_picture(self.data, row) for row in rows]) if rows.ndim else take_picture(self.data, rows)


def take_picture(data: Dataset, row: int) -> np.ndarray:
    """An image, uint8 h×w×C, by its place among those to train on and, behind them, to validate on."""
    return data.train.x[row] if row < len(data.train) else data.valid.x[row - len(data.train)]
