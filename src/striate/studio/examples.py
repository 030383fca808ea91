"""Images that a page begins with: of the data that a run was trained on, those which it never saw in training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..data.images import Images
from ..errors import StriateError
from ..model.model import Model
from ..run_files import RunFiles

# So many of the classes have an example, where images are so small that all of them weigh little.
MOST_EXAMPLES = 10
SMALL_SIDE = 64


class Example(NamedTuple):
    """An image uint8 h×w×C at the net's size, and its name."""

    name: str
    picture: NDArray


def prepare_given(model: Model, image: Any, name: str = "") -> Example:
    """An image that somebody gives. Raises DataError for what is none."""
    return Example(name or (Path(image).name if isinstance(image, str | Path) else "image"), model.prepared(image))


def choose_examples(model: Model) -> tuple[list[Example], str]:
    """Images of the run's held-back split, and in words what was taken; none where the run's data cannot be read."""
    data = find_run_data(model)
    if data is None:
        return [], "it begins with an empty sheet, for the model does not say what it was trained on"
    try:
        images = model.unseen(data)
    except StriateError as e:
        return [], f"it begins with an empty sheet, for the run's data cannot be read: {e.where}"
    few = max(model.preprocess.size) <= SMALL_SIDE
    rows = list_first_rows(images.y)[: MOST_EXAMPLES if few else 1]
    made = [take_example(images, row) for row in rows]
    said = "image" if len(made) == 1 else f"images, a class each, of {len(images)}"
    return made, f"it begins with {len(made)} {said} that {data} held back from training"


def find_run_data(model: Model) -> str | None:
    """What the run of this model was trained on, where that has a name."""
    settings = RunFiles(model.path.parent).settings if model.path is not None else None
    if settings is None or not settings.is_file():
        return None
    data = json.loads(settings.read_text(encoding="utf-8")).get("data")
    return data if isinstance(data, str) else None


def list_first_rows(y: NDArray) -> list[int]:
    """Where each class comes first, in the order of the classes."""
    return [int(row) for row in np.unique(y, return_index=True)[1]]


def take_example(images: Images, row: int) -> Example:
    return Example(f"{images.files[row]}: {images.classes[images.y[row]]}", np.asarray(images.x[row]))
