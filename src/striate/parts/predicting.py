"""Millions of pictures: their answers in parts, with flat memory, by several processes, going on after a kill."""

from __future__ import annotations

import csv
import os
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from ..errors import DataError, StriateError
from ..extras import need_package
from ..language import say
from ..model.prediction import count_workers
from .crew import share_parts
from .plan import (
    PART_FORMATS,
    ROWS_PER_PART,
    PartsFolder,
    PartsPlan,
    Slice,
    begin_parts,
    check_folder,
    check_same,
    digest_model,
    stream_pictures,
    write_names,
)
from .writing import PartCount


class PartsDone(NamedTuple):
    """A folder of parts that is whole.

    pictures    all that were named
    unreadable  of them no picture; the rest have a row each
    parts       files;  written  of them by this call
    """

    folder: Path
    pictures: int
    unreadable: int
    parts: int
    written: int

    def __str__(self) -> str:
        rows = self.pictures - self.unreadable
        told = say(
            "{folder}: {rows:,} rows in {parts:,} parts, {unreadable:,} unreadable",
            folder=self.folder,
            rows=rows,
            parts=self.parts,
            unreadable=self.unreadable,
        )
        if self.unreadable:
            told = say("{told} ({table})", told=told, table=self.folder / "_unreadable-….csv")
        return told


def predict_to_parts(
    run: str | Path,
    pictures: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    resume: bool = False,
    rows_per_part: int = ROWS_PER_PART,
    format: str = "csv",
    all_probabilities: bool = False,
    workers: int | None = None,
    weights: str | None = None,
    on_part: Callable[[PartCount, int], None] | None = None,
) -> PartsDone:
    """Predict any number of pictures into the folder `out`: part-00000.csv and so on, each written whole.

    run                what `striate.load` takes
    pictures           folders, tables with a column of files, files, and addresses such as s3://bucket/photos (`cloud`)
    resume             go on with what was begun in `out`, or begin. No row comes twice, none is missing
    rows_per_part      pictures a part; those that are unreadable are in _unreadable-00000.csv
    format             "csv", as `striate predict --csv`, or "parquet"
    all_probabilities  a column for each class, instead of label and probability
    workers            processes, each with one thread; None: a core each
    on_part            told of each part that is done, and how many parts there are
    Raises RunError where `out` was begun with another model, other pictures or other options, or where a process ends.

    >>> import tempfile
    >>> from PIL import Image
    >>> from pathlib import Path
    >>> place = Path(tempfile.mkdtemp())
    >>> (place / "photos").mkdir()
    >>> Image.new("RGB", (300, 200)).save(place / "photos" / "a.png")
    >>> done = predict_to_parts("efficientnet_lite0", place / "photos", place / "answers")
    >>> done.pictures, done.parts, sorted(path.name for path in done.folder.iterdir())
    (1, 1, ['_pictures.jsonl', '_plan.json', 'part-00000.csv'])
    """
    check_options(format, rows_per_part, workers)
    place = PartsFolder(Path(out))
    sources = [pictures] if isinstance(pictures, str | Path) else list(pictures)
    plan, starts = prepare_parts(
        place, list(map(str, sources)), resume, run=os.path.abspath(run) if os.path.exists(run) else str(run),
        weights=weights, rows_per_part=rows_per_part, format=format, all_probabilities=all_probabilities,
    )  # fmt: skip
    done = {k for k in range(plan.parts) if place.part(k, format).exists()}
    left = list_slices(plan, starts, done)
    written = 0
    crew = min(workers or count_workers(), plan.parts - len(done))
    with closing(share_parts(place, left, crew)) as counts:
        for count in counts:
            written += 1
            if on_part:
                on_part(count, plan.parts)
    return PartsDone(place.folder, plan.pictures, count_unreadable(place, plan), plan.parts, written)


def check_options(format: str, rows_per_part: int, workers: int | None) -> None:
    """Raise StriateError for an option that cannot be."""
    if format not in PART_FORMATS:
        raise StriateError("--format", say("there is no such format"), got=format, hint=" or ".join(PART_FORMATS))
    for option, number in (("--rows-per-part", rows_per_part), ("--workers", workers)):
        if number is not None and number < 1:
            raise StriateError(option, say("expected at least 1"), got=number)
    if format == "parquet":
        need_package("pyarrow", "--format parquet")


def prepare_parts(
    place: PartsFolder, sources: list[str], resume: bool, *, run: str, weights: str | None, rows_per_part: int,
    format: str, all_probabilities: bool,
) -> tuple[PartsPlan, array]:  # fmt: skip
    """The plan, written down or the same as the one that is there, and the byte at which each part's names begin."""
    begun = check_folder(place, resume)
    model = digest_model(run, weights)
    listing = place.names if begun is None else place.names.with_name(f".{place.names.name}.now.part")
    try:
        count, names, starts = write_names(stream_pictures(sources), listing, rows_per_part)
        plan = PartsPlan(
            run=run, weights=weights, model=model, pictures=count, names=names,
            rows_per_part=rows_per_part, format=format, all_probabilities=all_probabilities,
        )  # fmt: skip
        if not count:
            raise DataError(", ".join(sources), say("there is no picture"))
        if begun is not None:
            check_same(place, begun, plan)
    finally:
        if begun is not None:
            listing.unlink(missing_ok=True)
    for left in place.folder.glob(".*.part"):
        left.unlink(missing_ok=True)
    begin_parts(place, plan)
    return plan, starts


def list_slices(plan: PartsPlan, starts: array, done: set[int]) -> Iterator[Slice]:
    for k in range(plan.parts):
        if k not in done:
            yield Slice(k, starts[k], min(plan.rows_per_part, plan.pictures - k * plan.rows_per_part))


def count_unreadable(place: PartsFolder, plan: PartsPlan) -> int:
    """The rows of all tables of unreadable files."""
    total = 0
    for k in range(plan.parts):
        if (path := place.unreadable(k)).exists():
            with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
                total += sum(1 for _ in csv.reader(file)) - 1
    return total
