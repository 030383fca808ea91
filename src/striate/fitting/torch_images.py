"""Labelled images as a torch Dataset, so that other loops can use what was read, checked and split here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset

from ..data.images import Images
from ..engines.model_file import Preprocess
from ..errors import DataError
from ..language import say
from .batches import standardise_batch


class TorchImages(TorchDataset):
    """Items (image, label): by `make_torch_dataset`. `classes` and `targets` are what torchvision's data sets have.

    classes  the names of the classes, in the order of their numbers
    targets  int64 N, the label of each image
    """

    def __init__(
        self, images: Images, preprocess: Preprocess | None = None, transform: Callable[[Tensor], Any] | None = None
    ) -> None:
        self.images, self.preprocess, self.transform = images, preprocess, transform
        self.classes = images.classes
        self.targets = torch.from_numpy(np.ascontiguousarray(images.y))

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, place: int) -> tuple[Any, int]:
        label = int(self.targets[place])  # raises IndexError past the end, which ends a loop over the items
        pixels = torch.from_numpy(np.ascontiguousarray(self.images.x[place % len(self)]))
        if self.preprocess is None:
            x = pixels.permute(2, 0, 1)
        else:
            mean, std = torch.tensor(self.preprocess.mean), torch.tensor(self.preprocess.std)
            x = standardise_batch(pixels[None], mean, std)[0]
        x = x.contiguous()
        return (x if self.transform is None else self.transform(x)), label


def make_torch_dataset(
    images: Images, model: Any = None, transform: Callable[[Tensor], Any] | None = None
) -> TorchImages:
    """Labelled images as a torch Dataset of (image, label), for a DataLoader and a loop of one's own.

    images     such as `striate.load_dataset(…).train`, wherever their pixels are
    model      None gives uint8 C×H×W in 0 to 255; a model (or a Preprocess) float32 C×H×W as it is fed to that model
    transform  of each image tensor, as torchvision's
    Raises DataError where the images have another size than the model's.

    >>> from striate import load_dataset
    >>> digits = make_torch_dataset(load_dataset("digits").train)
    >>> image, label = digits[0]
    >>> image.shape, image.dtype, digits.classes[label] in "0123456789"
    (torch.Size([1, 8, 8]), torch.uint8, True)
    """
    preprocess: Preprocess | None = getattr(model, "preprocess", model)
    if preprocess is not None:
        _, h, w, c = images.x.shape
        if (h, w) != tuple(preprocess.size) or c != len(preprocess.mean):
            got, (wh, ww) = f"{h}×{w}×{c}", preprocess.size
            rule = say("{wh}×{ww}×{channels}, as the model's", wh=wh, ww=ww, channels=len(preprocess.mean))
            hint = f"load_dataset(…, size=({wh}, {ww}), channels={len(preprocess.mean)})"
            raise DataError("images", say("they have another size than the model takes"), got=got, rule=rule, hint=hint)
    return TorchImages(images, preprocess, transform)
