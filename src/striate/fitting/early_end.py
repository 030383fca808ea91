"""When a training ends before its last epoch: no better epoch came, or its images are known by heart. No torch here.

All is told by the rows of the epochs so far, so a run that is resumed, and every process of one, decides alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ..language import say
from ..terminal import format_count


class EarlyEnd(NamedTuple):
    """What was decided after epoch `after`, and why.

    best   the epoch after which no better one had come, where that is why
    known  the shares, 0 to 1, of the images to train and to validate on that were right, where that is why
    """

    after: int
    best: int | None = None
    known: tuple[float, float] | None = None

    def __str__(self) -> str:
        if self.known is not None:
            train, valid = self.known
            return say(
                "the training images are known by heart ({train:.1%} right, {valid:.1%} of those to validate on)",
                train=train, valid=valid,
            )  # fmt: skip
        best = self.best or 0
        passed = format_count(self.after - best, "epoch")
        return say("{passed} without a better one than epoch {best}", passed=passed, best=best)


def decide_end(rows: Sequence[Mapping[str, Any]], patience: int, memorised: float) -> EarlyEnd | None:
    """The first epoch after which a training is no longer worth all its epochs; None: it still is.

    rows  of the epochs so far: acc, valid_acc, 0 to 1, and valid_loss

    patience   so many epochs have passed since the best one, by validation accuracy, then loss; 0 is never
    memorised  the share of the training images that were wrong is at most so much of that of the validation images: all
               that is left to learn is in images that it does not see; 0 is never

    >>> rows = [{"acc": acc, "valid_acc": 0.8, "valid_loss": 0.5} for acc in (0.7, 0.9, 0.99)]
    >>> decide_end(rows, patience=0, memorised=0.1), decide_end(rows, patience=1, memorised=0.0)
    (EarlyEnd(after=3, best=None, known=(0.99, 0.8)), EarlyEnd(after=2, best=1, known=None))
    """
    if not patience and not memorised:
        return None
    best, mark = 0, (-1.0, 0.0)
    for epoch, row in enumerate(rows, start=1):
        score = (row["valid_acc"], -row["valid_loss"])
        if not best or score > mark:
            best, mark = epoch, score
        if memorised and 1 - row["acc"] <= memorised * (1 - row["valid_acc"]):
            return EarlyEnd(epoch, known=(row["acc"], row["valid_acc"]))
        if 0 < patience <= epoch - best:
            return EarlyEnd(epoch, best=best)
    return None


def count_epochs(end: EarlyEnd | None, epochs: int, cooldown: int) -> int:
    """How many epochs a training has in all: `epochs`, or fewer where it ends early, once its cooldown is over.

    >>> count_epochs(EarlyEnd(after=12, best=9), epochs=40, cooldown=3)
    15
    """
    return epochs if end is None else min(epochs, end.after + cooldown)


def explain_early_end(rows: Sequence[Mapping[str, Any]], recipe: Mapping[str, Any]) -> str | None:
    """Why a training of `recipe`, as JSON data, ended before its last epoch, in a sentence; None: it did not."""
    most, end = recipe.get("epochs", 0), decide_end(rows, recipe.get("patience", 0), recipe.get("memorised", 0.0))
    if end is None or not count_epochs(end, most, recipe.get("cooldown", 0)) == len(rows) < most:
        return None
    done, left = format_count(len(rows), "epoch"), len(rows) - end.after
    if not left:
        return say("ended early after {done} of {most}: {why}", done=done, most=most, why=end)
    return say(
        "ended early after {done} of {most}: {why}, then a cooldown of {left}",
        done=done, most=most, why=end, left=format_count(left, "epoch"),
    )  # fmt: skip
