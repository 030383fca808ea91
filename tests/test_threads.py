"""Work in threads, and Ctrl-C at any moment of it."""

import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import _base, thread
from pathlib import Path

import numpy as np
import pytest

from striate import threads
from striate.data.images import Images, list_digests
from striate.fitting.batches import Feed
from striate.transfer.head import fit_head

SOURCE = Path(threads.__file__).parent
# Where the locks are that a KeyboardInterrupt must not come between.
WITH_LOCKS = {_base.__file__, thread.__file__, threading.__file__}


def use_each_way():
    """Every way of this library to work in threads from the main one."""
    x = np.random.default_rng(0).integers(0, 256, (60, 4, 4, 1), np.uint8)
    y = np.arange(60) % 2
    assert list(threads.map_in_threads(abs, range(-9, 0), 2, chunk=2)) == [*range(9, 0, -1)]
    assert list(threads.map_in_threads(abs, iter(range(-9, 0)), 2, at_once=True)) == [*range(9, 0, -1)]
    list_digests(x)
    fit_head(x.reshape(60, 16).astype(np.float32), y, 2)
    images = Images(x, y, ("a", "b"), tuple(map(str, range(60))))
    feed = Feed(images, (0.5,), (0.5,))
    feed.x = None  # as where the images are read while the network trains
    assert sum(len(some) for some, _ in feed.in_turn(7)) == 60


def test_the_main_thread_is_in_an_executor_only_while_ctrl_c_is_held_back():
    bare = set()  # functions that were called with Ctrl-C open; three of them touch no lock

    def look(frame, event, arg):
        code = frame.f_code
        if code.co_filename in WITH_LOCKS and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            bare.add(code.co_qualname if hasattr(code, "co_qualname") else code.co_name)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    traced = sys.gettrace()
    sys.settrace(look)
    try:
        use_each_way()
    finally:
        sys.settrace(traced)
        signal.signal(signal.SIGINT, before)
    assert {name for name in bare if name not in ("current_thread", "main_thread", "RLock")} == set()


def test_threads_are_only_started_where_signals_are_held_back():
    outside = [
        path.relative_to(SOURCE).as_posix()
        for path in SOURCE.rglob("*.py")
        if "ThreadPoolExecutor(" in path.read_text("utf-8")
    ]
    assert outside == ["threads.py"]


@pytest.fixture
def interruptible():
    """Ctrl-C as in a terminal; a shell's background job is begun with it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_signal_that_is_held_back_is_answered_afterwards_and_once(interruptible):
    went = []
    with pytest.raises(KeyboardInterrupt), threads.hold_signals(), threads.hold_signals():
        signal.raise_signal(signal.SIGINT)
        went.append("on")
    assert went == ["on"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("ignored", [signal.SIG_IGN, signal.SIG_DFL])
def test_a_signal_that_nobody_answers_is_left_as_it_is(ignored):
    before = signal.signal(signal.SIGTERM, ignored)
    try:
        with threads.hold_signals():
            assert signal.getsignal(signal.SIGTERM) == ignored
        assert signal.getsignal(signal.SIGTERM) == ignored
    finally:
        signal.signal(signal.SIGTERM, before)


def test_an_error_of_the_work_reaches_whoever_asks_and_the_rest_is_dropped():
    started = []

    def work(k):
        started.append(k)
        return 1 // (3 - k)

    answers = threads.map_in_threads(work, range(1_000), 2)
    assert [next(answers) for _ in range(3)] == [0, 0, 1]
    with pytest.raises(ZeroDivisionError):
        next(answers)
    assert len(started) < 40


@pytest.mark.parametrize("workers", [1, 3])
def test_no_more_is_under_way_than_has_been_asked_for(workers):
    taken = []
    answers = threads.map_in_threads(lambda k: k, map(lambda k: taken.append(k) or k, range(500)), workers, chunk=5)
    assert next(answers) == 0
    assert len(taken) <= 5 * (4 * workers + 1)
    assert [*answers] == [*range(1, 500)]


def test_ctrl_c_during_long_work_is_answered_before_the_work_ends():
    """The main thread waits for a result of 30 s, and hears of the signal all the same."""
    # What was begun is waited for, so the work itself looks at whether the signal has been answered.
    program = (
        "import os, signal, threading\n"
        "from striate.threads import map_in_threads\n"
        "heard = threading.Event()\n"
        "def answer(number, frame):\n"
        "    heard.set()\n"
        "    raise KeyboardInterrupt\n"
        "signal.signal(signal.SIGINT, answer)\n"
        "threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
        "try:\n"
        "    list(map_in_threads(lambda k: heard.wait(30), [0], 1))\n"
        "except KeyboardInterrupt:\n"
        "    print('answered')\n"
    )
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("answered\n", "")
    assert time.perf_counter() - began < 15
