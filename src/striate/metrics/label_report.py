"""The score of a model that gives several labels a picture, and the threshold of each label. NumPy alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ..language import say
from ..terminal import make_printable, measure_width, pad_right
from .classification import compute_wilson
from .numbers import format_number

# Sets of pictures that are drawn for the interval of the mean average precision.
DRAWS = 400


class LabelScore(NamedTuple):
    """One label. `support` is the number of pictures that have it; a value with nothing to count is None, never 0.

    average_precision  the mean precision at each picture that has it, from the most probable down; equal ones together
    threshold          the probability from which on the label is given
    """

    name: str
    average_precision: float | None
    precision: float | None
    recall: float | None
    f1: float | None
    support: int
    threshold: float


@dataclass(frozen=True)
class LabelReport:
    """An evaluation of several labels a picture, as plain data. `print` it, or take `as_dict()` for JSON.

    images          how many were scored
    all_right       share of pictures whose labels are all right, none too many and none too few
    all_right_interval  95 %, Wilson's
    mean_average_precision  over the labels that occur here; None where none does
    map_interval    95 %, of it over drawn sets of as many of these pictures (bootstrap); None where it is None
    macro_f1        the same of F1
    known           how many of the pictures given the model had learnt from, which were left out; None: not told
    """

    images: int
    all_right: float
    all_right_interval: tuple[float, float]
    mean_average_precision: float | None
    map_interval: tuple[float, float] | None
    macro_f1: float | None
    per_label: tuple[LabelScore, ...]
    known: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain JSON data, without NaN: what has no value is None."""
        plain = {name: getattr(self, name) for name in self.__dataclass_fields__}
        per_label = [item._asdict() for item in self.per_label]
        interval = None if self.map_interval is None else list(self.map_interval)
        return plain | {
            "all_right_interval": list(self.all_right_interval), "map_interval": interval, "per_label": per_label,
        }  # fmt: skip

    @property
    def weakest(self) -> LabelScore | None:
        """Of the labels that occur here the one of least F1; None where all are right, or none occurs."""
        some = [score for score in self.per_label if score.support and (score.f1 or 0) < 1]
        return min(some, key=lambda score: score.f1 or 0.0, default=None)

    def tell(self) -> list[str]:
        """How good it is, in words before figures."""
        low, high = self.all_right_interval
        told = {"right": round(self.all_right * self.images), "images": self.images, "low": low, "high": high}
        lines = [
            say("All labels right on {right:,} of {images:,} pictures (95 % sure: {low:.0%} to {high:.0%}).", **told)
        ]
        if (weak := self.weakest) is not None:
            found = round((weak.recall or 0) * weak.support)
            wrong = round(found / weak.precision) - found if weak.precision else 0
            lines.append(
                say(
                    "Weakest: {label}, found on {found:,} of its {support:,} pictures, and on {wrong:,} without it.",
                    label=make_printable(weak.name), found=found, support=weak.support, wrong=wrong,
                )
            )  # fmt: skip
        return lines

    def __str__(self) -> str:
        mean = {"map": format_number(self.mean_average_precision), "f1": format_number(self.macro_f1)}
        ends = self.map_interval or (None, None)
        mean |= {name: format_number(end) for name, end in zip(("low", "high"), ends, strict=True)}
        lines = [*self.tell(), say("mean average precision {map} (95 %: {low} to {high}), mean F1 {f1}", **mean)]
        if self.known:
            lines.append(say("left out: {known:,} that the model has learnt from", known=self.known))
        rows: list[tuple[str, ...]] = [
            (say("label"), say("pictures"), "AP", say("precision"), say("recall"), "F1", say("threshold"))
        ]
        for s in self.per_label:
            shares = (s.average_precision, s.precision, s.recall, s.f1, s.threshold)
            ap, *rest = map(format_number, shares)
            rows.append((make_printable(s.name), f"{s.support:,}", ap, *rest))
        wide = [max(measure_width(row[k]) for row in rows) for k in range(len(rows[0]))]
        return "\n".join([*lines, "", *("  ".join(map(pad_right, row, wide)).rstrip() for row in rows)])


