"""Images that are not in memory: what reads like an array N×H×W×C, and fetches only the rows that are asked for."""

from __future__ import annotations

import hashlib
import os
import threading
import weakref
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from ...errors import DataError
from ...language import say
from ...threads import make_pool, map_in_pool
from ..listing import Entry
from ..read.decode import read_image
from ..read.depth import Depth
from ..read.quiet import silence_pillow

RowsShape = tuple[int, int, int, int]


class ImageRecords(NamedTuple):
    """What is known of each image of a store without reading it again.

    digests  uint8 N×32, sha256 of its pixels
    sums     int64 N×C×2, the sum of its levels in each channel, and of their squares
    """

    digests: np.ndarray
    sums: np.ndarray


class Store(Protocol):
    """Where the pixels are. `fetch` gives new uint8 n×H×W×C for n row numbers in any order."""

    shape: RowsShape
    account: ImageRecords

    def fetch(self, rows: np.ndarray) -> np.ndarray: ...


class Rows:
    """Some rows of a store, in an order: as an array to read from, by number, slice, mask or array of numbers.

    What is read is a copy of those rows alone; `take` gives another selection and reads nothing.
    """

    ndim = 4
    dtype = np.dtype(np.uint8)

    def __init__(self, store: Store, rows: np.ndarray) -> None:
        self.store, self.rows = store, np.asarray(rows, np.int64)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def shape(self) -> RowsShape:
        _, h, w, c = self.store.shape
        return len(self.rows), h, w, c

    @property
    def nbytes(self) -> int:
        return int(np.prod(self.shape))

    def take(self, rows: np.ndarray | slice) -> Rows:
        return Rows(self.store, self.rows[rows])

    def __getitem__(self, at: Any) -> np.ndarray:
        if isinstance(at, int | np.integer):
            return self.store.fetch(self.rows[[int(at)]])[0]
        return self.store.fetch(self.rows[at])

    def __iter__(self) -> Iterator[np.ndarray]:
        for low in range(0, len(self), 64):
            yield from self[low : low + 64]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:].astype(dtype or self.dtype, copy=False)


class MappedStore:
    """The rows of a uint8 array N×H×W×C that lies in a file as it is, row by row from the byte `start` on.

    Each row is read by its place in the file and not through a memory map: a batch of 64×64×3 costs 2 µs an image
    instead of 1, and the pages that were read do not count as this process's memory.
    """

    def __init__(self, file: Path, start: int, shape: RowsShape, account: ImageRecords) -> None:
        self.file, self.start, self.shape, self.account = file, start, shape, account

    @cached_property
    def opened(self) -> int:
        """The file's descriptor, closed with this object."""
        number = os.open(self.file, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        weakref.finalize(self, os.close, number)
        return number

    def fetch(self, rows: np.ndarray) -> np.ndarray:
        out = np.empty((len(rows), *self.shape[1:]), np.uint8)
        size = int(np.prod(self.shape[1:]))
        flat = out.reshape(len(rows), size)
        for image, row in zip(flat, rows.tolist(), strict=True):
            if read_at(self.opened, self.start + row * size, image) != size:
                raise DataError(str(self.file), say("this file of pixels was cut short"), hint=say("start again"))
        return out

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "opened"}


window_lock = threading.Lock()


def read_at(opened: int, place: int, out: np.ndarray) -> int:
    """Fill `out` with the file's bytes from `place` on; how many there were."""
    if hasattr(os, "preadv"):
        return os.preadv(opened, [out.data], place)
    with window_lock:  # there it takes two steps, which another thread must not come between
        os.lseek(opened, place, os.SEEK_SET)
        found = os.read(opened, out.nbytes)
    out[: len(found)] = np.frombuffer(found, np.uint8)
    return len(found)


class StreamedStore:
    """Image files decoded when they are asked for, by threads; the first ones are read from where they are decoded.

    front  the pixels of the first files, as many as are kept on disk; None where none are
    An image that is not what it was when the data set was loaded is a DataError: a run goes on with the same pixels
    or not at all.
    """

    def __init__(
        self,
        entries: Sequence[Entry],
        size: tuple[int, int],
        channels: int,
        fit: str,
        account: ImageRecords,
        front: MappedStore | None = None,
        workers: int | None = None,
        depth: Depth | None = None,
        alpha: bool = False,
    ) -> None:
        self.alpha = alpha
        self.entries, self.size, self.channels, self.fit, self.depth = entries, size, channels, fit, depth
        self.account, self.front, self.workers = account, front, workers or os.cpu_count() or 1
        self.shape: RowsShape = (len(entries), *size, channels)

    @cached_property
    def pool(self) -> ThreadPoolExecutor:
        return make_pool(self.workers)

    def fetch(self, rows: np.ndarray) -> np.ndarray:
        out = np.empty((len(rows), *self.shape[1:]), np.uint8)
        kept = rows < (self.front.shape[0] if self.front else 0)
        if self.front and kept.any():
            if kept.all():
                return self.front.fetch(rows)
            out[kept] = self.front.fetch(rows[kept])
        with silence_pillow():
            others = map_in_pool(self.pool, self.one, rows[~kept].tolist(), ahead=len(rows))
            for place, image in zip(np.flatnonzero(~kept), others, strict=True):
                out[place] = image
        return out

    def one(self, row: int) -> np.ndarray:
        entry = self.entries[row]
        image = read_image(entry.path, self.size, self.fit, self.channels, depth=self.depth, alpha=self.alpha)
        if digest_pixels(image) != self.account.digests[row].tobytes():
            raise DataError(
                entry.file, say("the image has changed since the data set was loaded"), hint=say("start again")
            )
        return image

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "pool"}


def digest_pixels(image: np.ndarray) -> bytes:
    """sha256 of an image's pixels."""
    return hashlib.sha256(np.ascontiguousarray(image).data).digest()


def sum_levels(image: np.ndarray) -> np.ndarray:
    """int64 C×2: the sum of an image's levels in each channel, and of their squares."""
    flat = image.reshape(-1, image.shape[-1]).astype(np.int64)
    return np.stack([flat.sum(0), (flat * flat).sum(0)], axis=1)
