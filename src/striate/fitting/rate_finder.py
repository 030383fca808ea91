"""A learning rate found by trying: it rises at each step of the real recipe, and the loss says where it is too high."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch

from ..errors import RecipeError, RunError
from ..language import say
from .batches import Feed, count_steps
from .callables import Callback
from .checkpoint import Task
from .loop import DivergenceError, fit
from .ranks import Ranks
from .run import Run

# Of the smoothed loss, what is left of it at each step.
SMOOTHING = 0.9
# The sweep ends where the smoothed loss is so many times the lowest one: the rate is far too high there.
DIVERGED = 4.0
# The suggestion, as a share of the rate at which the smoothed loss is lowest.
SAFE_SHARE = 0.1


@dataclass(frozen=True)
class RateSweep:
    """A training whose rate rose from step to step; what of it was the rate and the loss of each step.

    rates     of the optimizer's first group, rising by the same factor each step
    losses    of the step's batch, before the weights moved
    smoothed  their running mean, the past counting 0.9 of it, without its bias to the first
    optimizer  by name
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]
    optimizer: str

    @property
    def lowest(self) -> int:
        """The step at which the smoothed loss is lowest."""
        return int(np.argmin(self.smoothed))

    @property
    def suggestion(self) -> float:
        """A tenth of the rate at which the smoothed loss is lowest (S. Gugger 2018), to two digits.

        There the loss is about to rise, so the rate is the highest that still works, and a tenth of it is safe.
        """
        return float(f"{SAFE_SHARE * self.rates[self.lowest]:.2g}")

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON data."""
        points = zip(self.rates, self.losses, self.smoothed, strict=True)
        return {
            "suggestion": self.suggestion,
            "optimizer": self.optimizer,
            "points": [{"lr": lr, "loss": loss, "smoothed": mean} for lr, loss, mean in points],
        }

    def __str__(self) -> str:
        place = self.lowest
        ended = "" if place < len(self.rates) - 1 else say("; it is still falling there: try a higher --highest")
        return say(
            "learning rate  {rate:g}, for {optimizer}\n"
            "               a tenth of {highest:.2g}, at which the smoothed loss is lowest, {loss:.4g}{ended}",
            rate=self.suggestion,
            optimizer=self.optimizer,
            highest=self.rates[place],
            loss=self.smoothed[place],
            ended=ended,
        )


def sweep_rates(
    task: Task,
    train: Feed,
    tensors: dict[str, Any] | None,
    *,
    lowest: float,
    highest: float,
    steps: int,
    device: str = "cpu",
) -> RateSweep:
    """Take the run's own steps, from its own beginning, at rates from `lowest` to `highest`, and write nothing.

    tensors  that the run begins with; None: fresh ones
    It ends early where the loss is four times the lowest one or not finite. Raises RunError where the first step's is
    not, and RecipeError for a range or a number of steps that make no sense.
    """
    if not 0 < lowest < highest < float("inf"):
        raise RecipeError(
            "lowest",
            say("this is no range of rates"),
            got=say("{first} to {last}", first=lowest, last=highest),
            hint="lowest=1e-6",
        )
    if steps < 10:
        raise RecipeError(
            "steps", say("too few to see where the loss turns"), got=steps, rule=say("10 or more"), hint="steps=100"
        )
    run = start_sweep(task, train, tensors, steps, device)
    peaks = [peak for peak in run.peaks if peak is not None]
    if not peaks:
        raise RecipeError(
            "optimizer", say("its groups have no learning rate to find"), got=task.callables.names.get("optimizer")
        )
    shares = [None if peak is None else peak / peaks[0] for peak in run.peaks]
    rates, losses = np.geomspace(lowest, highest, steps), list[float]()

    def set_peaks(run: Run) -> None:
        rate = float(rates[min(len(losses), steps - 1)])
        run.peaks = tuple(None if share is None else rate * share for share in shares)

    def note_loss(run: Run, loss: float) -> bool:
        losses.append(loss)
        set_peaks(run)
        smoothed = smooth_losses(losses)
        return len(losses) == steps or smoothed[-1] > DIVERGED * min(smoothed)

    own = replace(run.task.callables, callbacks=(Callback(start=set_peaks, step=note_loss),))
    run.task = replace(run.task, callables=own)
    few = Feed(train.images.take(np.arange(1)), train.mean.tolist(), train.std.tolist(), device)
    try:
        for _ in fit(run, train, few, ranks=Ranks(device=device)):
            pass
    except DivergenceError:
        if not losses:
            raise
    kept = tuple(float(rate) for rate in rates[: len(losses)])
    optimizer = task.callables.names.get("optimizer", task.recipe.optimizer)
    return RateSweep(kept, tuple(losses), tuple(smooth_losses(losses)), optimizer)


def start_sweep(task: Task, train: Feed, tensors: dict[str, Any] | None, steps: int, device: str) -> Run:
    """The run of the task at its beginning, with epochs enough for `steps`, at a rate that no schedule changes."""
    each = count_steps(len(train), task.recipe.batch)
    if not each:
        raise RunError(say("images to train on"), say("there are too few for a single step"), got=len(train))
    still = {"schedule": "constant", "warmup": 0.0, "patience": 0, "memorised": 0.0, "epochs": -(-steps // each)}
    recipe = msgspec.structs.replace(task.recipe, **still)
    run = Run.start(Path(), replace(task, recipe=recipe, callables=task.callables.for_trial()), device, tensors)
    run.writes = False
    return run


def smooth_losses(losses: Sequence[float]) -> list[float]:
    """The running mean, each value so far counting 0.9 of what it did a step before, divided by the sum of the weights.

    >>> [round(value, 3) for value in smooth_losses([1.0, 3.0])]
    [1.0, 2.053]
    """
    found, mean = [], 0.0
    for count, loss in enumerate(losses, start=1):
        mean = SMOOTHING * mean + (1 - SMOOTHING) * loss
        found.append(mean / (1 - SMOOTHING**count))
    return found


def find_own_device() -> str:
    """Where a run of one process computes."""
    return "cuda" if torch.cuda.is_available() else "cpu"
