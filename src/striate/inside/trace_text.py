"""A trace as text for a terminal: partial sums first, the largest opened to its products, then line by line."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from .trace_record import Group, Term, Trace, short

ROWS = 12
"""Rows of a list before the rest is added up in one line."""
WIDE = 11
"""Columns of a grid that a terminal takes; a wider one is shown as a list."""

OPERATORS = {"sum": "sum", "product": "product", "max": "largest", "same": ""}


def as_text(trace: Trace, opened: int | None = 1, rows: int = ROWS) -> str:
    """The trace and all that it was followed to.

    opened  how many groups, the largest first, show their terms; None is all of them
    rows    how many lines of a list before the others are added up in one
    """
    return "\n\n".join("\n".join(one_text(one, opened, rows)) for one in trace.chain)


def one_text(trace: Trace, opened: int | None, rows: int) -> list[str]:
    lines = [f"{trace.address} = {trace.shown}", f"  {trace.layer}", f"  {trace.rule}"]
    lines += [f"  loss: {trace.loss}"] if trace.loss else []
    if len(trace.groups) > 1 or trace.op == "max":
        lines += ["", *partial_sums(trace, rows)]
    several = [g for g in trace.groups if len(g.terms) > 1]
    several.sort(key=lambda g: -abs(g.value))
    for group in several if opened is None else several[:opened]:
        lines += ["", *terms_text(group, trace.op, rows)]
    if len(trace.groups) == 1 and len(trace.groups[0].terms) == 1:
        [term] = trace.groups[0].terms
        lines += ["", f"  {came_from(term)} = {term.shown}"]
    if trace.steps:
        lines += ["", *columns([[s.name, s.text, "=" if s.exact else "≈", s.shown] for s in trace.steps], "llll")]
    left_out = [f"  left out: {line}" for line in trace.left_out]
    return [
        *lines,
        "",
        *left_out,
        f"  checked: {trace.value:.9g} by {trace.checked_by}; {trace.computed:.9g} from the parts",
    ]


def partial_sums(trace: Trace, rows: int) -> list[str]:
    """One line a group, the largest first where there are too many, and their sum under them."""
    groups: Sequence[Group] = trace.groups
    table = []
    if len(groups) > rows:
        groups = sorted(groups, key=lambda g: -abs(g.value))
        rest = groups[rows - 1 :]
        groups = groups[: rows - 1]
        table = [[f"{len(rest)} others", str(sum(Decimal(g.shown) for g in rest))]]
    table = [[g.name, g.shown] for g in groups] + table
    if OPERATORS[trace.op] and len(trace.groups) > 1:
        total = str(sum(Decimal(g.shown) for g in trace.groups)) if trace.op == "sum" else trace.shown
        table.append([OPERATORS[trace.op], total])
    return columns(table, "lr")


def terms_text(group: Group, op: str, rows: int) -> list[str]:
    """A group's operands: as grids beside each other where they lie in one, else as a list."""
    sign = "largest" if op == "max" else "sum"
    if len(group.grid) == 2 and group.grid[1] <= WIDE and group.grid[0] <= 2 * WIDE:
        return [f"  {group.name}, {corners(group)}: {sign} {group.shown}", *grids(group)]
    return [f"  {group.name}: {sign} {group.shown}", *listed(group, rows)]


def corners(group: Group) -> str:
    """From the first operand to the last that are no padding."""
    there = [term.at or term.weight_at for term in group.terms if term.note != "padding"]
    return f"{there[0]} to {there[-1]}" if there else "padding alone"


def grids(group: Group) -> list[str]:
    weighted = any(term.weight is not None for term in group.terms)
    parts = {"window": [operand(t) for t in group.terms]}
    if weighted:
        parts["filter"] = [short(t.weight or 0.0) for t in group.terms]
        parts["products"] = [t.shown for t in group.terms]
    width = group.grid[1]
    blocks = [block(name, cells, width) for name, cells in parts.items()]
    return ["  " + "     ".join(line) for line in zip(*blocks, strict=True)]


def operand(term: Term) -> str:
    text = "pad" if term.note == "padding" else short(term.x) if term.weight is not None else term.shown
    return f"[{text}]" if term.note == "won" else text


def block(name: str, cells: list[str], width: int) -> list[str]:
    """Cells in rows of `width`, set to the right, with a name above."""
    size = max(map(len, cells))
    lines = ["  ".join(cell.rjust(size) for cell in cells[i : i + width]) for i in range(0, len(cells), width)]
    full = max(len(name), len(lines[0]))
    return [name.ljust(full), *(line.ljust(full) for line in lines)]


def listed(group: Group, rows: int) -> list[str]:
    """The largest terms, a line each, then the others in one."""
    terms = sorted(group.terms, key=lambda t: -abs(t.value))
    kept, rest = (terms, []) if len(terms) <= rows else (terms[: rows - 1], terms[rows - 1 :])
    table = [[came_from(t), times(t), t.shown] for t in kept]
    if rest:
        table.append([f"{len(rest)} others", "", str(sum(Decimal(t.shown) for t in rest))])
    return columns(table, "llr", indent=4)


def came_from(term: Term) -> str:
    named = term.at or term.weight_at or term.note
    return f"{named} ({term.note})" if term.note and term.note != named else named


def times(term: Term) -> str:
    if term.weight is None or term.at is None:
        return ""
    return f"{short(term.x)} · {short(term.weight)}  {term.weight_at}"


def columns(table: list[list[Any]], sides: str, indent: int = 2) -> list[str]:
    """Rows of cells under each other, each column set to the left or to the right."""
    widths = [max(len(row[i]) for row in table) for i in range(len(sides))]
    lines = []
    for row in table:
        cells = (c.rjust(w) if s == "r" else c.ljust(w) for c, w, s in zip(row, widths, sides, strict=True))
        lines.append((" " * indent + "  ".join(cells)).rstrip())
    return lines
