"""How far a folder of parts is: in data, and as a line of the terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from typing import NamedTuple

from ..language import say
from ..terminal import format_clock


class PartsProgress(NamedTuple):
    """How far a folder is after one more part.

    part, rows, unreadable  its number, and what became of its pictures
    done, parts             parts that are there, of all
    pictures                that this call has answered or found unreadable;  left  that it has still to do
    seconds                 since it began with the first of them
    """

    part: int
    rows: int
    unreadable: int
    done: int
    parts: int
    pictures: int
    left: int
    seconds: float


def tell_progress(now: PartsProgress) -> str:
    """Parts, pictures a second, and the time that is left at this pace.

    >>> tell_progress(PartsProgress(3, 990, 10, 4, 9, 2000, 5000, 40.0))
    '4 of 9 parts, 50.0 pictures a second, 1 min 40 s left'
    """
    pace = now.pictures / max(now.seconds, 1e-9)
    return say(
        "{done:,} of {parts:,} parts, {pace:,.1f} pictures a second, {clock} left",
        done=now.done,
        parts=now.parts,
        pace=pace,
        clock=format_clock(now.left / pace),
    )


@contextmanager
def show_parts() -> Iterator[Callable[[PartsProgress], None]]:
    """A line on stderr that tells of each part as it is done; nothing where stderr is no terminal.

    Within it what libraries print, as Ray does of machines that are lost, goes to stderr: it is no data.
    """
    if not sys.stderr.isatty():
        with redirect_stdout(sys.stderr):
            yield lambda now: None
        return
    from rich.console import Console

    with (
        redirect_stdout(sys.stderr),
        Console(stderr=True).status(say("the names of the pictures are being listed")) as line,
    ):
        yield lambda now: line.update(tell_progress(now))
