"""Images that do not fit into memory: decoded once, and kept in the cache folder as far as the disk has room."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from ..errors import DataError
from . import cache
from .decode import read
from .images import Skipped
from .listing import Entry
from .npy import write_head
from .quiet import quiet
from .reading import CHUNK, Progress, attempt, each, why
from .rows import Account, Mapped, Shape, Store, Streamed, digest, totals


class Kept(NamedTuple):
    """Images out of memory.

    store    a row an entry
    rows     those that can be used
    skipped  the files that cannot
    on_disk  how many of the store's first rows are decoded on disk
    """

    store: Store
    rows: list[int]
    skipped: list[Skipped]
    on_disk: int


class Measured(NamedTuple):
    """An image, its sha256, and the sums of its levels (`rows.totals`)."""

    image: np.ndarray
    digest: bytes
    sums: np.ndarray


def measured(image: np.ndarray) -> Measured:
    return Measured(image, digest(image), totals(image))


def kept(
    entries: Sequence[Entry], size: tuple[int, int], channels: int, fit: str, level: str | None = None,
    *, workers: int | None = None, progress: Progress | None = None,
) -> Kept:  # fmt: skip
    """The images, decoded on disk: from the cache where they are there and no file has changed, else put there now.

    "mapped" is all of them or a DataError. Else as many as there is room for, from the first on, and the others are
    decoded whenever they are used. What is kept stays as it is until all have room.
    """

    def work(entry: Entry) -> Measured:
        return measured(read(entry.path, size, fit, channels))

    def decoded() -> Iterable[Measured | DataError]:
        return each(attempt(work), entries, workers)

    place, shape = cache.place_for(entries, size, channels, fit), (len(entries), *size, channels)
    account, bad, front = put(place, decoded, shape, level == "mapped", progress)
    on_disk = front.shape[0] if front else 0
    store: Store = Streamed(entries, size, channels, fit, account, front, workers)
    if front and on_disk == len(entries):
        store = front
    rows = [row for row in range(len(entries)) if row not in bad]
    return Kept(store, rows, [Skipped(entries[row].file, reason) for row, reason in bad.items()], on_disk)


def put(
    place: Path, images: Callable[[], Iterable[Measured | DataError]], shape: Shape, all_of_them: bool,
    progress: Progress | None,
) -> tuple[Account, dict[int, str], Mapped | None]:  # fmt: skip
    """The account of the images, why some cannot be used, and the pixels at `place`: all of them, or the first.

    `images` is called where not all that has room is there already. Raises DataError where `all_of_them` are wanted
    and cannot be written.
    """
    found = cache.account_of(place)
    front = cache.pixels_at(place, shape, found[0]) if found else None
    held = front.shape[0] if front else 0
    if found and held == shape[0]:
        return *found, front
    cache.tidy()
    room = shape[0] if all_of_them else cache.fitting(shape[0], int(np.prod(shape[1:])))
    wanted = room if room == shape[0] or not held else held
    if found is None or held < wanted:
        try:
            found = written(place, images(), shape, wanted, progress)
        except DataError:  # the disk is full against what it said
            if all_of_them or not wanted:
                raise
            found = surveyed(images(), shape, None, 0, progress)
        with nullcontext() if all_of_them else suppress(DataError):  # without an account it is made again next time
            cache.save_account(place, *found)
        front = cache.pixels_at(place, shape, found[0])
    return *found, front


def accounted(
    place: Path, images: Callable[[], Iterable[Measured]], shape: Shape, progress: Progress | None
) -> Account:
    """The account of images whose pixels need not be kept, from beside `place` where it is there."""
    found = cache.account_of(place)
    if found is None:
        found = surveyed(images(), shape, None, 0, progress)
        with suppress(DataError):  # it is made again next time
            cache.save_account(place, *found)
    return found[0]


def written(
    place: Path, images: Iterable[Measured | DataError], shape: Shape, rows: int, progress: Progress | None
) -> cache.Surveyed:
    """Put the first `rows` of the images at `place`; the account of all, and why some cannot be used."""
    if not rows:
        return surveyed(images, shape, None, 0, progress)
    with cache.whole(place) as part:
        write_head(part, (rows, *shape[1:]))
        found = surveyed(images, shape, part, rows, progress)
        cache.account_file(place).unlink(missing_ok=True)  # never an account beside pixels that it does not know
    return found


def surveyed(
    images: Iterable[Measured | DataError], shape: Shape, out: BinaryIO | None, rows: int, progress: Progress | None
) -> cache.Surveyed:
    """The account of all images, each taken once, and why some cannot be used. The first `rows` go to `out`.

    An image that cannot be decoded has a row too, of zeros, so that a row's number is its entry's.
    """
    n, *rest = shape
    digests, sums = np.zeros((n, 32), np.uint8), np.zeros((n, rest[-1], 2), np.int64)
    bad: dict[int, str] = {}
    nothing = np.zeros(rest, np.uint8)
    with quiet():
        for row, found in enumerate(images):
            if isinstance(found, DataError):
                bad[row] = why(found)
            else:
                digests[row], sums[row] = np.frombuffer(found.digest, np.uint8), found.sums
            if out is not None and row < rows:
                out.write(np.ascontiguousarray(nothing if isinstance(found, DataError) else found.image).data)
            if progress and (row % CHUNK == CHUNK - 1 or row == n - 1):
                progress("images", row + 1, n)
    return Account(digests, sums), bad
