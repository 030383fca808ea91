"""What a model answers: one of several classes, several labels, or a number. One notion, which every room asks here.

A model file's header and an exported file's card say it by a word, `outputs`; what follows stands in this table.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import msgspec
import numpy as np

from ..errors import ModelError
from ..language import say, to_say

# The function that makes the answer of what the net puts out, as it is called.
Outputs = Literal["softmax", "sigmoid", "identity"]


class NumberScale(msgspec.Struct, frozen=True, kw_only=True):
    """What a model that answers with a number knows of the numbers that it learnt from.

    mean, deviation  of them; low, high  the least and the largest
    margin           nine in ten answers to pictures that the head had not seen were within this of the truth
    """

    mean: float
    deviation: float
    low: float
    high: float
    margin: float


class AnswerKind(NamedTuple):
    """A way to answer.

    told      what it gives, in a few words
    loader    what loads such a model in Python
    format    of the model file; a striate that knows lower ones alone refuses it
    operator  ONNX's, which makes the answer of the net's output; None: the output is the answer
    finish    the same of float64 N×K, in NumPy
    """

    told: str
    loader: str
    format: int
    operator: str | None
    finish: Callable[[np.ndarray], np.ndarray]


def compute_softmax(logits: np.ndarray) -> np.ndarray:
    y = np.exp(logits - logits.max(1, keepdims=True))
    return y / y.sum(1, keepdims=True)


def compute_sigmoid(x: np.ndarray) -> np.ndarray:
    """1/(1 + e⁻ˣ), without overflow.

    >>> compute_sigmoid(np.array([-1000.0, 0.0, 1000.0])).tolist()
    [0.0, 0.5, 1.0]
    """
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + small), small / (1 + small))


def keep_answer(y: np.ndarray) -> np.ndarray:
    return y


ANSWERS = {
    "softmax": AnswerKind(to_say("one class a picture"), "striate.load", 1, "Softmax", compute_softmax),
    "sigmoid": AnswerKind(to_say("several labels a picture"), "striate.load_labels", 2, "Sigmoid", compute_sigmoid),
    "identity": AnswerKind(to_say("a number a picture"), "striate.load_number", 3, None, keep_answer),
}
NEWEST_FORMAT = max(kind.format for kind in ANSWERS.values())


def check_outputs(where: object, found: str, wanted: str) -> None:
    """Raise ModelError unless a model answers as is wanted; the hint says what takes it."""
    if found == wanted:
        return
    own, other = say(ANSWERS[found].told), say(ANSWERS[wanted].told)
    if wanted == "softmax":
        what = say("this model gives {own}, and this works with one class a picture alone", own=own)
        hint = say("striate predict and striate evaluate take it; in Python {loader}", loader=ANSWERS[found].loader)
    else:
        what, hint = say("this model gives {own}, and not {other}", own=own, other=other), ANSWERS[found].loader
    raise ModelError(str(where), what, hint=hint)
