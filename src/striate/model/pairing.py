"""Two models asked about the same labelled images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..data.images import Skipped
from ..errors import DataError
from ..language import say
from ..metrics.paired import PairedComparison, compare_answers
from .exported import ExportedModel
from .model import Model
from .opening import load


def compare_models(
    first: str | Path | Model | ExportedModel,
    second: str | Path | Model | ExportedModel,
    data: Any,
    on_skip: Callable[[Skipped], None] | None = None,
    **reading: Any,
) -> PairedComparison:
    """What `striate.compare_models` says; `on_skip` is told of each file that is no readable image."""
    models = [one if isinstance(one, Model | ExportedModel) else load(one) for one in (first, second)]
    seen = [list_answers(model, data, on_skip if k == 0 else None, reading) for k, model in enumerate(models)]
    files = [file for file in seen[0] if file in seen[1]]
    if not files:
        what, rule = (
            say("no image is new to both models"),
            say("images that both were given, and trained on by neither"),
        )
        raise DataError("compare", what, got=say("{a:,} and {b:,} images", a=len(seen[0]), b=len(seen[1])), rule=rule)
    (labels, one), (_, two) = (zip(*(answers[file] for file in files), strict=True) for answers in seen)
    names = tuple(name_model(model, k) for k, model in enumerate(models))
    out = len(set(seen[0]) | set(seen[1])) - len(files)
    return compare_answers(names, files, list(labels), list(one), list(two), out)  # type: ignore[arg-type]


def list_answers(
    model: Model | ExportedModel, data: Any, on_skip: Callable[[Skipped], None] | None, reading: dict[str, Any]
) -> dict[str, tuple[str, str]]:
    """By file the label and the model's answer, of the images that are new to it."""
    answered = model.answers(model.images(data, on_skip, **reading))
    images, names = answered.images, model.classes
    pairs = zip(images.files, images.y, answered.probabilities.argmax(1), strict=True)
    return {file: (names[y], names[told]) for file, y, told in pairs}


def name_model(model: Model | ExportedModel, number: int) -> str:
    """What it is called in a table: its run folder, or its file."""
    path = None if model.path is None else Path(model.path)
    if path is None:
        return ("first", "second")[number]
    return path.parent.name if path.name == "model.safetensors" else path.name
