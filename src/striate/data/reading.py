"""Many image files decoded at once, into one array."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from ..errors import DataError
from .decode import TURNED, opened, read, reason, turn
from .images import Skipped
from .listing import Entry, Readable
from .quiet import quiet

Progress = Callable[[str, int, int], None]
S = TypeVar("S")
T = TypeVar("T")
CHUNK = 16
GRAY = ("1", "L", "LA", "La", "F")


class Header(NamedTuple):
    """What a file says of itself before it is decoded: its size as it will be seen, its Pillow mode."""

    height: int
    width: int
    mode: str

    @property
    def gray(self) -> bool:
        return self.mode in GRAY or self.mode.startswith("I")


def header(source: Path | bytes | Readable, where: str) -> Header:
    """The header of a file, or of its bytes. Raises DataError at `where`."""
    with quiet():
        try:
            with opened(source, where) as image:
                height, width = image.height, image.width
                turned = image.format != "TIFF" and turn(image) in TURNED  # Pillow gives a TIFF's size turned already
                return Header(*((width, height) if turned else (height, width)), image.mode)
        except DataError:
            raise
        except Exception as e:
            raise DataError(where, reason(e)) from None


def settled(
    entries: Sequence[Entry], size: tuple[int, int] | None, channels: int | None, where: str, workers: int | None = None
) -> tuple[tuple[int, int], int]:
    """The size and the channels to decode at: those given, else what the files have in common.

    Gray only where every file is gray. Raises DataError where there is no size given and the files differ in theirs.
    """
    if size is not None and channels is not None:
        return size, channels
    headers = list(each(attempt(lambda e: header(e.path, e.file)), entries, workers))
    found = [(e, h) for e, h in zip(entries, headers, strict=True) if isinstance(h, Header)]
    if not found:
        got = f"{len(entries)} files"
        if entries and isinstance(headers[0], DataError):
            got += f", the first {entries[0].file}: {why(headers[0])}"
        raise DataError(where, "not one image in it can be read", got=got)
    if size is None:
        (first, a), *_ = found
        other = next(((e, h) for e, h in found if h[:2] != a[:2]), None)
        if other:
            got = f"{first.file} {a.height}×{a.width}, {other[0].file} {other[1].height}×{other[1].width}"
            raise DataError(where, "the images differ in size, so a size is needed", got=got, hint="size=(64, 64)")
        size = (a.height, a.width)
    return size, channels or (1 if all(h.gray for _, h in found) else 3)


def attempt(work: Callable[[Entry], T]) -> Callable[[Entry], T | DataError]:
    """`work`, with its DataError returned instead of raised."""

    def tried(entry: Entry) -> T | DataError:
        try:
            return work(entry)
        except DataError as e:
            return e

    return tried


def each(work: Callable[[S], T], items: Iterable[S], workers: int | None = None) -> Iterator[T]:
    """`work` on every item, in order, by threads (Pillow and NumPy let go of Python's lock while they work).

    At most a few chunks a thread are under way, so that a million files do not queue up; Ctrl-C ends it at once.
    """
    workers = workers or os.cpu_count() or 1
    coming = iter(items)
    chunks = iter(lambda: list(islice(coming, CHUNK)), [])

    def done(chunk: list[S]) -> list[T]:
        return [work(item) for item in chunk]

    pool = ThreadPoolExecutor(workers, thread_name_prefix="striate-decode")
    try:
        under_way = [pool.submit(done, chunk) for chunk in islice(chunks, 4 * workers)]
        while under_way:
            yield from under_way.pop(0).result()
            under_way += [pool.submit(done, chunk) for chunk in islice(chunks, 1)]
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def decode_all(
    entries: Sequence[Entry],
    size: tuple[int, int],
    channels: int,
    fit: str = "pad",
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> tuple[np.ndarray, list[int], list[Skipped]]:
    """The entries' images as one uint8 N×h×w×C, the entries' indices that they belong to, and the files left out."""
    x = np.empty((len(entries), *size, channels), np.uint8)
    kept: list[int] = []
    skipped: list[Skipped] = []
    work = attempt(lambda entry: read(entry.path, size, fit, channels))
    with quiet():
        for k, image in enumerate(each(work, entries, workers)):
            if isinstance(image, DataError):
                skipped.append(Skipped(entries[k].file, why(image)))
            else:
                x[len(kept)] = image
                kept.append(k)
            if progress and (k % CHUNK == CHUNK - 1 or k == len(entries) - 1):
                progress("images", k + 1, len(entries))
    return x[: len(kept)], kept, skipped


def why(error: DataError) -> str:
    """An error's reason on one line, without the file."""
    return f"{error.what} ({error.got})" if error.got is not None else error.what
