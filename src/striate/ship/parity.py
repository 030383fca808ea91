"""Whether an exported file answers as the model that it was made from: measured, and held to a bound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import ModelError
from .export import Exported
from .exported import ExportedModel


@dataclass(frozen=True)
class Parity:
    """The exported file beside the model on the same images.

    images      how many were compared
    difference  the largest difference between two probabilities of the same class
    equal       share of the images (0 to 1) with the same most probable class
    accuracy    of the model and of the exported file, 0 to 1; None where no labels were given
    """

    images: int
    difference: float
    equal: float
    accuracy: tuple[float, float] | None = None

    def held(self, difference: float = 1.0, equal: float = 0.0) -> Parity:
        """The same, or ModelError where the difference is larger, or fewer predictions are equal, than allowed."""
        if self.difference > difference or self.equal < equal:
            raise ModelError(
                "export",
                "the exported file does not answer as the model does",
                got=f"probabilities differ by up to {self.difference:.2g}, {self.equal:.2%} of predictions equal",
                rule=f"at most {difference:g}, at least {equal:.2%}, over {self.images} images",
            )
        return self

    def __str__(self) -> str:
        accuracy = ""
        if self.accuracy is not None:
            accuracy = f"; accuracy {self.accuracy[0]:.2%} of the model, {self.accuracy[1]:.2%} of the file"
        return (
            f"on {self.images} images: {self.equal:.2%} of the predictions equal, probabilities differ by at most "
            f"{self.difference:.2g}{accuracy}"
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        both = None if self.accuracy is None else {"model": self.accuracy[0], "exported": self.accuracy[1]}
        return {"images": self.images, "difference": self.difference, "equal": self.equal, "accuracy": both}


def parity(
    reference: np.ndarray,
    exported: Exported | ExportedModel,
    images: Sequence[np.ndarray],
    labels: np.ndarray | None = None,
) -> Parity:
    """Compare `exported` on `images`, uint8 H×W×C, with `reference`, the model's N×classes on them.

    The images are of any size, and the graph resizes them; for an ExportedModel they have the net's size already.
    Raises ModelError where there is nothing to compare.
    """
    if isinstance(exported, ExportedModel):
        found = exported.probabilities(np.stack(images)) if len(images) else np.empty((0, len(exported.classes)))
    else:
        found = exported.each(images)
    if not len(images) or found.shape != reference.shape:
        got, rule = f"{found.shape} and {reference.shape}", "one row an image, at least one"
        raise ModelError("parity", "the two sets of probabilities cannot be compared", got=got, rule=rule)
    predicted = [p.argmax(1) for p in (reference, found)]
    right = None if labels is None else [float((k == labels).mean()) for k in predicted]
    return Parity(
        images=len(images),
        difference=float(np.abs(reference - found).max()),
        equal=float((predicted[0] == predicted[1]).mean()),
        accuracy=None if right is None else (right[0], right[1]),
    )
