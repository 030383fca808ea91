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

from ..errors import DataError
from .decode import MAX_PIXELS
from .listing import Entry, Held, Member
from .npy import read_head
from .rows import Account, Mapped, Shape

POLICY = "2"
"""Of decoding and of these files' form; a change of either makes the old files useless."""
UNUSED = 30 * 24 * 3600
"""Seconds after which a file of the cache that no one has used is deleted when a new one is written."""
DAY = 24 * 3600
PART = ".part"

Surveyed = tuple[Account, dict[int, str]]
"""The account of all images of a source, and why the rows that cannot be used cannot."""


def folder() -> Path:
    """Where decoded images are kept: the platform's cache folder (on Linux ~/.cache/striate/images)."""
    return Path(platformdirs.user_cache_dir("striate", appauthor=False)) / "images"


def place_for(entries: Sequence[Entry], size: tuple[int, int], channels: int, fit: str) -> Path:
    """The file for the images' pixels, named by what these depend on: which files, as they are now, and how decoded.

    A file is known by its name in the source, its size and the times of its last changes of content and of state;
    an image inside a larger file by that file's, and its place.
    """
    policy = [POLICY, pillow, MAX_PIXELS, *size, channels, fit]
    whole = hashlib.sha256(json.dumps(policy).encode())
    known: dict[Path, tuple[int, ...]] = {}
    for entry in entries:
        whole.update(json.dumps([entry.file, state(entry, known)]).encode())
    return folder() / f"{whole.hexdigest()}.npy"


def state(entry: Entry, known: dict[Path, tuple[int, ...]]) -> list[object]:
    """What changes when the image's file does."""
    if isinstance(entry.path, Held):
        return [entry.path.key]
    path = entry.path.path if isinstance(entry.path, Member) else entry.path
    assert isinstance(path, Path)
    if path not in known or path is entry.path:
        known[path] = file_state(path)
    place = [entry.path.start, entry.path.size] if isinstance(entry.path, Member) else []
    return [*known[path], *place]


def file_state(path: Path) -> tuple[int, ...]:
    """A file's size and the times of its last changes; empty where it is not there."""
    try:
        seen = path.stat()
    except (OSError, ValueError):
        return ()
    return seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns


def pixels_at(place: Path, shape: Shape, account: Account) -> Mapped | None:
    """The rows kept at `place`, all of `shape` or the first of them; None where there are none that can be read."""
    try:
        with place.open("rb") as opened:
            head, start = read_head(opened), opened.tell()
            if head.shape[1:] != shape[1:] or opened.seek(0, os.SEEK_END) != start + head.nbytes:
                return None
        os.utime(place)
    except (OSError, ValueError):
        return None
    return Mapped(place, start, (head.shape[0], *shape[1:]), account)


def account_file(place: Path) -> Path:
    return place.with_suffix(".npz")


def account_of(place: Path) -> Surveyed | None:
    """The account kept beside the pixels' `place`; None where there is none that can be read."""
    try:
        with account_file(place).open("rb") as opened, np.load(opened, allow_pickle=False) as held:
            bad = {int(row): str(reason) for row, reason in json.loads(str(held["bad"]))}
            found = Account(held["digests"], held["sums"]), bad
        os.utime(account_file(place))
        return found
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile):
        return None


def save_account(place: Path, account: Account, bad: dict[int, str]) -> None:
    with whole(account_file(place)) as part:
        np.savez(part, digests=account.digests, sums=account.sums, bad=np.array(json.dumps(list(bad.items()))))


@contextmanager
def whole(place: Path) -> Iterator[BinaryIO]:
    """A file to be written beside `place`, which it becomes in the end: whole, or not at all. Raises DataError."""
    part = None
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=place.parent, prefix=place.name, suffix=PART, delete=False) as part:
            locked(part.fileno())
            yield part  # type: ignore[misc]
            part.flush()
            os.fsync(part.fileno())
        os.replace(part.name, place)
    except BaseException as e:
        if part is not None:
            Path(part.name).unlink(missing_ok=True)
        if isinstance(e, OSError):
            what = f"decoded images cannot be kept here: {e.strerror or e}"
            raise DataError(str(place.parent), what, hint="allow more memory, or free some space there") from None
        raise


def tidy() -> None:
    """Delete what no run has used for 30 days, and what a run that was killed left half written."""
    now = time.time()
    for path in folder().iterdir() if folder().is_dir() else ():
        try:
            age = now - path.stat().st_mtime
            if (path.suffix in (".npy", ".npz") and age > UNUSED) or (path.suffix == PART and left(path, age)):
                path.unlink()
        except OSError:  # another process was first, or holds it open
            continue


def left(part: Path, age: float) -> bool:
    """Whether no process writes the file any more: none has it locked, or nothing has come for a day."""
    with part.open("rb") as opened:
        return locked(opened.fileno()) or age > DAY


def locked(number: int) -> bool:
    """Lock the open file `number` until it is closed; False where another process has it, or where none can."""
    try:
        import fcntl

        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (ImportError, OSError):
        return False
    return True


def fitting(rows: int, size: int) -> int:
    """How many of so many rows of `size` bytes have room in the cache folder; a twentieth of the disk is left over."""
    ground = next(path for path in [folder(), *folder().parents] if path.exists())
    if not ground.is_dir() or not os.access(ground, os.W_OK):
        return 0
    disk = shutil.disk_usage(ground)
    return max(0, min(rows, int(disk.free - disk.total / 20) // size))
