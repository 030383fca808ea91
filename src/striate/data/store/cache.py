"""The platform's cache folder for pixels: what a file in it is known by, how it is written, and when it goes."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import platformdirs
from PIL import __version__ as pillow

from ...errors import DataError
from ...file_lock import lock_opened
from ...language import say
from ..listing import Entry, HubFile
from ..read.decode import MAX_PIXELS
from ..read.depth import Depth
from ..read.npy_head import read_npy_head
from .rows import ImageRecords, MappedStore, RowsShape

# Of decoding and of these files' form; a change of either makes the old files useless.
CACHE_POLICY = "2"
# Seconds after which a file of the cache that no one has used is deleted when a new one is written.
UNUSED_SECONDS = 30 * 24 * 3600
DAY_SECONDS = 24 * 3600
PART_SUFFIX = ".part"
# Of an archive that was unpacked, and of a table that was taken out of one: they are read from the middle.
UNPACKED_SUFFIXES = (".tar", ".parquet")

# The account of all images of a source, and why the rows that cannot be used cannot.
Survey = tuple[ImageRecords, dict[int, str]]


def find_cache_folder() -> Path:
    """Where decoded images are kept: the platform's cache folder (on Linux ~/.cache/striate/images)."""
    return Path(platformdirs.user_cache_dir("striate", appauthor=False)) / "images"


def choose_cache_file(
    entries: Sequence[Entry],
    size: tuple[int, int],
    channels: int,
    fit: str,
    depth: Depth | None = None,
    alpha: bool = False,
) -> Path:
    """The file for the images' pixels, named by what these depend on: which files, as they are now, and how decoded.

    A file is known by its name in the source, its size and the times of its last changes of content and of state;
    an image inside a larger file by that file's, and its place.
    """
    policy = [CACHE_POLICY, pillow, MAX_PIXELS, *size, channels, fit, *(depth or ()), *(["alpha"] if alpha else [])]
    whole = hashlib.sha256(json.dumps(policy).encode())
    known: dict[Path, tuple[object, ...]] = {}
    for entry in entries:
        whole.update(json.dumps([entry.file, describe_state(entry, known)]).encode())
    return find_cache_folder() / f"{whole.hexdigest()}.npy"


def describe_state(entry: Entry, known: dict[Path, tuple[object, ...]]) -> list[object]:
    """What changes when the image's file does."""
    if isinstance(entry.path, HubFile):
        return [entry.path.key]
    path, *place = entry.path if isinstance(entry.path, tuple) else (entry.path,)  # a place in a larger file
    assert isinstance(path, Path)
    if path not in known or path is entry.path:
        known[path] = describe_file(path)
    return [*known[path], *place]


def describe_file(path: Path) -> tuple[object, ...]:
    """What changes when a file does: its size and times.

    Of what was unpacked into the cache folder, whose times each use of it changes: the name, which says of what.
    """
    unpacked = path.suffix in UNPACKED_SUFFIXES and path.parent == find_cache_folder()
    return (path.name,) if unpacked else read_file_state(path)


def read_file_state(path: Path) -> tuple[int, ...]:
    """A file's size and the times of its last changes; empty where it is not there."""
    try:
        seen = path.stat()
    except (OSError, ValueError):
        return ()
    return seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns


def open_pixels(place: Path, shape: RowsShape, account: ImageRecords) -> MappedStore | None:
    """The rows kept at `place`, all of `shape` or the first of them; None where there are none that can be read."""
    try:
        with place.open("rb") as opened:
            head, start = read_npy_head(opened), opened.tell()
            if head.shape[1:] != shape[1:] or opened.seek(0, os.SEEK_END) != start + head.nbytes:
                return None
        os.utime(place)
    except (OSError, ValueError):
        return None
    return MappedStore(place, start, (head.shape[0], *shape[1:]), account)


def locate_account(place: Path) -> Path:
    return place.with_suffix(".npz")


def read_account(place: Path) -> Survey | None:
    """The account kept beside the pixels' `place`; None where there is none that can be read."""
    try:
        with locate_account(place).open("rb") as opened, np.load(opened, allow_pickle=False) as held:
            bad = {int(row): str(reason) for row, reason in json.loads(str(held["bad"]))}
            found = ImageRecords(held["digests"], held["sums"]), bad
        os.utime(locate_account(place))
        return found
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile):
        return None


def save_account(place: Path, account: ImageRecords, bad: dict[int, str]) -> None:
    with write_whole(locate_account(place)) as part:
        np.savez(part, digests=account.digests, sums=account.sums, bad=np.array(json.dumps(list(bad.items()))))


@contextmanager
def write_whole(place: Path) -> Iterator[BinaryIO]:
    """A file to be written beside `place`, which it becomes in the end: whole, or not at all. Raises DataError."""
    part = None
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=place.parent, prefix=place.name, suffix=PART_SUFFIX, delete=False) as part:
            lock_opened(part.fileno())
            yield part  # type: ignore[misc]
            part.flush()
            os.fsync(part.fileno())
        os.replace(part.name, place)
    except BaseException as e:
        if part is not None:
            Path(part.name).unlink(missing_ok=True)
        if isinstance(e, OSError):
            what = say("decoded images cannot be kept here: {why}", why=e.strerror or e)
            raise DataError(str(place.parent), what, hint=say("allow more memory, or free some space there")) from None
        raise


def delete_unused() -> None:
    """Delete what no run has used for 30 days, and what a run that was killed left half written."""
    now = time.time()
    for path in find_cache_folder().iterdir() if find_cache_folder().is_dir() else ():
        try:
            age = now - path.stat().st_mtime
            if (path.suffix in (".npy", ".npz", *UNPACKED_SUFFIXES) and age > UNUSED_SECONDS) or (
                path.suffix == PART_SUFFIX and is_abandoned(path, age)
            ):
                path.unlink()
        except OSError:  # another process was first, or holds it open
            continue


def is_abandoned(part: Path, age: float) -> bool:
    """Whether no process writes the file any more: none has it locked, or nothing has come for a day."""
    with part.open("rb") as opened:
        return lock_opened(opened.fileno()) is True or age > DAY_SECONDS


def count_fitting_rows(rows: int, size: int) -> int:
    """How many of so many rows of `size` bytes have room in the cache folder; a twentieth of the disk is left over."""
    ground = next(path for path in [find_cache_folder(), *find_cache_folder().parents] if path.exists())
    if not ground.is_dir() or not os.access(ground, os.W_OK):
        return 0
    disk = shutil.disk_usage(ground)
    return max(0, min(rows, int(disk.free - disk.total / 20) // size))
