"""Work shared among threads, which Ctrl-C can break off at any moment.

Python answers Ctrl-C with a KeyboardInterrupt wherever the main thread stands, also where it has just taken one of an
executor's locks and is about to use it; the lock is then never given back, and the worker that needs it waits for ever.
So whatever touches an executor here is done with the signals held back.
"""

from __future__ import annotations

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from itertools import islice
from typing import Any, TypeVar

S = TypeVar("S")
T = TypeVar("T")
# How long a held signal waits at most while a result is not there yet.
PATIENCE_SECONDS = 0.2


@contextmanager
def hold_signals() -> Iterator[None]:
    """Within it the handlers of Ctrl-C, SIGTERM and SIGHUP wait; they are called at its end."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before: dict[signal.Signals, Any] = {}
    try:
        for number in list_stop_signals():
            if callable(handler := signal.getsignal(number)):
                before[number] = handler
                signal.signal(number, lambda which, frame: came.append(which))
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for which in came:
            before[signal.Signals(which)](which, None)


@contextmanager
def handle_stop_signals(handler: Any) -> Iterator[None]:
    """Within it Ctrl-C, SIGTERM and SIGHUP are answered by `handler`; in another thread than the main one as before."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in list_stop_signals()}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


def list_stop_signals() -> list[signal.Signals]:
    """The signals that ask a training to end: of a closed terminal (SIGHUP) unless it is to be ignored, as by nohup."""
    hangup = getattr(signal, "SIGHUP", None)  # Windows has none
    heard = [hangup] if hangup is not None and signal.getsignal(hangup) != signal.SIG_IGN else []
    return [signal.SIGINT, signal.SIGTERM, *heard]


def map_in_threads(
    work: Callable[[S], T],
    items: Iterable[S],
    workers: int | None = None,
    *,
    chunk: int = 1,
    ahead: int | None = None,
    at_once: bool = False,
) -> Iterator[T]:
    """`work` on every item, in order, by threads (Pillow and NumPy let go of Python's lock while they work).

    workers  threads; as many as there are cores if None
    chunk    items that a thread takes at a time
    ahead    chunks under way at most, beside the one that is handed on; four a thread if None: a million files do not
             queue up
    at_once  hand a result on as soon as it is there, even where that leaves the threads without work
    """
    workers = workers or os.cpu_count() or 1
    with open_threads(workers) as pool:
        yield from map_in_pool(pool, work, items, chunk=chunk, ahead=ahead or 4 * workers, at_once=at_once)


@contextmanager
def open_threads(workers: int) -> Iterator[ThreadPoolExecutor]:
    """A pool of threads, that at its end waits for the work under way and drops the rest."""
    pool = make_pool(workers)
    try:
        yield pool
    finally:
        with hold_signals():
            pool.shutdown(wait=True, cancel_futures=True)


def make_pool(workers: int) -> ThreadPoolExecutor:
    """Threads for `map_in_pool`, which end with the last reference to the pool."""
    with hold_signals():
        return ThreadPoolExecutor(workers, thread_name_prefix="striate")


def map_in_pool(
    pool: ThreadPoolExecutor,
    work: Callable[[S], T],
    items: Iterable[S],
    *,
    chunk: int = 1,
    ahead: int,
    at_once: bool = False,
) -> Iterator[T]:
    """`map_in_threads` with threads that are there already."""
    coming = iter(items)
    under_way: deque[Future[list[T]]] = deque()
    try:
        while some := list(islice(coming, chunk)):
            with hold_signals():
                under_way.append(pool.submit(lambda some: [work(item) for item in some], some))
            while under_way and (len(under_way) > ahead or (at_once and is_done(under_way[0]))):
                yield from await_result(under_way.popleft())
        while under_way:
            yield from await_result(under_way.popleft())
    finally:
        with hold_signals():
            for left in under_way:
                left.cancel()


def is_done(future: Future[Any]) -> bool:
    with hold_signals():
        return future.done()


def await_result(future: Future[T]) -> T:
    """A future's result. Signals are answered while it is waited for, a fifth of a second late at most."""
    while True:
        with hold_signals():
            if wait([future], timeout=PATIENCE_SECONDS).done:
                return future.result()
