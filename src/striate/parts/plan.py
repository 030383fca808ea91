"""What a folder of parts is the answer to: the pictures, in slices, and all that decides what is said of them.

The names of the pictures are written down once, a line each, before anything is computed. Part k has the answers for
the k-th slice of these lines. So what is done is told by the names of the parts that are there, each written whole or
not at all, and what is left by those that are missing: whoever goes on after a kill can do nothing twice.
"""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from ..data.sources.file_column import STREAMED_TABLES, stream_file_column
from ..data.sources.folder import list_image_files
from ..errors import RunError
from ..language import say
from ..model.model import Model
from ..model.opening import load
from .place import NAMES, PLAN, WRITER, PartsFolder

ROWS_PER_PART = 10_000
PART_FORMATS = ("csv", "parquet")


class PartsPlan(msgspec.Struct, frozen=True, kw_only=True):
    """All that the rows of a folder of parts depend on, as `_plan.json` has it.

    run, weights  the model's names, as `striate.load` takes them
    model         the sha256 of its file, or of its tensors
    pictures      how many there are;  names  the sha256 of the lines with their names
    """

    run: str
    weights: str | None
    model: str
    pictures: int
    names: str
    rows_per_part: int = ROWS_PER_PART
    format: str = "csv"
    all_probabilities: bool = False

    @property
    def parts(self) -> int:
        return -(-self.pictures // self.rows_per_part)


class Slice(NamedTuple):
    """The lines of a part: `rows` of them, `size` bytes of the file of names from the byte `start` on."""

    part: int
    start: int
    size: int
    rows: int


def stream_pictures(sources: Iterable[str]) -> Iterator[str]:
    """The pictures of folders, tables, addresses and files. Raises DataError."""
    for source in sources:
        if Path(source).suffix.lower() in STREAMED_TABLES and Path(source).is_file():
            yield from stream_file_column(Path(source))
        else:
            yield from list_image_files([source])


def list_names(
    pictures: Iterable[str], rows_per_part: int, write: Callable[[bytes], object] | None = None
) -> tuple[int, str, array]:
    """A line of JSON for each picture, handed to `write`: how many there are, the sha256 of all lines, and the byte at
    which each part begins; behind them, that at which the last one ends.
    """
    seen, count, starts, at = hashlib.sha256(), 0, array("q"), 0
    for name in pictures:
        line = json.dumps(name).encode() + b"\n"
        if count % rows_per_part == 0:
            starts.append(at)
        if write:
            write(line)
        seen.update(line)
        count, at = count + 1, at + len(line)
    starts.append(at)
    return count, seen.hexdigest(), starts


def write_names(place: PartsFolder, pictures: Iterable[str], rows_per_part: int) -> tuple[int, str, array]:
    """`list_names`, the lines written down in the folder."""
    listed: list[tuple[int, str, array]] = []

    def fill(temporary: Path) -> None:
        with open(temporary, "wb") as file:
            listed.append(list_names(pictures, rows_per_part, file.write))

    place.keep_file_by(NAMES, fill)
    return listed[0]


def read_names(place: PartsFolder, slice: Slice) -> list[str]:
    """Raises RunError."""
    return [json.loads(line) for line in place.read_file(NAMES, slice.start, slice.size).splitlines()]


def digest_model(run: str, weights: str | None) -> str:
    """The sha256 of what answers. Raises ModelError."""
    model = load(run, weights)
    if model.path is not None and model.path.is_file():
        with open(model.path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    assert isinstance(model, Model)
    seen = hashlib.sha256(msgspec.json.encode(model.preprocess))
    for name in sorted(model.tensors):
        seen.update(model.tensors[name].tobytes())
    return seen.hexdigest()


def begin_parts(place: PartsFolder, plan: PartsPlan) -> None:
    place.keep_file(PLAN, msgspec.json.format(msgspec.json.encode(plan), indent=2))


def read_plan(place: PartsFolder) -> PartsPlan | None:
    """The plan of a folder that has been begun; None of one that has not. Raises RunError."""
    try:
        return msgspec.json.decode(place.read_file(PLAN), type=PartsPlan)
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError as e:
        raise RunError(place.show_file(PLAN), say("this file cannot be read: {why}", why=e)) from None


def check_folder(place: PartsFolder) -> None:
    """Raise RunError for a file, and for a folder of somebody."""
    if place.is_file():
        raise RunError(place.address, say("this is a file, not a folder"), hint=say("another name with --out"))
    found = place.list_files()
    others = [name for name in found if not is_begun(name)]
    if others and PLAN not in found:
        what = say("this folder holds other files")
        raise RunError(place.address, what, got=min(others), hint=say("another name with --out"))


def check_resumed(place: PartsFolder, begun: PartsPlan | None, resume: bool) -> None:
    """Raise RunError where predictions were begun that are not to be gone on with."""
    if begun is not None and not resume:
        what = say("predictions were begun in this folder")
        raise RunError(place.address, what, hint=say("--resume goes on with them; or another name with --out"))


def is_begun(name: str) -> bool:
    """Whether a file is what a start that was killed before its plan stood has left."""
    return name in (NAMES, WRITER) or is_half(name)


def is_half(name: str) -> bool:
    """Whether a file is one that was being written."""
    return name.startswith(".") and name.endswith(".part")


def check_same(place: PartsFolder, begun: PartsPlan, plan: PartsPlan) -> None:
    """Raise RunError, with what differs, unless both plans are one."""
    told = {
        "model": say("the model"),
        "names": say("the pictures' names"),
        "rows_per_part": "--rows-per-part",
        "format": "--format",
        "all_probabilities": "--all-probabilities",
    }
    for field, name in told.items():
        before, now = getattr(begun, field), getattr(plan, field)
        if before == now:
            continue
        if field == "names":
            before, now = (say("{count:,} pictures", count=one.pictures) for one in (begun, plan))
        raise RunError(
            place.address,
            say("these predictions were begun otherwise: {name}", name=name),
            got=str(now)[:16] if field == "model" else now,
            rule=say("as it began: {before}", before=str(before)[:16] if field == "model" else before),
            hint=say("another name with --out"),
        )
