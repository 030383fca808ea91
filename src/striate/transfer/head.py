"""A linear head on features: regularised logistic regression, its strength chosen by cross-validation."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits

from ..data.check.label_errors import make_folds
from ..threads import map_in_threads

# Tried from strong to weak, until what cross-validation and the prior say of them gets worse.
STRENGTHS = (3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001, 0.0003)
# Before any image is seen, the logarithm of the strength is taken to lie about that of 1, three either way.
#
# Few images tell strengths apart by chance alone: from five of a class cross-validation often chose 0.0003, and the
# loss of new images was a fifth higher (bench/few_images.py).
USUAL_STRENGTH, STRENGTH_SPREAD = 1.0, 3.0
# A feature's own deviation counts as much as its block's with so many images.
#
# From few images it is noise, and dividing by it blows noise up; 10 and 100 were as good on seven tasks.
SCALE_IMAGES = 30
# Images up to which there are so many folds: few images can't spare a third of them.
FOLDS = ((300, 10), (2_000, 5), (None, 3))
# Images that choose the strength at most: a strength for so many hardly differs from that for more.
ENOUGH_IMAGES = 4_000


class LinearHead(NamedTuple):
    """logits = x @ weight.T + bias: weight float32 K×d, bias float32 K, as a Dense layer's."""

    weight: np.ndarray
    bias: np.ndarray

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return x @ self.weight.T + self.bias


class TriedStrength(NamedTuple):
    """What cross-validation says of a strength: accuracy 0 to 1, loss in nats per image.

    cost  the loss and what the prior adds to it, a share for each image: the least is chosen
    """

    strength: float
    accuracy: float
    loss: float
    cost: float


class TrainedHead(NamedTuple):
    """A head trained on all images.

    strength   of the pull of its weights to 0
    accuracy   0 to 1, and `loss`, nats per image: of images that the heads of cross-validation had not seen
    held       each fold's head with the rows that it had not seen, at the chosen strength
    tried      the strengths that were cross-validated, from strong to weak
    """

    linear: LinearHead
    strength: float
    accuracy: float
    loss: float
    held: tuple[tuple[np.ndarray, LinearHead], ...]
    tried: tuple[TriedStrength, ...] = ()


# A head on the principal axes: weight r×K, bias K.
Weights = tuple[np.ndarray, np.ndarray]


class FeatureAxes(NamedTuple):
    """Features standardised and turned onto their principal axes, where logistic regression is nearly round.

    rows      float32 n×r, uncorrelated; r is at most n and at most d: nothing that the images tell apart is lost
    variance  of each axis, float64 r
    turn      float32 d×r, and `mean`: rows = (x − mean) @ turn
    """

    rows: np.ndarray
    variance: np.ndarray
    turn: np.ndarray
    mean: np.ndarray

    def linear(self, weight: np.ndarray, bias: np.ndarray) -> LinearHead:
        """The head on the features as they come, of one on the axes: `weight` r×K."""
        own = self.turn @ weight
        return LinearHead(np.ascontiguousarray(own.T, np.float32), (bias - self.mean @ own).astype(np.float32))


def fit_head(
    x: np.ndarray,
    y: np.ndarray,
    classes: int,
    seed: int = 0,
    groups: np.ndarray | None = None,
    blocks: tuple[int, ...] = (),
    strengths: tuple[float, ...] = STRENGTHS,
) -> TrainedHead:
    """The head for features float32 n×d with labels int n.

    groups  a mark for each image; those with the same (views or copies of one picture) stay in one fold
    blocks  how many features each stage of the net gave, in order: those of a block are about one size; (): one block
    strengths  to choose from, from strong to weak

    The loss is the mean cross-entropy plus strength/2 times the sum of the weights' squares, of standardised features;
    the bias is free. It has one minimum, so the seed settles no more than the folds.
    """
    some = np.sort(np.random.default_rng(seed).permutation(len(y))[:ENOUGH_IMAGES])
    count = next(folds for most, folds in FOLDS if most is None or len(some) <= most)
    parts = make_folds(y[some], min(count, len(some)), seed, None if groups is None else groups[some])
    # The folds share out the cores, so that any number of cores gives the same head. With BLAS's own threads beside
    # them it took eight times as long; SciPy must be imported by now, for it brings a BLAS of its own.
    with threadpool_limits(1, "blas"):
        axes = find_principal_axes(x, blocks)
        found = cross_validate(axes, y, classes, [(some[rest], some[out]) for rest, out in parts], strengths)
        weight, bias = solve_head(axes, y, classes, found.chosen.strength, start=found.heads[0])
    held = tuple((out, axes.linear(*head)) for out, head in zip(found.held, found.heads, strict=True))
    return TrainedHead(axes.linear(weight, bias), *found.chosen[:3], held, found.tried)


