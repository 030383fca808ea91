"""An exported `.onnx` file as a model: it predicts and evaluates without torch, and without the package onnx."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.images import Images, Skipped
from ..data.read.resize import parse_fit
from ..engines.answers import check_outputs
from ..engines.model_file import Abstention, Preprocess
from ..errors import ModelError
from ..formats.onnx_file import Card, Exported, read_exported
from ..language import say
from .prediction import Prediction, find_depth, predict_files, predict_images, prepare_image, run_in_pieces

if TYPE_CHECKING:
    from ..metrics.classification import Report
    from .known import Answered


@dataclass(frozen=True)
class ExportedModel:
    """An exported file ready to use, with the names that a run's Model has.

    An image is decoded and resized as in training, by `data.read.decode`, and not by the Resize in the graph, which
    finds nothing left to do: a JPEG then comes at a fraction of its scale, at half the cost, and the pixels are those
    that the network was trained on to the last bit. The graph's own resizing is for those who have nothing but the
    file.
    """

    exported: Exported
    path: Path

    @property
    def card(self) -> Card:
        return self.exported.card

    @property
    def classes(self) -> tuple[str, ...]:
        return self.card.classes

    @property
    def preprocess(self) -> Preprocess:
        return self.card.preprocess

    @property
    def abstention(self) -> Abstention | None:
        """When its answer is "unsure"; None: it answers always."""
        return self.card.abstention

    @property
    def channels(self) -> int:
        return self.card.channels

    def prepared(self, image: Any, max_pixels: int | None = None) -> np.ndarray:
        """One image as uint8 h×w×C at the net's size: from a path, a file's bytes, a Pillow image or a uint8 array.

        Raises DataError for what is no image.
        """
        return prepare_image(image, self.preprocess, self.channels, max_pixels)

    def probabilities(self, x: np.ndarray) -> np.ndarray:
        """Class probabilities, float64 N×K, of uint8 images N×h×w×C at the net's size."""
        return run_in_pieces(self.at_once, x, len(self.classes))

    def at_once(self, x: np.ndarray) -> np.ndarray:
        """`probabilities` of a few images, in this thread alone."""
        return self.exported.probabilities(add_frame(x, self.preprocess)).astype(np.float64)

    @property
    def tells_strange(self) -> bool:
        """Whether it tells pictures that are unlike the training ones."""
        return self.exported.tells_strange

    def judge(self, x: np.ndarray) -> np.ndarray:
        """Probabilities, and in one more column how unlike the training pictures each image is: N×(K + 1).

        Above 1 it is turned away. Of a few images; only where `tells_strange`.
        """
        return self.exported.judge(add_frame(x, self.preprocess)).astype(np.float64)

    def predict(self, images: Any, top: int = 5) -> Any:
        """The Prediction for one image (a path, bytes, a Pillow image, a uint8 array H×W×C), or a list of them for

        a list, or for an array N×H×W×C. Raises DataError for the first that is no image; `predict_files` skips those.
        """
        return predict_images(self, images, top)

    def predict_files(self, files: Iterable[Path | str], top: int = 5) -> Iterator[Prediction | Skipped]:
        """The Prediction for each file in order, or, where it is no readable image, Skipped with the reason."""
        return predict_files(self, files, top)

    def images(
        self,
        data: Any,
        on_skip: Callable[[Skipped], None] | None = None,
        memory: int | str | None = None,
        **reading: Any,
    ) -> Images:
        """The labelled images of `data`'s test split (all of a folder without splits), in this model's classes.

        Of the very data that the model was trained on, and of "digits", it is the split that training held back.
        on_skip  is told of each file that is no readable image
        memory   for the images, in bytes or such as "500M"; by default half of what is free
        reading  how the files are to be understood, by name; by default as they were in training
        """
        from ..data.reading import choose_reading
        from ..data.sources.load import load_images

        return load_images(
            data,
            self.classes,
            size=self.preprocess.size,
            channels=self.channels,
            fit=self.preprocess.fit,
            seed=self.card.more.get("seed", 0),
            on_skip=on_skip,
            trained_on=self.card.more.get("fingerprint", ""),
            memory=memory,
            reading=choose_reading(reading, self.card.more.get("reading", {})),
            depth=find_depth(self.preprocess),
            fold=read_fold(self.card.more.get("fold")),
        )

    def evaluate(self, data: Any, known: bool = False) -> Report:
        """The Report of this model on labelled images: whatever `train` takes as data, or Images.

        An exported file does not say which images it was trained on: all are scored, and `Report.known` is None.
        """
        return self.answers(data if isinstance(data, Images) else self.images(data), known).report

    def answers(self, images: Images, known: bool = False) -> Answered:
        """`evaluate`'s Report with what was said of each image."""
        from .known import answer_unseen

        return answer_unseen(self, None, images, known)

    def __getattr__(self, name: str) -> Any:
        """For what a run's Model can do besides, a clear refusal: ModelError."""
        from .model import Model

        if not name.startswith("_") and name in {*dir(Model), *Model.__dataclass_fields__}:
            raise ModelError(
                str(self.path),
                say("an exported file only predicts and evaluates; its layers cannot be inspected"),
                hint=say("name the run's folder or its model.safetensors"),
            )
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __repr__(self) -> str:
        return f"ExportedModel({len(self.classes)} classes, {self.card.precision}, {str(self.path)!r})"


def add_frame(x: np.ndarray, preprocess: Preprocess) -> np.ndarray:
    """Images at the net's size as an exported graph takes them: with the margin that it cuts off, if it does.

    A fit such as "crop 256" has the graph cut the net's frame out of a picture whose shorter side is 256.
    """
    shorter = parse_fit(preprocess.fit).shorter
    if shorter is None:
        return x
    height, width = preprocess.size
    top, left = (shorter - height) // 2, (shorter - width) // 2
    whole = np.zeros((len(x), shorter, shorter, x.shape[3]), np.uint8)
    whole[:, top : top + height, left : left + width] = x
    return whole


def load_exported(path: str | Path, threads: int = 1) -> ExportedModel:
    """The model in an exported `.onnx` file.

    threads  that ONNX Runtime uses for one image; by default 1, for as many images are computed at once as there are
             cores
    Raises ModelError for a file that is not there, is no ONNX, or was not exported by striate, and for one that answers
    otherwise than by a class.
    """
    exported = read_exported(path, threads)
    check_outputs(path, exported.card.outputs, "softmax")
    return ExportedModel(exported, Path(path))


def read_fold(told: Any) -> tuple[int, int] | None:
    """What an exported file says of its fold and their count; None where it is nothing that makes sense."""
    pair = told if isinstance(told, list) and len(told) == 2 and all(type(part) is int for part in told) else None
    return (pair[0], pair[1]) if pair and 1 <= pair[0] <= pair[1] and pair[1] > 1 else None
