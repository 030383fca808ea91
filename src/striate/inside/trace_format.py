"""A trace as text for a terminal: partial sums first, the largest opened to its products, then line by line."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from html import escape
from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np

from ..language import say, to_say
from ..terminal import measure_width, pad_left, pad_right

if TYPE_CHECKING:
    from .trace_record import Term, TermGroup, Trace

# Significant digits of the largest number in a sum.
SIGNIFICANT_DIGITS = 5
# Rows of a list before the rest is added up in one line.
SHOWN_ROWS = 12
# Columns of a grid that a terminal takes; a wider one is shown as a list.
CELL_WIDTH = 11

OPERATORS = {"sum": to_say("sum"), "product": to_say("product"), "max": to_say("largest"), "same": ""}

# Notes of a term by which it is known, too: beyond the map's edge, and the largest under a window.
PADDING, WON = to_say("padding"), to_say("won")


def render_trace_text(trace: Trace, opened: int | None = 1, rows: int = SHOWN_ROWS) -> str:
    """The trace and all that it was followed to.

    opened  how many groups, the largest first, show their terms; None is all of them
    rows    how many lines of a list before the others are added up in one
    """
    return "\n\n".join("\n".join(render_value_text(one, opened, rows)) for one in trace.chain)


def render_value_text(trace: Trace, opened: int | None, rows: int) -> list[str]:
    lines = [f"{trace.address} = {trace.shown}", f"  {trace.layer}", f"  {trace.rule}"]
    lines += ["  " + say("loss: {loss}", loss=trace.loss)] if trace.loss else []
    if len(trace.groups) > 1 or trace.op == "max":
        lines += ["", *format_partial_sums(trace, rows)]
    several = [g for g in trace.groups if len(g.terms) > 1]
    several.sort(key=lambda g: -abs(g.value))
    for group in several if opened is None else several[:opened]:
        lines += ["", *format_terms(group, trace.op, rows)]
    if len(trace.groups) == 1 and len(trace.groups[0].terms) == 1:
        [term] = trace.groups[0].terms
        lines += ["", f"  {format_source(term)} = {term.shown}"]
    if trace.steps:
        lines += ["", *align_columns([[s.name, s.text, "=" if s.exact else "≈", s.shown] for s in trace.steps], "llll")]
    left_out = ["  " + say("left out: {line}", line=line) for line in trace.left_out]
    return [
        *lines,
        "",
        *left_out,
        "  "
        + say(
            "checked: {value:.9g} by {by}; {computed:.9g} from the parts",
            value=trace.value,
            by=trace.checked_by,
            computed=trace.computed,
        ),  # fmt: skip
    ]


def render_steps_text(traces: Sequence[Trace]) -> str:
    """One weight's way under one optimizer: for each step its gradient, and the lines to the new weight."""
    lines = [f"{traces[0].address}  {traces[0].layer}"]
    for number, trace in enumerate(traces, start=1):
        gradient = sum(Decimal(group.shown) for group in trace.groups)
        lines += ["", say("step {number}: gradient {gradient}", number=number, gradient=format(gradient, "f"))]
        lines += align_columns([[s.name, s.text, "=" if s.exact else "≈", s.shown] for s in trace.steps], "llll")
    return "\n".join(lines)


def format_partial_sums(trace: Trace, rows: int) -> list[str]:
    """One line a group, the largest first where there are too many, and their sum under them."""
    groups: Sequence[TermGroup] = trace.groups
    table = []
    if len(groups) > rows:
        groups = sorted(groups, key=lambda g: -abs(g.value))
        rest = groups[rows - 1 :]
        groups = groups[: rows - 1]
        table = [[say("{count} others", count=len(rest)), str(sum(Decimal(g.shown) for g in rest))]]
    table = [[g.name, g.shown] for g in groups] + table
    if OPERATORS[trace.op] and len(trace.groups) > 1:
        total = str(sum(Decimal(g.shown) for g in trace.groups)) if trace.op == "sum" else trace.shown
        table.append([say(OPERATORS[trace.op]), total])
    return align_columns(table, "lr")


