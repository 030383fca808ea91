"""From photos to named classes: what a run's model and an exported file do alike, each with its own network.

Every worker thread takes an image all the way, from its file to its probabilities, and ONNX Runtime computes it in
that thread. Nothing waits for a batch to fill, and no thread of ONNX Runtime's own fights with those that decode.
`bench/predict.py` measures it beside batches that are decoded first and then computed by all cores.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from ..data.images import Skipped
from ..data.read import decode
from ..data.read.bands import refuse_channels
from ..data.read.colour import LUMA
from ..data.read.depth import Depth, apply_depth
from ..data.read.resize import resize_image
from ..data.sources.remote import is_remote, read_remote
from ..engines.model_file import Abstention, Preprocess
from ..errors import DataError
from ..language import say
from ..terminal import format_row
from ..threads import map_in_threads
from .fetch import fetch_image, is_url

# Images computed at once: as cheap for each as any number with a large net, and nearly so with a small one.
# Milliseconds of one core for an image, in a batch of 1, 4, 8, 16, 32: EfficientNet-Lite0 5.4, 5.2, 5.6, 6.6, 7.2;
# LeNet-5 0.029, 0.016, 0.014, 0.014, 0.012.
IMAGES_A_PIECE = 4


class Prediction(NamedTuple):
    """The answer for one image: its most probable class, that probability (0 to 1), and the best few classes.

    unsure  whether the probability is below the class's threshold (`striate.calibrate`), or the image unlike the
            training pictures; None: the model has no threshold
    unlike  whether it is unlike them; None: the model cannot tell
    """

    file: str
    label: str
    probability: float
    top: tuple[tuple[str, float], ...]
    unsure: bool | None = None
    unlike: bool | None = None

    def as_dict(self) -> dict[str, Any]:
        best = [{"label": label, "probability": p} for label, p in self.top]
        said = {"file": self.file, "label": self.label, "probability": self.probability, "top": best}
        said |= {} if self.unsure is None else {"unsure": self.unsure}
        return said if self.unlike is None else said | {"unlike": self.unlike}

    def cells(self) -> tuple[str, ...]:
        """File, label, probability, and where the model has thresholds whether it is unsure: the cells of a CSV."""
        said = self.file, self.label, f"{self.probability:.6f}"
        return (*said, *(str(mark).lower() for mark in (self.unsure, self.unlike) if mark is not None))

    def line(self) -> tuple[str, ...]:
        """The same to be read: the probability to four decimals, "unsure" where it is, "unlike" where that is why."""
        marks = (["unsure"] if self.unsure else []) + (["unlike"] if self.unlike else [])
        return self.file, self.label, f"{self.probability:.4f}", *marks

    def as_csv(self) -> str:
        """A line of CSV under the heading of `TableForm.columns`, without the end of the line."""
        return format_row(self.cells(), ",")


class Classifier(Protocol):
    """What predicts: a Model, an ExportedModel."""

    @property
    def classes(self) -> tuple[str, ...]: ...

    @property
    def abstention(self) -> Abstention | None:
        """When its answer is "unsure"; None: never."""

    @property
    def tells_strange(self) -> bool:
        """Whether it tells pictures that are unlike the training ones."""

    def judge(self, x: np.ndarray) -> np.ndarray:
        """`probabilities` of a few images, and in one more column how unlike the training ones: above 1 it is."""

    def prepared(self, image: Any) -> np.ndarray:
        """One image as uint8 h×w×C at the net's size. Raises DataError."""

    def probabilities(self, x: np.ndarray) -> np.ndarray:
        """float N×K of uint8 N×h×w×C at the net's size. Called from many threads at once."""


def find_depth(preprocess: Preprocess) -> Depth | None:
    """The scale of images deeper than 8 bits that a model was trained with."""
    return None if preprocess.depth is None else Depth(*preprocess.depth)


def prepare_image(image: Any, preprocess: Preprocess, channels: int, max_pixels: int | None = None) -> np.ndarray:
    """One image as uint8 h×w×C at the net's size: from a path, a file's bytes, a Pillow image or a uint8 array.

    An array or a Pillow image of other numbers is taken where the model has a scale for such, whole or not.
    Raises DataError for what is no image.
    """
    size, fit, depth = preprocess.size, preprocess.fit, find_depth(preprocess)
    if isinstance(image, str | Path | bytes):
        most = max_pixels or decode.MAX_PIXELS
        return decode.read_image(image, size, fit, channels, max_pixels=most, depth=depth, alpha=preprocess.alpha)
    array = np.asarray(image)
    if depth is not None and array.dtype != np.uint8 and array.dtype.kind in ("iu" if depth.whole else "f"):
        array = apply_depth(array, depth)
    array = array[..., None] if array.ndim == 2 else array
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] not in {channels, 1, 3}:
        shapes = "H×W, H×W×1 or H×W×3" if channels in (1, 3) else f"H×W×{channels}"
        raise DataError(
            "image",
            say("an image in memory is a uint8 array {shapes}", shapes=shapes),
            got=f"{array.dtype} {'×'.join(map(str, array.shape))}",
            hint=say("pass a path, or image.astype('uint8') with values 0 to 255"),
        )
    if array.shape[2] == 1 and channels == 3:
        array = np.repeat(array, 3, axis=2)
    elif array.shape[2] == 3 and channels == 1:
        array = (array @ np.array(LUMA)).round().astype(np.uint8)[..., None]
    elif array.shape[2] != channels:
        raise refuse_channels("image", array.shape[2], channels)
    return resize_image(array, size, fit)


