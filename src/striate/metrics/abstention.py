"""When a classifier had better say that it does not know: a threshold a class, for a stated error. NumPy alone.

Selective classification with a guarantee: on calibration images that the model has not learnt from, it is tested, from
the surest answers downwards, whether more than the stated share of the answers above a threshold is wrong. The lowest
threshold for which that can be ruled out is taken. With SURE certainty over the draw of the calibration images, at most
the stated share of a class's answers to new images, drawn like those, is wrong. The test is the binomial one, and the
order of testing is the fallback procedure of Wiens (2003): Learn then Test, Angelopoulos et al. 2021.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil, exp, lgamma, log, log1p
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..engines.answers import compute_softmax
from ..errors import DataError
from ..language import say
from .classification import SMALLEST_PROBABILITY, check_probabilities, compute_wilson

# How sure it is that the error is kept, for each class.
SURE = 0.9

# Shares of what may go wrong with the test, spent as it begins and after each quarter of the images: a mistake among
# the surest then costs half of it and not all.
SPENT = 1 / 2, 1 / 6, 1 / 6, 1 / 6

# A class has a threshold of its own where it has so many times the images that a test takes at the least.
OWN_IMAGES = 4

# A threshold that no probability reaches.
NEVER = 2.0

# Temperatures that are looked at: logits divided by e^−2 to e^2.
WIDEST = 2.0


class Abstained(NamedTuple):
    """What came of thresholds on images: how many there were, how many were answered, how many of those wrongly."""

    images: int
    answered: int
    wrong: int

    @property
    def share(self) -> float:
        return self.answered / self.images

    @property
    def share_interval(self) -> tuple[float, float]:
        """95 %, Wilson's."""
        return compute_wilson(self.answered, self.images)

    @property
    def error(self) -> float | None:
        """Of the answered, the share that is wrong; None where none is."""
        return self.wrong / self.answered if self.answered else None

    @property
    def error_interval(self) -> tuple[float, float] | None:
        """95 %, Wilson's."""
        return compute_wilson(self.wrong, self.answered) if self.answered else None

    def as_dict(self) -> dict[str, Any]:
        more = {"share": self.share, "share_interval": self.share_interval}
        return self._asdict() | more | {"error": self.error, "error_interval": self.error_interval}


@dataclass(frozen=True)
class Temperature:
    """What logits are divided by (Guo et al. 2017), and the cross-entropy without and with it, nats an image."""

    value: float
    loss_before: float
    loss_after: float


def choose_thresholds(probabilities: ArrayLike, labels: ArrayLike, error: float, classes: Sequence[str]) -> NDArray:
    """A threshold for each class: an answer of that class whose probability is below it is none. float64 K.

    A class with too few calibration images for a threshold of its own shares one with all such. A class of which no
    threshold keeps the error has NEVER. Raises DataError for an error outside 0…1, and where no class keeps it.

    >>> p = np.array([[0.9, 0.1]] * 60 + [[0.6, 0.4]] * 20)
    >>> choose_thresholds(p, [0] * 60 + [1] * 20, 0.1, ("cat", "dog"))
    array([0.75, 0.75])
    """
    if not 0 < error < 1:
        raise DataError(
            "error", say("the share of wrong answers is between 0 and 1"), got=error, hint=say("0.02, or 2%")
        )
    p, y = check_probabilities(probabilities, labels, len(classes))
    predicted, confidence = p.argmax(1), p.max(1).astype(np.float64)
    own = np.bincount(predicted, minlength=len(classes)) >= OWN_IMAGES * count_least(error)
    found = np.full(len(classes), NEVER)
    for of_class in (*np.flatnonzero(own)[:, None], np.flatnonzero(~own)):
        rows = np.isin(predicted, of_class)
        found[of_class] = find_threshold(confidence[rows], predicted[rows] != y[rows], error)
    if (found >= NEVER).all():
        raise refuse_error(error, len(y), int((predicted != y).sum()))
    return found


def count_least(error: float) -> int:
    """The fewest right answers, without a wrong one, that show that an error is kept."""
    return ceil(log((1 - SURE) * SPENT[0]) / log1p(-error))


