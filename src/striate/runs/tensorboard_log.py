"""What TensorBoard shows of a run: curves and filters after each epoch, in the end the confusion matrix and the report.

Each step stands there once, however often the run was stopped or killed: an epoch is logged after it is saved, what the
log has already is not written again, and what it lacks is written from the run's history.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from ..architecture.layers import Conv
from ..architecture.net import Net
from ..errors import RunError
from ..fitting.run import Epoch, Run
from ..fitting.watch import Watch
from ..inside.filters import draw_filters, read_filters
from ..report.confusion import paint_confusion
from ..report.pictures import enlarge_picture
from ..run_files import RunFiles
from .plan import Plan

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

# A confusion matrix is shown about so many pixels large.
CONFUSION_SIDE = 320


class TensorboardLog:
    """The event files in `folder`, which is made with the first; `logged` are the tags and steps that they hold."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.logged = read_logged(folder)
        self.writer: SummaryWriter | None = None

    def open_writer(self) -> SummaryWriter:
        if self.writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self.writer = SummaryWriter(str(self.folder))
        return self.writer

    def claim_step(self, tag: str, step: int) -> bool:
        """Whether `tag` has no such step yet; from now on it has."""
        new = (tag, step) not in self.logged
        self.logged.add((tag, step))
        return new

    def add_rows(self, rows: Iterable[Epoch]) -> None:
        """The curves' points, those that are not there yet."""
        for row in rows:
            for tag, value in list_points(row).items():
                if self.claim_step(tag, row.epoch):
                    self.open_writer().add_scalar(tag, value, row.epoch)
        self.flush()

    def add_filters(self, net: Net, tensors: Mapping[str, Any], step: int) -> None:
        """The picture of the first convolution's filters; nothing where the net has none."""
        if any(isinstance(each.layer, Conv) for each in net.steps):
            filters = read_filters(net, tensors)
            self.add_picture(f"filters/{filters.path}", draw_filters(filters), step)

    def add_picture(self, tag: str, picture: NDArray, step: int) -> None:
        """A picture uint8 H×W×3."""
        if self.claim_step(tag, step):
            self.open_writer().add_image(tag, picture, step, dataformats="HWC")
            self.flush()

    def add_report(self, run: Run) -> None:
        """The confusion matrix, rows the truth, and the report as text."""
        split, step = "test" if run.tested else "validation", run.history[-1].epoch
        matrix = paint_confusion(run.report.confusion)
        self.add_picture(f"confusion/{split}", enlarge_picture(matrix, max(1, CONFUSION_SIDE // len(matrix))), step)
        if self.claim_step(f"report/{split}/text_summary", step):
            text = "\n".join(f"    {line}" for line in str(run.report).splitlines())
            self.open_writer().add_text(f"report/{split}", text, step)
            self.flush()

    def flush(self) -> None:
        if self.writer is not None:
            self.writer.flush()

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()


def list_points(row: Epoch) -> dict[str, float]:
    """What each curve has of an epoch; metrics that are not finite have no point."""
    own = {f"metrics/{name}": value for name, value in row.metrics.items() if value is not None}
    return {
        "loss/train": row.loss,
        "loss/validation": row.valid_loss,
        "accuracy/train": row.acc,
        "accuracy/validation": row.valid_acc,
        "seconds": row.seconds,
        **own,
    }


def read_logged(folder: Path) -> set[tuple[str, int]]:
    """The tags and steps in the event files of `folder`; one that a kill has torn is read as far as it is whole."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    files = sorted(folder.glob("*tfevents*")) if folder.is_dir() else []
    events = (event for file in files for event in EventFileLoader(str(file)).Load())
    return {(value.tag, event.step) for event in events for value in event.summary.value}


class LoggedWatch(Watch):
    """A watch that tells another one, and logs each row of `run`."""

    def __init__(self, other: Watch, log: TensorboardLog, run: Run) -> None:
        self.other, self.log, self.run = other, log, run

    def loading(self, what: str, done: int, total: int) -> None:
        self.other.loading(what, done, total)

    def plan(self, lines: list[str]) -> None:
        self.other.plan(lines)

    def step(self, step: int, steps: int, loss: float, acc: float, seen: int) -> None:
        self.other.step(step, steps, loss, acc, seen)

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
    log = TensorboardLog(RunFiles(plan.folder).tensorboard)
    if log.logged and not plan.request.options.resume:
        hint = "choose another folder with --out"
        raise RunError(str(log.folder), "this folder holds the log of another run", hint=hint)
    try:
        log.add_rows(run.history)
        watch = LoggedWatch(plan.request.watch, log, run)
        yield replace(plan, request=replace(plan.request, watch=watch))
        log.add_rows(run.history)
        if run.report is not None:
            log.add_filters(run.model.net, run.model.tensors, run.history[-1].epoch)
            log.add_report(run)
    finally:
        log.close()
