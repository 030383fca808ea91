"""The report's charts as SVG: lines over epochs, reliability, answers against truth. Colours are the page's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil, floor, isfinite, log10
from typing import NamedTuple

from ..language import say
from ..metrics.classification import Bin
from ..metrics.numbers import format_number, format_percent
from ..terminal import format_count
from .markup import Markup, join_markup, tag

CHART_WIDTH, CHART_HEIGHT = 440, 250
MARGIN_LEFT, MARGIN_RIGHT, MARGIN_TOP, MARGIN_BOTTOM = 42, 14, 12, 34


class ChartLine(NamedTuple):
    """One line of a chart: its name, its CSS class, and (x, y) points. A y that is None or not finite is a gap."""

    name: str
    style: str
    points: Sequence[tuple[float, float | None]]


class PlotFrame(NamedTuple):
    """The plotting area: data (x0…x1, y0…y1) to SVG units."""

    x0: float
    x1: float
    y0: float
    y1: float

    def x(self, value: float) -> float:
        return round(
            MARGIN_LEFT + (value - self.x0) / (self.x1 - self.x0) * (CHART_WIDTH - MARGIN_LEFT - MARGIN_RIGHT), 2
        )

    def y(self, value: float) -> float:
        return round(
            CHART_HEIGHT
            - MARGIN_BOTTOM
            - (value - self.y0) / (self.y1 - self.y0) * (CHART_HEIGHT - MARGIN_TOP - MARGIN_BOTTOM),
            2,
        )


def draw_curves(lines: Sequence[ChartLine], *, title: str, unit: str = "", best: float | None = None) -> Markup:
    """Lines over epochs, with axes. `unit` "%" takes shares 0…1 and ends at 100; `best` marks an epoch."""
    scale = 100.0 if unit == "%" else 1.0
    scaled = [ChartLine(n, s, [(x, y * scale) for x, y in pts if y is not None and isfinite(y)]) for n, s, pts in lines]
    values = [y for line in scaled for _, y in line.points if y is not None]
    epochs = [x for line in scaled for x, _ in line.points]
    if not values:
        return tag("p", say("No epoch has a finite value to draw."), class_="quiet")
    ticks = choose_ticks(
        min(values) if scale == 100 else min(0.0, *values), max(values), top=100.0 if scale == 100 else None
    )
    frame = PlotFrame(min(epochs), max(max(epochs), min(epochs) + 1), ticks[0], ticks[-1])
    point = say("{title}, {{name}}, epoch {{x:g}}: {{y:.4g}}{unit}", title=title, unit=unit)
    drawn = [draw_series(frame, line, point) for line in scaled]
    mark = None if best is None else draw_mark(frame.x(best), say("best epoch: {best:g}", best=best))
    wholes = sorted(
        {round(t) for t in [frame.x0, *choose_ticks(frame.x0, frame.x1)] if frame.x0 <= round(t) <= frame.x1}
    )
    grid = draw_axes(frame, wholes, ticks, say("epoch"), suffix=unit and f" {unit}")
    return wrap_chart(join_markup(grid, mark, *drawn), title)


def draw_mark(x: float, title: str) -> Markup:
    """A dotted line across the chart."""
    y1, y2 = MARGIN_TOP, CHART_HEIGHT - MARGIN_BOTTOM
    return tag("line", tag("title", title), x1=x, x2=x, y1=y1, y2=y2, class_="best")


def wrap_chart(inside: Markup, label: str) -> Markup:
    return wrap_svg(inside, CHART_WIDTH, CHART_HEIGHT, label, "chart")


def draw_series(frame: PlotFrame, line: ChartLine, title: str) -> Markup:
    points = [(frame.x(x), frame.y(y), x, y) for x, y in line.points if y is not None]
    path = tag("polyline", points=" ".join(f"{px:g},{py:g}" for px, py, _, _ in points), class_="line")
    radius = 2.6 if len(points) <= 40 else 1.4
    dots = [
        tag("circle", tag("title", title.format(name=line.name, x=x, y=y)), cx=px, cy=py, r=radius)
        for px, py, x, y in points
    ]
    return tag("g", path, *dots, class_=f"series {line.style}")


def draw_reliability(bins: Sequence[Bin]) -> Markup:
    """Accuracy against confidence, a bar a bin, its width the bin's and its shade the share of the images in it."""
    frame = PlotFrame(0, 100, 0, 100)
    most = max(item.images for item in bins)
    bars = [
        tag(
            "g",
            tag("title", format_bin_title(item)),
            draw_bar(frame, item, item.accuracy, "bar", opacity=0.25 + 0.75 * item.images / most),
            tag("line", x1=frame.x(100 * item.low) + 1.5, x2=frame.x(100 * item.high) - 1.5,
                y1=frame.y(100 * item.confidence), y2=frame.y(100 * item.confidence), class_="expected"),
        )
        for item in bins
        if item.accuracy is not None and item.confidence is not None
    ]  # fmt: skip
    ideal = tag("line", x1=frame.x(0), y1=frame.y(0), x2=frame.x(100), y2=frame.y(100), class_="ideal")
    ticks = [0.0, 20, 40, 60, 80, 100]
    grid = draw_axes(frame, ticks, ticks, say("confidence, %"), suffix=" %")
    return wrap_svg(join_markup(grid, ideal, *bars), CHART_WIDTH, CHART_HEIGHT, say("reliability diagram"), "chart")


