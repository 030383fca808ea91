"""When a calibrated model is unsure: what the view of results tells of it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..language import say
from ..metrics.abstention import NEVER, find_answered, measure_abstention
from ..model.calibrating import describe_abstained, describe_likeness
from ..model.model import Model


def describe_unsure(model: Model, p: NDArray, y: NDArray) -> dict[str, Any] | None:
    """Sentences, and a row a class: its threshold, its answers, how many are given, how many of those are wrong.

    p, y  probabilities and labels of the images that the run is measured on. None for a model that always answers
    """
    rule = model.abstention
    if rule is None:
        return None
    predicted, answered = p.argmax(1), find_answered(p, rule.thresholds)
    told = [
        say("of these images it {answers}", answers=describe_abstained(measure_abstention(p, y, rule.thresholds))),
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


def is_unsure(model: Model, p: NDArray) -> bool:
    """Whether the model is unsure of one image by its probabilities."""
    return model.abstention is not None and not bool(find_answered(p[np.newaxis], model.abstention.thresholds)[0])
