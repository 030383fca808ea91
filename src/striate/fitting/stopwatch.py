"""Where the seconds of a training went, part by part: of the processor, and by the clock."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from ..language import say, to_say

# Parts of a transfer, in their order.
PARTS = {
    "images": to_say("images"),
    "asking": to_say("asking"),
    "features": to_say("features"),
    "head": to_say("head"),
    "report": to_say("report"),
}


class Spent(NamedTuple):
    """Seconds: of the processor, over all threads of this process, and by the clock."""

    cpu: float = 0.0
    clock: float = 0.0

    def __add__(self, other: Spent) -> Spent:  # type: ignore[override]
        return Spent(self.cpu + other.cpu, self.clock + other.clock)

    def __sub__(self, other: Spent) -> Spent:
        return Spent(self.cpu - other.cpu, self.clock - other.clock)


class Stopwatch:
    """Adds up what each part takes; while a part within another runs, the outer one's time stands still.

    >>> watch = Stopwatch()
    >>> with watch.time_part("head"), watch.time_part("features"):
    ...     pass
    >>> sorted(watch.spent)
    ['features', 'head']
    """

    def __init__(self) -> None:
        self.spent: dict[str, Spent] = {}
        self.last = read_clocks()
        self.under_way: list[str] = []

    @contextmanager
    def time_part(self, part: str) -> Iterator[None]:
        self.book_time()
        self.under_way.append(part)
        try:
            yield
        finally:
            self.book_time()
            self.under_way.pop()

    def book_time(self) -> None:
        """What has passed goes to the innermost part under way; between parts, to none."""
        now = read_clocks()
        if self.under_way:
            part = self.under_way[-1]
            self.spent[part] = self.spent.get(part, Spent()) + (now - self.last)
        self.last = now


def read_clocks() -> Spent:
    return Spent(time.process_time(), time.perf_counter())


def format_spent(spent: Mapping[str, Spent]) -> str:
    """The parts' seconds in a line for the terminal."""
    parts = [
        say("{part} {cpu:.1f} ({clock:.1f})", part=say(text), cpu=spent[name].cpu, clock=spent[name].clock)
        for name, text in PARTS.items()
        if name in spent
    ]
    return say("seconds {parts}: of the processor (by the clock)", parts=", ".join(parts))
