"""Python processes forked from one that has loaded torch: all of a process but its start.

What is said of the start itself (what is loaded, what is missing) is tested on processes started anew.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import traceback
import types
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from multiprocessing.connection import Connection
from multiprocessing.forkserver import ensure_running
from pathlib import Path
from unittest.mock import patch

LOADED = [
    "torch", "torch._dynamo", "lightning_fabric", "onnx", "onnxruntime", "sklearn.datasets", "striate.cli",
    "striate.runs.training", "striate.formats.onnx_file",
]  # fmt: skip
"""What takes long to load, once for all; without what is not installed."""

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(LOADED)


class Forked:
    """A process at work on `words`, which begin with `-m MODULE` or `-c CODE`; otherwise as a `subprocess.Popen`."""

    def __init__(self, words: Sequence[str], cwd: Path | str = ".", env: Mapping[str, str] | None = None) -> None:
        start_server()
        reads, writes = zip(*(PROCESSES.Pipe(duplex=False) for _ in range(2)), strict=True)
        given = ([str(word) for word in words], str(Path(cwd).resolve()), dict(env or os.environ), *writes)
        self.process = PROCESSES.Process(target=run_words, args=given)
        self.process.start()
        self.pid = self.process.pid or 0
        self.stdout, self.stderr = (open(os.dup(read.fileno()), encoding="utf-8") for read in reads)
        for end in (*reads, *writes):
            end.close()

    def communicate(self, timeout: float = 120) -> tuple[str, str]:
        """The rest of what is written to stdout and stderr until both are closed; then all that it started ends."""
        if self.stdout.closed:
            return "", ""
        pool = ThreadPoolExecutor(2)
        rest = [pool.submit(end.read) for end in (self.stdout, self.stderr)]
        try:
            out, err = (one.result(timeout) for one in rest)
            self.process.join(timeout)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            pool.shutdown()
            self.stdout.close(), self.stderr.close()
        return out, err

    @property
    def returncode(self) -> int | None:
        return self.process.exitcode

    def send_signal(self, number: int) -> None:
        if self.process.is_alive():
            os.kill(self.pid, number)


@cache
def start_server() -> None:
    """With the settings that torch reads when it is loaded, as the command line sets them."""
    settings = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "TORCH_CPP_LOG_LEVEL": "ERROR"}
    with patch.dict(os.environ, settings):
        ensure_running()


def run(words: Sequence[str], *, timeout: float = 120, **given) -> subprocess.CompletedProcess[str]:
    """As `subprocess.run(…, capture_output=True, text=True)`."""
    started = Forked(words, **given)
    out, err = started.communicate(timeout)
    return subprocess.CompletedProcess(list(words), started.returncode or 0, out, err)


def run_words(words: list[str], folder: str, environment: dict[str, str], out: Connection, err: Connection) -> None:
    """In the forked process: it becomes one of its own session, with these words, folder, environment and ends."""
    import torch

    os.setsid()
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the suite itself may run under nohup, which ignores it
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    torch.set_num_threads(int(environment.get("OMP_NUM_THREADS", "1")))
    for number, end in ((1, out), (2, err)):
        os.dup2(end.fileno(), number)
        end.close()
    streams = [open(number, "w", closefd=False, encoding="utf-8", buffering=1) for number in (1, 2)]
    sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__ = streams
    code: object = 0
    try:
        run_as_main(words, folder)
    except SystemExit as e:
        code = e.code
    except BaseException:  # noqa: BLE001  as Python ends
        traceback.print_exc()
        code = 1
    if isinstance(code, str):
        print(code, file=sys.stderr)
    atexit._run_exitfuncs()
    sys.stdout.flush(), sys.stderr.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


def run_as_main(words: list[str], folder: str) -> None:
    kind, what, *rest = words
    sys.argv, sys.path[:0] = ["-c", *rest], [folder]
    if kind == "-m":
        sys.argv[0] = what
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    else:
        assert kind == "-c", kind
        sys.modules["__main__"] = module = types.ModuleType("__main__")
        exec(compile(what, "<string>", "exec"), module.__dict__)
