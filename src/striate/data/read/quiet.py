"""Silence for Pillow's warnings, from many threads at once."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

silence_lock = threading.Lock()
silenced_by: list[warnings.catch_warnings] = []
silence_depth = 0


@contextmanager
def silence_pillow() -> Iterator[None]:
    """While any thread is inside, no warning from Pillow is shown or raised; the last one out restores the filters.

    `warnings.catch_warnings` alone is not safe here: its filters are the whole process's, so that two threads which
    leave in the order in which they came would restore each other's state.
    """
    global silence_depth
    with silence_lock:
        if silence_depth == 0:
            held = warnings.catch_warnings()
            held.__enter__()
            warnings.filterwarnings("ignore", module=r"PIL\b")
            silenced_by.append(held)
        silence_depth += 1
    try:
        yield
    finally:
        with silence_lock:
            silence_depth -= 1
            if silence_depth == 0:
                silenced_by.pop().__exit__(None, None, None)
