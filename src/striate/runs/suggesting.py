"""Unlabelled pictures, those first whose labels teach most, each with what the run takes it for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..data.csv_rows import format_csv_rows
from ..data.images import Skipped
from ..data.sources.folder import list_image_files
from ..errors import DataError
from ..language import say
from ..metrics.label_order import order_by_kind, order_by_margin, place_features
from ..model.knowing import find_feature_path
from ..model.model import Model, load_model
from ..model.prediction import find_image
from ..threads import map_in_threads
from .labelling import list_known_files

if TYPE_CHECKING:
    from ..fitting.watch import Watch

# Pictures whose pixels are in memory at once.
PICTURES_AT_ONCE = 256
USUAL_COUNT = 50
# The published net whose features tell kinds of pictures apart where there is no run.
FEATURES_OF = "efficientnet_lite0"
COLUMNS = ("file", "label", "suggested", "probability", "other", "other_probability")


class Suggestion(NamedTuple):
    """An unlabelled picture: what it is taken for, and the next likeliest, with their probabilities, 0 to 1.

    Without a run it is taken for nothing: suggested and other are None, and the probabilities 0.
    """

    file: str
    suggested: str | None = None
    probability: float = 0.0
    other: str | None = None
    other_probability: float = 0.0


class Suggestions(NamedTuple):
    """The pictures to label, those first that teach most; how many were looked at, and those that are no picture."""

    rows: tuple[Suggestion, ...]
    pictures: int
    skipped: tuple[Skipped, ...]


def suggest_pictures(
    pictures: str | Path | Sequence[str | Path],
    run: str | Path | None = None,
    count: int = USUAL_COUNT,
    *,
    watch: Watch | None = None,
) -> Suggestions:
    """The `count` unlabelled pictures whose labels teach a classifier most, the first ones most.

    pictures  folders and files; whatever folders they lie in says nothing of what they show
    run       a run, whose model hesitates most over the first ones: over those the likeliest class is least likelier
              than the next (bench/active_labels.py). What it was trained on, or what has been labelled for it since, is
              left out. None: there is no label yet, and the pictures are one of each kind, by the features of
              EfficientNet-Lite0, the largest kind first
    watch     told of the progress
    Raises DataError where there is no picture, ModelError for a run that is none.

    >>> import tempfile, numpy as np, striate
    >>> from PIL import Image
    >>> run = striate.train("digits", "lenet5", epochs=1, out=tempfile.mkdtemp() + "/run")
    >>> folder = Path(tempfile.mkdtemp())
    >>> for k in range(4):
    ...     Image.fromarray(np.random.default_rng(k).integers(0, 255, (8, 8), np.uint8)).save(folder / f"{k}.png")
    >>> found = suggest_pictures(folder, run.folder, count=2)
    >>> found.pictures, len(found.rows), found.rows[0].suggested in run.model.classes
    (4, 2, True)
    """
    if count < 1:
        raise DataError("count", say("there must be one picture or more to suggest"), got=count, hint="--count 50")
    model = load_model(run) if run is not None else load_features_model()
    named = [pictures] if isinstance(pictures, str | Path) else list(pictures)
    files = list(dict.fromkeys(str(Path(file).absolute()) for file in list_image_files(map(str, named))))
    known = set() if run is None else list_known_files(run)
    left = [file for file in files if file not in known]
    if not left:
        what = say("every one of these pictures has a label already")
        raise DataError(str(named[0]), what, got=say("{count:,} pictures", count=len(files)))
    path = find_feature_path(model.net) if run is None else None
    seen = see_files(model, left, path, watch)
    if not len(seen.files):
        raise DataError(str(named[0]), say("none of these files can be read as a picture"), got=seen.skipped[0].why)
    if run is None:
        places = place_features(seen.values)
        chosen = order_by_kind(places, places[:0], None, count)
        rows = tuple(Suggestion(seen.files[row]) for row in chosen)
    else:
        chosen = order_by_margin(seen.values, seen.values[:0], seen.values, count)
        rows = tuple(name_suggestion(model, seen.files[row], seen.values[row]) for row in chosen)
    return Suggestions(rows, len(files), seen.skipped)


def load_features_model() -> Model:
    """The published net whose features say which pictures are alike."""
    from ..model.opening import load

    return load(FEATURES_OF)


class SeenFiles(NamedTuple):
    """The files that are pictures, and a row of values for each: probabilities N×K, or features N×d."""

    files: list[str]
    values: np.ndarray
    skipped: tuple[Skipped, ...]


def see_files(model: Model, files: Sequence[str], path: str | None, watch: Watch | None) -> SeenFiles:
    """The values at `path` of each picture, or, where that is None, its probabilities; with as many in memory as are
    looked at at once.
    """
    kept: list[str] = []
    skipped: list[Skipped] = []
    parts: list[np.ndarray] = []

    def prepare(file: str) -> Any:
        try:
            return model.prepared(find_image(file))
        except DataError as e:
            return Skipped(file, e.what)

    for low in range(0, len(files), PICTURES_AT_ONCE):
        names = files[low : low + PICTURES_AT_ONCE]
        made = list(map_in_threads(prepare, names))
        skipped += [one for one in made if isinstance(one, Skipped)]
        images = [one for one in made if not isinstance(one, Skipped)]
        kept += [name for name, one in zip(names, made, strict=True) if not isinstance(one, Skipped)]
        if images:
            x = np.stack(images)
            parts.append(model.probabilities(x) if path is None else model.read_features(x, path)[0])
        if watch is not None:
            watch.loading(say("pictures"), low + len(names), len(files))
    return SeenFiles(kept, np.concatenate(parts) if parts else np.zeros((0, 1)), tuple(skipped))


def name_suggestion(model: Model, file: str, p: np.ndarray) -> Suggestion:
    first, second = np.argsort(-p, kind="stable")[:2]
    return Suggestion(file, model.classes[first], float(p[first]), model.classes[second], float(p[second]))


def format_suggestions(found: Suggestions) -> str:
    """The table as CSV: a column `label` to fill in, and beside it what each is taken for, where there was a run."""
    rows = [
        (row.file, "", row.suggested, f"{row.probability:.4f}", row.other, f"{row.other_probability:.4f}")
        for row in found.rows
    ]
    told = any(row.suggested is not None for row in found.rows)
    return format_csv_rows(row if told else row[:2] for row in (COLUMNS, *rows))