def answer_held(head: TrainedHead, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows in order, and class probabilities, float64, of each by the head of cross-validation that had not seen it.

    x  the first rows of those that the head was fitted to; what was held of the others is passed over
    """
    own = [(rows[rows < len(x)], linear) for rows, linear in head.held]
    rows = np.concatenate([rows for rows, _ in own])
    p = np.concatenate([compute_probabilities(linear(x[some])) for some, linear in own])
    order = np.argsort(rows)
    return rows[order], p[order]


def predict_out_of_fold(
    x: np.ndarray,
    y: np.ndarray,
    classes: int,
    strength: float,
    parts: list[tuple[np.ndarray, np.ndarray]],
    blocks: tuple[int, ...] = (),
) -> np.ndarray:
    """Class probabilities, float64 n×K, of each row of `x` by the head that was fitted without it.

    parts   (rows to train on, rows held out), such that each row is held out once
    blocks  as for `fit_head`
    """
    p = np.zeros((len(y), classes))
    with threadpool_limits(1, "blas"):
        axes = find_principal_axes(x, blocks)
        heads = map_in_threads(lambda part: solve_head(axes, y, classes, strength, part[0]), parts)
        for (_, out), (weight, bias) in zip(parts, heads, strict=True):
            p[out] = compute_probabilities(axes.rows[out] @ weight + bias)
    return p


def compute_probabilities(logits: np.ndarray) -> np.ndarray:
    """Probabilities, float64 n×K, of logits."""
    z = logits.astype(np.float64)
    z = np.exp(z - z.max(1, keepdims=True))
    return z / z.sum(1, keepdims=True)


class ChosenStrength(NamedTuple):
    """What cross-validation chose of all that it `tried`: `heads` on the axes, and the rows `held` out from each."""

    chosen: TriedStrength
    tried: tuple[TriedStrength, ...]
    heads: list[Weights]
    held: list[np.ndarray]


def cross_validate(
    axes: FeatureAxes,
    y: np.ndarray,
    classes: int,
    parts: list[tuple[np.ndarray, np.ndarray]],
    strengths: tuple[float, ...],
) -> ChosenStrength:
    """The most probable of the strengths, over `parts`: (rows to train on, rows held out).

    That is the one of least loss on images that a head has not seen, summed over them, plus what the prior takes off.
    The axes are those of all images: they know no label.
    """
    rests, held = zip(*parts, strict=True)
    rows = np.concatenate(held)
    heads: list[Weights | None] = [None] * len(parts)
    tried: list[TriedStrength] = []
    best: list[Weights] = []
    for strength in strengths:
        solve = partial(solve_fold, axes, y, classes, strength)
        found = list(map_in_threads(solve, zip(rests, heads, strict=True)))
        logits = np.concatenate([axes.rows[out] @ w + b for out, (w, b) in zip(held, found, strict=True)])
        accuracy, loss = score_logits(logits, y[rows])
        prior = (np.log(strength / USUAL_STRENGTH) / STRENGTH_SPREAD) ** 2 / 2
        tried.append(TriedStrength(strength, accuracy, loss, loss + float(prior) / len(rows)))
        if tried[-1].cost > min(item.cost for item in tried):
            break
        best, heads = found, [*found]
    return ChosenStrength(min(tried, key=lambda item: item.cost), tuple(tried), best, list(held))


def score_logits(logits: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Accuracy 0 to 1, and mean cross-entropy in nats per image."""
    z = logits.astype(np.float64)
    z -= z.max(1, keepdims=True)
    loss = np.log(np.exp(z).sum(1)) - z[np.arange(len(y)), y]
    return float((z.argmax(1) == y).mean()), float(loss.mean())


def find_principal_axes(x: np.ndarray, blocks: tuple[int, ...] = ()) -> FeatureAxes:
    """The features' principal axes, by the smaller of their n×n and d×d matrices; `blocks` as for `fit_head`."""
    n, d = x.shape
    mean = x.mean(0, dtype=np.float64)
    # A feature that differs by no more than rounding is not blown up.
    scale = find_scales(x, blocks) + 1e-5 * float(np.sqrt(np.square(x).mean(dtype=np.float64))) + 1e-12
    z = ((x - mean) / scale).astype(np.float32)
    if n < d:
        variance, left = np.linalg.eigh((z @ z.T).astype(np.float64) / n)
        use = variance > 1e-7 * max(variance[-1], 1e-12)
        variance, left = variance[use], left[:, use]
        turn = (z.T @ left) / np.sqrt(n * variance)
    else:
        variance, turn = np.linalg.eigh(z.T @ z / n)
        use = variance > 1e-6 * max(variance[-1], 1e-12)
        variance, turn = variance[use], turn[:, use]
    rows = z @ turn.astype(np.float32)
    return FeatureAxes(rows, variance, (turn / scale[:, None]).astype(np.float32), mean.astype(np.float32))


def find_scales(x: np.ndarray, blocks: tuple[int, ...]) -> np.ndarray:
    """What each feature is divided by, float64 d: between its own deviation and its block's, the more images the nearer

    to its own: the variance is the mean of both, weighted by the images and SCALE_IMAGES.
    """
    n, d = x.shape
    own = x.var(0, dtype=np.float64)
    sizes = blocks or (d,)
    assert sum(sizes) == d, (blocks, d)
    block = np.concatenate([np.full(len(part), part.mean()) for part in np.split(own, np.cumsum(sizes)[:-1])])
    return np.sqrt((n * own + SCALE_IMAGES * block) / (n + SCALE_IMAGES))


def solve_fold(
    axes: FeatureAxes, y: np.ndarray, classes: int, strength: float, fold: tuple[np.ndarray, Weights | None]
) -> Weights:
    """`solve_head` over a fold's rows, from the head that it had before."""
    return solve_head(axes, y, classes, strength, *fold)


def solve_head(
    axes: FeatureAxes,
    y: np.ndarray,
    classes: int,
    strength: float,
    chosen: np.ndarray | None = None,
    start: Weights | None = None,
    steps: int = 200,
) -> Weights:
    """The head on the axes of least loss over the rows `chosen` (None: all), by L-BFGS from `start`.

    It takes at most so many `steps`.
    It walks in units of about the same curvature on each axis, √(variance/K + strength): that takes some 20 to 40
    steps at any strength, where plain standardised features take hundreds.
    """
    rows, own = (axes.rows, y) if chosen is None else (axes.rows[chosen], y[chosen])
    n, r, each = len(own), len(axes.variance), np.arange(len(own))
    unit = (1 / np.sqrt(axes.variance / classes + strength)).astype(np.float32)[:, None]

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        flat = flat.astype(np.float32)
        weight, bias = flat[: r * classes].reshape(r, classes) * unit, flat[r * classes :]
        z = rows @ weight + bias
        z -= z.max(1, keepdims=True)
        right = z[each, own].sum(dtype=np.float64)
        p = np.exp(z)
        total = p.sum(1, keepdims=True)
        cost = (np.log(total).sum(dtype=np.float64) - right) / n + strength / 2 * (weight**2).sum(dtype=np.float64)
        p /= total
        p[each, own] -= 1
        p /= n
        slope = (rows.T @ p + strength * weight) * unit
        return float(cost), np.concatenate([slope.ravel(), p.sum(0)]).astype(np.float64)

    first = np.zeros((r + 1) * classes)
    if start is not None:
        first[: r * classes], first[r * classes :] = (start[0] / unit).ravel(), start[1]
    options = {"maxiter": steps, "maxcor": 10, "ftol": 1e-5, "gtol": 1e-6}
    found = minimize(loss, first, jac=True, method="L-BFGS-B", options=options).x.astype(np.float32)
    return found[: r * classes].reshape(r, classes) * unit, found[r * classes :]
