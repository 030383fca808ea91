"""Two classifiers on the same images: how far apart, how sure, and where they differ. NumPy alone."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, lgamma, log, sqrt
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..language import say
from .classification import Z95


class Difference(NamedTuple):
    """An image on which two classifiers differ: its file, its class, and what each takes it for."""

    file: str
    label: str
    first: str
    second: str

    @property
    def right(self) -> str:
        """Which of them is right: "first", "second" or "neither"."""
        return "first" if self.first == self.label else "second" if self.second == self.label else "neither"


@dataclass(frozen=True)
class PairedComparison:
    """Two classifiers on the same images. `print` it, or take `as_dict()` for JSON.

    names        what they are called
    both, first, second, neither   how many images both classify correctly, the first alone, the second alone, no one
    differences  the images on which their answers differ, also where both are wrong
    left_out     images that one of them was trained or validated on, or that only one of them was given
    """

    names: tuple[str, str]
    both: int
    first: int
    second: int
    neither: int
    differences: tuple[Difference, ...]
    left_out: int = 0

    @property
    def images(self) -> int:
        return self.both + self.first + self.second + self.neither

    @property
    def accuracies(self) -> tuple[float, float]:
        return (self.both + self.first) / self.images, (self.both + self.second) / self.images

    @property
    def gain(self) -> float:
        """By how much the second's accuracy is higher, −1 to 1."""
        return (self.second - self.first) / self.images

    @property
    def interval(self) -> tuple[float, float]:
        """95 % of the gain: Agresti and Min (2005), which adds half an image to each of the four counts."""
        n, first, second = self.images + 2, self.first + 0.5, self.second + 0.5
        middle, half = (second - first) / n, Z95 * sqrt(first + second - (second - first) ** 2 / n) / n
        return max(-1.0, middle - half), min(1.0, middle + half)

    @property
    def p_value(self) -> float:
        """How often chance would share out so unevenly what only one has right: McNemar's exact test."""
        n, least = self.first + self.second, min(self.first, self.second)
        tail = sum(exp(lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1) - n * log(2)) for k in range(least + 1))
        return min(1.0, 2 * tail)

    def as_dict(self) -> dict[str, Any]:
        return {
            "names": list(self.names),
            "images": self.images,
            "left_out": self.left_out,
            "accuracies": list(self.accuracies),
            "both_right": self.both,
            "first_alone": self.first,
            "second_alone": self.second,
            "both_wrong": self.neither,
            "gain": self.gain,
            "gain_interval": list(self.interval),
            "p_value": self.p_value,
            "differences": [{**item._asdict(), "right": item.right} for item in self.differences],
        }

    def __str__(self) -> str:
        low, high = self.interval
        wide = max(len(name) for name in self.names)
        alone = zip(self.names, self.accuracies, (self.first, self.second), strict=True)
        lines = [
            say("{name}  accuracy {accuracy:.2%}, {alone:,} that it alone classifies correctly",
                name=name.ljust(wide), accuracy=accuracy, alone=count)
            for name, accuracy, count in alone
        ]  # fmt: skip
        lines.append(
            say("on the same {images:,} images; {both:,} both classify correctly, {neither:,} neither does",
                images=self.images, both=self.both, neither=self.neither)
        )  # fmt: skip
        lines.append(
            say("difference {gain:+.2f} points (95 %: {low:+.2f} to {high:+.2f}), McNemar's exact p = {p:.5f}",
                gain=100 * self.gain, low=100 * low, high=100 * high, p=self.p_value)
        )  # fmt: skip
        lines.append(self.verdict)
        if self.left_out:
            lines.append(say("left out: {images:,} that are not new to both", images=self.left_out))
        return "\n".join(lines)

    @property
    def verdict(self) -> str:
        """In words, at the usual level of 5 %."""
        if self.p_value >= 0.05:
            return say("no difference is shown: these images do not tell which is better")
        return say("{name} is better on images like these", name=self.names[self.second > self.first])


def compare_answers(
    names: tuple[str, str], files: list[str], labels: list[str], first: list[str], second: list[str], left_out: int = 0
) -> PairedComparison:
    """The comparison of the `first` and `second` answers to images with these files and labels: class names."""
    truth, one, two = (np.array(part, dtype=object) for part in (labels, first, second))
    a, b = one == truth, two == truth

    def count(chosen: NDArray) -> int:
        return int(chosen.sum())

    told = zip(files, labels, first, second, strict=True)
    differences = tuple(Difference(*row) for row in told if row[2] != row[3])
    return PairedComparison(names, count(a & b), count(a & ~b), count(b & ~a), count(~a & ~b), differences, left_out)
