"""The one scale of a data set whose values are deeper than 8 bits: chosen from its training images, kept, applied."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from ...language import say

# Bits of a whole number that cameras, scanners and microscopes deliver.
BIT_DEPTHS = (8, 10, 12, 14, 16)
# The full scales that an image of its own is given: 8, 12 and 16 bits.
LEVEL_DEPTHS = (255, 4095, 65535)
# Of the values that are not 0, what may lie beyond the scale at either end, where it is clipped.
BEYOND_SHARE = 0.001
# Values that are looked at: of one file, and of an array.
VALUES_A_FILE, VALUES_AN_ARRAY = 10_000, 200_000


class Depth(NamedTuple):
    """What becomes black and what becomes white.

    low, high  the values of level 0 and of level 255
    whole      whole numbers, which the 256 levels share equally: of 12 bits, 0 to 15 are level 0 and 4080 to 4095 are
               level 255. Of others, and of fewer than 256 numbers, the nearest level is taken: of 0 to 1, 0.5 is 128
    """

    low: float
    high: float
    whole: bool


def choose_depth(values: np.ndarray) -> Depth:
    """The scale that holds these values, by a rule that a few outliers do not move.

    Looked at are the values that are finite and not 0, so that a large black ground does not count; of these 1 in
    1,000 may lie beyond the scale at either end, and one may always.
    Whole numbers of 0 and more: the least of 8, 10, 12, 14 and 16 bits that holds them.
    Other numbers of 0 and more: 0 to 1 if that holds them, else 0 to 255.
    What that does not hold, and what is negative: from the least to the largest of what the rule keeps.

    >>> choose_depth(np.array([0, 7, 1000, 2000, 65535]))
    Depth(low=0.0, high=4095.0, whole=True)
    >>> choose_depth(np.linspace(-1000, 3000, 4001))
    Depth(low=-996.0, high=2996.0, whole=False)
    """
    whole = values.dtype.kind in "iub"
    seen = values[np.isfinite(values) & (values != 0)].astype(np.float64)
    if not seen.size:
        return Depth(0.0, 255.0 if whole else 1.0, whole)
    # "higher" and "lower" look inwards, and past the outermost value even of a few.
    beyond = max(BEYOND_SHARE, 1 / seen.size) if seen.size > 2 else 0.0
    low = float(np.quantile(seen, beyond, method="higher"))
    high = float(np.quantile(seen, 1 - beyond, method="lower"))
    usual = [2.0**bits - 1 for bits in BIT_DEPTHS] if whole else [1.0, 255.0]
    full = next((full for full in usual if low >= 0 and high <= full), None)
    if full is not None:
        return Depth(0.0, full, whole)
    return Depth(low, high if high > low else low + 1, whole)


def apply_depth(values: np.ndarray, depth: Depth) -> np.ndarray:
    """The values as uint8 levels, a larger value never below a smaller one.

    What lies below `low` becomes 0 and what lies above `high` 255; NaN becomes 0.

    >>> apply_depth(np.array([0, 16, 2048, 4095, 60000], np.uint16), Depth(0, 4095, True))
    array([  0,   1, 128, 255, 255], dtype=uint8)
    """
    low, high, whole = depth
    kind = values.dtype if values.dtype.kind == "f" and values.dtype.itemsize >= 4 else np.dtype(np.float64)
    wide = np.clip(np.nan_to_num(values.astype(kind), nan=low, posinf=high, neginf=low), low, high) - kind.type(low)
    if whole and high - low >= 255:
        levels = wide * 256 / (high - low + 1)
    else:
        levels = wide * kind.type(255 / (high - low)) + kind.type(0.5)
    return np.minimum(np.floor(levels), 255).astype(np.uint8)


def scale_values(values: np.ndarray, depth: Depth | None) -> np.ndarray:
    """An image's own values as uint8 levels: at `depth`, those of 8 bits as they are.

    Without a depth, and where that is of whole numbers and the image of floats or the other way round, by the image's
    own largest value (`convert_levels`).
    """
    if values.dtype == np.uint8:
        return values
    fits = depth is not None and depth.whole == (values.dtype.kind in "iu")
    return apply_depth(values, depth) if depth is not None and fits else convert_levels(values)


def convert_levels(values: np.ndarray) -> np.ndarray:
    """16-bit, 32-bit and float values as uint8, their content kept, each image by its own largest value.

    For models that were trained without a scale of their own (`Depth`).

    Whole numbers from 0 to 65535: full scale is 255, 4095 or 65535 (8, 12 or 16 bits), the least that holds the
    largest value, so that 12-bit data in a 16-bit file do not turn black. Floats within 0 to 1: times 255; within
    0 to 255: as they are. Anything else: the least value becomes 0 and the largest 255. NaN becomes the least value.

    >>> convert_levels(np.array([0, 32768, 65535], np.uint16)), convert_levels(np.array([0.0, 0.5, 1.0]))
    (array([  0, 128, 255], dtype=uint8), array([  0, 128, 255], dtype=uint8))
    """
    whole = np.issubdtype(values.dtype, np.integer)
    wide = values.astype(np.float64)
    finite = wide[np.isfinite(wide)]
    least, most = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    wide = np.clip(np.nan_to_num(wide, nan=least, posinf=most, neginf=least), least, most)
    if whole and least >= 0 and most <= LEVEL_DEPTHS[-1]:
        low, full = 0.0, float(next(full for full in LEVEL_DEPTHS if most <= full))
    elif not whole and least >= 0 and most <= 255:
        low, full = 0.0, 1.0 if most <= 1 else 255.0
    else:
        low, full = least, (most - least) or 1.0
    return np.floor((wide - low) * (255 / full) + 0.5).astype(np.uint8)


def measure_clipped(values: np.ndarray, depth: Depth) -> float:
    """The share of the values that lie beyond the scale, 0 to 1."""
    return float(np.mean((values < depth.low) | (values > depth.high))) if values.size else 0.0


def draw_values(values: np.ndarray, most: int) -> np.ndarray:
    """So many of the values at most, the same ones each time."""
    flat = values.reshape(-1)
    return flat if flat.size <= most else flat[np.random.default_rng(0).integers(0, flat.size, most)]


def draw_from_blocks(blocks: Iterable[np.ndarray], size: int) -> np.ndarray:
    """Values of an array of `size` numbers that comes in blocks, drawn evenly."""
    share = min(1.0, VALUES_AN_ARRAY / max(1, size))
    return np.concatenate([draw_values(block, max(1, round(share * block.size))) for block in blocks])


def format_depth(depth: Depth) -> str:
    """The scale in words.

    >>> format_depth(Depth(0, 4095, True)), format_depth(Depth(0, 1, False)), format_depth(Depth(-1000, 3000, True))
    ('12-bit', '0 to 1', '-1000 to 3000')
    """
    bits = [bits for bits in BIT_DEPTHS if depth.whole and depth[:2] == (0, 2**bits - 1)]
    return say("{bits}-bit", bits=bits[0]) if bits else say("{low:g} to {high:g}", low=depth.low, high=depth.high)