def find_threshold(confidence: NDArray, wrong: NDArray, error: float) -> float:
    """The lowest threshold for which it can be ruled out that the error is larger, midway between two confidences.

    NEVER where there is none.
    """
    order = np.argsort(-confidence, kind="stable")
    falling, missed = confidence[order], np.cumsum(wrong[order])
    least, n = count_least(error), len(order)
    starts = [least + part * max(0, n - least) // len(SPENT) for part in range(len(SPENT))]
    level, last = 0.0, 0
    for answered, chance in enumerate(tabulate_chances(missed, error), start=1):
        level += (1 - SURE) * sum(share for start, share in zip(starts, SPENT, strict=True) if start == answered)
        if answered < n and falling[answered] == falling[answered - 1]:
            continue  # images of one confidence are answered together
        if chance <= level:
            last = answered
        else:
            level = 0.0
    if not last:
        return NEVER
    return float((falling[last - 1] + (falling[last] if last < n else 0.0)) / 2)


def tabulate_chances(missed: NDArray, error: float) -> Iterator[float]:
    """For the first 1, 2, … answers the chance of no more than `missed` wrong ones, were `error` the share of all.

    The binomial distribution's P(X ≤ missed), from one number of answers to the next.
    """
    below, k = 1.0, 0
    for n, wrong in enumerate(missed.tolist(), start=1):
        below -= error * compute_chance(n - 1, k, error)
        if wrong > k:
            k += 1
            below += compute_chance(n, k, error)
        yield below


def compute_chance(n: int, k: int, error: float) -> float:
    """The binomial probability of k of n."""
    if k > n:
        return 0.0
    return exp(lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1) + k * log(error) + (n - k) * log1p(-error))


def refuse_error(error: float, images: int, wrong: int) -> DataError:
    least = count_least(error)
    got = say("{images:,} images, {wrong:,} answers wrong", images=images, wrong=wrong)
    hint = (
        say("a larger error") if images >= least else say("a larger error, or at least {least:,} images", least=least)
    )
    rule = say(
        "{sure:.0%} sure that at most {error:.4g} of the answers are wrong: at least {least:,} right ones in a row",
        sure=SURE,
        error=error,
        least=least,
    )
    return DataError(
        "error", say("no threshold keeps the error at {error:.4g}", error=error), got=got, rule=rule, hint=hint
    )


def measure_abstention(probabilities: ArrayLike, labels: ArrayLike, thresholds: ArrayLike) -> Abstained:
    """What the thresholds do on images: see Abstained."""
    p, y = check_probabilities(probabilities, labels)
    answered = find_answered(p, thresholds)
    return Abstained(len(y), int(answered.sum()), int((p.argmax(1) != y)[answered].sum()))


def find_answered(p: NDArray, thresholds: ArrayLike) -> NDArray:
    """bool N: which of the images, by their probabilities N×K, are answered."""
    return p.max(1) >= np.asarray(thresholds)[p.argmax(1)]


def fit_temperature(probabilities: ArrayLike, labels: ArrayLike) -> Temperature:
    """The temperature of least cross-entropy, or 1 where none is better than chance makes it.

    Judged on the other half: fitted on every second image and measured on the rest, and the other way round; it is
    taken where the mean gain is more than its standard error.
    """
    p, y = check_probabilities(probabilities, labels)
    logits = np.log(np.clip(p.astype(np.float64), SMALLEST_PROBABILITY, 1))
    before = compute_losses(logits, y, 1.0)
    gain = np.zeros(len(y))
    for rest, held in ((slice(0, None, 2), slice(1, None, 2)), (slice(1, None, 2), slice(0, None, 2))):
        if len(y) > 1:
            gain[held] = before[held] - compute_losses(logits[held], y[held], minimise_loss(logits[rest], y[rest]))
    if gain.mean() <= gain.std() / np.sqrt(len(y)):
        return Temperature(1.0, float(before.mean()), float(before.mean()))
    value = minimise_loss(logits, y)
    return Temperature(value, float(before.mean()), float(compute_losses(logits, y, value).mean()))


def apply_temperature(probabilities: NDArray, temperature: float) -> NDArray:
    """The probabilities, float64 N×K, whose logits are those of `probabilities` divided by `temperature`."""
    logits = np.log(np.clip(probabilities.astype(np.float64), SMALLEST_PROBABILITY, 1)) / temperature
    return compute_softmax(logits)


def compute_losses(logits: NDArray, y: NDArray, temperature: float) -> NDArray:
    """The cross-entropy of each image, in nats."""
    scaled = logits / temperature
    scaled = scaled - scaled.max(1, keepdims=True)
    return np.log(np.exp(scaled).sum(1)) - scaled[np.arange(len(y)), y]


def minimise_loss(logits: NDArray, y: NDArray) -> float:
    """The temperature of least mean cross-entropy, by golden sections of its logarithm: there is one minimum."""
    low, high, part = -WIDEST, WIDEST, (np.sqrt(5) - 1) / 2
    while high - low > 1e-4:
        left, right = high - part * (high - low), low + part * (high - low)
        if compute_losses(logits, y, np.exp(left)).mean() <= compute_losses(logits, y, np.exp(right)).mean():
            high = right
        else:
            low = left
    return float(np.exp((low + high) / 2))
