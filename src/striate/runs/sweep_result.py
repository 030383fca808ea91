"""What came of a sweep: its trials, the best first, and the run of the best one."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..language import say
from ..metrics.numbers import format_percent
from ..terminal import format_count, make_printable, measure_width, pad_right
from .search_space import NumberRange, Space

if TYPE_CHECKING:
    from ..fitting.run import Run


@dataclass(frozen=True)
class SweepTrial:
    """A training of a sweep.

    number  from 1, in the order in which they began; params  what was searched, by name
    state   "done", "pruned" (others were better at the same epoch), "out of time", or "failed", which `why` explains
    epochs  that it trained; valid_acc and valid_loss  of the best of them, None where there was none
    """

    number: int
    params: dict[str, Any]
    state: str
    epochs: int = 0
    valid_acc: float | None = None
    valid_loss: float | None = None
    seconds: float = 0.0
    why: str = ""

    @property
    def title(self) -> str:
        acc = "no epoch" if self.valid_acc is None else format_percent(self.valid_acc)
        return f"trial {self.number}: {format_params(self.params)}: {acc}"

    @property
    def rank(self) -> tuple[bool, float, float, int]:
        """The best is the largest: trials that came to their end before others, then by validation."""
        acc, loss = self.valid_acc or 0.0, self.valid_loss or 0.0
        return self.state == "done", acc, -loss, -self.number


def format_params(params: dict[str, Any]) -> str:
    return ", ".join(f"{n} {v:.3g}" if isinstance(v, float) else make_printable(f"{n} {v}") for n, v in params.items())


@dataclass(frozen=True)
class SweepResult:
    """A sweep's outcome. `print` it for the table.

    folder  holds the trials' runs, sweep.json, sweep.svg and Optuna's own journal, trials.log
    trials  the best first, chosen by validation alone; space  what was searched
    run     of the best one, measured as any run is
    """

    folder: Path
    space: Space
    trials: tuple[SweepTrial, ...]
    run: Run

    @property
    def best(self) -> SweepTrial:
        return self.trials[0]

    def as_dict(self) -> dict[str, Any]:
        """As JSON data; the run by its folder."""
        return {
            "trials": [asdict(trial) for trial in self.trials],
            "run": str(self.run.folder),
        }

    def __str__(self) -> str:
        names = list(self.space)
        rows = [[say("trial"), *names, say("epochs"), say("validation"), say("seconds"), ""]]
        for t in self.trials:
            acc = "–" if t.valid_acc is None else format_percent(t.valid_acc)
            state = say(t.state)
            told = "" if t.state == "done" else say("{state}: {why}", state=state, why=t.why) if t.why else state
            values = [format_value(self.space[name], t.params[name]) for name in names]
            rows.append([f"{t.number}", *values, f"{t.epochs}", acc, f"{t.seconds:.1f}", told])
        wide = [max(measure_width(row[i]) for row in rows) for i in range(len(rows[0]))]
        lines = ["  ".join(pad_right(cell, w) for cell, w in zip(row, wide, strict=True)).rstrip() for row in rows]
        ruler = "─" * max(map(measure_width, lines))
        counted = say("{trials}, the best first, by validation", trials=format_count(len(self.trials), "trial"))
        return "\n".join([lines[0], ruler, *lines[1:], ruler, counted])


def format_value(part: Any, value: Any) -> str:
    """A setting's value in a cell."""
    if isinstance(part, NumberRange):
        return f"{value:.3g}"
    return make_printable("×".join(map(str, value)) if isinstance(value, tuple) else str(value))
