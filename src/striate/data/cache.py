"""Image files decoded once, and kept in the platform's cache folder until one of them changes."""

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
from typing import BinaryIO, NamedTuple

import numpy as np
import platformdirs
from PIL import __version__ as pillow

from ..errors import DataError
from .decode import MAX_PIXELS, read
from .images import Skipped
from .listing import Entry, Held, Member
from .quiet import quiet
from .reading import CHUNK, Progress, attempt, each, why
from .rows import Account, Mapped, Store, Streamed, digest, totals

POLICY = "1"
"""Of decoding and of these files' form; a change of either makes the old files useless."""
UNUSED = 30 * 24 * 3600
"""Seconds after which a file of the cache that no one has used is deleted when a new one is written."""
DAY = 24 * 3600
PART = ".part"


class Kept(NamedTuple):
    """Decoded images out of memory: the store, a row an entry; the rows that can be used; the files that cannot."""

    store: Store
    rows: list[int]
    skipped: list[Skipped]


Surveyed = tuple[Account, dict[int, str]]


def folder() -> Path:
    """Where decoded images are kept: the platform's cache folder (on Linux ~/.cache/striate/images)."""
    return Path(platformdirs.user_cache_dir("striate", appauthor=False)) / "images"


def key(entries: Sequence[Entry], size: tuple[int, int], channels: int, fit: str) -> str:
    """What the pixels depend on, as hex: which files, as they are now, and how they are decoded.

    A file is known by its name in the source, its size and the times of its last changes of content and of state;
    an image inside a larger file by that file's, and its place.
    """
    policy = [POLICY, pillow, MAX_PIXELS, *size, channels, fit]
    whole = hashlib.sha256(json.dumps(policy).encode())
    known: dict[Path, tuple[int, ...]] = {}
    for entry in entries:
        whole.update(json.dumps([entry.file, state(entry, known)]).encode())
    return whole.hexdigest()


def state(entry: Entry, known: dict[Path, tuple[int, ...]]) -> list[object]:
    """What changes when the image's file does."""
    if isinstance(entry.path, Held):
        return [entry.path.key]
    path = entry.path.path if isinstance(entry.path, Member) else entry.path
    assert isinstance(path, Path)
    if path not in known or path is entry.path:
        try:
            seen = path.stat()
            known[path] = (seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns)
        except OSError:
            known[path] = ()
    place = [entry.path.start, entry.path.size] if isinstance(entry.path, Member) else []
    return [*known[path], *place]


def mapped(
    entries: Sequence[Entry], size: tuple[int, int], channels: int, fit: str,
    *, workers: int | None = None, progress: Progress | None = None,
) -> Kept:  # fmt: skip
    """The images decoded on disk: from the cache where they are there and no file has changed, else put there now.

    Raises DataError where they cannot be written.
    """
    place = folder() / f"{key(entries, size, channels, fit)}.npy"
    found = account_of(place)
    if found is None or not place.exists():
        shape = (len(entries), *size, channels)
        with whole(place) as part:
            np.lib.format.write_array_header_1_0(part, {"descr": "|u1", "fortran_order": False, "shape": shape})
            found = surveyed(entries, size, channels, fit, workers, progress, part)
        save_account(place, *found)
        tidy()
    os.utime(place)
    return kept(Mapped(place, found[0]), entries, found[1])


def streamed(
    entries: Sequence[Entry], size: tuple[int, int], channels: int, fit: str,
    *, workers: int | None = None, progress: Progress | None = None,
) -> Kept:  # fmt: skip
    """The images to be decoded whenever they are used. Each is decoded once now, to know it again; that is kept."""
    place = folder() / f"{key(entries, size, channels, fit)}.npy"
    found = account_of(place)
    if found is None:
        found = surveyed(entries, size, channels, fit, workers, progress, None)
        try:
            save_account(place, *found)
        except DataError:  # it is made again next time
            pass
    return kept(Streamed(entries, size, channels, fit, found[0], workers), entries, found[1])


def kept(store: Store, entries: Sequence[Entry], bad: dict[int, str]) -> Kept:
    rows = [row for row in range(len(entries)) if row not in bad]
    return Kept(store, rows, [Skipped(entries[row].file, reason) for row, reason in bad.items()])


def surveyed(
    entries: Sequence[Entry], size: tuple[int, int], channels: int, fit: str,
    workers: int | None, progress: Progress | None, out: BinaryIO | None,
) -> Surveyed:  # fmt: skip
    """Every image decoded once: its account, and why it cannot be used. The pixels go to `out`, in order.

    An image that cannot be decoded has a row too, of zeros, so that a row's number is its entry's.
    """
    digests = np.zeros((len(entries), 32), np.uint8)
    sums = np.zeros((len(entries), channels, 2), np.int64)
    bad: dict[int, str] = {}
    nothing = np.zeros((*size, channels), np.uint8)

    def work(entry: Entry) -> tuple[np.ndarray, bytes, np.ndarray]:
        image = read(entry.path, size, fit, channels)
        return image, digest(image), totals(image)

    with quiet():
        for row, found in enumerate(each(attempt(work), entries, workers)):
            if isinstance(found, DataError):
                bad[row] = why(found)
                image = nothing
            else:
                image, mark, sums[row] = found
                digests[row] = np.frombuffer(mark, np.uint8)
            if out is not None:
                out.write(np.ascontiguousarray(image).data)
            if progress and (row % CHUNK == CHUNK - 1 or row == len(entries) - 1):
                progress("images", row + 1, len(entries))
    return Account(digests, sums), bad


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
    """Delete what no run has used for 30 days, and what a run that was killed left half written for one."""
    now = time.time()
    for path in folder().iterdir():
        try:
            age = now - path.stat().st_mtime
            if (path.suffix in (".npy", ".npz") and age > UNUSED) or (path.suffix == PART and age > DAY):
                path.unlink()
        except OSError:  # another process was first, or holds it open
            continue


def room(count: int) -> bool:
    """Whether so many bytes fit where decoded images are kept, with a twentieth of the disk left over."""
    ground = next(path for path in [folder(), *folder().parents] if path.exists())
    disk = shutil.disk_usage(ground)
    return os.access(ground, os.W_OK) and disk.free - count > disk.total / 20
