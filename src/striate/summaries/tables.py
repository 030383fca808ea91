"""A summary as text, HTML and Markdown: one row a layer, then the totals. The numbers are the summary's own."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Callable, Iterable, Sequence
from html import escape
from typing import Any, NamedTuple, Protocol

from ..architecture.layers import format_shape as written
from ..errors import NetError, suggest_name


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
    """A column: its header, whether it holds numbers (set to the right), and a row's cell."""

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
    return f"all ({format_axes(row.local_size)})" if row.field is None else format_axes(row.field_size)


# Every column by the name that `show` takes. "rule" stands for both rules: of the size and of the parameters.
TABLE_COLUMNS = {
    "kind": TableColumn("kind", False, lambda r: r.label),
    "input": TableColumn("input", False, lambda r: written(r.x)),
    "output": TableColumn("output", False, lambda r: written(r.y)),
    "size": TableColumn("output size", False, lambda r: r.size_rule),
    "params": TableColumn("parameters", True, lambda r: format_integer(r.params)),
    "params_rule": TableColumn("parameters", True, lambda r: r.params_rule),
    "buffers": TableColumn("buffers", True, lambda r: format_integer(r.buffers)),
    "macs": TableColumn("MACs", True, format_macs),
    "flops": TableColumn("FLOPs", True, lambda r: format_integer(2 * r.macs)),
    "field": TableColumn("field", True, format_field),
    "stride": TableColumn("stride", True, lambda r: format_axes((r.local[0].jump, r.local[1].jump))),
    "start": TableColumn("start", True, lambda r: f"{r.local[0].start:,}, {r.local[1].start:,}"),
    "memory": TableColumn("kept", True, lambda r: format_memory(r.kept) if r.kept else ""),
}

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
            raise NetError("show", f"this summary has no column '{name}'", hint=suggest_name(name, known))
    return list(dict.fromkeys(picked))


def make_lines(summary: TableSource, names: list[str], depth: int | None) -> list[TableLine]:
    """The rows down to `depth` levels (1: the main line alone), those below folded into what holds them."""
    if depth is not None and depth < 1:
        raise NetError("depth", "depth must be at least 1", got=depth, hint="depth=1 shows the main line")
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
            held = "layer" if row.inside == 1 else "layers"
            cells[names.index("kind")] = f"{row.inside} {held}"
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
    headers = ["layer", *(TABLE_COLUMNS[name].header for name in names)]
    return [max(len(h), *(len(line.cells[i]) for line in body)) if body else len(h) for i, h in enumerate(headers)]


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
    heads = lay_out_row(
        ["layer", *(TABLE_COLUMNS[name].header for name in names)], names, widths, lambda text, _: paint(text, "bold")
    )
    out = [*heads, paint("─" * sum_width(widths), "dim")]
    before = names.index("output") + 1 if under == ("size",) and "output" in names else 1
    indent = " " * (sum(widths[:before]) + len(COLUMN_GAP) * before)
    rules = [[TABLE_COLUMNS[n].cell(line.row) for n in under if n == "size" or not line.opened] for line in body]
    left = min(34, max((len(cells[0]) for cells in rules if cells), default=0))
    for line, cells in zip(body, rules, strict=True):
        look: CellLook = (
            (lambda text, _: paint(text, "bold")) if line.holds else (lambda text, n: soften_rule(text, n, paint))
        )
        out += lay_out_row(line.cells, names, widths, look)
        found = [cell for cell in cells if cell]
        if found:
            text = (COLUMN_GAP * 2).join([found[0].ljust(left if len(found) > 1 else 0), *found[1:]])
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
            parts.append(look(text.rjust(w) if name and TABLE_COLUMNS[name].number else text.ljust(w), name))
        out.append(COLUMN_GAP.join(parts).rstrip())
    return out


def wrap_parts(indent: str, text: str, width: int) -> list[str]:
    """`text` behind `indent`, broken between its parts where it is wider than `width`."""
    if len(indent) + len(text) <= width:
        return [indent + text]
    return textwrap.wrap(
        " ".join(text.split()), width, initial_indent=indent, subsequent_indent=indent, break_long_words=False
    )


