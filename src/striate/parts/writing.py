"""One part: the answers for a slice of the pictures, and the files among them that are no pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from ..data.images import Skipped
from ..data.sources.remote import StorageError, is_remote
from ..errors import DataError
from ..language import render_text
from ..model.fetch import is_url
from ..model.prediction import IMAGES_A_PIECE, Prediction, TableForm, find_image, judge_images, name_predictions
from ..terminal import format_row
from ..threads import map_in_threads
from .place import PartsFolder, name_part, name_unreadable
from .plan import PartsPlan

# Of a storage or the web, in each process.
ADDRESSES_AT_ONCE = 8
UNREADABLE_COLUMNS = ("file", "reason")


class PartCount(NamedTuple):
    """What became of a slice."""

    part: int
    rows: int
    unreadable: int


def write_part(model: Any, place: PartsFolder, plan: PartsPlan, number: int, names: Sequence[str]) -> PartCount:
    """Predict these pictures and put their rows into part `number`, in their order. What is no picture goes into a
    table of its own, which is written first: the part is the sign that both are whole. Raises RunError.
    """
    form = TableForm(
        model.classes, plan.all_probabilities, unsure=model.abstention is not None, unlike=model.tells_strange
    )
    top = len(model.classes) if plan.all_probabilities else 1
    skipped: list[Skipped] = []
    answers: list[Prediction] = []
    for answer in answer_in_turn(model, names, top):
        (skipped if isinstance(answer, Skipped) else answers).append(answer)  # type: ignore[arg-type]
    write_unreadable(place, name_unreadable(number), skipped)
    write = write_parquet_part if plan.format == "parquet" else write_csv_part
    write(place, name_part(number, plan.format), form, answers)
    return PartCount(number, len(answers), len(skipped))


def answer_in_turn(model: Any, names: Sequence[str], top: int) -> Iterator[Prediction | Skipped]:
    """The answer for each file, a few computed at once, in this thread alone: other parts have the other cores."""
    coming = fetch_ahead(names)
    while some := list(islice(coming, IMAGES_A_PIECE)):
        found = [one if isinstance(one, Skipped) else try_image(model, name, one) for name, one in some]
        good = [(name, image) for (name, _), image in zip(some, found, strict=True) if not isinstance(image, Skipped)]
        files, images = [name for name, _ in good], [image for _, image in good]
        judged = judge_images(model, np.stack(images)) if good else np.empty((0, len(model.classes)))
        answers = iter(name_predictions(model, files, judged, top))
        yield from (image if isinstance(image, Skipped) else next(answers) for image in found)


def fetch_ahead(names: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """Each name with what `find_image` finds, or Skipped. Addresses are read before they are needed: most of the time
    that one takes is waiting. Raises StorageError: a storage that does not answer is no fault of the picture.
    """
    if not any(is_remote(name) or is_url(name) for name in names):
        return ((name, name) for name in names)
    return map_in_threads(lambda name: (name, try_bytes(name)), names, ADDRESSES_AT_ONCE)


def try_bytes(name: str) -> Any:
    try:
        return find_image(name)
    except StorageError:
        raise
    except DataError as e:
        return Skipped(name, e.what)


def try_image(model: Any, name: str, image: Any) -> np.ndarray | Skipped:
    try:
        return model.prepared(image)
    except DataError as e:
        return Skipped(name, e.what)


def write_unreadable(place: PartsFolder, name: str, skipped: Sequence[Skipped]) -> None:
    """A row for each, in English whatever is spoken; no file where there is none."""
    if not skipped:
        place.remove_file(name)
        return
    rows = [UNREADABLE_COLUMNS, *((item.file, str(render_text(item.why, "en"))) for item in skipped)]
    place.keep_file(name, encode_rows(rows))


def write_csv_part(place: PartsFolder, name: str, form: TableForm, answers: Sequence[Prediction]) -> None:
    place.keep_file(name, encode_rows([form.columns, *map(form.cells, answers)]))


def encode_rows(rows: Sequence[Sequence[str]]) -> bytes:
    """As UTF-8, the bytes of names that are none kept as they are."""
    return "".join(format_row(row, ",") + "\n" for row in rows).encode("utf-8", "surrogateescape")


def write_parquet_part(place: PartsFolder, name: str, form: TableForm, answers: Sequence[Prediction]) -> None:
    """Probabilities as 64-bit floats, unsure and unlike as truth values, the rest as text."""
    import pyarrow
    from pyarrow import parquet

    from ..data.listing import escape_name

    columns: dict[str, Any] = {form.columns[0]: pyarrow.array([escape_name(a.file) for a in answers], pyarrow.string())}
    if form.everything:
        told = [dict(answer.top) for answer in answers]
        for label in form.classes:
            columns[label] = pyarrow.array([row[label] for row in told], pyarrow.float64())
    else:
        columns["label"] = pyarrow.array([answer.label for answer in answers], pyarrow.string())
        columns["probability"] = pyarrow.array([answer.probability for answer in answers], pyarrow.float64())
        if form.unsure:
            columns["unsure"] = pyarrow.array([answer.unsure for answer in answers], pyarrow.bool_())
        if form.unlike:
            columns["unlike"] = pyarrow.array([answer.unlike for answer in answers], pyarrow.bool_())
    table = pyarrow.Table.from_arrays(list(columns.values()), names=list(columns))
    place.keep_file_by(name, lambda temporary: parquet.write_table(table, temporary))
