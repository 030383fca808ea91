"""What a training will take, before it begins: a few real steps on a copy, timed, and the summary's memory."""

from __future__ import annotations

import re
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from ..language import say
from ..summaries.summary import summarise_net
from ..terminal import format_clock, format_count
from .batches import Feed, count_steps
from .checkpoint import Task
from .hooks import GROWN_SHARE
from .loop import StopRequested, fit, score_network
from .ranks import ALONE, Ranks
from .run import Run

# So long the steps after the first one last at most, but for the one under way.
TIMED_SECONDS = 2.0

# Steps that are left out where others follow: the first allocates and compiles, DDP arranges its buckets anew in the
# second, and CUDA graphs are recorded in the second and played for the first time in the third.
WARM = 3

# And at most this share of all steps, so that a short training is not made long by its forecast.
TIMED_SHARE = 0.05


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
        total, each = format_clock(self.seconds), format_clock(self.epoch)
        return say(
            "expected: {total} ({each} per epoch), {memory:.1f} GiB of memory",
            total=total,
            each=each,
            memory=self.bytes / 2**30,
        )

    def of_epochs(self, epochs: int) -> Forecast:
        """What so many epochs take: a training may end early.

        >>> Forecast(step=0.1, epoch=2.0, seconds=80.0, bytes=2**30, rate=9.0).of_epochs(25).seconds
        50.0
        """
        return self._replace(seconds=self.epoch * epochs)

    def repeated(self, times: int, left: int) -> str:
        """Those `left` of so many such trainings, one after another, in a sentence."""
        time = format_clock(left * self.seconds)
        if left == times:
            return say("expected for all {times} trainings: {time}", times=times, time=time)
        return say("expected for the {left} left: {time}", left=format_count(left, "training"), time=time)

    def beside(self, took: float, held: int) -> str:
        """What was expected beside what it took, in a sentence."""
        off = abs(took / self.seconds - 1)
        return say(
            "trained in {took:.1f} s, expected {expected:.1f} s (off by {off:.0%}); memory {held:.1f} GiB, expected "
            "{memory:.1f} GiB",
            took=took, expected=self.seconds, off=off, held=held / 2**30, memory=self.bytes / 2**30,
        )  # fmt: skip


class Window:
    """The seconds of a trial's steps, one by one, validation between them left out; `most` of them are timed."""

    def __init__(self, most: int) -> None:
        self.most, self.steps = most, list[float]()
        self.last = self.opened = time.perf_counter()

    def tick(self, *_: object) -> None:
        """A step is done."""
        now = time.perf_counter()
        self.steps.append(now - self.last)
        self.last = now
        if len(self.steps) == 1:
            self.opened = now

    def validated(self) -> None:
        """The next step begins here."""
        self.last = time.perf_counter()

    def enough(self) -> bool:
        """Whether the step under way is the last one: asked at its end. One after the first is always timed."""
        done = len(self.steps) + 1
        return done >= self.most or (done > 2 and time.perf_counter() - self.opened > TIMED_SECONDS)

    @property
    def step(self) -> float:
        """Seconds of a usual one."""
        for warm in (WARM, 1, 0):
            if len(self.steps) > warm + (warm > 1):
                return statistics.median(self.steps[warm:])
        raise AssertionError(say("no step was timed"))


def forecast_training(task: Task, train: Feed, valid: Feed, ranks: Ranks = ALONE) -> Forecast:
    """Time a few steps of this very training on a network of its own, which is then dropped.

    The run itself is not touched, nor is any generator that it draws from. Of several ranks all take the same steps:
    where one has enough, `fit` stops all after the same step.
    """
    recipe = task.recipe
    trial = Run.start(Path(), replace(task, callables=task.callables.for_trial()), ranks.device)
    trial.writes = False
    steps = count_steps(len(train), recipe.batch, ranks.world)
    window = Window(max(WARM + 3, round(TIMED_SHARE * steps * recipe.epochs)))
    try:
        for _ in fit(trial, train, valid, ranks=ranks, tick=window.tick, stop=window.enough):
            window.validated()
    except StopRequested:
        pass
    step, validation = window.step, validation_seconds(trial, valid, ranks)
    if recipe.grow:  # the timed steps were those of the small images
        small, whole = step, step / GROWN_SHARE**2
        epoch = steps * (recipe.grow * small + (1 - recipe.grow) * whole) + validation
    else:
        whole, epoch = step, steps * step + validation
    macs = 3 * summarise_net(task.net).macs * recipe.batch / ranks.world
    return Forecast(whole, epoch, epoch * recipe.epochs, measure_held_memory(ranks.device), macs / whole / 1e9)


def validation_seconds(trial: Run, valid: Feed, ranks: Ranks) -> float:
    """Of all the images to validate on, by the time that a few take; the second time, where that does not last."""
    if not len(valid):
        return 0.0
    few = Feed(
        valid.images.take(np.arange(min(256, len(valid)))), valid.mean.tolist(), valid.std.tolist(), ranks.device
    )
    for _ in range(2):
        began = time.perf_counter()
        score_network(trial.scored, few, ALONE, views=trial.recipe.views)
        took = time.perf_counter() - began
        if took > TIMED_SECONDS / 4:
            break
    return took * len(valid) / len(few) / ranks.world


def measure_held_memory(device: str = "cpu") -> int:
    """The most bytes that this process has held so far: of memory, or on a GPU of the GPU's; 0 where none can tell."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(device)
    status = Path("/proc/self/status")
    # Linux's ru_maxrss is at least what the process that started this one held.
    if status.is_file() and (found := re.search(r"VmHWM:\s*(\d+) kB", status.read_text())):
        return int(found[1]) * 1024
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
