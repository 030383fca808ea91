"""The score of a classifier: everything that its probabilities and the true labels say. NumPy alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import sqrt
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import DataError, ModelError
from ..language import say

# Guo et al. 2017, "On Calibration of Modern Neural Networks": the number of bins behind their printed ECEs.
CONFIDENCE_BINS = 15

# The normal quantile that leaves 2.5 % above it.
Z95 = 1.959963984540054

# A probability of 0 for the true class counts as this one, so that a loss is at most 87.3 nats and never infinite.
SMALLEST_PROBABILITY = float(np.finfo(np.float32).tiny)


class ClassScore(NamedTuple):
    """One class. `support` is the number of its images; a value with nothing to count is None (0 / 0), never 0."""

    name: str
    precision: float | None
    recall: float | None
    f1: float | None
    support: int


class Bin(NamedTuple):
    """The images whose confidence is in (low, high], with their mean confidence and accuracy (None without images)."""

    low: float
    high: float
    images: int
    confidence: float | None
    accuracy: float | None


class Confusion(NamedTuple):
    """`images` of class `truth` were taken for class `predicted`: indices into the classes."""

    truth: int
    predicted: int
    images: int


@dataclass(frozen=True)
class Report:
    """An evaluation, as plain data. `print` it, or take `as_dict()` for JSON.

    images             how many were scored
    accuracy           share whose most probable class is the true one; of equal ones the first counts
    accuracy_interval  95 %, Wilson's: see `compute_wilson`
    top5               share whose true class is among the five most probable (all of them where there are fewer)
    macro_f1           mean F1, and `balanced_accuracy` mean recall, over the classes that have images here
    loss               cross-entropy, nats per image
    ece                expected calibration error: mean distance of confidence and accuracy over `bins`, by images
    confusion          K×K counts, rows are the truth, columns the prediction
    known              how many of the images given the model was trained or validated on; None: that cannot be told
    left_out           whether those were left out of all the above
    metrics            a user's own, by name; one that is not finite is None
    """

    images: int
    accuracy: float
    accuracy_interval: tuple[float, float]
    top5: float
    macro_f1: float
    balanced_accuracy: float
    loss: float
    ece: float
    bins: tuple[Bin, ...]
    confusion: tuple[tuple[int, ...], ...]
    classes: tuple[str, ...]
    per_class: tuple[ClassScore, ...]
    known: int | None = field(default=None, compare=False)
    left_out: bool = field(default=False, compare=False)
    metrics: Mapping[str, float | None] = field(default_factory=dict)

    @property
    def unbalanced(self) -> bool:
        """One class that occurs has over 1.5 times the images of another: then accuracy alone misleads."""
        counts = [score.support for score in self.per_class if score.support]
        return max(counts) > 1.5 * min(counts)

    @property
    def unmeasured(self) -> tuple[str, ...]:
        """The classes of which there is no image here."""
        return tuple(score.name for score in self.per_class if not score.support)

    def confusions(self, count: int) -> tuple[Confusion, ...]:
        """The most frequent confusions, most frequent first."""
        table = np.array(self.confusion)
        np.fill_diagonal(table, 0)
        order = np.argsort(-table, axis=None, kind="stable")[:count]
        cells = (divmod(int(i), len(table)) for i in order)
        return tuple(Confusion(t, p, int(table[t, p])) for t, p in cells if table[t, p])

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain JSON data, without NaN: what has no value is None."""
        plain = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "metrics" or self.metrics}
        return plain | {
            "accuracy_interval": list(self.accuracy_interval),
            "bins": [item._asdict() for item in self.bins],
            "confusion": [list(row) for row in self.confusion],
            "classes": list(self.classes),
            "per_class": [item._asdict() for item in self.per_class],
        }

    def __str__(self) -> str:
        from .tables import render_report_text

        return render_report_text(self)

    def __rich__(self) -> Any:
        from .tables import render_report_tables

        return render_report_tables(self)


@dataclass(frozen=True)
class Mistake:
    """A wrong answer: image `index`, its true class, the class that was predicted, and the two probabilities."""

    index: int
    truth: int
    predicted: int
    probability: float
    truth_probability: float

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def score_probabilities(probabilities: ArrayLike, labels: ArrayLike, classes: Sequence[str]) -> Report:
    """The Report of `probabilities` (N×K, each row sums to 1) against the true `labels` (N, in 0…K−1).

    Raises DataError for no images or labels outside the classes, ModelError for what is no probability.

    >>> r = score_probabilities([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]], [0, 1, 1], ("cat", "dog"))
    >>> round(r.accuracy, 3), r.confusion
    (0.667, ((1, 0), (1, 1)))
    """
    p, y = check_probabilities(probabilities, labels, len(classes))
    n, k = p.shape
    predicted, confidence = p.argmax(1), p.max(1).astype(np.float64)
    right = predicted == y
    own = p[np.arange(n), y]
    confusion = np.bincount(y * k + predicted, minlength=k * k).reshape(k, k)
    per_class = tuple(score_classes(confusion, classes))
    present = [item for item in per_class if item.support]
    bins = compute_reliability(confidence, right)
    return Report(
        images=n,
        accuracy=float(right.mean()),
        accuracy_interval=compute_wilson(int(right.sum()), n),
        top5=float((rank_truth(p, y, own) < 5).mean()),
        macro_f1=float(np.mean([item.f1 for item in present])),
        balanced_accuracy=float(np.mean([item.recall for item in present])),
        loss=float(-np.log(np.clip(own.astype(np.float64), SMALLEST_PROBABILITY, 1)).mean()),
        ece=sum(b.images / n * abs(b.accuracy - b.confidence) for b in bins if b.images),  # type: ignore[operator]
        bins=bins,
        confusion=tuple(tuple(map(int, row)) for row in confusion),
        classes=tuple(classes),
        per_class=per_class,
    )


