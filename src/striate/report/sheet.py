"""Pictures with words: side by side on one sheet, to be looked at or written as PNG."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from unicodedata import normalize

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ..data.read.bands import show_bands
from ..terminal import make_printable
from . import pictures

INK_COLOUR, QUIET_COLOUR = (34, 34, 34), (120, 120, 120)
SHEET_GAP = 6
# Tried in this order where the system has them; the one within Pillow has English letters alone.
FONTS = "DejaVuSans.ttf", "Arial.ttf", "LiberationSans-Regular.ttf"
PLAIN_SIGNS = str.maketrans({"×": "x", "→": "->", "Σ": "sum ", "²": "^2"})


@cache
def load_font(size: int) -> tuple[ImageFont.FreeTypeFont | ImageFont.ImageFont, bool]:
    """A font, and whether it has all usual letters and signs."""
    for name in FONTS:
        try:
            return ImageFont.truetype(name, size), True
        except OSError:
            pass
    return ImageFont.load_default(size), False


def draw_text(text: str, size: int = 12, ink: tuple[int, int, int] = INK_COLOUR) -> NDArray:
    """A line, or several, of text as a picture H×W×3, dark on white."""
    face, whole = load_font(size)
    text = "\n".join(map(make_printable, text.split("\n")))
    if not whole:
        text = normalize("NFKD", text.translate(PLAIN_SIGNS)).encode("ascii", "ignore").decode()
    probe = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    _, _, right, bottom = probe.multiline_textbbox((0, 0), text or " ", font=face)
    made = Image.new("RGB", (int(right) + 2, max(int(bottom), size) + 3), "white")
    ImageDraw.Draw(made).multiline_text((1, 0), text, fill=ink, font=face)
    return np.asarray(made)


def convert_to_rgb(picture: NDArray) -> NDArray:
    """A uint8 picture H×W, H×W×1 or H×W×3 as H×W×3; of other bands `show_bands`."""
    p = np.asarray(picture, np.uint8)
    p = show_bands(p[..., None] if p.ndim == 2 else p)
    return p.repeat(3, axis=2) if p.shape[2] == 1 else p


def scale_for_sheet(picture: NDArray, side: int) -> NDArray:
    """The picture about `side` pixels large: enlarged by a whole number, each pixel a square, or reduced."""
    p = convert_to_rgb(picture)
    return pictures.reduce_picture(pictures.enlarge_picture(p, max(1, side // max(p.shape[:2]))), max(side, 1))


def place_beside(parts: Sequence[NDArray], gap: int = SHEET_GAP) -> NDArray:
    """Pictures in a row, their upper edges level, on white."""
    parts = [convert_to_rgb(p) for p in parts]
    height = max(p.shape[0] for p in parts)
    sheet = np.full((height, sum(p.shape[1] for p in parts) + gap * (len(parts) - 1), 3), 255, np.uint8)
    left = 0
    for p in parts:
        sheet[: p.shape[0], left : left + p.shape[1]] = p
        left += p.shape[1] + gap
    return sheet


def place_below(parts: Sequence[NDArray], gap: int = SHEET_GAP) -> NDArray:
    """Pictures one under another, their left edges level, on white."""
    return place_beside([convert_to_rgb(p).swapaxes(0, 1) for p in parts], gap).swapaxes(0, 1)


def add_caption(picture: NDArray, text: str, size: int = 12) -> NDArray:
    """A picture with its caption under it."""
    return place_below([picture, draw_text(text, size)], 2) if text else convert_to_rgb(picture)


def arrange_grid(cells: Sequence[NDArray], columns: int, gap: int = SHEET_GAP) -> NDArray:
    """Pictures of any sizes in rows of `columns`, every cell as large as the largest."""
    cells = [convert_to_rgb(c) for c in cells]
    height, width = (max(c.shape[axis] for c in cells) for axis in (0, 1))
    even = []
    for c in cells:
        cell = np.full((height, width, 3), 255, np.uint8)
        cell[: c.shape[0], : c.shape[1]] = c
        even.append(cell)
    return pictures.tile_pictures(np.stack(even), columns, gap)


def add_margin(picture: NDArray, margin: int = 10) -> NDArray:
    """The picture with white around it, as it goes into a file."""
    return np.pad(convert_to_rgb(picture), ((margin, margin), (margin, margin), (0, 0)), constant_values=255)
