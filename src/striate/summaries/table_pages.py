"""A summary as Markdown and as HTML, with the cells that the terminal shows."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from ..language import say
from .columns import (
    TABLE_COLUMNS,
    TableLine,
    TableSource,
    Total,
    add_rules,
    choose_columns,
    format_shares,
    make_headers,
    make_lines,
)


def render_table_markdown(
    summary: TableSource, show: str | Iterable[str] | None = None, depth: int | None = None
) -> str:
    """The table for a Markdown page: GitHub's pipes, then totals and notes as a list."""
    names = (
        add_rules(choose_columns(summary, show))
        if "rule" in choose_columns(summary, show)
        else choose_columns(summary, show)
    )
    body = make_lines(summary, names, depth)
    heads = make_headers(names)
    rule = ["---", *("---:" if TABLE_COLUMNS[name].number else "---" for name in names)]
    out = [f"**{summary.title}**", "", join_pipes(heads), join_pipes(rule)]
    for line in body:
        bare = line.cells[0].strip()
        name = "&emsp;" * line.row.depth + (f"**{bare}**" if line.holds else bare)
        out.append(join_pipes([name, *(cell.replace("*", "\\*") for cell in line.cells[1:])]))
    out += [
        "",
        join_pipes(["", say("parameters"), "", "MACs", ""]),
        join_pipes(["---", "---:", "---:", "---:", "---:"]),
    ]
    for t in summary.totals:
        out.append(
            join_pipes(
                [
                    say(t.name),
                    f"{t.params:,}",
                    *format_shares(t.params_share),
                    f"{t.macs:,}",
                    *format_shares(t.macs_share),
                ]
            )
        )
    return "\n".join([*out, "", *(f"- {name}: {text}" for name, text in summary.notes)])


def join_pipes(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


# Colours are taken from the page, so that it reads on light and on dark; a bar shows a row's share of a column.
SUMMARY_STYLE = """
.striate-summary{font:13px/1.45 system-ui,sans-serif;color:inherit;background:transparent;max-width:max-content;\
overflow-x:auto;font-variant-numeric:tabular-nums}
.striate-summary table{font-size:inherit;\
border-collapse:collapse;border:0;margin:.4em 0;color:inherit;background:transparent}
.striate-summary tr{background:transparent!important}
.striate-summary th,.striate-summary td{padding:.14em .8em;border:0;text-align:left;vertical-align:top;\
white-space:nowrap;color:inherit;background-color:transparent}
.striate-summary .n{text-align:right}
.striate-summary thead th{border-bottom:1px solid color-mix(in srgb,currentColor 45%,transparent);font-weight:600}
.striate-summary tbody tr:hover{background:color-mix(in srgb,currentColor 7%,transparent)!important}
.striate-summary .r{opacity:.62}
.striate-summary .b td:not(.r){font-weight:600}
.striate-summary .b td{border-top:1px solid color-mix(in srgb,currentColor 16%,transparent)}
.striate-summary .bar{background-image:linear-gradient(to left,color-mix(in srgb,#3b82f6 30%,transparent) var(--s),\
transparent var(--s))}
.striate-summary caption{caption-side:top;text-align:left;font-weight:600;padding:.2em .8em;color:inherit}
.striate-summary dl{display:grid;grid-template-columns:max-content auto;gap:.1em 1em;margin:.4em .8em;\
max-width:75em}
.striate-summary dt{opacity:.62;font-weight:400}.striate-summary dd{margin:0}
"""


def render_table_html(summary: TableSource, show: str | Iterable[str] | None = None, depth: int | None = None) -> str:
    """The table for a notebook or a page, in one element with its own style; it takes the page's colours."""
    names = (
        add_rules(choose_columns(summary, show))
        if "rule" in choose_columns(summary, show)
        else choose_columns(summary, show)
    )
    body = make_lines(summary, names, depth)
    whole = summary.totals[-1] if summary.totals else Total("", 0, None, 0, None)
    heads = "".join(
        f'<th scope="col"{mark_number(name) if name else ""}>{escape(head)}</th>'
        for name, head in zip(["", *names], make_headers(names), strict=True)
    )
    rows = []
    for line in body:
        indent = f' style="padding-left:{0.8 + 1.2 * line.row.depth:g}em"'
        cells = [f'<td{indent} title="{escape(line.row.path)}">{escape(line.cells[0].strip())}</td>']
        for name, cell in zip(names, line.cells[1:], strict=True):
            cells.append(f"<td{mark_bar(name, line, cell, whole)}>{mark_cell(name, cell)}</td>")
        rows.append(f"<tr{' class=b' if line.holds else ''}>{''.join(cells)}</tr>")
    totals = "".join(
        f"<tr{' class=b' if k == len(summary.totals) - 1 else ''}><td>{escape(say(t.name))}</td>"
        f'<td class="n">{t.params:,}</td><td class="n r">{format_shares(t.params_share)[0]}</td>'
        f'<td class="n">{t.macs:,}</td><td class="n r">{format_shares(t.macs_share)[0]}</td></tr>'
        for k, t in enumerate(summary.totals)
    )
    notes = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in summary.notes)
    return (
        f'<div class="striate-summary"><style>{SUMMARY_STYLE}</style>'
        f"<table><caption>{escape(summary.title)}</caption><thead><tr>{heads}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table>"
        f'<table><thead><tr><th></th><th class="n">{say("parameters")}</th><th></th><th class="n">MACs</th><th></th>'
        "</tr></thead>"
        f"<tbody>{totals}</tbody></table><dl>{notes}</dl></div>"
    )


def mark_number(name: str) -> str:
    return ' class="n"' if TABLE_COLUMNS[name].number else ""


def mark_bar(name: str, line: TableLine, cell: str, whole: Total) -> str:
    """The attributes of a cell: numbers to the right, over a bar of their share of the whole."""
    kind = "params" if name == "params_rule" else name
    total = {"params": whole.params, "macs": whole.macs}.get(kind, 0)
    if not (cell and total) or line.row.side and kind == "macs":
        return ' class="r"' if name == "size" else mark_number(name)
    return f' class="n bar" style="--s:{100 * getattr(line.row, kind) / total:.1f}%"'


def mark_cell(name: str, cell: str) -> str:
    """A cell's text; in the rule of the parameters all but the number itself is soft."""
    if name == "params_rule" and " = " in cell:
        rule, result = cell.rsplit(" = ", 1)
        return f'<span class="r">{escape(rule)} =</span> {escape(result)}'
    return escape(cell)
