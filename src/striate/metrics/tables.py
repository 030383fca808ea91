"""A Report for the terminal: the headline numbers, a line a class, the confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence
from io import StringIO
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..language import say
from ..terminal import format_count, make_printable
from .numbers import format_number, format_percent

if TYPE_CHECKING:
    from .classification import ClassScore, Report

# Up to this many classes the confusion matrix is printed.
MOST_MATRIX = 20

# With more classes than this, only so many are printed, the worst first.
LONG_NAME = 40


def render_report_text(report: Report, width: int = 100) -> str:
    """The tables of `report` as text without colour."""
    out = StringIO()
    Console(file=out, width=width, color_system=None, highlight=False).print(render_report_tables(report))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()).strip("\n")


def render_report_tables(report: Report) -> Group:
    """The tables of `report`, for `rich.print`."""
    parts: list[RenderableType] = [make_headline_table(report), make_class_table(report)]
    if len(report.classes) <= MOST_MATRIX:
        parts.append(make_confusion_table(report))
    return Group(*parts)


def make_headline_table(report: Report) -> Table:
    low, high = report.accuracy_interval
    table = Table.grid(padding=(0, 2))
    lines = [
        (
            say("accuracy"),
            say(
                "{accuracy}  (95 % interval {low} to {high})",
                accuracy=format_percent(report.accuracy),
                low=format_percent(low),
                high=format_percent(high),
            ),  # fmt: skip
        )
    ]
    if len(report.classes) > 5:
        lines.append(("top-5", format_percent(report.top5)))
    if report.unbalanced:
        lines.append((say("balanced accuracy"), format_percent(report.balanced_accuracy)))
        lines.append((say("macro F1"), f"{report.macro_f1:.4f}"))
    lines.append((say("cross-entropy"), say("{loss:.4f} nats per image", loss=report.loss)))
    lines.append((say("calibration error"), format_percent(report.ece)))
    lines += [(make_printable(name), format_number(value)) for name, value in report.metrics.items()]
    lines.append((say("images"), f"{report.images:,}"))
    if report.known and report.left_out:
        text = say("{known:,} that the model was trained or validated on", known=report.known)
        lines.append((say("left out"), text))
    elif report.known:
        text = say("{known:,} of them, from training or validation: the accuracy is optimistic", known=report.known)
        lines.append((say("known"), text))
    if report.unmeasured:
        lines.append((say("not measured"), format_few(report.unmeasured)))
    for name, value in lines:
        table.add_row(Text(name, style="bold"), value)
    return table


def format_few(names: Sequence[str], most: int = 5) -> str:
    """Some of the classes by name, and how many there are."""
    shown = ", ".join(map(make_printable, names[:most]))
    left = len(names) - most
    return say("{shown} and {left:,} more", shown=shown, left=left) if left > 0 else shown


def make_class_table(report: Report) -> Table:
    shown = list_scores(report)
    more = len(report.per_class) - len(shown)
    worst = say("the worst {count}; {more} more not shown", count=len(shown), more=format_count(more, "class"))
    caption = worst if more else None
    table = Table(box=SIMPLE_HEAD, caption=caption)
    table.add_column(say("class"), overflow="fold")
    for name in (say("images"), say("precision"), say("recall"), "F1"):
        table.add_column(name, justify="right")
    for item in shown:
        numbers = map(format_number, (item.precision, item.recall, item.f1))
        table.add_row(Text(make_printable(item.name)), f"{item.support:,}", *numbers)
    return table


def list_scores(report: Report) -> list[ClassScore]:
    """The classes to print: all, or the worst by F1 (then by name of the class) where there are too many."""
    if len(report.per_class) <= LONG_NAME:
        return list(report.per_class)
    return sorted(report.per_class, key=lambda item: (item.f1 is None, item.f1 or 0.0))[:LONG_NAME]


def make_confusion_table(report: Report) -> Table:
    table = Table(box=SIMPLE_HEAD, title=say("confusion (rows: truth, columns: prediction)"), title_justify="left")
    table.add_column("", overflow="ellipsis", no_wrap=True)
    for name in shorten_names(report.classes):
        table.add_column(Text(name), justify="right", no_wrap=True)
    for i, (name, row) in enumerate(zip(report.classes, report.confusion, strict=True)):
        cells = [Text(str(count) if count else "·", style=choose_style(count, i == j)) for j, count in enumerate(row)]
        table.add_row(Text(make_printable(name)), *cells)
    return table


def choose_style(count: int, right: bool) -> str:
    return "dim" if not count else "bold" if right else "red"


def shorten_names(names: tuple[str, ...], length: int = 8) -> list[str]:
    """Column heads: the names, cut to `length` characters, and to fewer where there are many."""
    length = max(3, min(length, 60 // len(names)))
    names = tuple(map(make_printable, names))
    return [name if len(name) <= length else name[: length - 1] + "…" for name in names]
