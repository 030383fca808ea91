"""Pictures that are the same, or nearly: a small perceptual hash, and the groups that it finds."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from PIL import Image

SIDE = 16  # the hash is 16×16 bits
BITS = SIDE * SIDE
# Measured on 3,781 photographs of clothes: halved and saved as JPEG of quality 50, 99 in 100 differ by at most 20 bits
# and 1 level, made a tenth brighter by 15 bits and 16 levels; of all 7 million pairs only one true one is within 20.
NEAR = 20  # bits of 256 in which two views of one picture may differ
CLOSE = 16.0  # mean difference of their thumbnails, in levels of 255
EVEN = 8  # a thumbnail whose brightest and darkest values differ by less shows nothing
BLOCK = 2048


def thumbnail(gray: np.ndarray) -> np.ndarray:
    """A gray picture (uint8 H×W) as uint8 16×17, squashed: what `bits` and the comparison look at."""
    return np.asarray(Image.fromarray(gray).resize((SIDE + 1, SIDE), Image.Resampling.BOX))


def bits(thumbnails: np.ndarray) -> np.ndarray:
    """The difference hash of each thumbnail, as ±1: whether the value to the right is brighter (N×16×17 -> N×256).

    N. Krawetz 2013, "Kind of Like That" (dHash), at 256 bits instead of 64, so that shirts on plain ground keep apart.
    """
    wide = thumbnails.astype(np.int16)
    return np.where(wide[:, :, 1:] > wide[:, :, :-1], 1, -1).reshape(len(wide), BITS).astype(np.float32)


def blank(thumbnails: np.ndarray) -> np.ndarray:
    """Whether each picture shows nothing: its thumbnail's values lie within 8 levels of 255."""
    flat = thumbnails.reshape(len(thumbnails), -1).astype(int)
    return (flat.max(1) - flat.min(1) < EVEN) if len(flat) else np.zeros(0, bool)


def near_pairs(thumbnails: np.ndarray) -> Iterator[tuple[int, int]]:
    """The pairs (i, j), i < j, of pictures that look the same: at most 20 of 256 hash bits and 16 levels apart.

    Every pair is compared, by a matrix product of the ±1 bits, block by block; blank pictures are left out.
    """
    signs = bits(thumbnails)
    hidden = blank(thumbnails)
    signs[hidden] = 0
    levels = thumbnails.reshape(len(thumbnails), -1).astype(np.int16)
    for top in range(0, len(signs), BLOCK):
        rows = signs[top : top + BLOCK]
        for left in range(top, len(signs), BLOCK):
            agree = rows @ signs[left : left + BLOCK].T  # BITS − 2·Hamming distance
            for i, j in zip(*np.nonzero(agree >= BITS - 2 * NEAR), strict=True):
                a, b = top + int(i), left + int(j)
                if a < b and np.abs(levels[a] - levels[b]).mean() <= CLOSE:
                    yield a, b


def groups(pairs: Iterator[tuple[int, int]], n: int) -> list[list[int]]:
    """The connected sets of two or more among 0 … n − 1, each sorted, in the order of their first members."""
    parent = list(range(n))

    def root(k: int) -> int:
        while parent[k] != k:
            parent[k] = parent[parent[k]]
            k = parent[k]
        return k

    for a, b in pairs:
        a, b = root(a), root(b)
        parent[max(a, b)] = min(a, b)
    found: dict[int, list[int]] = {}
    for k in range(n):
        found.setdefault(root(k), []).append(k)
    return [members for members in found.values() if len(members) > 1]
