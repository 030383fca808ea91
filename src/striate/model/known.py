"""Whether a model was trained on the very images that it is to be measured on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..data.contents import take_first_bits
from ..data.images import Dataset, Images, compute_fingerprint
from ..engines.model_file import KNOWN_MOST, Known, read_head
from ..errors import DataError
from ..language import say
from ..metrics.classification import Report, find_mistakes, score_probabilities
from ..run_files import RunFiles

if TYPE_CHECKING:
    from .exported import ExportedModel
    from .model import Model


def describe_known(data: Dataset, weights: str | Path | None = None) -> Known:
    """What a model file keeps of the images that its model is trained on, however they are named or packed.

    weights  what the training begins with: where that is a run or a model file, what was known to it is known still
    """
    before = None if weights is None else read_known(weights)
    train, valid = (take_first_bits(part.digests) for part in (data.train, data.valid))
    counts = len(train), len(valid)
    if before is not None:
        train = np.concatenate([train, np.frombuffer(before.train + before.valid, "<u8")])
        counts = counts[0] + sum(before.counts), counts[1]
    test = "" if data.test is None else compute_fingerprint(test=data.test)
    own, others = (np.sort(marks)[:KNOWN_MOST].tobytes() for marks in (train, valid))
    return Known(train=own, valid=others, counts=counts, test=test)


def read_known(weights: str | Path) -> Known | None:
    """What the model file that `weights` names says of its training; None where it is none, or says nothing."""
    path = RunFiles(Path(weights)).model if Path(weights).is_dir() else Path(weights)
    if not path.is_file() or path.suffix != ".safetensors":
        return None
    header = read_head(path)
    return None if header is None else header.known


def find_known(known: Known, images: Images) -> np.ndarray:
    """bool N: which of the images, at the net's size, the model was trained or validated on, pixel for pixel.

    Of a split of more than KNOWN_MOST images only a part is found, the same share of any others.
    """
    marks = take_first_bits(images.digests)
    own = [np.frombuffer(packed, "<u8") for packed in (known.train, known.valid)]
    return np.isin(marks, np.concatenate(own))


class Answered(NamedTuple):
    """What a model said of the images that were scored: probabilities float64 N×K, and the Report of them.

    crossed  it has learnt from all of these, and what cross-validation said of them is what is scored
    """

    report: Report
    images: Images
    probabilities: np.ndarray
    crossed: bool = False

    def list_mistakes(self) -> list[tuple[str, ...]]:
        """Each wrong answer, the most confident first: file, class, predicted class, and the probability of both."""
        names, files = self.images.classes, self.images.files
        return [
            (files[m.index], names[m.truth], names[m.predicted], f"{m.truth_probability:.6f}", f"{m.probability:.6f}")
            for m in find_mistakes(self.probabilities, self.images.y, len(self.images))
        ]


MISTAKE_COLUMNS = ("file", "label", "predicted", "label_probability", "probability")


def answer_unseen(model: Model | ExportedModel, known: Known | None, images: Images, keep: bool = False) -> Answered:
    """What `model` says of the images that it does not know from training; the Report says how many it knew.

    known  what the model file says of its training; None: it cannot be told, and all images are scored
    keep   score those too
    The very split that training held back is scored whole, even where it shares a picture with the others. Raises
    DataError where no image is left.
    """
    rest, count = (images, None) if known is None else leave_known_out(known, images, keep)
    p = model.probabilities(rest.x)
    report = replace(score_probabilities(p, rest.y, model.classes), known=count, left_out=len(rest) < len(images))
    return Answered(report, rest, p)


def leave_known_out(known: Known, images: Images, keep: bool = False) -> tuple[Images, int]:
    """The images to score, and how many of those given the model knows; see `answer_unseen`."""
    found = find_known(known, images)
    count = int(found.sum())
    if not count or keep or compute_fingerprint(test=images) == known.test:
        return images, count
    if count == len(images):
        what = say("the model was trained or validated on every one of these images")
        hint = say("images that it has not seen; or --known (in Python known=True), which scores them anyway")
        raise DataError("evaluate", what, got=say("{count:,} images", count=count), hint=hint)
    return images.take(np.flatnonzero(~found)), count
