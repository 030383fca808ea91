"""What a tracker shows of a run: curves and filters after each epoch, in the end the confusion matrix and the report.

Each step stands there once, however often the run was stopped or killed: an epoch is logged after it is saved, what the
log has already is not written again, and what it lacks is written from the run's history. The trackers themselves,
TensorBoard, MLflow and Weights & Biases, are a file each.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from ..architecture.layers import Conv
from ..architecture.net import Net
from ..errors import RunError
from ..fitting.run import Epoch, Run
from ..fitting.watch import Watch
from ..inside.filters import draw_filters, read_filters
from ..language import say
from ..report.confusion import paint_confusion
from ..report.pictures import enlarge_picture
from ..run_files import RunFiles
from .plan import Plan

# A confusion matrix is shown about so many pixels large.
CONFUSION_SIDE = 320

# The module and class of each tracker, imported when a run is logged there.
TRACKERS = {
    "tensorboard": ("tensorboard_log", "TensorboardTracker"),
    "mlflow": ("mlflow_log", "MlflowTracker"),
    "wandb": ("wandb_log", "WandbTracker"),
}


class Tracker(Protocol):
    """Where a log goes.

    place   where that is, for messages
    logged  the tags and steps that it has of this run
    """

    place: str
    logged: set[tuple[str, int]]

    def add_scalars(self, values: Mapping[str, float], step: int) -> None: ...

    def add_picture(self, tag: str, picture: NDArray, step: int) -> None:
        """A picture uint8 H×W×3."""

    def add_text(self, tag: str, text: str, step: int) -> None: ...

    def add_page(self, page: Path) -> None:
        """The report's page as a file beside the rest; nothing where a tracker keeps no files."""

    def close(self) -> None: ...


class TrainingLog:
    """What a tracker is told of a run, each tag and step once."""

    def __init__(self, tracker: Tracker) -> None:
        self.tracker = tracker

    def claim_step(self, tag: str, step: int) -> bool:
        """Whether `tag` has no such step yet; from now on it has."""
        new = (tag, step) not in self.tracker.logged
        self.tracker.logged.add((tag, step))
        return new

    def add_rows(self, rows: Iterable[Epoch]) -> None:
        """The curves' points, those that are not there yet."""
        for row in rows:
            points = {tag: value for tag, value in list_points(row).items() if self.claim_step(tag, row.epoch)}
            if points:
                self.tracker.add_scalars(points, row.epoch)

    def add_filters(self, net: Net, tensors: Mapping[str, Any], step: int) -> None:
        """The picture of the first convolution's filters; nothing where the net has none."""
        if any(isinstance(each.layer, Conv) for each in net.steps):
            filters = read_filters(net, tensors)
            self.add_picture(f"filters/{filters.path}", draw_filters(filters), step)

    def add_picture(self, tag: str, picture: NDArray, step: int) -> None:
        if self.claim_step(tag, step):
            self.tracker.add_picture(tag, picture, step)

    def add_report(self, run: Run) -> None:
        """The confusion matrix, rows the truth, and the report as text and as its page."""
        split, step = "validation" if run.split == "valid" else run.split, run.history[-1].epoch
        matrix = paint_confusion(run.report.confusion)
        self.add_picture(f"confusion/{split}", enlarge_picture(matrix, max(1, CONFUSION_SIDE // len(matrix))), step)
        if self.claim_step(f"report/{split}", step):
            text = "\n".join(f"    {line}" for line in str(run.report).splitlines())
            self.tracker.add_text(f"report/{split}", text, step)
            self.tracker.add_page(RunFiles(run.folder).report_page)


def list_points(row: Epoch) -> dict[str, float]:
    """What each curve has of an epoch; metrics that are not finite have no point."""
    own = {f"metrics/{name}": value for name, value in row.metrics.items() if value is not None}
    loss = {"loss/validation": row.valid_loss} if row.validated else {}
    accuracy = {"accuracy/validation": row.valid_acc} if row.validated else {}
    return {
        "loss/train": row.loss,
        **loss,
        "accuracy/train": row.acc,
        **accuracy,
        "seconds": row.seconds,
        **own,
    }


class LoggedWatch(Watch):
    """A watch that tells another one, and logs each row of `run`."""

    def __init__(self, other: Watch, log: TrainingLog, run: Run) -> None:
        self.other, self.log, self.run = other, log, run

    def loading(self, what: str, done: int, total: int) -> None:
        self.other.loading(what, done, total)

    def plan(self, lines: list[str]) -> None:
        self.other.plan(lines)

    def step(self, step: int, steps: int, loss: float, acc: float, seen: int) -> None:
        self.other.step(step, steps, loss, acc, seen)

    def notice(self, line: str) -> None:
        self.other.notice(line)

    def head(self, row: Epoch) -> None:
        self.other.head(row)
        self.log.add_rows([row])

    def epoch(self, row: Epoch, epochs: int, best: bool) -> None:
        self.log.add_rows([row])
        if self.run.network is not None:  # of a transfer the first filters are those of the published net
            weights = self.run.scored.state_dict()
            self.log.add_filters(self.run.task.net, {k: v.float().cpu().numpy() for k, v in weights.items()}, row.epoch)
        self.other.epoch(row, epochs, best)  # last: it may end the training

    def close(self) -> None:
        self.other.close()


@contextmanager
def log_training(plan: Plan, run: Run) -> Iterator[Plan]:
    """The plan, its watch one that logs too; left once `run` is measured.

    Raises RunError where a new run's folder holds a log of another.
    """
    assert plan.request.options.log is not None
    module, name = TRACKERS[plan.request.options.log]
    tracker = getattr(import_module(f".{module}", __package__), name)(plan.folder, run.task.recipe)
    log = TrainingLog(tracker)
    try:
        if tracker.logged and not plan.request.options.resume:
            what, hint = say("this folder holds the log of another run"), say("choose another folder with --out")
            raise RunError(tracker.place, what, hint=hint)
        log.add_rows(run.history)
        watch = LoggedWatch(plan.request.watch, log, run)
        yield replace(plan, request=replace(plan.request, watch=watch))
        log.add_rows(run.history)
        if run.report is not None:
            log.add_filters(run.model.net, run.model.tensors, run.history[-1].epoch)
            log.add_report(run)
    finally:
        tracker.close()
