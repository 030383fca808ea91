"""Which unlabelled pictures to label first: those of which a classifier that then learns them gains most.

Measured by bench/active_labels.py, whose table is in docs/unlabelled.md.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

# Rounds of k-means: its centres are no more than where to look for a usual picture.
CLUSTER_ROUNDS = 10


def place_features(vectors: NDArray) -> NDArray:
    """Features float N×d as directions, float32 N×d of length 1, each feature first standardised over the N.

    A feature that hardly differs says nothing, and is not blown up.
    """
    spread = vectors.std(0, dtype=np.float64)
    z = (vectors - vectors.mean(0, dtype=np.float64)) / (spread + 1e-3 * spread.mean() + 1e-12)
    return (z / (np.linalg.norm(z, axis=1, keepdims=True) + 1e-12)).astype(np.float32)


def measure_margins(p: NDArray) -> NDArray:
    """By how much the likeliest class is likelier than the next, float64 N, of probabilities N×K.

    >>> measure_margins(np.array([[0.7, 0.2, 0.1], [0.4, 0.4, 0.2]])).round(2).tolist()
    [0.5, 0.0]
    """
    two = np.sort(p, axis=1)[:, -2:]
    return two[:, 1] - two[:, 0]


def order_by_margin(places: NDArray, known: NDArray, p: NDArray, count: int) -> NDArray:
    """The rows where the model hesitates most between two classes (Lewis and Gale 1994; Scheffer et al. 2001)."""
    return np.argsort(measure_margins(p), kind="stable")[:count]


def order_by_entropy(places: NDArray, known: NDArray, p: NDArray, count: int) -> NDArray:
    """The rows whose probabilities have most entropy."""
    entropy = -(p * np.log(np.maximum(p, 1e-300))).sum(1)
    return np.argsort(-entropy, kind="stable")[:count]


def order_by_spread(places: NDArray, known: NDArray, p: NDArray | None, count: int) -> NDArray:
    """Each time the row that is farthest from all that are known or chosen (Sener and Savarese 2018, k-center)."""
    return choose_apart(places, known, np.ones(len(places)), count)


def order_by_margin_apart(places: NDArray, known: NDArray, p: NDArray, count: int) -> NDArray:
    """Each time the row of the largest (1 − margin)·distance², the distance to all that are known or chosen.

    So not ten pictures of one doubt (after Ash et al. 2020, BADGE, without its chance).
    """
    return choose_apart(places, known, 1 - measure_margins(p), count)


def choose_apart(places: NDArray, known: NDArray, weights: NDArray, count: int) -> NDArray:
    """Greedily, the rows of the largest weight · squared distance to the known and chosen ones; N×d, M×d, N."""
    distance = np.full(len(places), 4.0)  # of opposite directions
    for row in known:
        distance = np.minimum(distance, 2 - 2 * places @ row)
    chosen: list[int] = []
    worth = weights * np.maximum(distance, 0.0)
    for _ in range(min(count, len(places))):
        worth[chosen] = -1.0
        row = int(worth.argmax())
        chosen.append(row)
        distance = np.minimum(distance, 2 - 2 * places @ places[row])
        worth = weights * np.maximum(distance, 0.0)
    return np.array(chosen, int)


def order_by_kind(places: NDArray, known: NDArray, p: NDArray | None, count: int) -> NDArray:
    """The most usual picture of each of `count` kinds, the largest kind first: for a start without any label.

    The kinds are k-means clusters; the usual one is nearest to its centre (after Hacohen et al. 2022, TypiClust).
    """
    count = min(count, len(places))
    centres = places[choose_apart(places, known, np.ones(len(places)), count)]
    nearest = np.zeros(len(places), int)
    for _ in range(CLUSTER_ROUNDS):
        nearest = (places @ centres.T).argmax(1)
        sums = np.zeros_like(centres)
        np.add.at(sums, nearest, places)
        length = np.linalg.norm(sums, axis=1, keepdims=True)
        centres = np.where(length > 0, sums / np.maximum(length, 1e-12), centres)
    found = []
    for kind in np.argsort(-np.bincount(nearest, minlength=count), kind="stable"):
        own = np.flatnonzero(nearest == kind)
        if len(own):
            found.append(int(own[(places[own] @ centres[kind]).argmax()]))
    return np.array(found, int)


Order = Callable[..., NDArray]
