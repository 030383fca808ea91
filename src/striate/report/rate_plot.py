"""A sweep of learning rates to look at: the loss over the rate, as SVG or as a picture."""

from __future__ import annotations

from importlib.resources import files
from math import ceil, floor, log10

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from ..fitting.rate_finder import RateSweep
from .charts import (
    CHART_HEIGHT,
    CHART_WIDTH,
    MARGIN_BOTTOM,
    MARGIN_TOP,
    ChartLine,
    PlotFrame,
    choose_ticks,
    draw_axes,
    draw_series,
    wrap_svg,
)
from .markup import Markup, join_markup, tag
from .sheet import add_caption, convert_to_rgb

# Losses above so many times the first are cut off: they would press all else to the ground.
SHOWN_TIMES = 1.5
INK_RAW, INK_SMOOTH, INK_MARK, INK_GRID = (235, 190, 160), (34, 100, 180), (98, 105, 119), (225, 222, 214)


def frame_sweep(sweep: RateSweep) -> tuple[PlotFrame, list[float], list[float]]:
    """The plotting area, x in powers of ten; the powers to mark, and the losses."""
    low, high = (log10(rate) for rate in (sweep.rates[0], sweep.rates[-1]))
    top = min(max(sweep.losses), SHOWN_TIMES * sweep.smoothed[0])
    ticks = choose_ticks(min(0.0, *sweep.smoothed), top)
    frame = PlotFrame(low, max(high, low + 1e-9), ticks[0], ticks[-1])
    return frame, [float(k) for k in range(ceil(low - 1e-9), floor(high + 1e-9) + 1)], ticks


def list_points(sweep: RateSweep, losses: tuple[float, ...], frame: PlotFrame) -> list[tuple[float, float]]:
    """(log10 of the rate, loss), what is above the plotting area at its edge."""
    return [(log10(rate), min(loss, frame.y1)) for rate, loss in zip(sweep.rates, losses, strict=True)]


def draw_rate_svg(sweep: RateSweep) -> str:
    """A file of its own: the loss of each step, the smoothed one, and the suggested rate at the dotted line."""
    frame, powers, ticks = frame_sweep(sweep)
    lines = (ChartLine("loss", "train", list_points(sweep, sweep.losses, frame)),
             ChartLine("smoothed loss", "valid", list_points(sweep, sweep.smoothed, frame)))  # fmt: skip
    drawn = [draw_series(frame, line, "{name} {y:.4g}") for line in lines]
    axes = draw_axes(frame, powers, ticks, "learning rate", mark=format_power)
    x = frame.x(log10(sweep.suggestion))
    told = tag("title", f"suggested: {sweep.suggestion:g}")
    mark = tag("line", told, x1=x, x2=x, y1=MARGIN_TOP, y2=CHART_HEIGHT - MARGIN_BOTTOM, class_="best")
    text = tag("text", f"{sweep.suggestion:g}", x=x + 4, y=MARGIN_TOP + 10)
    style = tag("style", Markup(files(__package__).joinpath("page.css").read_text(encoding="utf-8")))
    ground = tag("rect", width=CHART_WIDTH, height=CHART_HEIGHT, style="fill: var(--ground)")
    inside = join_markup(style, ground, axes, mark, text, *drawn)
    svg = wrap_svg(inside, CHART_WIDTH, CHART_HEIGHT, "loss over the learning rate", "chart")
    return str(svg).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1) + "\n"


def format_power(power: float) -> str:
    """
    >>> format_power(-3.0)
    '1e-03'
    """
    return f"{10.0**power:.0e}"


def draw_rate_picture(sweep: RateSweep) -> NDArray:
    """The same as uint8 H×W×3: each step's loss pale, the smoothed one blue, the suggestion a grey line."""
    frame, powers, ticks = frame_sweep(sweep)
    canvas = Image.new("RGB", (2 * CHART_WIDTH, 2 * CHART_HEIGHT), "white")
    draw = ImageDraw.Draw(canvas)

    def place(x: float, y: float) -> tuple[float, float]:
        return 2 * frame.x(x), 2 * frame.y(y)

    for tick in ticks:
        draw.line([place(frame.x0, tick), place(frame.x1, tick)], fill=INK_GRID, width=2)
    for power in powers:
        draw.line([place(power, frame.y0), place(power, frame.y1)], fill=INK_GRID, width=2)
    for ink, losses in ((INK_RAW, sweep.losses), (INK_SMOOTH, sweep.smoothed)):
        draw.line([place(*point) for point in list_points(sweep, losses, frame)], fill=ink, width=4)
    at = log10(sweep.suggestion)
    draw.line([place(at, frame.y0), place(at, frame.y1)], fill=INK_MARK, width=3)
    drawn = convert_to_rgb(np.asarray(canvas.resize((CHART_WIDTH, CHART_HEIGHT), Image.Resampling.BOX)))
    ends = f"{sweep.rates[0]:.1e} to {sweep.rates[-1]:.1e}, a line each power of ten"
    told = f"loss {ticks[0]:g} to {ticks[-1]:g} over the learning rate, {ends}\nsuggested: {sweep.suggestion:g}"
    return add_caption(drawn, told)