def find_mistakes(probabilities: ArrayLike, labels: ArrayLike, count: int) -> tuple[Mistake, ...]:
    """The `count` wrong answers of the highest probability, highest first; fewer where there are fewer."""
    p, y = check_probabilities(probabilities, labels)
    predicted, confidence = p.argmax(1), p.max(1)
    wrong = np.flatnonzero(predicted != y)
    chosen = wrong[np.argsort(-confidence[wrong], kind="stable")[:count]]
    return tuple(Mistake(int(i), int(y[i]), int(predicted[i]), float(confidence[i]), float(p[i, y[i]])) for i in chosen)


def compute_wilson(right: int, images: int, z: float = Z95) -> tuple[float, float]:
    """The interval of a share, Wilson's (1927): the true shares that `right` of `images` does not rule out.

    Not share ± z·√(share·(1 − share)/n): that one has no width at 100 %, leaves 0…1 near it, and covers too
    little on small test sets (Brown, Cai and DasGupta 2001). Wilson's has none of the three faults.

    >>> tuple(round(end, 4) for end in compute_wilson(81, 263))     # Newcombe 1998, table I
    (0.2553, 0.3662)
    """
    share = right / images
    centre = (share + z * z / (2 * images)) / (1 + z * z / images)
    half = z / (1 + z * z / images) * sqrt(share * (1 - share) / images + z * z / (4 * images * images))
    low = 0.0 if right == 0 else max(0.0, centre - half)
    return low, 1.0 if right == images else min(1.0, centre + half)


def compute_reliability(confidence: NDArray, right: NDArray, bins: int = CONFIDENCE_BINS) -> tuple[Bin, ...]:
    """The images by their confidence, in `bins` equal widths (low, high]."""
    place = np.searchsorted(np.arange(1, bins) / bins, confidence, side="left")
    images = np.bincount(place, minlength=bins)
    sums = np.bincount(place, confidence, bins), np.bincount(place, right, bins)
    return tuple(
        Bin(i / bins, (i + 1) / bins, int(n), float(c / n), float(r / n)) if n
        else Bin(i / bins, (i + 1) / bins, 0, None, None)
        for i, (n, c, r) in enumerate(zip(images, *sums, strict=True))
    )  # fmt: skip


def score_classes(confusion: NDArray, classes: Sequence[str]) -> list[ClassScore]:
    hits = confusion.diagonal()
    return [
        ClassScore(
            name,
            divide_share(hit, guessed),
            divide_share(hit, support),
            divide_share(2 * hit, guessed + support),
            int(support),
        )
        for name, hit, guessed, support in zip(classes, hits, confusion.sum(0), confusion.sum(1), strict=True)
    ]


def divide_share(part: int, whole: int) -> float | None:
    return float(part / whole) if whole else None


def rank_truth(p: NDArray, y: NDArray, own: NDArray) -> NDArray:
    """How many classes come before the true one: the more probable, and of equal ones those before it."""
    ahead = (p > own[:, None]).sum(1)
    tied = (p == own[:, None]) & (np.arange(p.shape[1]) < y[:, None])
    return ahead + tied.sum(1)


def check_probabilities(
    probabilities: ArrayLike, labels: ArrayLike, classes: int | None = None
) -> tuple[NDArray, NDArray]:
    p, y = np.asarray(probabilities), np.asarray(labels)
    if p.ndim != 2 or p.shape[1] != (classes or p.shape[1]) or not p.size:
        rule = say("N×{classes}, a row an image and a column a class, one image or more", classes=classes or "K")
        raise DataError("probabilities", say("nothing that can be scored"), got="×".join(map(str, p.shape)), rule=rule)
    if y.shape != p.shape[:1] or not np.issubdtype(y.dtype, np.integer):
        got = say("{shape} of {dtype}", shape="×".join(map(str, y.shape)), dtype=y.dtype)
        raise DataError(
            "labels", say("each image needs one label"), got=got, rule=say("{count} whole numbers", count=len(p))
        )
    if y.min() < 0 or y.max() >= p.shape[1]:
        at = int(np.flatnonzero((y < 0) | (y >= p.shape[1]))[0])
        raise DataError(f"labels[{at}]", say("no class has this label"), got=y[at], rule=f"0 to {p.shape[1] - 1}")
    bad = ~np.isfinite(p).all(1)
    if bad.any():
        at = int(np.flatnonzero(bad)[0])
        hint = say("the model's weights or the image hold values that are not finite")
        raise ModelError(
            f"probabilities[{at}]", say("the model's answer is not a number"), got=str(p[at][:8]), hint=hint
        )
    # A softmax in float16 still sums to 1 within 0.5 %.
    bad = (p < 0).any(1) | (abs(p.sum(1, dtype=np.float64) - 1) > 0.01)
    if bad.any():
        at = int(np.flatnonzero(bad)[0])
        got, rule = say("a sum of {total:.4g}", total=p[at].sum()), say("each is 0 or more and they sum to 1")
        raise ModelError(
            f"probabilities[{at}]", say("these are not probabilities"), got=got, rule=rule, hint=say("softmax them")
        )
    return p, y.astype(np.int64)
