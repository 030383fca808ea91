"""Worker processes that are given slices, and whose end is noticed."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
from collections.abc import Generator, Iterable, Iterator
from contextlib import suppress

from .. import __file__ as package
from ..errors import RunError
from ..language import say
from .place import PartsFolder
from .plan import Slice
from .writing import PartCount


def share_parts(place: PartsFolder, slices: Iterable[Slice], workers: int) -> Generator[PartCount, None, None]:
    """Have processes write these parts, one at a time each; what became of them, as they are done.

    Raises RunError where a process ends before it has answered, and what the process itself raised. All are ended with
    the iterator.
    """
    coming = iter(slices)
    with selectors.DefaultSelector() as answering:
        crew = [start_worker(place) for _ in range(workers)]
        try:
            for worker in crew:
                answering.register(worker.stdout, selectors.EVENT_READ, worker)  # type: ignore[arg-type]
                if not hand_on(worker, coming):
                    answering.unregister(worker.stdout)  # type: ignore[arg-type]
            while answering.get_map():
                for key, _ in answering.select():
                    yield read_answer(key.data, place)
                    if not hand_on(key.data, coming):
                        answering.unregister(key.fileobj)
        finally:
            for worker in crew:
                end_worker(worker)


def start_worker(place: PartsFolder) -> subprocess.Popen:
    """One thread each: there are as many processes as there are cores."""
    above = os.path.dirname(os.path.dirname(package))
    path = os.pathsep.join([above, *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-m", "striate.parts.worker", place.address]
    told = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=told)


def hand_on(worker: subprocess.Popen, coming: Iterator[Slice]) -> bool:
    """Give a worker its next slice; False where none is left."""
    slice = next(coming, None)
    if slice is None:
        return False
    with suppress(BrokenPipeError):  # that it has ended is said where its answer is missing
        worker.stdin.write(json.dumps(slice) + "\n")  # type: ignore[union-attr]
        worker.stdin.flush()  # type: ignore[union-attr]
    return True


def read_answer(worker: subprocess.Popen, place: PartsFolder) -> PartCount:
    """A worker's answer. It has one under way at most, so that no second one waits in a buffer. Raises RunError."""
    line = worker.stdout.readline()  # type: ignore[union-attr]
    if not line:
        code = worker.wait()
        hint = say("--resume goes on; fewer --workers take less memory")
        what = say("a worker process ended before its part was written")
        raise RunError(place.address, what, got=say("exit code {code}", code=code), hint=hint)
    answer = json.loads(line)
    if isinstance(answer, dict):
        raise RunError(answer.pop("where"), answer.pop("what"), **answer)
    return PartCount(*answer)


def end_worker(worker: subprocess.Popen) -> None:
    """End a process; a part that it has not finished is not there."""
    with suppress(BrokenPipeError):
        worker.stdin.close()  # type: ignore[union-attr]
    worker.terminate()
    worker.wait()
    worker.stdout.close()  # type: ignore[union-attr]
