"""What the report of a run shows, gathered from its model and its data."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..arch.layers import Container, Conv
from ..arch.summary import summarise
from ..data.images import Dataset
from ..data.label_errors import Doubts
from ..engines import onnx
from ..evaluate.metrics import most_confident_mistakes, score
from ..evaluate.page import Journey, MistakePicture, ReportPage
from ..inside.filters_by_hand import filter_image, picture
from .known import find_known
from .model import Model

MISTAKES, JOURNEYS, DOUBTFUL = 24, 3, 48


def gathered(
    model: Model, data: Dataset, run: str, epochs: Sequence[Mapping[str, Any]], doubts: Doubts | None = None
) -> ReportPage:
    """The page's content; measured on the test split, or on validation where there is none.

    doubts  what is said of the labels; its rows count the images to train on first, then those to validate on
    """
    from .. import __version__

    images = data.valid if data.test is None else data.test
    p = model.probabilities(images.x)
    known = None if model.header.known is None else int(find_known(model.header.known, images).sum())
    net = model.net
    first = next((step for step in net.steps if isinstance(step.layer, Conv)), None)
    shown = [step.path for step in net.steps if not step.side and not isinstance(step.layer, Container)]
    journeys = []
    for i in range(min(JOURNEYS, len(images))):
        maps = onnx.maps(net, model.tensors, model.standardised(images.x[i : i + 1]), shown)
        caption = f"{images.files[i]}: {model.classes[images.y[i]]}, predicted {model.classes[p[i].argmax()]}"
        journeys.append(Journey(images.x[i], [(path, maps[path][0]) for path in shown], caption))
    return ReportPage(
        run=run,
        dataset=data.name,
        summary=summarise(net),
        report=replace(score(p, images.y, model.classes), known=known),
        report_split="valid" if data.test is None else "test",
        recipe=model.header.recipe,
        epochs=epochs,
        mistakes=[
            MistakePicture(images.x[m.index], m.truth, m.predicted, m.probability, images.files[m.index])
            for m in most_confident_mistakes(p, images.y, MISTAKES)
        ],
        doubts=doubts,
        doubtful=[] if doubts is None else [picture_of(data, error.row) for error in doubts.errors[:DOUBTFUL]],
        by_hand=picture(filter_image(images.x[0], "sobel", padding="same")),
        filters=model.tensors[f"{first.path}.weight"] if first else None,
        maps=journeys,
        skipped=[(item.file, item.why) for item in data.skipped],
        notes=data.notes,
        versions={"striate": __version__, "Python": platform.python_version()},
    )


def picture_of(data: Dataset, row: int) -> np.ndarray:
    """An image, uint8 h×w×C, by its place among those to train on and, behind them, to validate on."""
    return data.train.x[row] if row < len(data.train) else data.valid.x[row - len(data.train)]
