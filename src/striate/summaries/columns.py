"""What a summary's table is made of: its columns, its rows as cells, and how numbers are written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, Protocol

from ..architecture.layers import format_shape as written
from ..errors import NetError, suggest_name
from ..language import say, say_count, to_say


class Total(NamedTuple):
    """A line under the table: a part of the net, with its shares (0 to 1) where it is not the whole."""

    name: str
    params: int
    params_share: float | None
    macs: int
    macs_share: float | None


class TableSource(Protocol):
    """What can be shown as a table: the summary of a record, and that of a foreign module."""

    @property
    def title(self) -> str: ...
    @property
    def rows(self) -> Sequence[Any]: ...
    @property
    def columns(self) -> tuple[str, ...]: ...
    @property
    def lacks(self) -> frozenset[str]: ...
    @property
    def totals(self) -> tuple[Total, ...]: ...
    @property
    def notes(self) -> tuple[tuple[str, str], ...]: ...


class TableColumn(NamedTuple):
    """A column: its header in English, whether it holds numbers (set to the right), and a row's cell."""

    header: str
    number: bool
    cell: Callable[[Any], str]


def format_memory(n: float) -> str:
    """Bytes as people read them, in powers of 1024 and three digits.

    >>> format_memory(512), format_memory(62006 * 4), format_memory(1.5 * 1024**3)
    ('512 B', '242 KiB', '1.50 GiB')
    """
    units = ["B", "KiB", "MiB", "GiB"]
    while n >= 1024 and len(units) > 1:
        n /= 1024
        units.pop(0)
    digits = 0 if units[0] == "B" or n >= 100 else 1 if n >= 10 else 2
    return f"{n:,.{digits}f} {units[0]}"


def format_share(share: float) -> str:
    return f"{100 * share:.1f} %"


def format_axes(size: tuple[int, int] | None) -> str:
    """A receptive field or stride over rows and columns; one number where they are equal."""
    return "" if size is None else f"{size[0]:,}" if size[0] == size[1] else f"{size[0]:,}×{size[1]:,}"


def format_integer(n: int | None) -> str:
    """Every digit of it, in threes; nothing for none."""
    return f"{n:,}" if n else ""


def format_macs(row: Any) -> str:
    """In brackets where only training computes it, as the totals leave it out."""
    return f"({row.macs:,})" if row.side and row.macs else format_integer(row.macs)


def format_field(row: Any) -> str:
    """Behind a gate all of the input, and in brackets what is seen beside it."""
    return say("all ({size})", size=format_axes(row.local_size)) if row.field is None else format_axes(row.field_size)


# Every column by the name that `show` takes. "rule" stands for both rules: of the size and of the parameters.
TABLE_COLUMNS = {
    "kind": TableColumn(to_say("kind"), False, lambda r: r.label),
    "input": TableColumn(to_say("input"), False, lambda r: written(r.x)),
    "output": TableColumn(to_say("output"), False, lambda r: written(r.y)),
    "size": TableColumn(to_say("output size"), False, lambda r: r.size_rule),
    "params": TableColumn(to_say("parameters"), True, lambda r: format_integer(r.params)),
    "params_rule": TableColumn(to_say("parameters"), True, lambda r: r.params_rule),
    "buffers": TableColumn(to_say("buffers"), True, lambda r: format_integer(r.buffers)),
    "macs": TableColumn("MACs", True, format_macs),
    "flops": TableColumn("FLOPs", True, lambda r: format_integer(2 * r.macs)),
    "field": TableColumn(to_say("field"), True, format_field),
    "stride": TableColumn(to_say("stride"), True, lambda r: format_axes((r.local[0].jump, r.local[1].jump))),
    "start": TableColumn(to_say("start"), True, lambda r: f"{r.local[0].start:,}, {r.local[1].start:,}"),
    "memory": TableColumn(to_say("kept"), True, lambda r: format_memory(r.kept) if r.kept else ""),
}


def make_headers(names: Sequence[str]) -> list[str]:
    """What stands above the name and above the columns `names`."""
    return [say("layer"), *(say(TABLE_COLUMNS[name].header) for name in names)]


# Columns of amounts, which an open container leaves to its layers.
SUMMED_COLUMNS = frozenset(["params", "params_rule", "buffers", "macs", "flops", "memory"])


def format_own(row: Any, name: str) -> str:
    """What a container has of its own, outside the layers in it."""
    return TABLE_COLUMNS[name].cell(row.alone) if row.alone is not None else ""


COLUMN_GAP = "  "


class TableLine(NamedTuple):
    """A row as cells: its name and the other columns. It holds other rows; opened, they follow it."""

    row: Any
    holds: bool
    opened: bool
    cells: tuple[str, ...]


def choose_columns(summary: TableSource, show: str | Iterable[str] | None) -> list[str]:
    """The columns to show, by name. Raises NetError for an unknown one."""
    names = summary.columns if show is None else show.split(",") if isinstance(show, str) else show
    picked = [name.strip() for name in names if name.strip()]
    known = [name for name in (*TABLE_COLUMNS, "rule") if name not in summary.lacks]
    for name in picked:
        if name not in known:
            what = say("this summary has no column '{name}'", name=name)
            raise NetError("show", what, hint=suggest_name(name, known))
    return list(dict.fromkeys(picked))


def make_lines(summary: TableSource, names: list[str], depth: int | None) -> list[TableLine]:
    """The rows down to `depth` levels (1: the main line alone), those below folded into what holds them."""
    if depth is not None and depth < 1:
        hint = say("depth=1 shows the main line")
        raise NetError("depth", say("depth must be at least 1"), got=depth, hint=hint)
    made = []
    for row in summary.rows:
        if depth is not None and row.depth >= depth:
            continue
        folded = depth is not None and row.depth == depth - 1
        opened = row.inside > 0 and not folded
        # An opened container shows what it has of its own, so that each column adds up to its total.
        cells = [
            format_own(row, name) if opened and name in SUMMED_COLUMNS else TABLE_COLUMNS[name].cell(row)
            for name in names
        ]
        if row.inside and folded and "kind" in names and not row.label:
            cells[names.index("kind")] = say_count("{n} layer", "{n} layers", row.inside)
        name = COLUMN_GAP * row.depth + row.name
        made.append(TableLine(row, row.inside > 0, opened, (name, *cells)))
    return made


def add_rules(names: list[str]) -> list[str]:
    """The columns with the rules among them, each beside its number."""
    out = []
    for name in names:
        if name != "rule":
            out.append("params_rule" if name == "params" else name)
        if name == "output" or (name == "rule" and "output" not in names):
            out.append("size")
        if name == "rule" and "params" not in names:
            out.append("params_rule")
    return out


def format_shares(share: float | None) -> tuple[str]:
    return ("" if share is None else format_share(share),)
