"""A summary as text for a terminal: one row a layer, then the totals. The numbers are the summary's own."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Sequence

from ..language import say
from ..terminal import measure_width, pad_left, pad_right, wrap_text
from .columns import (
    COLUMN_GAP,
    TABLE_COLUMNS,
    TableLine,
    TableSource,
    add_rules,
    choose_columns,
    format_integer,
    format_shares,
    make_headers,
    make_lines,
)


def render_table_text(
    summary: TableSource,
    width: int | None = None,
    color: bool = False,
    show: str | Iterable[str] | None = None,
    depth: int | None = None,
) -> str:
    """The table for a terminal of `width` columns (its own where None); nothing in it is ever cut.

    show   the columns, "params,macs,field,…" or a list of names of `TABLE_COLUMNS`; "rule" adds the rules with their
           numbers
    depth  how many levels of containers to open; those below fold into one row with their sums
    color  with ANSI colours
    The rules stand beside their numbers where that fits, otherwise each on a line under its layer.
    """
    width = shutil.get_terminal_size((120, 24)).columns if width is None else width
    names = choose_columns(summary, show)
    bare = [name for name in names if name != "rule"]
    beside = add_rules(names)
    # Most beside the numbers first; what finds no room there goes on a line under its layer.
    layouts: list[tuple[list[str], tuple[str, ...]]] = [
        (beside, ()),
        ([name for name in beside if name != "size"], ("size",)),
        (bare, ("size", "params_rule")),
    ]
    for columns, under in layouts if "rule" in names else [(bare, ())]:  # noqa: B007
        body = make_lines(summary, columns, depth)
        widths = measure_columns(body, columns)
        if sum_width(widths) <= width:
            break
    paint = paint_ansi if color else paint_plain
    return add_totals(
        summary, lay_out_grid(body, columns, fit_columns(widths, width), paint, under, width), width, paint
    )


def sum_width(widths: list[int]) -> int:
    return sum(widths) + len(COLUMN_GAP) * (len(widths) - 1)


def measure_columns(body: list[TableLine], names: list[str]) -> list[int]:
    """The width that each column needs."""
    headers = make_headers(names)
    return [max(map(measure_width, (h, *(line.cells[i] for line in body)))) for i, h in enumerate(headers)]


def fit_columns(widths: list[int], width: int) -> list[int]:
    """The widths made to fit by folding the name and the kind, the two columns of words; never below 8."""
    over = sum_width(widths) - width
    for i in (1, 0):
        if over > 0 and i < len(widths):
            less = max(0, min(over, widths[i] - 8))
            widths[i] -= less
            over -= less
    return widths


def paint_plain(text: str, style: str) -> str:
    return text


def paint_ansi(text: str, style: str) -> str:
    return f"\x1b[{ {'bold': 1, 'dim': 2}[style] }m{text}\x1b[0m" if text.strip() else text


Paint = Callable[[str, str], str]


def lay_out_grid(
    body: list[TableLine], names: list[str], widths: list[int], paint: Paint, under: tuple[str, ...], width: int
) -> list[str]:
    """Header, ruler and rows as lines of text, at most `width` wide; the rules in `under` on lines of their own."""
    heads = lay_out_row(make_headers(names), names, widths, lambda text, _: paint(text, "bold"))
    out = [*heads, paint("─" * sum_width(widths), "dim")]
    before = names.index("output") + 1 if under == ("size",) and "output" in names else 1
    indent = " " * (sum(widths[:before]) + len(COLUMN_GAP) * before)
    rules = [[TABLE_COLUMNS[n].cell(line.row) for n in under if n == "size" or not line.opened] for line in body]
    left = min(34, max((measure_width(cells[0]) for cells in rules if cells), default=0))
    for line, cells in zip(body, rules, strict=True):
        look: CellLook = (
            (lambda text, _: paint(text, "bold")) if line.holds else (lambda text, n: soften_rule(text, n, paint))
        )
        out += lay_out_row(line.cells, names, widths, look)
        found = [cell for cell in cells if cell]
        if found:
            text = (COLUMN_GAP * 2).join([pad_right(found[0], left if len(found) > 1 else 0), *found[1:]])
            out += [paint(part, "dim") for part in wrap_parts(indent, text, width)]
    return [*out, paint("─" * sum_width(widths), "dim")]


# How a cell's text is painted, by the name of its column.
CellLook = Callable[[str, str], str]


def soften_rule(text: str, name: str, paint: Paint) -> str:
    """Rules stand back behind the numbers that they lead to."""
    if name == "params_rule" and " = " in text:
        rule, result = text.rsplit(" = ", 1)
        return paint(rule + " = ", "dim") + result
    return paint(text, "dim") if name == "size" else text


def lay_out_row(cells: Sequence[str], names: list[str], widths: list[int], look: CellLook) -> list[str]:
    """One row of cells as lines of text; a cell too long for its column folds onto further lines."""
    folds = [fold_text(cell, w) for cell, w in zip(cells, widths, strict=True)]
    out = []
    for k in range(max(map(len, folds))):
        parts = []
        for name, pieces, w in zip(["", *names], folds, widths, strict=True):
            text = pieces[k] if k < len(pieces) else ""
            parts.append(look(pad_left(text, w) if name and TABLE_COLUMNS[name].number else pad_right(text, w), name))
        out.append(COLUMN_GAP.join(parts).rstrip())
    return out


def wrap_parts(indent: str, text: str, width: int) -> list[str]:
    """`text` behind `indent`, broken between its parts where it is wider than `width`."""
    if measure_width(indent + text) <= width:
        return [indent + text]
    return wrap_text(
        " ".join(text.split()), width, initial_indent=indent, subsequent_indent=indent, break_long_words=False
    )


def fold_text(text: str, width: int) -> list[str]:
    """`text` in pieces of at most `width`: between words where there are some, keeping its indent."""
    if measure_width(text) <= width:
        return [text]
    indent = " " * min(len(text) - len(text.lstrip()), width // 2)
    return wrap_text(text.strip(), width, initial_indent=indent, subsequent_indent=indent) or [""]


def add_totals(summary: TableSource, body: list[str], width: int, paint: Paint) -> str:
    """The table under its title and over its totals and notes."""
    out = [paint(summary.title, "bold"), "", *body]
    rows = [
        (
            say(t.name),
            format_integer(t.params) or "0",
            *format_shares(t.params_share),
            format_integer(t.macs) or "0",
            *format_shares(t.macs_share),
        )
        for t in summary.totals
    ]
    heads = ("", say("parameters"), "", "MACs", "")
    wide = [max(measure_width(row[i]) for row in [heads, *rows]) for i in range(5)]
    for k, row in enumerate([heads, *rows]):
        text = COLUMN_GAP.join(
            pad_left(cell, w) if i else pad_right(cell, w) for i, (cell, w) in enumerate(zip(row, wide, strict=True))
        )
        out.append(paint(text.rstrip(), "dim" if k == 0 else "bold") if k in (0, len(rows)) else text.rstrip())
    out.append("")
    stem = max((measure_width(name) for name, _ in summary.notes), default=0)
    for name, text in summary.notes:
        pad = " " * (stem + len(COLUMN_GAP))
        for k, part in enumerate(wrap_text(text, max(20, width - len(pad)), break_on_hyphens=False) or [""]):
            out.append((paint(pad_right(name, stem), "dim") + COLUMN_GAP if k == 0 else pad) + part)
    return "\n".join(out).rstrip()
