"""What the models of a cross-validation said of the images that they had not seen: kept fold by fold, and pooled."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..data.contents import take_first_bits
from ..errors import RunError
from ..language import say
from ..model.out_of_fold import read_answers, save_out_of_fold
from ..run_files import RunFiles

if TYPE_CHECKING:
    from ..data.images import Dataset
    from ..transfer.result import OutOfFold
    from .report_content import Measured


def keep_fold_answers(files: RunFiles, measured: Measured) -> None:
    """Write what a fold's report is about: the probabilities of its test images, which it marks by their names.

    Two folds may see one image with other pixels, where each asks its images for the fit.
    """
    save_out_of_fold(files.fold_answers, measured.probabilities, measured.y, digest_names(measured.files))


def pool_answers(folder: Path, count: int, data: Dataset) -> OutOfFold:
    """What the models of `count` folds said of the images of `data`, to train and then to validate on.

    Raises RunError for a fold that did not keep it.
    """
    from ..transfer.result import OutOfFold

    names = digest_names([*data.train.files, *data.valid.files])
    rows = {int(mark): row for row, mark in enumerate(take_first_bits(names))}
    found: dict[int, np.ndarray] = {}
    for number in range(1, count + 1):
        file = RunFiles(folder).fold(number).fold_answers
        if not file.is_file():
            what = say("this fold did not keep what its model said of its images")
            raise RunError(str(file), what, hint=say("--keep none; or train anew, into another --out"))
        kept = read_answers(file)
        for mark, p in zip(kept.marks, kept.probabilities, strict=True):
            if (row := rows.get(int(mark))) is not None:
                found[row] = p
    order = sorted(found)
    return OutOfFold(np.array(order), np.stack([found[row] for row in order]))


def digest_names(files: Sequence[str]) -> list[bytes]:
    return [hashlib.sha256(name.encode(errors="surrogateescape")).digest() for name in files]
