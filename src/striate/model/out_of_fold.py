"""What cross-validation said of each image that a model then learnt from: kept in the run's folder beside the model."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from .. import atomic_file
from ..data.contents import take_first_bits
from ..data.images import Images
from ..errors import DataError
from ..language import say
from ..run_files import RunFiles


class KeptAnswers(NamedTuple):
    """Probabilities float64 N×K of images by networks that had not seen them, labels N, and digests' first 64 bits."""

    probabilities: NDArray
    labels: NDArray
    marks: NDArray

    def find(self, images: Images) -> NDArray | None:
        """The probabilities of these images; None where one of them is not among those kept."""
        rows = {int(mark): row for row, mark in enumerate(self.marks)}
        found = [rows.get(int(mark), -1) for mark in take_first_bits(images.digests)]
        return None if min(found, default=-1) < 0 else self.probabilities[found]


def save_out_of_fold(path: Path, probabilities: NDArray, labels: NDArray, digests: list[bytes]) -> None:
    held: dict[str, NDArray] = {
        "probabilities": probabilities.astype(np.float64),
        "labels": labels.astype(np.int64),
        "marks": take_first_bits(digests).astype(np.uint64),
    }
    atomic_file.write_file(path, safetensors.numpy.save(held))


def read_out_of_fold(model: str | Path | None) -> KeptAnswers | None:
    """What is kept beside a model file; None where nothing is. Raises DataError."""
    files = None if model is None else RunFiles(Path(model).parent)
    if files is None or not files.out_of_fold.is_file():
        return None
    return read_answers(files.out_of_fold)


def read_answers(path: Path) -> KeptAnswers:
    """What `save_out_of_fold` wrote. Raises DataError."""
    try:
        kept = safetensors.numpy.load(path.read_bytes())
        return KeptAnswers(kept["probabilities"].astype(np.float64), kept["labels"], kept["marks"])
    except (safetensors.SafetensorError, KeyError) as e:
        raise DataError(str(path), say("this file of the run cannot be read"), got=str(e)) from None
