"""What a training will take, before it begins: a few real steps on a copy, timed, and the summary's memory."""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from ..arch.summary import summarise
from ..data.batches import Feed, steps_an_epoch
from .loop import GROWN, Interrupted, fit, score
from .ranks import ALONE, Ranks
from .run import Run, Task

SECONDS = 2.0
"""So long the timed steps last at most."""

SHARE = 0.05
"""And at most this share of all steps, so that a short training is not made long by its forecast."""


class Forecast(NamedTuple):
    """A training before it begins.

    step     seconds of one step of a whole batch
    epoch    seconds of an epoch, validation included
    seconds  of the whole training: steps and validation, not reading the images and not the report
    bytes    the most memory that the process has held after those steps, its images and libraries included
    rate     billions of multiply-accumulates a second in training: three for each of the forward pass
    """

    step: float
    epoch: float
    seconds: float
    bytes: int
    rate: float

    def __str__(self) -> str:
        from .watch import clock

        total, each = clock(self.seconds), clock(self.epoch)
        return f"expected: {total} ({each} an epoch), {self.bytes / 2**30:.1f} GiB of memory"

    def beside(self, took: float, held: int) -> str:
        """What was expected beside what it took, in a sentence."""
        off = abs(took / self.seconds - 1)
        seconds = f"trained in {took:.1f} s, expected {self.seconds:.1f} s (off by {off:.0%})"
        return f"{seconds}; memory {held / 2**30:.1f} GiB, expected {self.bytes / 2**30:.1f} GiB"


def forecast(task: Task, train: Feed, valid: Feed, ranks: Ranks = ALONE) -> Forecast:
    """Time a few steps of this very training on a network of its own, which is then dropped.

    The first step is left out: it allocates. The run itself is not touched, nor is any generator that it draws from.
    """
    recipe, times = task.recipe, []
    trial = Run.start(Path(), task, ranks.device)
    trial.writes = False
    steps = steps_an_epoch(len(train), recipe.batch, ranks.world)
    most = max(4, round(SHARE * steps * recipe.epochs))
    began = time.perf_counter()

    def tick(*_: object) -> None:
        times.append(time.perf_counter())

    def enough() -> bool:
        return len(times) >= most - 1 or time.perf_counter() - began > SECONDS

    try:
        for _ in fit(trial, train, valid, ranks=ranks, tick=tick, stop=enough):
            if enough():
                break
    except Interrupted:
        pass
    if len(times) < 3:
        step = (times[-1] - began) / len(times)
    else:
        step = statistics.median(after - before for before, after in zip(times, times[1:], strict=False))
    checked = time.perf_counter()
    few = Feed(
        valid.images.take(np.arange(min(256, len(valid)))), valid.mean.tolist(), valid.std.tolist(), ranks.device
    )
    score(trial.scored, few, ALONE, views=recipe.views)
    validation = (time.perf_counter() - checked) * len(valid) / len(few) / ranks.world
    if recipe.grow:  # the timed steps were those of the small images
        small, whole = step, step / GROWN**2
        epoch = steps * (recipe.grow * small + (1 - recipe.grow) * whole) + validation
    else:
        whole, epoch = step, steps * step + validation
    macs = 3 * summarise(task.net).macs * recipe.batch / ranks.world
    return Forecast(whole, epoch, epoch * recipe.epochs, held(ranks.device), macs / whole / 1e9)


def held(device: str = "cpu") -> int:
    """The most bytes that this process has held so far: of memory, or on a GPU of the GPU's; 0 where none can tell."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
