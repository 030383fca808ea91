"""A trace as HTML for a notebook: partial sums that open to their products, one block a value."""

from __future__ import annotations

from html import escape

from .trace_record import Group, Term, Trace, short
from .trace_text import WIDE, came_from, operand, partial_sums, times

STYLE = (
    "<style>.striate-trace{font:13px/1.5 ui-monospace,monospace}.striate-trace td{padding:0 .7em;text-align:right}"
    ".striate-trace td:first-child{text-align:left}.striate-trace summary{cursor:pointer}"
    ".striate-trace .won{font-weight:bold;text-decoration:underline}.striate-trace section{margin:0 0 1.2em}"
    ".striate-trace .grids{display:flex;flex-wrap:wrap;gap:1.5em;margin:.3em 0 .6em 1.2em}</style>"
)


def as_html(trace: Trace) -> str:
    """The trace and all that it was followed to, as one block without scripts."""
    return f'<div class="striate-trace">{STYLE}{"".join(map(one_html, trace.chain))}</div>'


def one_html(trace: Trace) -> str:
    groups = "".join(group_html(group, trace.op) for group in trace.groups)
    total = partial_sums(trace, len(trace.groups) + 1)[-1].split()[-1] if len(trace.groups) > 1 else ""
    lines = [(s.name, s.text, "=" if s.exact else "≈", s.shown) for s in trace.steps]
    steps = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in line)}</tr>" for line in lines)
    left_out = "".join(f"<div>left out: {escape(line)}</div>" for line in trace.left_out)
    return (
        f"<section><b>{escape(trace.address)} = {trace.shown}</b><br/>{escape(trace.layer)}<br/>{escape(trace.rule)}"
        f"{f'<br/>loss: {escape(trace.loss)}' if trace.loss else ''}"
        f"{groups}{f'<div>{trace.op}: {total}</div>' if total and trace.op != 'same' else ''}"
        f"<table>{steps}</table>{left_out}<small>{trace.value:.9g} by {escape(trace.checked_by)}; {trace.computed:.9g} "
        "from the parts</small></section>"
    )


def group_html(group: Group, op: str) -> str:
    """A line with the partial sum; open, the window, the filter and the products."""
    if len(group.terms) == 1:
        return f"<div>{escape(came_from(group.terms[0]))}: {group.shown}</div>"
    sign, unfolded = ("largest ", ' open="open"') if op == "max" else ("", "")
    return f"<details{unfolded}><summary>{escape(group.name)}: {sign}{group.shown}</summary>{opened(group)}</details>"


def opened(group: Group) -> str:
    if len(group.grid) != 2 or group.grid[1] > WIDE:
        terms = sorted(group.terms, key=lambda t: -abs(t.value))
        rows = "".join(
            f"<tr><td>{escape(came_from(t))}</td><td>{escape(times(t))}</td><td>{t.shown}</td></tr>" for t in terms
        )
        return f"<table>{rows}</table>"
    tables = [grid("window", group, operand)]
    if any(term.weight is not None for term in group.terms):
        tables.append(grid("filter", group, lambda t: short(t.weight or 0.0)))
        tables.append(grid("products", group, lambda t: t.shown))
    return f'<div class="grids">{"".join(tables)}</div>'


def grid(name: str, group: Group, cell) -> str:
    """One table of a group's terms; each cell says on hovering where it comes from."""
    width = group.grid[1]
    rows = [group.terms[i : i + width] for i in range(0, len(group.terms), width)]
    body = "".join("<tr>" + "".join(td(term, name, cell(term)) for term in row) + "</tr>" for row in rows)
    return f"<table><caption>{name}</caption>{body}</table>"


def td(term: Term, name: str, text: str) -> str:
    where = (term.weight_at if name == "filter" else term.at) or term.note
    won = ' class="won"' if term.note == "won" else ""
    return f'<td{won} title="{escape(where or "", quote=True)}">{text.strip("[]")}</td>'
