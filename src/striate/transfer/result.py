"""What came of a transfer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from ..architecture.net import Net
from ..data.check.label_errors import Doubts
from ..fitting.run import Epoch
from .head import TriedStrength


class OutOfFold(NamedTuple):
    """What heads of cross-validation said of images that they had not seen.

    rows           int N, among the images to train on and, behind them, to validate on; in order
    probabilities  float64 N×K
    """

    rows: np.ndarray
    probabilities: np.ndarray


@dataclass(frozen=True, eq=False)
class TransferResult:
    """What came of a transfer.

    net, tensors  the classifier, for a model file
    history       a row for the head alone, epoch 0, its loss and accuracy cross-validated; then a row for each epoch of
                  fine-tuning. `tensors` are of the row `best`: by validation accuracy, then loss
    settings      what a model file's recipe says of it, as JSON data
    notes         what was decided on the way, a sentence each
    doubts        what cross-validation's heads say of the labels
    unseen        where the head learnt from the images to validate on too, so that they cannot measure it, what
                  measures it instead; None where they can
    tried         the strengths of the head that were cross-validated, from strong to weak
    """

    net: Net
    tensors: dict[str, np.ndarray]
    history: tuple[Epoch, ...]
    best: Epoch
    settings: dict[str, Any]
    notes: tuple[str, ...]
    doubts: Doubts
    unseen: OutOfFold | None = None
    tried: tuple[TriedStrength, ...] = ()


def add_note(made: TransferResult, note: str) -> TransferResult:
    return replace(made, notes=(*made.notes, note))
