"""When a calibrated model is unsure: what the view of results tells of it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data.images import Images
from ..language import say
from ..metrics.abstention import NEVER, Abstained, find_answered
from ..model.calibrating import describe_abstained, describe_likeness
from ..model.model import Model
from ..model.prediction import judge_images, run_in_pieces


def judge_all(model: Model, x: Any) -> NDArray:
    """What `judge_images` says of any number of images."""
    return run_in_pieces(lambda part: judge_images(model, part), x, len(model.classes) + model.tells_strange)


def judge_unseen(model: Model, images: Images) -> NDArray:
    """The same of the images that a run is measured on; of those that it has learnt from, what models said that had

    not seen them.
    """
    crossed = model.answer_crossed(images)
    if crossed is None:
        return judge_all(model, images.x)
    strange = judge_all(model, images.x)[:, len(model.classes) :] if model.tells_strange else crossed[:, :0]
    return np.column_stack([crossed, strange])


def find_unsure(model: Model, judged: NDArray) -> NDArray:
    """bool N: of which images it is unsure, by their probabilities or since they are unlike the training ones."""
    if model.abstention is None:
        return np.zeros(len(judged), bool)
    known = len(model.classes)
    return ~find_answered(judged[:, :known], model.abstention.thresholds) | (judged[:, known:] > 1).any(1)


def describe_unsure(model: Model, judged: NDArray, y: NDArray) -> dict[str, Any] | None:
    """Sentences, and a row a class: its threshold, its answers, how many are given, how many of those are wrong.

    judged, y  what it says of the images that the run is measured on, and their labels. None for a model that always
               answers
    """
    rule = model.abstention
    if rule is None:
        return None
    predicted, answered = judged[:, : len(model.classes)].argmax(1), ~find_unsure(model, judged)
    found = Abstained(len(y), int(answered.sum()), int((answered & (predicted != y)).sum()))
    told = [
        say("of these images it {answers}", answers=describe_abstained(found)),
        say("thresholds for at most {error:.4g} wrong among the answers of a class", error=rule.error),
        *(describe_likeness(model.header.likeness) if model.header.likeness else []),
    ]
    rows = []
    for k, (name, threshold) in enumerate(zip(model.classes, rule.thresholds, strict=True)):
        own = predicted == k
        rows.append(
            {
                "name": name,
                "threshold": None if threshold >= NEVER else threshold,
                "said": int(own.sum()),
                "answered": int((own & answered).sum()),
                "wrong": int((own & answered & (y != k)).sum()),
            }
        )
    return {"told": told, "rows": rows}
