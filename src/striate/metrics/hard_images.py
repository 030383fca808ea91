"""Dark, bright, blurred and nearly blank images, where a classifier is wrong on them more often than on the others."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .classification import compute_wilson

# The tenth of the images that is the darkest, the most blurred, …, is held against the others, from so many images on.
GROUP_SHARE = 0.1
FEWEST_IMAGES = 100

# So many images are looked at, evenly spaced where there are more; so many at a time.
MOST_IMAGES = 4_000
BATCH_IMAGES = 64


class HardGroup(NamedTuple):
    """The `images` that have most of a quality, `wrong` of which are classified wrongly, and the `others`.

    kind  "dark", "bright", "blurred" or "blank"
    """

    kind: str
    images: int
    wrong: int
    others: int
    other_wrong: int


def find_hard_images(x: Any, right: NDArray[np.bool_]) -> list[HardGroup]:
    """The groups of images N×H×W×C that are wrong more often than the others, beyond chance.

    right  whether each image is classified correctly
    A group counts where its Wilson interval of 95 % lies above that of the other images. What is measured is only that
    the two go together: a class may be the darker one and the harder one.
    """
    rows = np.arange(len(right))
    if len(rows) > MOST_IMAGES:
        rows = np.linspace(0, len(rows) - 1, MOST_IMAGES).astype(int)
    size = int(GROUP_SHARE * len(rows))
    wrong = ~np.asarray(right)[rows]
    if len(rows) < FEWEST_IMAGES or not wrong.any():
        return []
    groups = []
    for kind, values in measure_qualities(x, rows).items():
        first = np.argsort(values, kind="stable")[:size]
        group = HardGroup(kind, size, int(wrong[first].sum()), len(rows) - size, int(wrong.sum() - wrong[first].sum()))
        if compute_wilson(group.wrong, size)[0] > compute_wilson(group.other_wrong, group.others)[1]:
            groups.append(group)
    return groups


def measure_qualities(x: Any, rows: NDArray) -> dict[str, NDArray]:
    """For each kind a number an image, the lower the more of it."""
    batches = [measure_batch(x[rows[k : k + BATCH_IMAGES]]) for k in range(0, len(rows), BATCH_IMAGES)]
    brightness, contrast, sharpness = np.concatenate(batches, axis=1)
    return {"dark": brightness, "bright": -brightness, "blurred": sharpness, "blank": contrast}


def measure_batch(x: NDArray) -> NDArray:
    """Brightness, contrast and sharpness, 3×N: the grey levels' mean and deviation, and the Laplacian's variance.

    The variance of the Laplacian is the usual measure of focus (Pech-Pacheco et al. 2000); divided by that of the
    image, so that an image of less contrast does not count as a blurred one.
    """
    grey = x.mean(axis=-1, dtype=np.float32)
    padded = np.pad(grey, ((0, 0), (1, 1), (1, 1)), mode="edge")
    across = padded[:, 1:-1, :-2] + padded[:, 1:-1, 2:]
    laplacian = across + padded[:, :-2, 1:-1] + padded[:, 2:, 1:-1] - 4 * grey
    contrast = grey.std(axis=(1, 2))
    return np.stack([grey.mean(axis=(1, 2)), contrast, laplacian.var(axis=(1, 2)) / (contrast**2 + 1.0)])
