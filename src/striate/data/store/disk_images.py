"""Images that do not fit into memory: decoded once, and kept in the cache folder as far as the disk has room."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from ...errors import DataError
from ...threads import map_in_threads
from ..images import Skipped
from ..listing import Entry
from ..read.decode import read_image
from ..read.depth import Depth
from ..read.files import DECODE_CHUNK, Progress, catch_data_errors, shorten_error
from ..read.npy_head import write_npy_head
from ..read.quiet import silence_pillow
from . import cache
from .rows import ImageRecords, MappedStore, RowsShape, Store, StreamedStore, digest_pixels, sum_levels


class DiskImages(NamedTuple):
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


class MeasuredImage(NamedTuple):
    """An image, its sha256, and the sums of its levels (`rows.totals`)."""

    image: np.ndarray
    digest: bytes
    sums: np.ndarray


def measure_image(image: np.ndarray) -> MeasuredImage:
    return MeasuredImage(image, digest_pixels(image), sum_levels(image))


def keep_on_disk(
    entries: Sequence[Entry], size: tuple[int, int], channels: int, fit: str, level: str | None = None,
    *, depth: Depth | None = None, alpha: bool = False, workers: int | None = None, progress: Progress | None = None,
) -> DiskImages:  # fmt: skip
    """The images, decoded on disk: from the cache where they are there and no file has changed, else put there now.

    "mapped" is all of them or a DataError. Else as many as there is room for, from the first on, and the others are
    decoded whenever they are used. What is kept stays as it is until all have room.
    """

    def work(entry: Entry) -> MeasuredImage:
        return measure_image(read_image(entry.path, size, fit, channels, depth=depth, alpha=alpha))

    def decoded() -> Iterable[MeasuredImage | DataError]:
        return map_in_threads(catch_data_errors(work), entries, workers, chunk=DECODE_CHUNK)

    place = cache.choose_cache_file(entries, size, channels, fit, depth, alpha)
    shape = (len(entries), *size, channels)
    account, bad, front = store_images(place, decoded, shape, level == "mapped", progress)
    on_disk = front.shape[0] if front else 0
    store: Store = StreamedStore(entries, size, channels, fit, account, front, workers, depth, alpha)
    if front and on_disk == len(entries):
        store = front
    rows = [row for row in range(len(entries)) if row not in bad]
    return DiskImages(store, rows, [Skipped(entries[row].file, reason) for row, reason in bad.items()], on_disk)


def store_images(
    place: Path, images: Callable[[], Iterable[MeasuredImage | DataError]], shape: RowsShape, all_of_them: bool,
    progress: Progress | None,
) -> tuple[ImageRecords, dict[int, str], MappedStore | None]:  # fmt: skip
    """The account of the images, why some cannot be used, and the pixels at `place`: all of them, or the first.

    `images` is called where not all that has room is there already. Raises DataError where `all_of_them` are wanted
    and cannot be written.
    """
    found = cache.read_account(place)
    front = cache.open_pixels(place, shape, found[0]) if found else None
    held = front.shape[0] if front else 0
    if found and held == shape[0]:
        return *found, front
    cache.delete_unused()
    room = shape[0] if all_of_them else cache.count_fitting_rows(shape[0], int(np.prod(shape[1:])))
    wanted = room if room == shape[0] or not held else held
    if found is None or held < wanted:
        try:
            found = write_pixels(place, images(), shape, wanted, progress)
        except DataError:  # the disk is full against what it said
            if all_of_them or not wanted:
                raise
            found = survey_images(images(), shape, None, 0, progress)
        with nullcontext() if all_of_them else suppress(DataError):  # without an account it is made again next time
            cache.save_account(place, *found)
        front = cache.open_pixels(place, shape, found[0])
    return *found, front


def account_images(
    place: Path, images: Callable[[], Iterable[MeasuredImage]], shape: RowsShape, progress: Progress | None
) -> ImageRecords:
    """The account of images whose pixels need not be kept, from beside `place` where it is there."""
    found = cache.read_account(place)
    if found is None:
        found = survey_images(images(), shape, None, 0, progress)
        with suppress(DataError):  # it is made again next time
            cache.save_account(place, *found)
    return found[0]


def write_pixels(
    place: Path, images: Iterable[MeasuredImage | DataError], shape: RowsShape, rows: int, progress: Progress | None
) -> cache.Survey:
    """Put the first `rows` of the images at `place`; the account of all, and why some cannot be used."""
    if not rows:
        return survey_images(images, shape, None, 0, progress)
    with cache.write_whole(place) as part:
        write_npy_head(part, (rows, *shape[1:]))
        found = survey_images(images, shape, part, rows, progress)
        cache.locate_account(place).unlink(missing_ok=True)  # never an account beside pixels that it does not know
    return found


def survey_images(
    images: Iterable[MeasuredImage | DataError],
    shape: RowsShape,
    out: BinaryIO | None,
    rows: int,
    progress: Progress | None,
) -> cache.Survey:
    """The account of all images, each taken once, and why some cannot be used. The first `rows` go to `out`.

    An image that cannot be decoded has a row too, of zeros, so that a row's number is its entry's.
    """
    n, *rest = shape
    digests, sums = np.zeros((n, 32), np.uint8), np.zeros((n, rest[-1], 2), np.int64)
    bad: dict[int, str] = {}
    nothing = np.zeros(rest, np.uint8)
    with silence_pillow():
        for row, found in enumerate(images):
            if isinstance(found, DataError):
                bad[row] = shorten_error(found)
            else:
                digests[row], sums[row] = np.frombuffer(found.digest, np.uint8), found.sums
            if out is not None and row < rows:
                out.write(np.ascontiguousarray(nothing if isinstance(found, DataError) else found.image).data)
            if progress and (row % DECODE_CHUNK == DECODE_CHUNK - 1 or row == n - 1):
                progress("images", row + 1, n)
    return ImageRecords(digests, sums), bad
