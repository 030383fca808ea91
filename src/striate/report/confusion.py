"""The confusion matrix as a heat map: with counts, with hover titles, or, for very many classes, as a picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..language import say
from ..metrics.numbers import format_percent
from ..terminal import format_count, make_printable
from .charts import wrap_svg
from .markup import Markup, join_markup, tag
from .pictures import encode_data_uri

# Up to this many classes each cell carries its count and each row its name.
MOST_COUNTED = 30

# Up to this many, each cell that is not empty is a square with a hover title; beyond, the matrix is a picture.
MOST_DRAWN = 120

RIGHT_COLOUR, WRONG_COLOUR = (70, 125, 205), (214, 108, 38)


def draw_confusion(confusion: Sequence[Sequence[int]], classes: Sequence[str]) -> Markup:
    """Rows are the truth. A cell's strength is its share of its row; for confusions the root of the share."""
    table = np.array(confusion)
    shares = table / np.maximum(table.sum(1, keepdims=True), 1)
    if len(classes) > MOST_DRAWN:
        image = tag("img", src=encode_data_uri(paint_shares(shares)), alt=say("confusion matrix, rows the truth"))
        return tag("div", image, class_="matrix-picture")
    if len(classes) > MOST_COUNTED:
        return draw_bare_matrix(table, shares, classes)
    return draw_labelled_matrix(table, shares, classes)


def compute_strength(shares: NDArray) -> NDArray:
    # A wrong cell holds few images; the root makes one image in a hundred visible at all.
    return np.where(np.eye(len(shares), dtype=bool), shares, np.sqrt(shares)).round(3)


def paint_shares(shares: NDArray) -> NDArray:
    """RGBA, a pixel a cell, clear where no image is."""
    k = len(shares)
    picture = np.empty((k, k, 4), np.uint8)
    picture[..., :3] = np.where(np.eye(k, dtype=bool)[..., None], RIGHT_COLOUR, WRONG_COLOUR)
    picture[..., 3] = (255 * compute_strength(shares)).round()
    return picture


def paint_confusion(confusion: Sequence[Sequence[int]]) -> NDArray:
    """RGB on white, a pixel a cell, rows the truth."""
    table = np.array(confusion)
    painted = paint_shares(table / np.maximum(table.sum(1, keepdims=True), 1)).astype(float)
    ink = painted[..., 3:] / 255
    return (painted[..., :3] * ink + 255 * (1 - ink)).round().astype(np.uint8)


def draw_labelled_matrix(table: NDArray, shares: NDArray, classes: Sequence[str]) -> Markup:
    k, cell = len(classes), 34 if len(classes) <= 12 else 28
    names = [shorten_class(make_printable(name)) for name in classes]
    longest = max(map(len, names))
    left = 24 + 6.6 * longest
    top = left if longest > 3 else 34
    strengths = compute_strength(shares)
    cells = [
        draw_cell(
            left + j * cell,
            top + i * cell,
            cell,
            format_cell_title(classes, table, shares, i, j),
            float(strengths[i, j]),
            i == j,
            int(table[i, j]),
        )
        for i in range(k)
        for j in range(k)
    ]
    rows = [
        tag("text", name, x=left - 6, y=top + (i + 0.5) * cell + 4, text_anchor="end") for i, name in enumerate(names)
    ]
    columns = [draw_column_name(name, left + (j + 0.5) * cell, top - 6, longest <= 3) for j, name in enumerate(names)]
    return frame_matrix(join_markup(*rows, *columns, *cells), left, top, k * cell, "chart matrix labelled")


def draw_column_name(name: str, x: float, y: float, upright: bool) -> Markup:
    if upright:
        return tag("text", name, x=x, y=y, text_anchor="middle")
    return tag("text", name, transform=f"translate({x + 4:g} {y:g}) rotate(-90)")


def draw_bare_matrix(table: NDArray, shares: NDArray, classes: Sequence[str]) -> Markup:
    left = top = 16
    cell = max(5, 640 // len(classes))
    strengths = compute_strength(shares)
    cells = [
        draw_cell(
            left + j * cell,
            top + i * cell,
            cell,
            format_cell_title(classes, table, shares, i, j),
            float(strengths[i, j]),
            i == j,
        )
        for i, j in np.argwhere(table).tolist()
    ]
    return frame_matrix(join_markup(*cells), left, top, len(classes) * cell, "chart matrix")


def format_cell_title(classes: Sequence[str], table: NDArray, shares: NDArray, i: int, j: int) -> Markup:
    cell = {"truth": classes[i], "images": format_count(int(table[i, j]), "image")}
    share = format_percent(float(shares[i, j]))
    if i == j:
        return tag("title", say("{truth} correct: {images}, {share} of the row", **cell, share=share))
    title = say("{truth} predicted as {told}: {images}, {share} of the row", **cell, told=classes[j], share=share)
    return tag("title", title)


def draw_cell(
    x: float, y: float, size: int, title: Markup, ink: float, right: bool, count: int | None = None
) -> Markup:
    """One cell. Its count takes another colour on a strong ground, sooner in the dark than in the light (page.css)."""
    styles = ["right" if right else "wrong", "strong" if ink > 0.6 else "", "full" if ink > 0.8 else ""]
    text = None
    if count is not None:
        styles.append("" if count else "none")
        text = tag("text", count, x=x + size / 2, y=y + size / 2 + 3.8, text_anchor="middle")
    rect = tag("rect", x=x, y=y, width=size, height=size, fill_opacity=ink)
    return tag("g", title, rect, text, class_=" ".join(filter(None, styles)))


def frame_matrix(cells: Markup, left: float, top: float, side: float, style: str) -> Markup:
    """The cells with a frame around them and the names of the two directions."""
    frame = tag("rect", x=left, y=top, width=side, height=side, class_="frame")
    across = tag("text", say("prediction"), x=left + side / 2, y=10, text_anchor="middle")
    down = tag("text", say("truth"), transform=f"translate(10 {top + side / 2:g}) rotate(-90)", text_anchor="middle")
    drawing = join_markup(across, down, cells, frame)
    return wrap_svg(drawing, round(left + side + 2), round(top + side + 2), "confusion matrix", style)


def shorten_class(name: str) -> str:
    """A name of at most 14 characters: its head and its tail, which is where numbered names differ."""
    return name if len(name) <= 14 else f"{name[:8]}…{name[-5:]}"
