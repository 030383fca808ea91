"""Two nets side by side: their totals, and where in each the parameters and the work are."""

from __future__ import annotations

from collections.abc import Callable
from math import log2
from typing import Any, NamedTuple

from .layers import Conv, Dense, show
from .net import Net
from .summary import Row, Summary, summarise
from .tables import bytes_text, percent, piped, ways


class Line(NamedTuple):
    """One quantity of both nets. `ratio` is the second over the first, None where that says nothing."""

    name: str
    values: tuple[Any, Any]
    texts: tuple[str, str]
    ratio: float | None


class Comparison(NamedTuple):
    """Two nets side by side. `print` it, or take its `lines` and `levels`.

    lines   totals
    levels  for each size of map, largest first, the parameters and MACs of the layers that make maps of about it
    """

    summaries: tuple[Summary, Summary]
    lines: tuple[Line, ...]
    levels: tuple[Line, ...]

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain JSON data."""
        a, b = self.summaries
        return {
            "nets": [a.net.name, b.net.name],
            "lines": [{"name": n, "values": list(v), "ratio": r} for n, v, _, r in self.lines],
            "levels": [{"name": n, "values": list(v), "ratio": r} for n, v, _, r in self.levels],
        }

    def __str__(self) -> str:
        return self.as_text()

    def as_text(self) -> str:
        cells = [self.heads, *map(written, self.lines), ("", "", "", ""), *map(written, self.levels)]
        wide = [max(len(row[i]) for row in cells) for i in range(4)]
        rows = ["  ".join([r[0].ljust(wide[0]), *(r[i].rjust(wide[i]) for i in (1, 2, 3))]).rstrip() for r in cells]
        return "\n".join([rows[0], "─" * (sum(wide) + 6), *rows[1:]])

    def as_markdown(self) -> str:
        rows = [piped(written(line)) for line in (*self.lines, *self.levels)]
        return "\n".join([piped(self.heads), piped(["---", "---:", "---:", "---:"]), *rows])

    def _repr_html_(self) -> str:
        from html import escape

        def row(cells: tuple[str, ...], tag: str) -> str:
            right = ' style="text-align:right"'
            return f"<tr>{''.join(f'<{tag}{right * (i > 0)}>{escape(c)}</{tag}>' for i, c in enumerate(cells))}</tr>"

        body = "".join(row(written(line), "td") for line in (*self.lines, *self.levels))
        return f"<table><thead>{row(self.heads, 'th')}</thead><tbody>{body}</tbody></table>"

    @property
    def heads(self) -> tuple[str, str, str, str]:
        a, b = self.summaries
        return "", a.net.name, b.net.name, "ratio"


def compare(a: Net | Summary, b: Net | Summary, batch: int = 32, optimizer: str = "adam") -> Comparison:
    """The nets `a` and `b` side by side; memory is that of a training step on `batch` images.

    >>> from striate import nets
    >>> compare(nets.lenet5(), nets.lenet5(input=(3, 32, 32))).lines[2].values
    (61706, 62006)
    """
    one, two = (net if isinstance(net, Summary) else summarise(net) for net in (a, b))
    return Comparison((one, two), tuple(totals(one, two, batch, optimizer)), tuple(levels(one, two)))


def totals(a: Summary, b: Summary, batch: int, optimizer: str) -> list[Line]:
    m, n = a.memory(batch, optimizer), b.memory(batch, optimizer)
    return [
        Line("input", (a.net.input, b.net.input), (show(a.net.input), show(b.net.input)), None),
        Line("output", (a.net.output, b.net.output), (show(a.net.output), show(b.net.output)), None),
        counted("parameters", a.params, b.params),
        counted("buffers", a.buffers, b.buffers),
        counted("MACs", a.macs, b.macs),
        counted("layers with weights", weighted(a), weighted(b)),
        *(
            Line(name, (x, y), (percent(x), percent(y)), None)
            for name, x, y in [
                ("parameters in the classifier", share(a, "params_share"), share(b, "params_share")),
                ("MACs in the classifier", share(a, "macs_share"), share(b, "macs_share")),
            ]
        ),
        Line("field of the last map", (sees(a), sees(b)), (ways(sees(a)), ways(sees(b))), None),
        counted("weights", m.weights, n.weights, bytes_text),
        counted(f"kept for backward, {batch} images", m.activations, n.activations, bytes_text),
        counted(f"peak of a step, {optimizer}", m.peak, n.peak, bytes_text),
    ]


def counted(name: str, x: int, y: int, text: Callable[[int], str] = "{:,}".format) -> Line:
    return Line(name, (x, y), (text(x), text(y)), y / x if x else None)


def weighted(s: Summary) -> int:
    """Convolutions and dense layers on the way of evaluation."""
    return sum(isinstance(row.layer, (Conv, Dense)) and not row.side for row in s.rows)


def share(s: Summary, field: str) -> float:
    return next((getattr(part, field) for part in s.parts if part.name == "classifier"), 0.0)


def sees(s: Summary) -> tuple[int, int] | None:
    """Of the input, the rows and columns that one unit of the last map sees."""
    return None if s.view is None else s.view.unit


def levels(a: Summary, b: Summary) -> list[Line]:
    """Parameters and MACs by how much smaller than the input the map is that a layer makes."""
    found = []
    for halvings in sorted({halved(s, row) for s in (a, b) for row in s.leaves if row.params and not row.side}):
        where = "on vectors" if halvings == VECTOR else f"on maps 1/{2**halvings} of the input's side"
        for name, field in (("parameters", "params"), ("MACs", "macs")):
            x, y = (amount(s, halvings, field) for s in (a, b))
            if x or y:
                found.append(counted(f"{name} {where}", x, y))
    return found


VECTOR = 99
"""The level of vectors and of 1×1 maps, after those of maps."""


def halved(s: Summary, row: Row) -> int:
    """How many times the input's side is halved in the map after `row`, to the nearest whole number."""
    if len(row.y) == 1 or row.y[1:] == (1, 1):
        return VECTOR
    return max(0, round(log2(max(s.net.input[1:]) / max(row.y[1:]))))


def amount(s: Summary, halvings: int, field: str) -> int:
    return sum(getattr(row, field) for row in s.leaves if halved(s, row) == halvings and not row.side)


def written(line: Line) -> tuple[str, str, str, str]:
    ratio = "" if line.ratio is None else f"×{line.ratio:.3g}"
    return line.name, *line.texts, ratio
