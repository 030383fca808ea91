"""A number a picture: what stands for it as one text, by which splits are drawn.

Where a data set is read so, each number that occurs is one class of its listing. Training and measuring take the number
out of it again; a split is drawn tenth by tenth of the numbers (`find_tenths`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import DataError
from ..language import say
from .images import Images
from .listing import is_number_label

TENTHS = 10


def format_number_label(value: float) -> str:
    """The text that stands for a number, the shortest that gives it back.

    >>> format_number_label(12.5), format_number_label(3.0)
    ('=12.5', '=3.0')
    """
    return f"={value!r}"


def parse_number_label(text: str) -> float:
    """The number, as `format_number_label` wrote it. Raises DataError for another text."""
    if not is_number_label(text):
        raise DataError(text, say("this is no number"), rule="=12.5")
    return float(text[1:])


def make_numbers(images: Images) -> np.ndarray:
    """float64 N: the number of each picture. Raises DataError where one has none."""
    return np.array([parse_number_label(text) for text in images.classes], np.float64)[images.y]


def find_tenths(classes: Sequence[str]) -> np.ndarray | None:
    """int64, of each class the tenth of the numbers that it is in, by their order; None where these are no numbers.

    >>> find_tenths([f"={value}" for value in range(20)]).tolist()[:4]
    [0, 0, 1, 1]
    """
    if not all(map(is_number_label, classes)):
        return None
    order = np.argsort(np.argsort([parse_number_label(text) for text in classes], kind="stable"), kind="stable")
    return order * min(TENTHS, len(classes)) // max(1, len(classes))


def check_numbers(values: np.ndarray, name: str) -> None:
    """Raise DataError for numbers that are all the same: there is nothing to learn."""
    if len(values) and values.min() == values.max():
        what = say("all numbers are the same, so there is nothing to learn")
        raise DataError(say("number {name}", name=name), what, got=f"{values[0]:g}")