def format_terms(group: TermGroup, op: str, rows: int) -> list[str]:
    """A group's operands: as grids beside each other where they lie in one, else as a list."""
    sign = say("largest") if op == "max" else say("sum")
    if len(group.grid) == 2 and group.grid[1] <= CELL_WIDTH and group.grid[0] <= 2 * CELL_WIDTH:
        return [f"  {group.name}, {format_corners(group)}: {sign} {group.shown}", *format_grids(group)]
    return [f"  {group.name}: {sign} {group.shown}", *format_largest_terms(group, rows)]


def format_corners(group: TermGroup) -> str:
    """From the first operand to the last that are no padding."""
    there = [term.at or term.weight_at for term in group.terms if term.note != PADDING]
    return say("{first} to {last}", first=there[0], last=there[-1]) if there else say("padding alone")


def format_grids(group: TermGroup) -> list[str]:
    weighted = any(term.weight is not None for term in group.terms)
    parts = {say("window"): [format_operand(t) for t in group.terms]}
    if weighted:
        parts[say("filter")] = [format_short(t.weight or 0.0) for t in group.terms]
        parts[say("products")] = [t.shown for t in group.terms]
    width = group.grid[1]
    blocks = [format_block(name, cells, width) for name, cells in parts.items()]
    return ["  " + "     ".join(line) for line in zip(*blocks, strict=True)]


def format_operand(term: Term) -> str:
    text = say("pad") if term.note == PADDING else format_short(term.x) if term.weight is not None else term.shown
    return f"[{text}]" if term.note == WON else text


def format_block(name: str, cells: list[str], width: int) -> list[str]:
    """Cells in rows of `width`, set to the right, with a name above."""
    size = max(map(measure_width, cells))
    lines = ["  ".join(pad_left(cell, size) for cell in cells[i : i + width]) for i in range(0, len(cells), width)]
    full = max(measure_width(name), measure_width(lines[0]))
    return [pad_right(name, full), *(pad_right(line, full) for line in lines)]


def format_largest_terms(group: TermGroup, rows: int) -> list[str]:
    """The largest terms, a line each, then the others in one."""
    terms = sorted(group.terms, key=lambda t: -abs(t.value))
    kept, rest = (terms, []) if len(terms) <= rows else (terms[: rows - 1], terms[rows - 1 :])
    table = [[format_source(t), format_factors(t), t.shown] for t in kept]
    if rest:
        table.append([say("{count} others", count=len(rest)), "", str(sum(Decimal(t.shown) for t in rest))])
    return align_columns(table, "llr", indent=4)


def format_source(term: Term) -> str:
    note = say_note(term)
    named = term.at or term.weight_at or note
    return f"{named} ({note})" if note and note != named else named


def say_note(term: Term) -> str:
    """A term's note, for a reader."""
    return say(term.note) if term.note in (PADDING, WON) else term.note


def format_factors(term: Term) -> str:
    if term.weight is None or term.at is None:
        return ""
    return f"{format_short(term.x)} · {format_short(term.weight)}  {term.weight_at}"


def align_columns(table: list[list[Any]], sides: str, indent: int = 2) -> list[str]:
    """Rows of cells under each other, each column set to the left or to the right."""
    widths = [max(measure_width(row[i]) for row in table) for i in range(len(sides))]
    lines = []
    for row in table:
        cells = (pad_left(c, w) if s == "r" else pad_right(c, w) for c, w, s in zip(row, widths, sides, strict=True))
        lines.append((" " * indent + "  ".join(cells)).rstrip())
    return lines


TRACE_STYLE = (
    "<style>.striate-trace{font:13px/1.5 ui-monospace,monospace}.striate-trace td{padding:0 .7em;text-align:right}"
    ".striate-trace td:first-child{text-align:left}.striate-trace summary{cursor:pointer}"
    ".striate-trace .won{font-weight:bold;text-decoration:underline}.striate-trace section{margin:0 0 1.2em}"
    ".striate-trace .grids{display:flex;flex-wrap:wrap;gap:1.5em;margin:.3em 0 .6em 1.2em}</style>"
)


def render_trace_html(trace: Trace) -> str:
    """The trace and all that it was followed to, as one block without scripts."""
    return f'<div class="striate-trace">{TRACE_STYLE}{"".join(map(render_value_html, trace.chain))}</div>'


