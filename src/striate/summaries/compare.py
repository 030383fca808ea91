"""Two nets side by side: their totals, and where in each the parameters and the work are."""

from __future__ import annotations

from collections.abc import Callable
from math import log2
from typing import Any, NamedTuple

from ..architecture.layers import Conv, Dense, format_shape
from ..architecture.net import Net
from ..language import in_english, say
from ..terminal import measure_width, pad_left, pad_right
from .columns import format_axes, format_memory, format_share
from .summary import Row, Summary, summarise_net
from .table_pages import join_pipes


class ComparedLine(NamedTuple):
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
    lines: tuple[ComparedLine, ...]
    levels: tuple[ComparedLine, ...]

    @in_english
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
        cells = [
            self.heads,
            *map(format_compared_line, self.lines),
            ("", "", "", ""),
            *map(format_compared_line, self.levels),
        ]
        wide = [max(measure_width(row[i]) for row in cells) for i in range(4)]
        rows = [
            "  ".join([pad_right(r[0], wide[0]), *(pad_left(r[i], wide[i]) for i in (1, 2, 3))]).rstrip() for r in cells
        ]
        return "\n".join([rows[0], "─" * (sum(wide) + 6), *rows[1:]])

    def as_markdown(self) -> str:
        rows = [join_pipes(format_compared_line(line)) for line in (*self.lines, *self.levels)]
        return "\n".join([join_pipes(self.heads), join_pipes(["---", "---:", "---:", "---:"]), *rows])

    def _repr_html_(self) -> str:
        from html import escape

        def row(cells: tuple[str, ...], tag: str) -> str:
            right = ' style="text-align:right"'
            return f"<tr>{''.join(f'<{tag}{right * (i > 0)}>{escape(c)}</{tag}>' for i, c in enumerate(cells))}</tr>"

        body = "".join(row(format_compared_line(line), "td") for line in (*self.lines, *self.levels))
        return f"<table><thead>{row(self.heads, 'th')}</thead><tbody>{body}</tbody></table>"

    @property
    def heads(self) -> tuple[str, str, str, str]:
        a, b = self.summaries
        return "", a.net.name, b.net.name, say("ratio")


def compare_nets(a: Net | Summary, b: Net | Summary, batch: int = 32, optimizer: str = "adam") -> Comparison:
    """The nets `a` and `b` side by side; memory is that of a training step on `batch` images.

    >>> from striate import nets
    >>> compare_nets(nets.lenet5(), nets.lenet5(input=(3, 32, 32))).lines[2].values
    (61706, 62006)
    """
    one, two = (net if isinstance(net, Summary) else summarise_net(net) for net in (a, b))
    return Comparison((one, two), tuple(compare_totals(one, two, batch, optimizer)), tuple(compare_levels(one, two)))


def compare_totals(a: Summary, b: Summary, batch: int, optimizer: str) -> list[ComparedLine]:
    m, n = a.memory(batch, optimizer), b.memory(batch, optimizer)
    return [
        ComparedLine(
            say("input"), (a.net.input, b.net.input), (format_shape(a.net.input), format_shape(b.net.input)), None
        ),
        ComparedLine(
            say("output"), (a.net.output, b.net.output), (format_shape(a.net.output), format_shape(b.net.output)), None
        ),
        make_compared_line(say("parameters"), a.params, b.params),
        make_compared_line(say("buffers"), a.buffers, b.buffers),
        make_compared_line("MACs", a.macs, b.macs),
        make_compared_line(say("layers with weights"), count_weighted_layers(a), count_weighted_layers(b)),
        *(
            ComparedLine(name, (x, y), (format_share(x), format_share(y)), None)
            for name, x, y in [
                (
                    say("parameters in the classifier"),
                    find_classifier_share(a, "params_share"),
                    find_classifier_share(b, "params_share"),
                ),
                (
                    say("MACs in the classifier"),
                    find_classifier_share(a, "macs_share"),
                    find_classifier_share(b, "macs_share"),
                ),
            ]
        ),
        ComparedLine(
            say("field of the last map"),
            (find_last_field(a), find_last_field(b)),
            (format_axes(find_last_field(a)), format_axes(find_last_field(b))),
            None,
        ),
        make_compared_line(say("weights"), m.weights, n.weights, format_memory),
        make_compared_line(
            say("kept for backward, {batch} images", batch=batch), m.activations, n.activations, format_memory
        ),
        make_compared_line(say("peak of a step, {optimizer}", optimizer=optimizer), m.peak, n.peak, format_memory),
    ]


def make_compared_line(name: str, x: int, y: int, text: Callable[[int], str] = "{:,}".format) -> ComparedLine:
    return ComparedLine(name, (x, y), (text(x), text(y)), y / x if x else None)


def count_weighted_layers(s: Summary) -> int:
    """Convolutions and dense layers on the way of evaluation."""
    return sum(isinstance(row.layer, (Conv, Dense)) and not row.side for row in s.rows)


def find_classifier_share(s: Summary, field: str) -> float:
    return next((getattr(part, field) for part in s.parts if part.name == "classifier"), 0.0)


def find_last_field(s: Summary) -> tuple[int, int] | None:
    """Of the input, the rows and columns that one unit of the last map sees."""
    return None if s.view is None else s.view.unit


def compare_levels(a: Summary, b: Summary) -> list[ComparedLine]:
    """Parameters and MACs by how much smaller than the input the map is that a layer makes."""
    found = []
    for halvings in sorted({count_halvings(s, row) for s in (a, b) for row in s.leaves if row.params and not row.side}):
        for name, field in ((say("parameters"), "params"), ("MACs", "macs")):
            x, y = (sum_level(s, halvings, field) for s in (a, b))
            if x or y:
                found.append(make_compared_line(name_level(name, halvings), x, y))
    return found


def name_level(name: str, halvings: int) -> str:
    """What is counted there, in words."""
    if halvings == VECTOR_LEVEL:
        return say("{name} on vectors", name=name)
    return say("{name} on maps 1/{times} of the input's side", name=name, times=2**halvings)


# The level of vectors and of 1×1 maps, after those of maps.
VECTOR_LEVEL = 99


def count_halvings(s: Summary, row: Row) -> int:
    """How many times the input's side is halved in the map after `row`, to the nearest whole number."""
    if len(row.y) == 1 or row.y[1:] == (1, 1):
        return VECTOR_LEVEL
    return max(0, round(log2(max(s.net.input[1:]) / max(row.y[1:]))))


def sum_level(s: Summary, halvings: int, field: str) -> int:
    return sum(getattr(row, field) for row in s.leaves if count_halvings(s, row) == halvings and not row.side)


def format_compared_line(line: ComparedLine) -> tuple[str, str, str, str]:
    ratio = "" if line.ratio is None else f"×{line.ratio:.3g}"
    return line.name, *line.texts, ratio
