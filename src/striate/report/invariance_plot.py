"""An Invariance to look at: the agreement at every offset, and accuracy and agreement against each change's size."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from ..metrics.invariance import Change, Invariance
from ..metrics.numbers import format_percent
from ..terminal import format_count
from . import pictures
from .charts import CHART_HEIGHT, CHART_WIDTH, ChartLine, PlotFrame, choose_ticks, draw_axes, draw_series, wrap_svg
from .markup import Markup, join_markup, tag
from .sheet import add_caption, add_margin, convert_to_rgb, draw_text, place_below, place_beside

PLOT_CELL = 14
BLUE, ORANGE = (34, 100, 180), (222, 120, 40)


def draw_change(change: Change) -> Markup:
    """Accuracy and agreement, in per cent, against the change's size, as SVG."""
    lines = make_change_lines(change)
    sizes = [point.value for point in change.points]
    frame = PlotFrame(min(sizes), max(max(sizes), min(sizes) + 1e-9), 0, 100)
    drawn = [draw_series(frame, line, f"{change.name} {{x:g}}: {{name}} {{y:.4g}} %") for line in lines]
    ticks = [t for t in choose_ticks(frame.x0, frame.x1) if frame.x0 <= t <= frame.x1]
    grid = draw_axes(frame, ticks, [0.0, 25, 50, 75, 100], f"{change.name}, {change.unit}", suffix=" %")
    return wrap_svg(
        join_markup(grid, *drawn), CHART_WIDTH, CHART_HEIGHT, f"{change.name}: accuracy and agreement", "chart"
    )


def make_change_lines(change: Change) -> list[ChartLine]:
    return [
        ChartLine("accuracy", "train", [(p.value, 100 * p.accuracy) for p in change.points]),
        ChartLine("agreement", "valid", [(p.value, 100 * p.agreement) for p in change.points]),
    ]


def is_drawable(change: Change) -> bool:
    """Whether its sizes lie on a line, as those of a flip do not."""
    return bool(change.unit) and len(change.points) > 1


def draw_changes(given: Invariance) -> Markup:
    """The charts of all changes that have a size, and more than one."""
    return tag("div", *(draw_change(change) for change in given.changes if is_drawable(change)), class_="charts")


def draw_invariance(given: Invariance) -> NDArray:
    """The whole of it as one picture, uint8 H×W×3: blue is accuracy, orange agreement."""
    shares = np.array(given.offsets)
    heat = pictures.enlarge_picture(pictures.colour_shares(shares), PLOT_CELL)
    s = len(shares) // 2
    low = f"agreement at every offset of ±{s} px:\n{format_percent(shares.min())} (darkest 0 %, lightest 100 %)"
    plots = [draw_plot(change) for change in given.changes if is_drawable(change)]
    others = [change for change in given.changes if not is_drawable(change)]
    told = "\n".join(
        f"{c.name}, {p.name}: accuracy {format_percent(p.accuracy)}, agreement {format_percent(p.agreement)}"
        for c in others
        for p in c.points
    )
    head = draw_text(
        f"{format_count(given.images, 'image')}, accuracy on the originals {format_percent(given.accuracy)}; "
        f"shift consistency {format_percent(given.consistency)}\n{told}"
    )
    return add_margin(place_below([head, place_beside([add_caption(heat, low), *plots], 16)], 10))


def draw_plot(change: Change, width: int = 260, height: int = 238) -> NDArray:
    """Accuracy (blue) and agreement (orange) against the change's size."""
    sizes = [point.value for point in change.points]
    first, last = min(sizes), max(sizes)
    canvas = Image.new("RGB", (2 * width, 2 * height), "white")
    draw = ImageDraw.Draw(canvas)

    def place(value: float, share: float) -> tuple[float, float]:
        return 20 + (value - first) / (last - first) * (2 * width - 40), 20 + (1 - share) * (2 * height - 40)

    for share in (0, 0.25, 0.5, 0.75, 1):
        draw.line([place(first, share), place(last, share)], fill=(220, 220, 220), width=2)
    for ink, values in ((BLUE, [p.accuracy for p in change.points]), (ORANGE, [p.agreement for p in change.points])):
        spots = [place(v, share) for v, share in zip(sizes, values, strict=True)]
        draw.line(spots, fill=ink, width=4)
        for a, b in spots:
            draw.ellipse((a - 5, b - 5, a + 5, b + 5), fill=ink)
    drawn = convert_to_rgb(np.asarray(canvas.resize((width, height), Image.Resampling.BOX)))
    ends = f"{change.points[0].name} to {change.points[-1].name}"
    return add_caption(drawn, f"{change.name}, {ends}; lines at 0, 25, … 100 %:\naccuracy blue, agreement orange")
