"""Names in order, however many: sorted in memory up to a bound, beyond it in runs on disk that are merged."""

from __future__ import annotations

import heapq
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from itertools import islice
from typing import IO

NAMES_IN_MEMORY = 100_000


def sort_names(names: Iterable[str], key: Callable[[str], str], most: int = NAMES_IN_MEMORY) -> Iterator[str]:
    r"""The names by `key`; of more than `most` only so many are in memory at once.

    >>> list(sort_names(["b", "c", "a\n"], str, most=1))
    ['a\n', 'b', 'c']
    """
    coming = iter(names)
    run = sorted(islice(coming, most), key=key)
    if len(run) < most:
        yield from run
        return
    with ExitStack() as opened:
        runs = []
        while run:
            runs.append(opened.enter_context(write_run(run)))
            run = sorted(islice(coming, most), key=key)
        yield from heapq.merge(*map(read_run, runs), key=key)


def write_run(names: list[str]) -> IO[str]:
    """A temporary file with a name a line. No name of a file has a NUL, which stands for a line's end within it."""
    file = tempfile.TemporaryFile("w+", encoding="utf-8", errors="surrogateescape", newline="\n")
    file.writelines(name.replace("\n", "\0") + "\n" for name in names)
    file.seek(0)
    return file


def read_run(file: IO[str]) -> Iterator[str]:
    for line in file:
        yield line[:-1].replace("\0", "\n")
