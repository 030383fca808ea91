"""What a folder of parts is the answer to: the pictures, in slices, and all that decides what is said of them.

The names of the pictures are written down once, a line each, before anything is computed. Part k has the answers for
the k-th slice of these lines. So what is done is told by the names of the parts that are there, each written whole or
not at all, and what is left by those that are missing: whoever goes on after a kill can do nothing twice.
"""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, NamedTuple

import msgspec

from ..atomic_file import write_file, write_file_by
from ..data.sources.file_column import STREAMED_TABLES, stream_file_column
from ..data.sources.folder import list_image_files
from ..errors import RunError
from ..language import say
from ..model.model import Model
from ..model.opening import load

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
    """The lines of a part: `rows` of them, from the byte `start` of the file of names on."""

    part: int
    start: int
    rows: int


class PartsFolder(NamedTuple):
    """Where what is called how. Names with a "_" are passed over by what reads a folder of Parquet files."""

    folder: Path

    @property
    def plan(self) -> Path:
        return self.folder / "_plan.json"

    @property
    def names(self) -> Path:
        return self.folder / "_pictures.jsonl"

    def part(self, number: int, format: str) -> Path:
        return self.folder / f"part-{number:05}.{format}"

    def unreadable(self, number: int) -> Path:
        return self.folder / f"_unreadable-{number:05}.csv"


def stream_pictures(sources: Iterable[str]) -> Iterator[str]:
    """The pictures of folders, tables, addresses and files. Raises DataError."""
    for source in sources:
        if Path(source).suffix.lower() in STREAMED_TABLES and Path(source).is_file():
            yield from stream_file_column(Path(source))
        else:
            yield from list_image_files([source])


def write_names(pictures: Iterable[str], path: Path, rows_per_part: int) -> tuple[int, str, array]:
    """A line of JSON for each picture: how many, the sha256 of the file, and the byte at which each part begins."""
    seen, count, starts, at = hashlib.sha256(), 0, array("q"), 0

    def fill(temporary: Path) -> None:
        nonlocal count, at
        with open(temporary, "wb") as file:
            for name in pictures:
                line = json.dumps(name).encode() + b"\n"
                if count % rows_per_part == 0:
                    starts.append(at)
                file.write(line)
                seen.update(line)
                count, at = count + 1, at + len(line)

    write_file_by(path, fill)
    return count, seen.hexdigest(), starts


def read_names(file: IO[bytes], slice: Slice) -> list[str]:
    file.seek(slice.start)
    return [json.loads(file.readline()) for _ in range(slice.rows)]


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
    write_file(place.plan, msgspec.json.format(msgspec.json.encode(plan), indent=2))


def read_plan(place: PartsFolder) -> PartsPlan | None:
    """The plan of a folder that has been begun; None of one that has not. Raises RunError."""
    try:
        return msgspec.json.decode(place.plan.read_bytes(), type=PartsPlan)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as e:
        raise RunError(str(place.plan), say("this file cannot be read: {why}", why=e)) from None


def check_folder(place: PartsFolder, resume: bool) -> PartsPlan | None:
    """What was begun here, if that is to go on. Raises RunError for a folder of somebody, or begun without `resume`."""
    if place.folder.exists() and not place.folder.is_dir():
        raise RunError(str(place.folder), say("this is a file, not a folder"), hint=say("another name with --out"))
    begun = read_plan(place)
    if begun is not None and not resume:
        what = say("predictions were begun in this folder")
        raise RunError(str(place.folder), what, hint=say("--resume goes on with them; or another name with --out"))
    if begun is None and place.folder.is_dir():
        others = [item.name for item in place.folder.iterdir() if not is_begun(item.name, place)]
        if others:
            what = say("this folder holds other files")
            raise RunError(str(place.folder), what, got=min(others), hint=say("another name with --out"))
    return begun


def is_begun(name: str, place: PartsFolder) -> bool:
    """Whether a file is what a start that was killed before its plan stood has left."""
    return name == place.names.name or name.startswith(".") and name.endswith(".part")


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
            str(place.folder),
            say("these predictions were begun otherwise: {name}", name=name),
            got=str(now)[:16] if field == "model" else now,
            rule=say("as it began: {before}", before=str(before)[:16] if field == "model" else before),
            hint=say("another name with --out"),
        )