def render_value_html(trace: Trace) -> str:
    groups = "".join(render_group_html(group, trace.op) for group in trace.groups)
    total = format_partial_sums(trace, len(trace.groups) + 1)[-1].split()[-1] if len(trace.groups) > 1 else ""
    lines = [(s.name, s.text, "=" if s.exact else "≈", s.shown) for s in trace.steps]
    steps = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in line)}</tr>" for line in lines)
    left_out = "".join(f"<div>{escape(say('left out: {line}', line=line))}</div>" for line in trace.left_out)
    checked = say(
        "{value:.9g} by {by}; {computed:.9g} from the parts",
        value=trace.value, by=trace.checked_by, computed=trace.computed,
    )  # fmt: skip
    return (
        f"<section><b>{escape(trace.address)} = {trace.shown}</b><br/>{escape(trace.layer)}<br/>{escape(trace.rule)}"
        f"{'<br/>' + escape(say('loss: {loss}', loss=trace.loss)) if trace.loss else ''}"
        f"{groups}{f'<div>{say(trace.op)}: {total}</div>' if total and trace.op != 'same' else ''}"
        f"<table>{steps}</table>{left_out}<small>{escape(checked)}</small></section>"
    )


def render_group_html(group: TermGroup, op: str) -> str:
    """A line with the partial sum; open, the window, the filter and the products."""
    if len(group.terms) == 1:
        return f"<div>{escape(format_source(group.terms[0]))}: {group.shown}</div>"
    sign, unfolded = (say("largest") + " ", ' open="open"') if op == "max" else ("", "")
    return (
        f"<details{unfolded}><summary>{escape(group.name)}: "
        f"{sign}{group.shown}</summary>{render_opened_group(group)}</details>"
    )


def render_opened_group(group: TermGroup) -> str:
    if len(group.grid) != 2 or group.grid[1] > CELL_WIDTH:
        terms = sorted(group.terms, key=lambda t: -abs(t.value))
        rows = "".join(
            f"<tr><td>{escape(format_source(t))}</td><td>{escape(format_factors(t))}</td><td>{t.shown}</td></tr>"
            for t in terms
        )
        return f"<table>{rows}</table>"
    tables = [render_grid(to_say("window"), group, format_operand)]
    if any(term.weight is not None for term in group.terms):
        tables.append(render_grid(to_say("filter"), group, lambda t: format_short(t.weight or 0.0)))
        tables.append(render_grid(to_say("products"), group, lambda t: t.shown))
    return f'<div class="grids">{"".join(tables)}</div>'


def render_grid(name: str, group: TermGroup, cell) -> str:
    """One table of a group's terms; each cell says on hovering where it comes from."""
    width = group.grid[1]
    rows = [group.terms[i : i + width] for i in range(0, len(group.terms), width)]
    body = "".join("<tr>" + "".join(render_cell(term, name, cell(term)) for term in row) + "</tr>" for row in rows)
    return f"<table><caption>{say(name)}</caption>{body}</table>"


def render_cell(term: Term, name: str, text: str) -> str:
    where = (term.weight_at if name == "filter" else term.at) or say_note(term)
    won = ' class="won"' if term.note == WON else ""
    return f'<td{won} title="{escape(where or "", quote=True)}">{text.strip("[]")}</td>'


def format_short(value: float, digits: int = SIGNIFICANT_DIGITS) -> str:
    """A number to five significant digits, or so many.

    >>> format_short(0.123456), format_short(2.0), format_short(1e-05)
    ('0.12346', '2', '0.00001')
    """
    if value == 0 or not isfinite(value):
        return f"{value:g}"
    text = f"{value:.{max(0, min(15, digits - 1 - int(np.floor(np.log10(abs(value))))))}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def format_apart(values: Sequence[float]) -> list[str]:
    """The operands of one line, to as many digits, five or more, as set different ones apart: 1 / 1.00001, not 1 / 1.

    >>> format_apart([1.0, 1.000012]), format_apart([2.0, 0.25])
    (['1', '1.00001'], ['2', '0.25'])
    """
    for digits in range(SIGNIFICANT_DIGITS, 10):
        texts = [format_short(value, digits) for value in values]
        if len(set(texts)) == len(set(values)):
            break
    return texts
