"""How unlike the training pictures a picture is, by what a network makes of it. NumPy alone.

Two signs, the stronger one counts. The distance of its features (what the last layer reads) from the nearest class
mean, in units of how the training pictures scatter about theirs: Mahalanobis' distance with one covariance for all
classes (Lee et al. 2018), shrunken (Ledoit and Wolf 2004) and kept as its few widest directions and one variance for
all others. And the energy of its logits, −log Σ exp, which is high where no class is (Liu et al. 2020).
`bench/unlike.py` measures both beside others.
"""

from __future__ import annotations

from math import ceil
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..engines.model_file import Likeness

# Directions of the covariance that are kept apart, and the smallest deviation of a feature.
DIRECTIONS, SMALLEST_DEVIATION = 128, 1e-6


class Scatter(NamedTuple):
    """Where the training pictures' features lie. All float32, but `rest`.

    mean, scale  D, of the features: they are standardised to h = (f − mean)·scale
    directions   D×r, such that the distance of h from a centre c is √(|h − c|²/rest − |(h − c)·directions|²)
    centres      K×D, of each class
    rest         the variance beyond the directions
    """

    mean: NDArray
    scale: NDArray
    directions: NDArray
    centres: NDArray
    rest: float

    @property
    def tables(self) -> tuple[NDArray, NDArray]:
        """D×K and K: the distance's square from the centres is |h|²/rest − |h·directions|² − h·first + second."""
        turned = self.centres @ self.directions
        first = 2 * (self.centres / self.rest - turned @ self.directions.T).T
        return first, (self.centres**2).sum(1) / self.rest - (turned**2).sum(1)


def open_scatter(likeness: Likeness, classes: int) -> Scatter:
    """The arrays of a likeness."""
    packed = likeness.mean, likeness.scale, likeness.directions, likeness.centres
    mean, scale, directions, centres = (np.frombuffer(part, "<f4") for part in packed)
    return Scatter(mean, scale, directions.reshape(len(mean), -1), centres.reshape(classes, -1), likeness.rest)


def measure_strangeness(likeness: Likeness, features: NDArray, logits: NDArray) -> NDArray:
    """How unlike the training pictures each picture is, float64 N: above 1 it is turned away.

    features  N×…, the values of the layer `likeness.path`; logits  N×K, the net's output
    """

    def scale(values: NDArray, sign: tuple[float, float]) -> NDArray:
        return (values - sign[0]) / sign[1]

    scatter = open_scatter(likeness, logits.shape[1])
    found = scale(measure_distances(scatter, features.reshape(len(features), -1)), likeness.distance)
    return found if likeness.energy is None else np.maximum(found, scale(measure_energies(logits), likeness.energy))


def fit_scatter(features: NDArray, labels: NDArray, classes: int) -> Scatter:
    """The Scatter of training pictures' features N×D. A class without any has the mean of all for its centre."""
    f = np.asarray(features, np.float64)
    mean, scale = f.mean(0), 1 / np.maximum(f.std(0), SMALLEST_DEVIATION)
    h = (f - mean) * scale
    centres = np.stack(
        [h[labels == k].mean(0) if (labels == k).any() else np.zeros(h.shape[1]) for k in range(classes)]
    )
    values, vectors = np.linalg.eigh(shrink_covariance(h - centres[labels]))
    kept = min(DIRECTIONS, len(values) - 1)
    rest = float(values[: len(values) - kept].mean())
    wide, axes = values[len(values) - kept :], vectors[:, len(values) - kept :]
    directions = axes * np.sqrt(np.maximum(1 / rest - 1 / np.maximum(wide, rest), 0))
    mean, scale, directions, centres = (part.astype(np.float32) for part in (mean, scale, directions, centres))
    return Scatter(mean, scale, directions, centres, rest)


def shrink_covariance(centred: NDArray) -> NDArray:
    """The covariance of rows of mean 0, drawn to a multiple of the unit matrix (Ledoit and Wolf 2004).

    >>> shrink_covariance(np.array([[3.0, 0.0], [-1.0, 0.0], [0.0, 2.0], [-2.0, -2.0]])).tolist()
    [[2.75, 0.0], [0.0, 2.75]]
    """
    n, width = centred.shape
    raw = centred.T @ centred / n
    size = np.trace(raw) / width
    squares = float((raw**2).sum())
    spread = float(((centred**2).sum(1) ** 2).sum()) / n
    distance = (squares - width * size**2) / width
    noise = min((spread - squares) / (n * width), distance)
    share = noise / distance if distance > 0 else 1.0
    return (1 - share) * raw + share * size * np.eye(width)


def measure_distances(scatter: Scatter, features: NDArray) -> NDArray:
    """The distance of each picture's features, N×D, from the nearest class."""
    h = (np.asarray(features, np.float32) - scatter.mean) * scatter.scale
    first, second = scatter.tables
    own = (h**2).sum(1) / scatter.rest - ((h @ scatter.directions) ** 2).sum(1)
    return np.sqrt(np.maximum(own + (second - h @ first).min(1), 0))


def measure_energies(logits: NDArray) -> NDArray:
    """−log Σ exp of each row."""
    top = logits.max(1)
    return -(top + np.log(np.exp(logits - top[:, None]).sum(1)))


def choose_limit(values: NDArray, lost: float) -> float | None:
    """The limit above which at most a share `lost` of new values is expected, drawn like these: split conformal.

    The ⌈(n + 1)(1 − lost)⌉-th smallest; None where there are too few values for one.

    >>> choose_limit(np.arange(99.0), 0.05), choose_limit(np.arange(10.0), 0.05)
    (94.0, None)
    """
    place = ceil((len(values) + 1) * (1 - lost) - 1e-9)
    return None if place > len(values) else float(np.sort(values)[place - 1])


def count_fewest(lost: float) -> int:
    """The fewest values that `choose_limit` takes."""
    return ceil(1 / lost - 1e-9) - 1


def scale_sign(values: NDArray, lost: float) -> tuple[float, float]:
    """The middle of a sign's values and how far from it their limit is, so that two signs can be compared."""
    middle, limit = float(np.median(values)), choose_limit(values, lost)
    assert limit is not None
    return middle, max(limit - middle, 1e-6)
