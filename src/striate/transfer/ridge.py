"""A linear head that answers with a number: ridge regression on features, its strength chosen by cross-validation."""

from __future__ import annotations

from math import ceil
from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from .head import FOLDS, FeatureAxes, LinearHead, find_principal_axes

# Tried all: with the features' axes at hand a strength costs next to nothing. They count for numbers of deviation 1.
RIDGE_STRENGTHS = tuple(10.0**exponent for exponent in np.arange(3, -4.01, -0.5).tolist())
# Images that a fold holds at most: what is solved for it is as wide.
FOLD_IMAGES = 1_000


class TrainedRidge(NamedTuple):
    """A head for a number, trained on all images.

    linear    its weight float32 1×d and bias float32 1 give the number itself
    strength  of the pull of its weights to 0
    held      float64 n: the answer to each image of the head of cross-validation that had not seen it
    tried     (strength, root mean squared error of such answers), from strong to weak
    """

    linear: LinearHead
    strength: float
    held: np.ndarray
    tried: tuple[tuple[float, float], ...]


def fit_ridge(
    x: np.ndarray, values: np.ndarray, seed: int = 0, groups: np.ndarray | None = None, blocks: tuple[int, ...] = ()
) -> TrainedRidge:
    """The head for features float32 n×d with numbers float64 n.

    groups, blocks  as for `head.fit_head`

    The loss is the mean squared error, half of it, plus strength/2 times the sum of the weights' squares, of
    standardised features; the bias is free. What a head would answer that was fitted without a fold follows from the
    whole one without fitting it: off = (1 − H)⁻¹ · (truth − fitted) over the fold's rows, H being the part of the hat
    matrix that belongs to them (Hastie, Tibshirani and Friedman 2009, 7.10; for whole folds likewise). The pull of the
    weights, times the images, is then the same in each fold.
    """
    with threadpool_limits(1, "blas"):
        axes = find_principal_axes(x, blocks)
        rows = axes.rows.astype(np.float64)
        middle, parts = float(values.mean()), cut_folds(len(values), seed, groups)
        target = values - middle
        slopes = rows.T @ target / len(values)
        answers = [answer_unseen_folds(axes, rows, target, slopes, strength, parts) for strength in RIDGE_STRENGTHS]
        errors = [float(np.sqrt(np.square(found - target).mean())) for found in answers]
        best = int(np.argmin(errors))
        weight = slopes / (axes.variance + RIDGE_STRENGTHS[best])
    linear = axes.linear(weight[:, None], np.array([middle]))
    tried = tuple(zip(RIDGE_STRENGTHS, errors, strict=True))
    return TrainedRidge(linear, RIDGE_STRENGTHS[best], answers[best] + middle, tried)


def cut_folds(count: int, seed: int, groups: np.ndarray | None) -> list[np.ndarray]:
    """Rows of each fold, drawn by `seed`; rows of a group stay together."""
    folds = max(next(folds for most, folds in FOLDS if most is None or count <= most), ceil(count / FOLD_IMAGES))
    marks = np.arange(count) if groups is None else np.unique(groups, return_inverse=True)[1]
    kinds = int(marks.max()) + 1
    place = np.random.default_rng(seed).permutation(kinds) % min(folds, kinds)
    return [np.flatnonzero(place[marks] == fold) for fold in range(min(folds, kinds))]


def answer_unseen_folds(
    axes: FeatureAxes,
    rows: np.ndarray,
    target: np.ndarray,
    slopes: np.ndarray,
    strength: float,
    parts: list[np.ndarray],
) -> np.ndarray:
    """What the head of a strength answers to each row, fitted without the row's fold; of numbers of mean 0."""
    pull = axes.variance + strength
    off = target - rows @ (slopes / pull)
    found = np.empty(len(target))
    for part in parts:
        own = rows[part]
        hat = (own / (len(target) * pull)) @ own.T + 1 / len(target)
        found[part] = target[part] - np.linalg.solve(np.eye(len(part)) - hat, off[part])
    return found
