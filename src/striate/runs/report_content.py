"""What the report of a run shows, gathered from its model and its data."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

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
from ..report.run_page import Journey, MistakePicture, ReportPage
from ..summaries.summary import summarise_net

SHOWN_MISTAKES, SHOWN_JOURNEYS, DOUBTFUL = 24, 3, 48


def gather_report(
    model: Model,
    data: Dataset,
    run: str,
    epochs: Sequence[Mapping[str, Any]],
    doubts: Doubts | None = None,
    strengths: Sequence[Mapping[str, float]] = (),
) -> ReportPage:
    """The page's content; measured on the test split, or on validation where there is none.

    doubts     what is said of the labels; its rows count the images to train on first, then those to validate on
    strengths  those of a transfer's head that were cross-validated
    """
    from .. import __version__

    images = data.valid if data.test is None else data.test
    p = model.probabilities(images.x)
    known = None if model.header.known is None else int(find_known(model.header.known, images).sum())
    net, split = model.net, "valid" if data.test is None else "test"
    report = replace(score_probabilities(p, images.y, model.classes), known=known)
    trained = dict(zip(data.classes, np.bincount(data.train.y, minlength=len(data.classes)).tolist(), strict=True))
    hard = find_hard_images(images.x, p.argmax(1) == images.y)
    first = next((step for step in net.steps if isinstance(step.layer, Conv)), None)
    shown = [step.path for step in net.steps if not step.side and not isinstance(step.layer, Container)]
    journeys = []
    for i in range(min(SHOWN_JOURNEYS, len(images))):
        maps = onnx.run_maps(net, model.tensors, model.standardised(images.x[i : i + 1]), shown)
        caption = say(
            "{file}: {truth}, predicted {told}",
            file=images.files[i], truth=model.classes[images.y[i]], told=model.classes[p[i].argmax()],
        )  # fmt: skip
        journeys.append(Journey(images.x[i], [(path, maps[path][0]) for path in shown], caption))
    return ReportPage(
        run=run,
        dataset=data.name,
        summary=summarise_net(net),
        report=report,
        report_split=split,  # type: ignore[arg-type]
        verdict=judge_report(report, split, trained=trained, doubts=doubts, hard=hard),
        recipe=model.header.recipe,
        epochs=epochs,
        strengths=strengths,
        mistakes=[
            MistakePicture(images.x[m.index], m.truth, m.predicted, m.probability, images.files[m.index])
            for m in find_mistakes(p, images.y, SHOWN_MISTAKES)
        ],
        doubts=doubts,
        doubtful=[] if doubts is None else [take_picture(data, error.row) for error in doubts.errors[:DOUBTFUL]],
        by_hand=draw_filtered(filter_image(show_bands(images.x[0]), "sobel", padding="same")),
        filters=model.tensors[f"{first.path}.weight"] if first else None,
        maps=journeys,
        skipped=[(item.file, item.why) for item in data.skipped],
        notes=data.notes,
        versions={"striate": __version__, "Python": platform.python_version()},
    )


def take_picture(data: Dataset, row: int) -> np.ndarray:
    """An image, uint8 h×w×C, by its place among those to train on and, behind them, to validate on."""
    return data.train.x[row] if row < len(data.train) else data.valid.x[row - len(data.train)]