def predict_images(model: Classifier, images: Any, top: int = 5) -> Any:
    """The Prediction for one image, or a list of them for a list or for an array N×H×W×C.

    Raises DataError for the first that is no image; `predict_files` skips those.
    """
    many = isinstance(images, list | tuple) or (isinstance(images, np.ndarray) and images.ndim == 4)
    given = list(images) if many else [images]
    names = [str(image) if isinstance(image, str | Path) else f"image {i}" for i, image in enumerate(given)]

    def one(k: int) -> Prediction:
        return name_predictions(model, [names[k]], judge_images(model, model.prepared(given[k])[None]), top)[0]

    if not many:
        return one(0)
    return list(map_in_threads(one, range(len(given)), count_workers()))


def predict_files(model: Classifier, files: Iterable[Path | str], top: int = 5) -> Iterator[Prediction | Skipped]:
    """The Prediction for each file or http(s) address in order, or, where it is no readable image, Skipped."""

    def one(file: Path | str) -> Prediction | Skipped:
        try:
            image = model.prepared(find_image(file))
        except DataError as e:
            return Skipped(str(file), e.what)
        return name_predictions(model, [str(file)], judge_images(model, image[None]), top)[0]

    return map_in_threads(one, files, count_workers(), at_once=True)


def find_image(file: Path | str) -> Path | str | bytes:
    """A file by its name; of a web address, or one for fsspec (s3://, gs://, hf://), its bytes. Raises DataError."""
    if isinstance(file, str) and is_url(file):
        return fetch_image(file)
    return read_remote(file) if isinstance(file, str) and is_remote(file) else file


def run_in_pieces(run: Callable[[np.ndarray], np.ndarray], x: np.ndarray, classes: int) -> np.ndarray:
    """`run` on a few images at a time, by all workers: float N×classes."""
    if len(x) <= IMAGES_A_PIECE:
        return run(x[:]) if len(x) else np.empty((0, classes))
    places = range(0, len(x), IMAGES_A_PIECE)
    return np.concatenate(list(map_in_threads(lambda i: run(x[i : i + IMAGES_A_PIECE]), places, count_workers())))


def show_progress(answers: Iterable[Any], total: int | None = None) -> Iterator[Any]:
    """The answers as they come, with a bar on stderr where that is a terminal and the answers go elsewhere.

    total  how many there will be, where it is known
    """
    if not sys.stderr.isatty() or sys.stdout.isatty():
        yield from answers
        return
    from rich.console import Console
    from rich.progress import track

    yield from track(answers, "predicting", total, console=Console(stderr=True), transient=True, show_speed=True)


def judge_images(model: Classifier, x: np.ndarray) -> np.ndarray:
    """What `name_predictions` takes of a few images: their probabilities, and how unlike the training ones they are."""
    return model.judge(x) if model.tells_strange else model.probabilities(x)


def name_predictions(model: Classifier, files: Sequence[str], judged: np.ndarray, top: int) -> list[Prediction]:
    """Probabilities with the names of the files and of the best classes, and whether the model is sure of them.

    judged  float N×K, or N×(K + 1) of a model that `tells_strange`
    """
    p, strange = judged[:, : len(model.classes)], judged[:, len(model.classes) :]
    unlike: Sequence[bool | None] = (strange[:, 0] > 1).tolist() if strange.shape[1] else [None] * len(p)
    best = np.argsort(-p, axis=1, kind="stable")[:, :top]
    unsure: Sequence[bool | None] = [None] * len(p)
    if model.abstention is not None:
        from ..metrics.abstention import find_answered

        below = (~find_answered(p, model.abstention.thresholds)).tolist()
        unsure = [low or bool(other) for low, other in zip(below, unlike, strict=True)]
    rows = []
    for file, values, order, doubt, other in zip(files, p, best, unsure, unlike, strict=True):
        shown = tuple((model.classes[k], float(values[k])) for k in order)
        rows.append(Prediction(file, *shown[0], shown, doubt, other))
    return rows


class TableForm(NamedTuple):
    """The columns of a table of predictions.

    file, label and probability, of a model with thresholds `unsure`, of one that tells strange pictures `unlike`
    everything  file, and the probability of each class under its name
    kaggle      the first column is id, the file's name without folder and suffix, as Kaggle's submissions have it; the
                second label alone, or with `everything` the classes
    """

    classes: tuple[str, ...]
    everything: bool = False
    kaggle: bool = False
    unsure: bool = False
    unlike: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        first = "id" if self.kaggle else "file"
        if self.everything:
            return first, *self.classes
        marks = ["unsure"] * self.unsure + ["unlike"] * self.unlike
        return (first, "label") if self.kaggle else ("file", "label", "probability", *marks)

    def cells(self, answer: Prediction) -> tuple[str, ...]:
        """A row; with `everything` the answer has all classes in its `top`."""
        name = Path(answer.file).stem if self.kaggle else answer.file
        if self.everything:
            told = dict(answer.top)
            return name, *(f"{told[label]:.6f}" for label in self.classes)
        return (name, answer.label) if self.kaggle else answer.cells()


def count_workers() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
