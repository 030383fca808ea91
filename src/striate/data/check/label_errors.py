"""Images whose label is probably wrong, by what networks that never saw them say of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from ...errors import DataError
from ...language import say
from ...terminal import format_count, make_printable

# So many times as probable as the label must another class be: 52 against 48 % is no confident disagreement.
CHANCE_ODDS = 1.5


class LabelError(NamedTuple):
    """An image whose label is doubtful.

    row         its place among the images
    given       its label, an index into the classes
    suggested   the class that it is taken for, the most probable one
    confidence  the probability of the given label, 0 to 1: the lower the likelier wrong
    other       the probability of the suggested class
    """

    row: int
    given: int
    suggested: int
    confidence: float
    other: float


@dataclass(frozen=True)
class Doubts:
    """What networks that had not seen them say of the labels of some images.

    errors   the likely label errors, the most likely first; `files[k]` is the file of `errors[k]`
    classes  the names that `given` and `suggested` are the places of
    judged   how many images were looked at
    agreed   the share of them whose label the networks gave too
    chance   whether that is no more than chance would give: then no label is doubted
    """

    errors: tuple[LabelError, ...]
    files: tuple[str, ...]
    classes: tuple[str, ...]
    judged: int
    agreed: float
    chance: bool

    def __str__(self) -> str:
        images = format_count(self.judged, "image")
        told = say(
            "{images} judged by networks that had not seen them, {agreed:.1%} as labelled",
            images=images, agreed=self.agreed,
        )  # fmt: skip
        if self.chance:
            return say("{told}, which is no better than chance: these networks cannot judge the labels", told=told)
        return say("{told}; {errors:,} likely label errors", told=told, errors=len(self.errors))

    def moved(self, rows: np.ndarray) -> Doubts:
        """The same where image k of those judged is image `rows[k]` of others."""
        return replace(self, errors=tuple(error._replace(row=int(rows[error.row])) for error in self.errors))

    def lines(self) -> list[str]:
        """The errors as sentences, a line each."""
        return [
            make_printable(
                say(
                    "{file}: labelled {given} ({confidence:.1%}), looks like {suggested} ({other:.1%})",
                    file=file,
                    given=self.classes[error.given],
                    confidence=error.confidence,
                    suggested=self.classes[error.suggested],
                    other=error.other,
                )  # fmt: skip
            )
            for error, file in zip(self.errors, self.files, strict=True)
        ]

    def listed(self) -> list[dict[str, Any]]:
        """The errors with their files, as JSON data."""
        return [error._asdict() | {"file": file} for error, file in zip(self.errors, self.files, strict=True)]


def find_doubts(probabilities: np.ndarray, labels: np.ndarray, files: Sequence[str], classes: Sequence[str]) -> Doubts:
    """The Doubts of images by `find_label_errors`, or none of them where the networks know no more than chance."""
    p, y = check_judgements(probabilities, labels)
    chance = not beats_chance(p, y)
    errors = () if chance else tuple(find_label_errors(p, y))
    agreed = float((p.argmax(1) == y).mean()) if len(y) else 0.0
    return Doubts(errors, tuple(files[error.row] for error in errors), tuple(classes), len(y), agreed, chance)


def find_label_errors(probabilities: np.ndarray, labels: np.ndarray) -> list[LabelError]:
    """The images that are confidently of another class than their label says, the least self-confident first.

    probabilities  float N×K, each image's class probabilities from a network that was not trained on it (see
                   `make_folds`)
    labels         int N
    Confident learning counts the wrong labels of each kind (`count_confident_joint`, `estimate_counts`). Listed are the
    images that both prunings select (C. Northcutt, L. Jiang and I. Chuang 2021, "Confident Learning: Estimating
    Uncertainty in Dataset Labels", method 5; cleanlab's filter "both"):
      by class       of the images labelled i, as many as there are wrong labels i, the least self-confident
      by noise rate  of the images labelled i, as many as are of class j, those of the largest margin p[j] − p[i]
    and whose most probable class is at least ODDS times as probable as their label. Raises DataError for arrays that
    do not fit.

    >>> p = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.2, 0.8], [0.05, 0.95]])
    >>> find_label_errors(p, np.array([0, 0, 1, 1, 0]))
    [LabelError(row=4, given=0, suggested=1, confidence=0.05, other=0.95)]
    """
    p, y = check_judgements(probabilities, labels)
    n, classes = p.shape
    if not n:
        return []
    counts = estimate_counts(count_confident_joint(p, y), np.bincount(y, minlength=classes))
    own, best, other = p[np.arange(n), y], p.argmax(1), p.max(1)
    found = (
        prune_by_class(p, y, counts) & prune_by_noise_rate(p, y, counts) & (best != y) & (other >= CHANCE_ODDS * own)
    )
    rows = np.flatnonzero(found)
    ranked = rows[np.argsort(own[rows], kind="stable")]
    return [LabelError(int(i), int(y[i]), int(best[i]), float(own[i]), float(other[i])) for i in ranked]


def check_judgements(probabilities: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The arrays, as float64 N×K and int N. Raises DataError."""
    p, y = np.asarray(probabilities, np.float64), np.asarray(labels)
    if p.ndim != 2 or y.shape != p.shape[:1]:
        got = f"{'×'.join(map(str, p.shape))} and {'×'.join(map(str, y.shape))}"
        raise DataError(
            "label_errors", say("there must be a row of probabilities for each label"), got=got, rule="N×K, N"
        )
    if len(p) and (not np.isfinite(p).all() or y.min() < 0 or y.max() >= p.shape[1]):
        what, rule = say("a label is not a class, or a probability is not finite"), f"0 to {p.shape[1] - 1}"
        raise DataError("label_errors", what, rule=rule)
    return p, y