def fold_text(text: str, width: int) -> list[str]:
    """`text` in pieces of at most `width`: between words where there are some, keeping its indent."""
    if len(text) <= width:
        return [text]
    indent = " " * min(len(text) - len(text.lstrip()), width // 2)
    return textwrap.wrap(text.strip(), width, initial_indent=indent, subsequent_indent=indent) or [""]


def add_totals(summary: TableSource, body: list[str], width: int, paint: Paint) -> str:
    """The table under its title and over its totals and notes."""
    out = [paint(summary.title, "bold"), "", *body]
    rows = [
        (
            t.name,
            format_integer(t.params) or "0",
            *format_shares(t.params_share),
            format_integer(t.macs) or "0",
            *format_shares(t.macs_share),
        )
        for t in summary.totals
    ]
    heads = ("", "parameters", "", "MACs", "")
    wide = [max(len(row[i]) for row in [heads, *rows]) for i in range(5)]
    for k, row in enumerate([heads, *rows]):
        text = COLUMN_GAP.join(
            cell.rjust(w) if i else cell.ljust(w) for i, (cell, w) in enumerate(zip(row, wide, strict=True))
        )
        out.append(paint(text.rstrip(), "dim" if k == 0 else "bold") if k in (0, len(rows)) else text.rstrip())
    out.append("")
    stem = max((len(name) for name, _ in summary.notes), default=0)
    for name, text in summary.notes:
        pad = " " * (stem + len(COLUMN_GAP))
        for k, part in enumerate(textwrap.wrap(text, max(20, width - len(pad)), break_on_hyphens=False) or [""]):
            out.append((paint(name.ljust(stem), "dim") + COLUMN_GAP if k == 0 else pad) + part)
    return "\n".join(out).rstrip()


def format_shares(share: float | None) -> tuple[str]:
    return ("" if share is None else format_share(share),)


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
    heads = ["layer", *(TABLE_COLUMNS[name].header for name in names)]
    rule = ["---", *("---:" if TABLE_COLUMNS[name].number else "---" for name in names)]
    out = [f"**{summary.title}**", "", join_pipes(heads), join_pipes(rule)]
    for line in body:
        bare = line.cells[0].strip()
        name = "&emsp;" * line.row.depth + (f"**{bare}**" if line.holds else bare)
        out.append(join_pipes([name, *(cell.replace("*", "\\*") for cell in line.cells[1:])]))
    out += ["", join_pipes(["", "parameters", "", "MACs", ""]), join_pipes(["---", "---:", "---:", "---:", "---:"])]
    for t in summary.totals:
        out.append(
            join_pipes(
                [t.name, f"{t.params:,}", *format_shares(t.params_share), f"{t.macs:,}", *format_shares(t.macs_share)]
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
        f'<th scope="col"{mark_number(name)}>{escape(TABLE_COLUMNS[name].header)}</th>'
        if name
        else '<th scope="col">layer</th>'
        for name in ["", *names]
    )
    rows = []
    for line in body:
        indent = f' style="padding-left:{0.8 + 1.2 * line.row.depth:g}em"'
        cells = [f'<td{indent} title="{escape(line.row.path)}">{escape(line.cells[0].strip())}</td>']
        for name, cell in zip(names, line.cells[1:], strict=True):
            cells.append(f"<td{mark_bar(name, line, cell, whole)}>{mark_cell(name, cell)}</td>")
        rows.append(f"<tr{' class=b' if line.holds else ''}>{''.join(cells)}</tr>")
    totals = "".join(
        f"<tr{' class=b' if k == len(summary.totals) - 1 else ''}><td>{escape(t.name)}</td>"
        f'<td class="n">{t.params:,}</td><td class="n r">{format_shares(t.params_share)[0]}</td>'
        f'<td class="n">{t.macs:,}</td><td class="n r">{format_shares(t.macs_share)[0]}</td></tr>'
        for k, t in enumerate(summary.totals)
    )
    notes = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in summary.notes)
    return (
        f'<div class="striate-summary"><style>{SUMMARY_STYLE}</style>'
        f"<table><caption>{escape(summary.title)}</caption><thead><tr>{heads}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table>"
        '<table><thead><tr><th></th><th class="n">parameters</th><th></th><th class="n">MACs</th><th></th></tr></thead>'
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
