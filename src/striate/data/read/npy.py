"""Arrays that lie in files and are not read yet: .npy files, members of .npz archives, what a memory map shows."""

from __future__ import annotations

import mmap
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ...errors import DataError
from ...language import say
from ...regular_file import need_regular
from .npy_head import NpyHead, read_npy_head

# Bytes that are read at once.
READ_BLOCK = 2**20
# What a broken file makes the readers raise; an unknown compression and a password are the last two.
BROKEN_FILE_ERRORS = (ValueError, OSError, zipfile.BadZipFile, EOFError, zlib.error, NotImplementedError, RuntimeError)


@dataclass(frozen=True)
class FileArray:
    """An array in a file.

    file    where it is
    member  its name in the archive `file`; None where the file is none
    head    its shape, order and type
    start   the byte of the file where its numbers begin; None where they are compressed
    """

    file: Path
    member: str | None
    head: NpyHead
    start: int | None

    @property
    def shape(self) -> tuple[int, ...]:
        return self.head.shape

    @property
    def dtype(self) -> np.dtype:
        return self.head.dtype

    def blocks(self) -> Iterator[np.ndarray]:
        """The array in turn, some rows of its first axis at a time. Raises DataError where the file is broken."""
        if self.head.fortran:
            yield from self.by_columns()
            return
        n, *rest = self.shape or (1,)
        size = NpyHead((*rest,), False, self.dtype).nbytes
        rows = max(1, READ_BLOCK // max(1, size))
        with report_broken_file(self.file), self.opened() as opened:
            for low in range(0, n, rows):
                count = min(rows, n - low)
                data = opened.read(count * size)
                if len(data) != count * size:
                    raise EOFError(
                        say("it ends after {row} of {whole} rows", row=low + len(data) // max(1, size), whole=n)
                    )
                yield np.frombuffer(data, self.dtype).reshape(count, *rest)

    def by_columns(self) -> Iterator[np.ndarray]:
        """The same for Fortran's order, which has no row in one place: all of it is read."""
        with report_broken_file(self.file), self.opened() as opened:
            data = np.frombuffer(opened.read(self.head.nbytes), self.dtype)
            array = data.reshape(self.shape, order="F")
        yield from (array[low : low + 256] for low in range(0, len(array), 256))

    def read(self) -> np.ndarray:
        """All of it; a single number as an array of one. Raises DataError."""
        out = np.empty(self.shape or (1,), self.dtype)
        low = 0
        for block in self.blocks():
            out[low : low + len(block)] = block
            low += len(block)
        return out

    @contextmanager
    def opened(self) -> Iterator[BinaryIO]:
        """The file at the first of the array's numbers."""
        if self.member is None:
            with self.file.open("rb") as opened:
                opened.seek(self.start or 0)
                yield opened
        else:
            with zipfile.ZipFile(self.file) as archive, archive.open(self.member) as inside:
                read_npy_head(inside)  # type: ignore[arg-type]  # readable, which is all that it takes
                yield inside  # type: ignore[misc]


@contextmanager
def report_broken_file(file: Path) -> Iterator[None]:
    """Whatever a broken file makes its readers raise, as a DataError."""
    try:
        yield
    except BROKEN_FILE_ERRORS as e:
        kind = "npz" if file.suffix.lower() == ".npz" else "npy"
        raise DataError(str(file), say("the {kind} file cannot be read: {complaint}", kind=kind, complaint=e)) from None


def open_npy(path: Path) -> FileArray:
    """The array in a .npy file. Raises DataError."""
    need_regular(path, DataError)
    with report_broken_file(path), path.open("rb") as opened:
        return FileArray(path, None, read_npy_head(opened), opened.tell())


def open_npz(path: Path) -> dict[str, FileArray]:
    """The arrays in an .npz archive by name; of each only the head is read. Raises DataError."""
    found = {}
    need_regular(path, DataError)
    with report_broken_file(path), zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if info.filename.endswith(".npy"):
                with archive.open(info) as inside:
                    head = read_npy_head(inside)  # type: ignore[arg-type]
                    place = inside.tell()
                stored = info.compress_type == zipfile.ZIP_STORED
                start = find_member_start(path, info) + place if stored else None
                found[info.filename.removesuffix(".npy")] = FileArray(path, info.filename, head, start)
    return found


def find_member_start(path: Path, info: zipfile.ZipInfo) -> int:
    """The byte where a stored member's file begins: behind its local header, name and extra field (APPNOTE 4.3.7)."""
    with path.open("rb") as opened:
        opened.seek(info.header_offset)
        name, extra = struct.unpack("<26x2H", opened.read(30))
    return info.header_offset + 30 + name + extra


def find_mapped_file(x: Any) -> FileArray | None:
    """The file of a memory map, or of an unbroken part of one; None where `x` is none.

    None too for a map of mode "c", whose changes are in memory alone.
    """
    root = x
    while isinstance(root, np.ndarray) and not (isinstance(root, np.memmap) and isinstance(root.base, mmap.mmap)):
        root = root.base
    if not isinstance(root, np.memmap) or root.mode == "c" or not root.filename or not x.flags.c_contiguous:
        return None
    start = root.offset + x.ctypes.data - root.ctypes.data
    return FileArray(Path(root.filename), None, NpyHead(x.shape, False, x.dtype), start)