def format_bin_title(item: Bin) -> str:
    return say(
        "confidence {low} to {high}: {images}, mean confidence {confidence}, accuracy {accuracy}",
        low=format_percent(item.low), high=format_percent(item.high), images=format_count(item.images, "image"),
        confidence=format_percent(item.confidence or 0), accuracy=format_percent(item.accuracy or 0),
    )  # fmt: skip


def draw_bar(frame: PlotFrame, item: Bin, height: float, style: str, opacity: float) -> Markup:
    x, top = frame.x(100 * item.low) + 1.5, frame.y(100 * height)
    return tag("rect", x=x, y=top, width=round(frame.x(100 * item.high) - x - 1.5, 2),
               height=round(frame.y(0) - top, 2), class_=style, fill_opacity=round(opacity, 3))  # fmt: skip


def draw_axes(
    frame: PlotFrame,
    xs: Sequence[float],
    ys: Sequence[float],
    label: str,
    suffix: str = "",
    mark: Callable[[float], str] = "{:g}".format,
) -> Markup:
    """Rules at the `ys`, and the numbers beside them and, as `mark` writes them, under the `xs`."""
    rules = [
        tag("line", x1=MARGIN_LEFT, x2=CHART_WIDTH - MARGIN_RIGHT, y1=frame.y(y), y2=frame.y(y), class_="grid")
        for y in ys
    ]
    left = [tag("text", f"{y:g}{suffix}", x=MARGIN_LEFT - 7, y=frame.y(y) + 3.5, text_anchor="end") for y in ys]
    under = [tag("text", mark(x), x=frame.x(x), y=CHART_HEIGHT - MARGIN_BOTTOM + 14, text_anchor="middle") for x in xs]
    name = tag(
        "text", label, x=(MARGIN_LEFT + CHART_WIDTH - MARGIN_RIGHT) / 2, y=CHART_HEIGHT - 4, text_anchor="middle"
    )
    return tag("g", *rules, *left, *under, name, class_="axes")


def choose_ticks(low: float, high: float, top: float | None = None, about: int = 5) -> list[float]:
    """About `about` round numbers from at or below `low` to at or above `high`, or to `top`.

    >>> choose_ticks(0, 2.3), choose_ticks(91.2, 98, top=100)
    ([0.0, 0.5, 1.0, 1.5, 2.0, 2.5], [90.0, 92.0, 94.0, 96.0, 98.0, 100.0])
    """
    high = top if top is not None else high
    if high - low <= 1e-9 * max(1.0, abs(low), abs(high)):  # nothing that a chart could part
        span = max(1.0, abs(low))
        low, high = (low - span, high) if top is not None else (low, low + span)
    rough = (high - low) / about
    power = 10.0 ** floor(log10(rough))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough * 0.999)
    first, last = floor(low / step + 1e-9), ceil(high / step - 1e-9)
    return [float(f"{i * step:.10g}") for i in range(first, last + 1)]


def draw_scatter(points: Sequence[tuple[float, float]], name: str, margin: float) -> Markup:
    """Points (truth, answer), the line where both are the same, and dotted lines at a margin to either side.

    Both axes have the same ends, so that the line is the diagonal whatever the answers are.
    """
    values = [value for point in points for value in point]
    ticks = choose_ticks(min(values), max(values))
    frame = PlotFrame(ticks[0], ticks[-1], ticks[0], ticks[-1])
    dots = [
        tag("circle", tag("title", say("truth {truth:g}, answer {answer:.4g}", truth=truth, answer=answer)),
            cx=frame.x(truth), cy=frame.y(answer), r=2.2 if len(points) > 200 else 3, fill_opacity=0.6)
        for truth, answer in points
    ]  # fmt: skip
    low, high = ticks[0], ticks[-1]
    lines = [draw_parallel(frame, low, high, shift) for shift in (0.0, margin, -margin) if abs(shift) < high - low]
    grid = draw_axes(frame, ticks, ticks, say("{name}: truth to the right, answer upwards", name=name))
    label = say("answer against truth")
    inside = join_markup(grid, *lines, tag("g", *dots, class_="series valid"))
    return wrap_svg(inside, CHART_WIDTH, CHART_HEIGHT, label, "chart")


def draw_parallel(frame: PlotFrame, low: float, high: float, shift: float) -> Markup:
    """The line answer = truth + shift, cut to the frame."""
    first, last = max(low, low - shift), min(high, high - shift)
    ends = {"x1": frame.x(first), "y1": frame.y(first + shift), "x2": frame.x(last), "y2": frame.y(last + shift)}
    return tag("line", **ends, class_="ideal", opacity=0.45 if shift else None)


def draw_meter(share: float | None) -> Markup:
    """A number 0…1 with a bar under it."""
    if share is None:
        return tag("span", format_number(share), class_="quiet")
    bar = tag("i", style=f"width:{100 * share:.1f}%")
    return tag("span", format_number(share), tag("span", bar, class_="bar"), class_="meter")


def wrap_svg(inside: Markup, width: float, height: float, label: str, style: str) -> Markup:
    box = f"0 0 {width:g} {height:g}"
    return tag("svg", inside, viewBox=box, role="img", aria_label=label, class_=style, style=f"--w:{width:g}px")
