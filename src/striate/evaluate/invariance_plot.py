"""An Invariance to look at: the agreement at every offset, and accuracy and agreement against each change's size."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from . import pictures
from .charts import HEIGHT, WIDTH, Frame, Line, axes, nice, series, svg
from .invariance import Change, Invariance
from .markup import Markup, join, tag
from .sheet import below, beside, captioned, coloured, margined, words
from .tables import percent

CELL = 14
BLUE, ORANGE = (34, 100, 180), (222, 120, 40)


def chart(change: Change) -> Markup:
    """Accuracy and agreement, in per cent, against the change's size, as SVG."""
    lines = lines_of(change)
    sizes = [point.value for point in change.points]
    frame = Frame(min(sizes), max(max(sizes), min(sizes) + 1e-9), 0, 100)
    drawn = [series(frame, line, f"{change.name} {{x:g}}: {{name}} {{y:.4g}} %") for line in lines]
    ticks = [t for t in nice(frame.x0, frame.x1) if frame.x0 <= t <= frame.x1]
    grid = axes(frame, ticks, [0.0, 25, 50, 75, 100], f"{change.name}, {change.unit}", suffix=" %")
    return svg(join(grid, *drawn), WIDTH, HEIGHT, f"{change.name}: accuracy and agreement", "chart")


def lines_of(change: Change) -> list[Line]:
    return [
        Line("accuracy", "train", [(p.value, 100 * p.accuracy) for p in change.points]),
        Line("agreement", "valid", [(p.value, 100 * p.agreement) for p in change.points]),
    ]


def drawable(change: Change) -> bool:
    """Whether its sizes lie on a line, as those of a flip do not."""
    return bool(change.unit) and len(change.points) > 1


def charts(given: Invariance) -> Markup:
    """The charts of all changes that have a size, and more than one."""
    return tag("div", *(chart(change) for change in given.changes if drawable(change)), class_="charts")


def picture(given: Invariance) -> NDArray:
    """The whole of it as one picture, uint8 H×W×3: blue is accuracy, orange agreement."""
    shares = np.array(given.offsets)
    heat = pictures.enlarge(pictures.colour(shares), CELL)
    s = len(shares) // 2
    low = f"agreement at every offset of ±{s} px:\n{percent(shares.min())} (darkest 0 %, lightest 100 %)"
    plots = [plot(change) for change in given.changes if drawable(change)]
    others = [change for change in given.changes if not drawable(change)]
    told = "\n".join(
        f"{c.name}, {p.name}: accuracy {percent(p.accuracy)}, agreement {percent(p.agreement)}"
        for c in others
        for p in c.points
    )
    head = words(
        f"{given.images:,} images, accuracy untouched {percent(given.accuracy)}; "
        f"shift consistency {percent(given.consistency)}\n{told}"
    )
    return margined(below([head, beside([captioned(heat, low), *plots], 16)], 10))


def plot(change: Change, width: int = 260, height: int = 238) -> NDArray:
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
    drawn = coloured(np.asarray(canvas.resize((width, height), Image.Resampling.BOX)))
    ends = f"{change.points[0].name} to {change.points[-1].name}"
    return captioned(drawn, f"{change.name}, {ends}; lines at 0, 25, … 100 %:\naccuracy blue, agreement orange")
