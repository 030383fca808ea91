"""Millions of pictures: their answers in parts, with flat memory, by several processes, going on after a kill."""

from __future__ import annotations

import csv
import io
import os
import time
from array import array
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from ..errors import DataError, StriateError
from ..extras import need_package
from ..language import say
from ..model.prediction import count_workers
from .crew import share_parts
from .holding import hold_folder
from .place import PartsFolder, name_part, open_folder
from .plan import (
    PART_FORMATS,
    ROWS_PER_PART,
    PartsPlan,
    Slice,
    begin_parts,
    check_folder,
    check_resumed,
    check_same,
    digest_model,
    is_half,
    list_names,
    read_plan,
    stream_pictures,
    write_names,
)
from .progress import PartsProgress
from .writing import PartCount

ENGINES = ("processes", "ray")


class PartsDone(NamedTuple):
    """A folder of parts that is whole.

    folder      of this machine, or an address
    pictures    all that were named
    unreadable  of them no picture; the rest have a row each
    parts       files;  written  of them by this call
    """

    folder: Path | str
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
            told = say("{told} ({table})", told=told, table=f"{self.folder}/_unreadable-….csv")
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
    engine: str = "processes",
    weights: str | None = None,
    on_part: Callable[[PartsProgress], None] | None = None,
) -> PartsDone:
    """Predict any number of pictures into the folder `out`: part-00000.csv and so on, each written whole.

    run                what `striate.load` takes
    pictures           folders, tables with a column of files, files, and addresses such as s3://bucket/photos (`cloud`)
    out                a folder, or an address of a storage such as s3://bucket/parts
    resume             go on with what was begun in `out`, or begin. No row comes twice, none is missing
    rows_per_part      pictures a part; those that are unreadable are in _unreadable-00000.csv
    format             "csv", as `striate predict --csv`, or "parquet"
    all_probabilities  a column for each class, instead of label and probability
    workers            processes, each with one thread; None: a core each
    engine             "processes" of this machine, or "ray": of a cluster (`striate[ray]`), with the same parts
    on_part            told of each part that is done, and how far the whole is
    Raises RunError where `out` was begun with another model, other pictures or other options, where another process
    writes there, and where a process ends.

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
    check_options(format, rows_per_part, workers, engine)
    place = open_folder(out)
    sources = [pictures] if isinstance(pictures, str | Path) else list(pictures)
    check_folder(place)
    model = digest_model(str(run), weights)
    with hold_folder(place) as check_held:
        plan, starts = prepare_parts(
            place, list(map(str, sources)), resume, run=os.path.abspath(run) if os.path.exists(run) else str(run),
            model=model, weights=weights, rows_per_part=rows_per_part, format=format,
            all_probabilities=all_probabilities,
        )  # fmt: skip
        found = place.list_files()
        slices = [one for one in list_slices(plan, starts) if name_part(one.part, format) not in found]
        with closing(start_engine(engine, place, plan, slices, workers)) as counts:
            for now in follow_counts(counts, plan, slices):
                check_held()
                if on_part:
                    on_part(now)
        unreadable = count_unreadable(place)
    return PartsDone(
        Path(place.root) if place.storage is None else place.address,
        plan.pictures, unreadable, plan.parts, len(slices),
    )  # fmt: skip


def start_engine(
    engine: str, place: PartsFolder, plan: PartsPlan, slices: list[Slice], workers: int | None
) -> Generator[PartCount, None, None]:
    """What becomes of these slices, as they are done, in whatever order."""
    if engine == "ray":
        from .on_ray import share_on_ray

        return share_on_ray(place, plan, slices, workers)
    return share_parts(place, slices, min(workers or count_workers(), len(slices)))


def follow_counts(counts: Iterator[PartCount], plan: PartsPlan, slices: list[Slice]) -> Iterator[PartsProgress]:
    began, pictures, left = time.monotonic(), 0, sum(one.rows for one in slices)
    for number, count in enumerate(counts, plan.parts - len(slices) + 1):
        some = count.rows + count.unreadable
        pictures, left = pictures + some, left - some
        yield PartsProgress(*count, number, plan.parts, pictures, left, time.monotonic() - began)


def check_options(format: str, rows_per_part: int, workers: int | None, engine: str) -> None:
    """Raise StriateError for an option that cannot be."""
    if format not in PART_FORMATS:
        raise StriateError("--format", say("there is no such format"), got=format, hint=" or ".join(PART_FORMATS))
    if engine not in ENGINES:
        raise StriateError("--engine", say("there is no such engine"), got=engine, hint=" or ".join(ENGINES))
    for option, number in (("--rows-per-part", rows_per_part), ("--workers", workers)):
        if number is not None and number < 1:
            raise StriateError(option, say("expected at least 1"), got=number)
    if format == "parquet":
        need_package("pyarrow", "--format parquet")
    if engine == "ray":
        need_package("ray", "--engine ray")


def prepare_parts(
    place: PartsFolder, sources: list[str], resume: bool, *, run: str, model: str, weights: str | None,
    rows_per_part: int, format: str, all_probabilities: bool,
) -> tuple[PartsPlan, array]:  # fmt: skip
    """The plan, written down or the same as the one that is there, and the byte at which each part's names begin."""
    begun = read_plan(place)
    check_resumed(place, begun, resume)
    pictures = stream_pictures(sources)
    if begun is None:
        count, names, starts = write_names(place, pictures, rows_per_part)
    else:
        count, names, starts = list_names(pictures, rows_per_part)
    if not count:
        raise DataError(", ".join(sources), say("there is no picture"))
    plan = PartsPlan(
        run=run, weights=weights, model=model, pictures=count, names=names,
        rows_per_part=rows_per_part, format=format, all_probabilities=all_probabilities,
    )  # fmt: skip
    if begun is not None:
        check_same(place, begun, plan)
    for name in place.list_files():
        if is_half(name):
            place.remove_file(name)
    begin_parts(place, plan)
    return plan, starts


def list_slices(plan: PartsPlan, starts: array) -> Iterator[Slice]:
    for k in range(plan.parts):
        rows = min(plan.rows_per_part, plan.pictures - k * plan.rows_per_part)
        yield Slice(k, starts[k], starts[k + 1] - starts[k], rows)


def count_unreadable(place: PartsFolder) -> int:
    """The rows of all tables of unreadable files."""
    total = 0
    for name in place.list_files():
        if name.startswith("_unreadable-"):
            table = io.StringIO(place.read_file(name).decode("utf-8", "surrogateescape"), newline="")
            total += sum(1 for _ in csv.reader(table)) - 1
    return total
