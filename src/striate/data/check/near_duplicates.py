"""Pictures that are the same, or nearly: a small perceptual hash, and the groups that it finds."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from PIL import Image

THUMBNAIL_SIDE = 16  # the hash is 16×16 bits
HASH_BITS = THUMBNAIL_SIDE * THUMBNAIL_SIDE
# Measured on 3,781 photographs of clothes: saved as JPEG of quality 30 at a quarter of their size, 99 in 100 differ by
# at most 36 bits and correlate by 0.994; made a fifth brighter, 9 in 10 by 18 bits and 0.996. Of all 7 million pairs
# one is within these bounds, and it is the same photograph; the next correlates by 0.988 and shows two T-shirts.
NEAR_BITS = 40  # bits of 256 in which two views of one picture may differ
CLOSE_CORRELATION = 0.99  # the least correlation of their thumbnails, which brightness and contrast do not change
BLANK_LEVELS = 8  # a thumbnail whose brightest and darkest values differ by less shows nothing
SMALL_SIDE = 32  # pixels a side, below which only exact copies are looked for
HASH_BLOCK = 256  # pictures compared at once with as many: 1 MB


def make_thumbnail(gray: np.ndarray) -> np.ndarray:
    """A gray picture (uint8 H×W) as uint8 16×17, squashed: what `hash_thumbnails` and the comparison look at."""
    return np.asarray(Image.fromarray(gray).resize((THUMBNAIL_SIDE + 1, THUMBNAIL_SIDE), Image.Resampling.BOX))


def hash_thumbnails(thumbnails: np.ndarray) -> np.ndarray:
    """The difference hash of each thumbnail, as ±1: whether the value to the right is brighter (N×16×17 -> N×256).

    N. Krawetz 2013, "Kind of Like That" (dHash), at 256 bits instead of 64, so that shirts on plain ground keep apart.
    """
    wide = thumbnails.astype(np.int16)
    return np.where(wide[:, :, 1:] > wide[:, :, :-1], 1, -1).reshape(len(wide), HASH_BITS).astype(np.float32)


def find_blank(thumbnails: np.ndarray) -> np.ndarray:
    """Whether each picture shows nothing: its thumbnail's values lie within 8 levels of 255."""
    flat = thumbnails.reshape(len(thumbnails), -1).astype(int)
    return (flat.max(1) - flat.min(1) < BLANK_LEVELS) if len(flat) else np.zeros(0, bool)


def find_near_pairs(thumbnails: np.ndarray) -> Iterator[tuple[int, int]]:
    """The pairs (i, j), i < j, of pictures that look the same.

    At most 40 of 256 hash bits apart, their thumbnails correlated by 0.99 or more. Every pair is compared, by matrix
    products, block by block. Blank pictures are to be left out before: their hash is noise.
    """
    starts = range(0, len(thumbnails), HASH_BLOCK)
    for top in starts:
        signs, levels = prepare_thumbnails(thumbnails[top : top + HASH_BLOCK])
        for left in (start for start in starts if start >= top):
            others = (signs, levels) if left == top else prepare_thumbnails(thumbnails[left : left + HASH_BLOCK])
            agree = signs @ others[0].T  # 256 − 2·(bits that differ)
            alike = levels @ others[1].T
            near = (agree >= HASH_BITS - 2 * NEAR_BITS) & (alike >= CLOSE_CORRELATION)
            for i, j in zip(*np.nonzero(near), strict=True):
                if top + i < left + j:
                    yield top + int(i), left + int(j)


def prepare_thumbnails(thumbnails: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The hashes of thumbnails, and their levels with mean 0 and length 1."""
    levels = thumbnails.reshape(len(thumbnails), -1).astype(np.float32)
    levels -= levels.mean(1, keepdims=True)
    levels /= np.maximum(np.linalg.norm(levels, axis=1, keepdims=True), 1e-6)
    return hash_thumbnails(thumbnails), levels


def connect_pairs(pairs: Iterator[tuple[int, int]], n: int) -> list[list[int]]:
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