def count_confident_joint(p: np.ndarray, y: np.ndarray) -> np.ndarray:
    """int K×K: of the images labelled i, how many are confidently of class j (equations 1 and 2 of the paper).

    An image counts as confidently of a class if its probability is at least the mean probability of that class over
    the images labelled so; of several such classes, the most probable; of none, it counts nowhere.
    """
    n, classes = p.shape
    sums, counts = np.bincount(y, p[np.arange(n), y], classes), np.bincount(y, minlength=classes)
    threshold = np.where(counts > 0, sums / np.maximum(counts, 1), np.inf)
    # A mean of equal numbers may come out a rounding above them.
    confident = np.where(p >= threshold - 1e-9, p, -1.0)
    best, sure = confident.argmax(1), confident.max(1) >= 0
    return np.bincount(y[sure] * classes + best[sure], minlength=classes * classes).reshape(classes, classes)


def estimate_counts(joint: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """int K×K: how many images labelled i are of class j, all images counted (equation 3); row i sums to `counts[i]`.

    One image a class at least counts as rightly labelled; what whole numbers leave over goes to the largest
    remainders, and of equal ones to the label first.
    """
    joint = joint.astype(np.float64)
    np.fill_diagonal(joint, np.maximum(joint.diagonal(), 1))
    wanted = joint / joint.sum(1, keepdims=True) * counts[:, None]
    whole = np.floor(wanted + 1e-9)
    rest = wanted - whole + 1e-6 * np.eye(len(joint))
    for row, left in enumerate((counts - whole.sum(1)).round().astype(int)):
        whole[row, np.argsort(-rest[row], kind="stable")[:left]] += 1
    return whole.astype(int)


def prune_by_class(p: np.ndarray, y: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """bool N: of each label's images the least self-confident, as many as `counts` has off its diagonal (method 3)."""
    chosen = np.zeros(len(y), bool)
    for label, row in enumerate(counts):
        own = np.flatnonzero(y == label)
        order = np.argsort(p[own, label], kind="stable")
        chosen[own[order[: row.sum() - row[label]]]] = True
    return chosen


def prune_by_noise_rate(p: np.ndarray, y: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """bool N: of each label's images and for each other class those of the largest margin, `counts` many (method 4)."""
    chosen = np.zeros(len(y), bool)
    for label, other in np.argwhere(counts * (1 - np.eye(len(counts), dtype=int))):
        own = np.flatnonzero(y == label)
        order = np.argsort(p[own, label] - p[own, other], kind="stable")
        chosen[own[order[: counts[label, other]]]] = True
    return chosen


def beats_chance(p: np.ndarray, y: np.ndarray) -> bool:
    """Whether predictions agree with the labels more than chance would (Cohen 1960), by three standard errors.

    What agrees no better knows nothing of the labels, and cannot doubt one.
    """
    if not len(y):
        return False
    said, n = p.argmax(1), len(y)
    shares = (np.bincount(each, minlength=p.shape[1]) / n for each in (said, y))
    chance = float(np.prod(list(shares), 0).sum())
    return float((said == y).mean()) - chance > 3 * (chance * (1 - chance) / n) ** 0.5


def make_folds(
    labels: np.ndarray, count: int, seed: int = 0, groups: Sequence[Any] | np.ndarray | None = None
) -> list[tuple[np.ndarray, np.ndarray]]:
    """`count` pairs (rows to train on, rows held out), so that each row is held out once, class by class.

    groups  a mark for each row, such that rows with the same mark (copies of one picture) stay together
    Raises DataError for fewer than two folds, and for more than there are rows.
    """
    y = np.asarray(labels)
    if not 2 <= count <= len(y):
        raise DataError(
            "folds", say("there must be two folds or more, and no more than images"), got=count, rule=f"2 to {len(y)}"
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
