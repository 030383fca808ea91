"""What every tracker shows of a run: the curve's name there, and of which field of an epoch it is."""

from __future__ import annotations

CURVES = {
    "loss/train": "loss",
    "loss/validation": "valid_loss",
    "accuracy/train": "acc",
    "accuracy/validation": "valid_acc",
    "seconds": "seconds",
}
