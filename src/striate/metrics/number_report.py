"""The score of a model that answers with a number. NumPy and SciPy alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..language import say
from ..terminal import make_printable

# So many of the largest errors are kept with their pictures' names.
WORST = 24
# Pictures of which truth and answer are kept for the scatter picture: more would be one spot.
SHOWN_POINTS = 2_000


@dataclass(frozen=True)
class NumberReport:
    """An evaluation of numbers, as plain data. `print` it, or take `as_dict()` for JSON.

    name         of the number: the table's column
    images       how many were scored
    error        mean absolute error, in the number's own unit, and its interval of 95 % (Student's, never below 0)
    rmse         root of the mean squared error, which weighs large errors more
    r2           the share of the numbers' variance that is explained: 1 perfect, 0 no better than their own mean; None
                 where all are the same
    guess        mean absolute error of answering with the mean of the training numbers each time
    margin       nine in ten answers to pictures that the head had not seen in training were within this of the truth
    within       how many of these are
    bias         mean of answer minus truth
    points       (truth, answer) of some of the pictures, spread over all
    worst        (file, truth, answer) of the largest errors
    known        how many of the pictures given the model had learnt from, which were left out; None: not told
    """

    name: str
    images: int
    error: float
    error_interval: tuple[float, float]
    rmse: float
    r2: float | None
    guess: float
    margin: float
    within: int
    bias: float
    points: tuple[tuple[float, float], ...]
    worst: tuple[tuple[str, float, float], ...]
    known: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain JSON data, without NaN: what has no value is None."""
        plain = {name: getattr(self, name) for name in self.__dataclass_fields__}
        rows = {name: [list(row) for row in getattr(self, name)] for name in ("points", "worst")}
        return plain | rows | {"error_interval": list(self.error_interval)}

    def tell(self) -> list[str]:
        """How good it is, in words before figures."""
        low, high = self.error_interval
        told = {"name": make_printable(self.name), "images": self.images}
        told |= {key: format_quantity(value) for key, value in (("error", self.error), ("low", low), ("high", high))}
        first = say("Off by {error} on average in {name} (95 % sure: {low} to {high}), on {images:,} pictures.", **told)
        guess = format_quantity(self.guess)
        if low < self.guess:
            second = say("Answering with the mean each time would be off by {guess}.", guess=guess)
        else:
            second = say(
                "It has learnt nothing: answering with the mean each time would be off by {guess}.", guess=guess
            )
        return [first, second]

    def __str__(self) -> str:
        lines = [*self.tell(), self.format_figures()]
        margin = {"margin": format_quantity(self.margin), "within": self.within, "images": self.images}
        lines.append(say("within ±{margin} of the truth: {within:,} of {images:,}", **margin))
        if self.known:
            lines.append(say("left out: {known:,} that the model has learnt from", known=self.known))
        return "\n".join(lines)

    def format_figures(self) -> str:
        r2 = "–" if self.r2 is None else f"{self.r2:.3f}"
        bias = ("+" if self.bias > 0 else "") + format_quantity(self.bias)
        return say("RMSE {rmse}, R² {r2}, mean of answer minus truth {bias}", rmse=format_quantity(self.rmse), r2=r2,
                   bias=bias)  # fmt: skip


def format_quantity(value: float) -> str:
    """A number in so many digits as tell something: three, and all before the point.

    >>> format_quantity(12345.6), format_quantity(3.14159), format_quantity(0.00123456), format_quantity(0)
    ('12,346', '3.14', '0.00123', '0')
    """
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def score_numbers(
    answers: np.ndarray,
    truth: np.ndarray,
    files: tuple[str, ...],
    *,
    name: str,
    mean: float,
    margin: float,
    known: int | None = None,
) -> NumberReport:
    """The report of answers float64 N beside the truth float64 N, N 1 or more; `mean` is that of the training numbers.

    >>> score_numbers(np.array([1.0, 3.0]), np.array([1.0, 2.0]), ("a", "b"), name="x", mean=0.0, margin=0.5).error
    0.5
    """
    off = answers - truth
    size, count = np.abs(off), len(off)
    spread = float(np.square(truth - truth.mean()).sum())
    order = np.argsort(-size, kind="stable")[:WORST]
    rows = np.unique(np.linspace(0, count - 1, min(count, SHOWN_POINTS)).round().astype(int))
    return NumberReport(
        name=name,
        images=count,
        error=float(size.mean()),
        error_interval=find_mean_interval(size),
        rmse=float(np.sqrt(np.square(off).mean())),
        r2=1 - float(np.square(off).sum()) / spread if spread else None,
        guess=float(np.abs(truth - mean).mean()),
        margin=margin,
        within=int((size <= margin).sum()),
        bias=float(off.mean()),
        points=tuple((float(truth[k]), float(answers[k])) for k in rows),
        worst=tuple((files[k], float(truth[k]), float(answers[k])) for k in order if size[k] > 0),
        known=known,
    )


def find_mean_interval(values: np.ndarray) -> tuple[float, float]:
    """95 % for the mean of values that are not below 0: mean ± t·s/√n, Student's t with n − 1 degrees of freedom.

    From one value nothing is known: 0 to infinity is cut to (0, twice the value).

    >>> low, high = find_mean_interval(np.array([1.0, 2.0, 3.0]))
    >>> (round(low, 3), round(high, 3))
    (0.0, 4.484)
    """
    from scipy.stats import t

    mean, count = float(values.mean()), len(values)
    if count < 2:
        return 0.0, 2 * mean
    half = float(t.ppf(0.975, count - 1) * values.std(ddof=1) / np.sqrt(count))
    return max(0.0, mean - half), mean + half
