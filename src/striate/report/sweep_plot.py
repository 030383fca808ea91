"""A sweep to look at: the validation accuracy of each trial over its learning rate, or over its number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from math import ceil, floor, log10
from typing import Any, NamedTuple, Protocol

from .charts import CHART_HEIGHT, CHART_WIDTH, MARGIN_RIGHT, MARGIN_TOP, PlotFrame, choose_ticks, draw_axes, wrap_svg
from .markup import Markup, join_markup, tag
from .rate_plot import format_power

GROUP_COLOURS = ("#2264b4", "#d66c26", "#2f8f5b", "#8a4fb0", "#b0413e", "#5a6472")


class PlottedTrial(Protocol):
    """What the picture shows of a trial: its searched settings, how good it was, whether it came to its end."""

    @property
    def number(self) -> int: ...
    @property
    def params(self) -> Mapping[str, Any]: ...
    @property
    def valid_acc(self) -> float | None: ...
    @property
    def state(self) -> str: ...
    @property
    def title(self) -> str: ...


class TrialDot(NamedTuple):
    """A trial in the picture: where it stands (x as a rate, or as a number), of which group, whether it was whole."""

    x: float
    accuracy: float
    group: str
    whole: bool
    title: str


def arrange_dots(trials: Sequence[PlottedTrial], by_rate: bool) -> list[TrialDot]:
    """The trials that came to an epoch, over their learning rate or their number; a group a net."""
    return [
        TrialDot(
            float(t.params["lr"] if by_rate else t.number),
            t.valid_acc,
            str(t.params.get("net", "")),
            t.state == "done",
            t.title,
        )
        for t in trials
        if t.valid_acc is not None
    ]


def draw_sweep(trials: Sequence[PlottedTrial], by_rate: bool) -> str:
    """A file of its own. A colour a net; rings are trials that were ended early.

    by_rate  whether they stand over their learning rate, in powers of ten; else over their number
    """
    dots, label = arrange_dots(trials, by_rate), "learning rate" if by_rate else "trial"
    xs = [log10(dot.x) if by_rate else dot.x for dot in dots]
    ticks = choose_ticks(100 * min(dot.accuracy for dot in dots), 100 * max(dot.accuracy for dot in dots), top=100.0)
    low, high = min(xs), max(xs)
    room = max(0.05 * (high - low), 0.1)
    frame = PlotFrame(low - room, high + room, ticks[0], ticks[-1])
    marks = choose_ticks(low, high) if not by_rate else [float(k) for k in range(floor(low), ceil(high) + 1)]
    marks = [x for x in marks if frame.x0 <= x <= frame.x1]
    axes = draw_axes(frame, marks, ticks, label, suffix=" %", mark=format_power if by_rate else "{:g}".format)
    groups = list(dict.fromkeys(dot.group for dot in dots))
    circles = [draw_dot(frame, x, dot, groups.index(dot.group)) for x, dot in zip(xs, dots, strict=True)]
    names = [
        tag("text", name, x=CHART_WIDTH - MARGIN_RIGHT, y=MARGIN_TOP + 12 * (i + 1), text_anchor="end",
            style=f"fill: {choose_colour(i)}")
        for i, name in enumerate(groups) if name
    ]  # fmt: skip
    style = tag("style", Markup(files(__package__).joinpath("page.css").read_text(encoding="utf-8")))
    ground = tag("rect", width=CHART_WIDTH, height=CHART_HEIGHT, style="fill: var(--ground)")
    inside = join_markup(style, ground, axes, *circles, *names)
    svg = wrap_svg(inside, CHART_WIDTH, CHART_HEIGHT, "validation accuracy of each trial", "chart")
    return str(svg).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1) + "\n"


def choose_colour(group: int) -> str:
    return GROUP_COLOURS[group % len(GROUP_COLOURS)]


def draw_dot(frame: PlotFrame, x: float, dot: TrialDot, group: int) -> Markup:
    colour = choose_colour(group)
    fill = colour if dot.whole else "none"
    title = tag("title", dot.title)
    y = frame.y(100 * dot.accuracy)
    return tag("circle", title, cx=frame.x(x), cy=y, r=4, style=f"fill: {fill}; stroke: {colour}; stroke-width: 1.5")
