"""What one sees of a training while it runs: nothing, or a progress bar and a line an epoch in the terminal."""

from __future__ import annotations

import time
from typing import Any

from ..language import say
from ..terminal import format_clock, make_printable
from .callables import format_metrics
from .run import Epoch


class Watch:
    """Told of each event of a training; this one keeps still."""

    def loading(self, what: str, done: int, total: int) -> None:
        """`done` of `total` images are decoded, or bytes of a data set downloaded."""

    def plan(self, lines: list[str]) -> None:
        """What is about to be done, a sentence each."""

    def step(self, step: int, steps: int, loss: float, acc: float, seen: int) -> None:
        """A step of the epoch under way is done; loss and acc are means over its `seen` images so far."""

    def notice(self, line: str) -> None:
        """Something was decided on the way, in a sentence."""

    def head(self, row: Epoch) -> None:
        """A transfer's head is fitted to the features of the frozen net, which is its epoch 0."""

    def epoch(self, row: Epoch, epochs: int, best: bool) -> None:
        """An epoch is done and saved."""

    def close(self) -> None:
        """The training is over, one way or the other."""


class TerminalWatch(Watch):
    """Progress on stderr: a live bar where it is a terminal, and a line an epoch everywhere."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self.console = Console(stderr=True, highlight=False)
        self.bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            TextColumn("{task.fields[text]}", markup=False),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        self.bar.start()
        self.task: Any = None
        self.began = self.fitting = time.perf_counter()
        self.epochs_left = 0
        self.epoch_number = 1
        self.epochs = 0

    def loading(self, what: str, done: int, total: int) -> None:
        text = say("{done:,} of {total:,} {what}", done=done, total=total, what=make_printable(say(what)))
        self.show(say("reading"), done, total, text)

    def plan(self, lines: list[str]) -> None:
        self.hide()
        for line in lines:
            self.notice(line)
        self.began = self.fitting = time.perf_counter()
        self.epoch_number = 1  # another training may follow

    def notice(self, line: str) -> None:
        self.hide()
        self.console.print(make_printable(line), style="dim", markup=False, soft_wrap=True)

    def step(self, step: int, steps: int, loss: float, acc: float, seen: int) -> None:
        now = time.perf_counter()
        rate = seen / max(now - self.began, 1e-9)
        left = (steps - step) * (now - self.began) / step
        text = say(
            "{rate:,.0f} images/s · loss {loss:.3f} · accuracy {acc:.1%} · {left} left in this epoch",
            rate=rate, loss=loss, acc=acc, left=format_clock(left),
        )  # fmt: skip
        self.show(say("epoch {number}", number=self.epoch_number), step, steps, text)

    def epoch(self, row: Epoch, epochs: int, best: bool) -> None:
        self.hide()
        now = time.perf_counter()
        left = format_clock((now - self.fitting) / (row.epoch - self.epoch_number + 1) * (epochs - row.epoch))
        own = f"  {format_metrics(row.metrics)}" if row.metrics else ""
        told = {"epoch": str(row.epoch).rjust(len(str(epochs))), "epochs": epochs, "loss": row.loss, "acc": row.acc}
        line = say("epoch {epoch}/{epochs}  loss {loss:.4f}  accuracy {acc:.2%}", **told)
        if row.validated:
            line = say(
                "epoch {epoch}/{epochs}  loss {loss:.4f}  accuracy {acc:.2%}  validation {valid_loss:.4f}  "
                "{valid_acc:.2%}",
                **told, valid_loss=row.valid_loss, valid_acc=row.valid_acc,
            )  # fmt: skip
        line = f"{line}{' *' if best else '  '}{own}  {format_seconds(row.seconds)}"
        line = say("{line}, {left} left", line=line, left=left) if row.epoch < epochs else line
        self.console.print(line, markup=False, soft_wrap=True)
        self.epoch_number, self.began, self.fitting = row.epoch + 1, now, now

    def show(self, what: str, done: int, total: int, text: str) -> None:
        if self.task is None:
            self.task = self.bar.add_task(what, total=total, text=text)
        self.bar.update(self.task, description=what, completed=done, total=total, text=text)

    def hide(self) -> None:
        if self.task is not None:
            self.bar.remove_task(self.task)
            self.task = None

    def close(self) -> None:
        self.bar.stop()


def format_seconds(seconds: float) -> str:
    return say("{seconds:.1f} s", seconds=seconds)
