"""Images whose label is probably wrong, by what networks that never saw them say of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..errors import DataError


class LabelError(NamedTuple):
    """An image whose label is doubtful.

    row         its place among the images
    given       its label, an index into the classes
    suggested   the class that it is confidently taken for
    confidence  the probability of the given label, 0 to 1: the lower the likelier wrong
    other       the probability of the suggested class
    """

    row: int
    given: int
    suggested: int
    confidence: float
    other: float


def label_errors(probabilities: np.ndarray, labels: np.ndarray) -> list[LabelError]:
    """The images that are confidently of another class than their label says, the least self-confident first.

    probabilities  float N×K, each image's class probabilities from a network that was not trained on it (see `folds`)
    labels         int N
    An image counts as confidently of a class if its probability is at least the mean probability of that class over
    the images labelled so; of several such classes, the most probable. C. Northcutt, L. Jiang and I. Chuang 2021,
    "Confident Learning: Estimating Uncertainty in Dataset Labels", the confident joint and ranking by self-confidence.
    Raises DataError for arrays that do not fit.

    >>> p = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.2, 0.8], [0.05, 0.95]])
    >>> label_errors(p, np.array([0, 0, 1, 1, 0]))
    [LabelError(row=4, given=0, suggested=1, confidence=0.05, other=0.95)]
    """
    p, y = np.asarray(probabilities, np.float64), np.asarray(labels)
    if p.ndim != 2 or y.shape != p.shape[:1]:
        got = f"{'×'.join(map(str, p.shape))} and {'×'.join(map(str, y.shape))}"
        raise DataError("label_errors", "there must be a row of probabilities for each label", got=got, rule="N×K, N")
    n, classes = p.shape
    if not n:
        return []
    if not np.isfinite(p).all() or y.min() < 0 or y.max() >= classes:
        raise DataError(
            "label_errors", "a label is no class, or a probability is not finite", rule=f"0 to {classes - 1}"
        )
    own = p[np.arange(n), y]
    sums, counts = np.bincount(y, own, classes), np.bincount(y, minlength=classes)
    threshold = np.where(counts > 0, sums / np.maximum(counts, 1), np.inf)
    confident = np.where(p >= threshold, p, -1.0)
    best = confident.argmax(1)
    doubtful = np.flatnonzero((confident[np.arange(n), best] >= 0) & (best != y))
    ranked = doubtful[np.argsort(own[doubtful], kind="stable")]
    return [LabelError(int(i), int(y[i]), int(best[i]), float(own[i]), float(p[i, best[i]])) for i in ranked]


def folds(
    labels: np.ndarray, count: int, seed: int = 0, groups: Sequence[int] | np.ndarray | None = None
) -> list[tuple[np.ndarray, np.ndarray]]:
    """`count` pairs (rows to train on, rows held out), so that each row is held out once, class by class.

    groups  a number for each row, such that rows with the same number (copies of one picture) stay together
    Raises DataError for fewer than two folds, and for more than there are rows.
    """
    y = np.asarray(labels)
    if not 2 <= count <= len(y):
        raise DataError(
            "folds", "there must be two folds or more, and no more than images", got=count, rule=f"2 to {len(y)}"
        )
    together = np.arange(len(y)) if groups is None else np.unique(groups, return_inverse=True)[1]
    firsts = np.unique(together, return_index=True)[1]
    fold_of = np.empty(len(firsts), np.int64)
    start = 0
    for label in np.unique(y[firsts]):
        own = np.flatnonzero(y[firsts] == label)
        drawn = np.random.default_rng([seed, int(label)]).permutation(own)
        fold_of[drawn] = (np.arange(len(own)) + start) % count
        start += len(own)
    number = fold_of[together]
    return [(np.flatnonzero(number != k), np.flatnonzero(number == k)) for k in range(count)]
