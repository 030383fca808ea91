"""Silence for Pillow's warnings, from many threads at once."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

lock = threading.Lock()
inside: list[warnings.catch_warnings] = []
depth = 0


@contextmanager
def quiet() -> Iterator[None]:
    """While any thread is inside, no warning from Pillow is shown or raised; the last one out restores the filters.

    `warnings.catch_warnings` alone is not safe here: its filters are the whole process's, so that two threads which
    leave in the order in which they came would restore each other's state.
    """
    global depth
    with lock:
        if depth == 0:
            held = warnings.catch_warnings()
            held.__enter__()
            warnings.filterwarnings("ignore", module=r"PIL\b")
            inside.append(held)
        depth += 1
    try:
        yield
    finally:
        with lock:
            depth -= 1
            if depth == 0:
                inside.pop().__exit__(None, None, None)
