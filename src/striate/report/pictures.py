"""From arrays to pictures: feature maps, filters and photographs as small uint8 images, and as PNG."""

from __future__ import annotations

from base64 import b64encode
from io import BytesIO

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

# Anchors of the two colour scales, evenly spaced. Lightness rises steadily in the first and away from the middle
# falls in the second, so both also read in grey; blue and orange differ for every kind of colour vision.
RISING_COLOURS = ((13, 14, 38), (34, 52, 122), (31, 120, 160), (85, 186, 145), (214, 226, 120), (255, 250, 222))
SIGNED_COLOURS = ((18, 52, 118), (76, 132, 200), (236, 236, 232), (222, 134, 64), (132, 52, 12))


def scale_to_unit(values: ArrayLike, limit: float | None = None) -> NDArray:
    """`values` on 0…1: from 0 to `limit` where none is negative, else from −limit to limit with 0 at 0.5.

    `limit` defaults to the largest magnitude; give one to show several arrays on one scale.
    What is not finite counts as 0.
    """
    v = np.nan_to_num(np.asarray(values, dtype=np.float64), nan=0, posinf=0, neginf=0)
    limit = float(abs(v).max(initial=0)) if limit is None else limit
    scaled = v / limit if limit > 0 else np.zeros_like(v)
    return np.clip(scaled / 2 + 0.5 if (v < 0).any() else scaled, 0, 1)


def colour_shares(shares: NDArray, anchors: tuple[tuple[int, int, int], ...] = RISING_COLOURS) -> NDArray:
    """Shares 0…1 of any shape as RGB, `…` -> `…×3` uint8, linear between the anchors.

    >>> colour_shares(np.array([0.0, 1.0])).tolist()
    [[13, 14, 38], [255, 250, 222]]
    """
    places = np.linspace(0, 1, len(anchors))
    bands = [np.interp(shares, places, band) for band in zip(*anchors, strict=True)]
    return np.stack(bands, axis=-1).round().astype(np.uint8)


def paint_maps(values: ArrayLike) -> NDArray:
    """Feature maps `C×H×W` as pictures `C×H×W×3`, all on one scale.

    Dark is 0 and light the largest; where there are negative values blue is negative, orange positive, grey 0.
    """
    v = np.asarray(values)
    return colour_shares(scale_to_unit(v), SIGNED_COLOURS if (v < 0).any() else RISING_COLOURS)


def paint_filters(weights: ArrayLike) -> NDArray:
    """The filters `F×C×h×w` of a layer as pictures `F×h'×w×3`, each on its own scale with 0 in the middle.

    Three channels are the filter in colour (grey is 0); else each channel is a square of blue (negative), grey (0)
    and orange (positive), one under another with a line between, h' = C·(h + 1) − 1.
    """
    w = np.asarray(weights, dtype=np.float64)
    limit = abs(w).max(axis=(1, 2, 3), keepdims=True, initial=0)
    shares = np.clip(w / np.where(limit > 0, limit, 1) / 2 + 0.5, 0, 1)
    if w.shape[1] == 3:
        return (shares.transpose(0, 2, 3, 1) * 255).round().astype(np.uint8)
    ruled = np.pad(colour_shares(shares, SIGNED_COLOURS), ((0, 0), (0, 0), (0, 1), (0, 0), (0, 0)), constant_values=128)
    return ruled.reshape(len(w), -1, w.shape[3], 3)[:, :-1]


def tile_pictures(pictures: ArrayLike, columns: int, gap: int = 1, ground: int = 255) -> NDArray:
    """Pictures `N×H×W×C` as one, in rows of `columns`, `gap` pixels of `ground` between them."""
    p = np.asarray(pictures, dtype=np.uint8)
    n, h, w, c = p.shape
    columns = max(1, min(columns, n))
    rows = -(-n // columns)
    sheet = np.full((rows * (h + gap) - gap, columns * (w + gap) - gap, c), ground, np.uint8)
    for i, picture in enumerate(p):
        top, left = i // columns * (h + gap), i % columns * (w + gap)
        sheet[top : top + h, left : left + w] = picture
    return sheet


def enlarge_picture(picture: ArrayLike, times: int) -> NDArray:
    """`H×W×C` -> `times·H×times·W×C`, each pixel a square."""
    return np.asarray(picture).repeat(times, axis=0).repeat(times, axis=1)


def reduce_picture(picture: ArrayLike, longest: int) -> NDArray:
    """The uint8 picture `H×W×C` reduced until neither side is longer than `longest`; never enlarged."""
    p = np.asarray(picture, dtype=np.uint8)
    h, w = p.shape[:2]
    if max(h, w) <= longest:
        return p
    size = max(1, round(w * longest / max(h, w))), max(1, round(h * longest / max(h, w)))
    return np.asarray(make_pillow_image(p).resize(size, Image.Resampling.BOX)).reshape(size[1], size[0], -1)


def make_pillow_image(picture: ArrayLike) -> Image.Image:
    """The uint8 picture `H×W`, `H×W×1` (grey) or `H×W×3` (RGB) as a Pillow image."""
    p = np.ascontiguousarray(picture, dtype=np.uint8)
    return Image.fromarray(p[..., 0] if p.ndim == 3 and p.shape[2] == 1 else p)


def encode_png(picture: ArrayLike) -> bytes:
    """The picture as a PNG file."""
    out = BytesIO()
    make_pillow_image(picture).save(out, "PNG", optimize=True)
    return out.getvalue()


def encode_data_uri(picture: ArrayLike) -> str:
    """The picture as a `data:` address, for an `<img>` that needs no second file."""
    return "data:image/png;base64," + b64encode(encode_png(picture)).decode("ascii")