def score_labels(
    p: np.ndarray, truth: np.ndarray, labels: Sequence[str], thresholds: Sequence[float], known: int | None = None
) -> LabelReport:
    """The report of probabilities float N×K beside the truth bool N×K, N 1 or more.

    >>> score_labels(np.array([[0.9], [0.2]]), np.array([[True], [False]]), ["rain"], [0.5]).all_right
    1.0
    """
    given = p >= np.asarray(thresholds)
    scores = []
    for k, name in enumerate(labels):
        hits = int((given[:, k] & truth[:, k]).sum())
        found, there = int(given[:, k].sum()), int(truth[:, k].sum())
        precision, recall = divide_counts(hits, found), divide_counts(hits, there)
        f1 = divide_counts(2 * hits, found + there)
        average = compute_average_precision(p[:, k], truth[:, k])
        scores.append(LabelScore(name, average, precision, recall, f1, there, float(thresholds[k])))
    right = int((given == truth).all(1).sum())
    some = [score for score in scores if score.support]
    means = [float(np.mean([row[field] for row in some])) if some else None for field in (1, 4)]  # type: ignore[list-item]
    return LabelReport(
        len(p), right / len(p), compute_wilson(right, len(p)), means[0], find_map_interval(p, truth), means[1],
        tuple(scores), known,
    )  # fmt: skip


def find_map_interval(p: np.ndarray, truth: np.ndarray, draws: int = DRAWS) -> tuple[float, float] | None:
    """95 % for the mean average precision: percentiles of it over drawn sets of as many pictures (bootstrap).

    A label that a drawn set lacks does not count in it; None where no label occurs at all.
    """
    some = np.flatnonzero(truth.any(0))
    if not len(some):
        return None
    count, total, heard = len(p), np.zeros(draws), np.zeros(draws)
    draw = np.random.default_rng(0)
    times = np.stack([np.bincount(draw.integers(count, size=count), minlength=count) for _ in range(draws)])
    for k in some:
        average = average_drawn(p[:, k], truth[:, k], times)
        total += np.nan_to_num(average)
        heard += ~np.isnan(average)
    low, high = np.percentile((total[heard > 0] / heard[heard > 0]), (2.5, 97.5))
    return float(low), float(high)


def average_drawn(p: np.ndarray, truth: np.ndarray, times: np.ndarray) -> np.ndarray:
    """`compute_average_precision` where picture n is there `times[b, n]` times, float B; NaN where no label is left."""
    order = np.argsort(-p, kind="stable")
    last = np.append(np.flatnonzero(np.diff(p[order])), len(p) - 1)
    there, hits = np.cumsum(times[:, order], 1)[:, last], np.cumsum(times[:, order] * truth[order], 1)[:, last]
    whole = hits[:, -1].astype(float)
    whole[whole == 0] = np.nan
    gained = np.diff(hits, prepend=0, axis=1) / whole[:, None]
    return (gained * (hits / np.maximum(there, 1))).sum(1)


def divide_counts(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def compute_average_precision(p: np.ndarray, truth: np.ndarray) -> float | None:
    """Σ (recall gained) · precision, from the most probable picture down, equal ones together; None without any.

    As scikit-learn's `average_precision_score`: no interpolation.

    >>> compute_average_precision(np.array([0.9, 0.8, 0.1]), np.array([True, False, True])).__round__(4)
    0.8333
    """
    there = int(truth.sum())
    if not there:
        return None
    order = np.argsort(-p, kind="stable")
    last = np.append(np.flatnonzero(np.diff(p[order])), len(p) - 1)
    hits = np.cumsum(truth[order])[last]
    return float((np.diff(hits, prepend=0) / there * (hits / (last + 1))).sum())


def choose_threshold(p: np.ndarray, truth: np.ndarray) -> float:
    """The probability from which on giving the label has the best F1, half-way to the next lower probability.

    Of equally good ones the nearest to one half; one half where no picture has the label.

    >>> choose_threshold(np.array([0.9, 0.3, 0.1]), np.array([True, True, False])).__round__(4)
    0.2
    """
    if not truth.any():
        return 0.5
    levels = np.unique(p)[::-1]
    order = np.argsort(-p, kind="stable")
    found = np.searchsorted(-p[order], -levels, side="right")
    hits = np.cumsum(truth[order])[found - 1]
    f1 = 2 * hits / (found + truth.sum())
    lower = np.append(levels[1:], 0.0)
    ends = (levels + lower) / 2
    best = np.flatnonzero(f1 >= f1.max() - 1e-12)
    return float(ends[best[np.argmin(np.abs(ends[best] - 0.5))]])
