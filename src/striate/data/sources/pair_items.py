"""One image and its label as other libraries hand them over, to an array and a label: tensors, arrays, Pillow images.

Nothing of those libraries is imported: a tensor is known by its methods, a data set by its protocol.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from PIL import Image

from ...errors import DataError
from ...language import say
from ..read.colour import convert_mode
from ..read.decode import ORIENTATIONS, read_orientation
from ..reading import Reading
from .array_formats import are_bands_first

# The names that the columns of images and of labels usually have.
IMAGE_NAMES = ("image", "img", "images", "pixel_values")
LABEL_NAMES = ("label", "labels", "class", "target")


def is_tensor(value: Any) -> bool:
    """Whether a value is a torch tensor, or one of torchvision's."""
    return all(hasattr(value, name) for name in ("detach", "cpu", "numpy"))


def convert_tensor(value: Any) -> np.ndarray:
    """A tensor's numbers as an array; bfloat16, which NumPy has not, as float32."""
    own = value.detach().cpu()
    return (own.float() if str(own.dtype) == "torch.bfloat16" else own).numpy()


def is_picture(value: Any) -> bool:
    """Whether a value is an image: a tensor or an array of two axes or more, or Pillow's."""
    if isinstance(value, Image.Image):
        return True
    return hasattr(value, "dtype") and len(getattr(value, "shape", ())) >= 2  # tables have shapes too, but no dtype


def take_pixels(value: Any, where: str) -> np.ndarray:
    """An image as H×W×C, its numbers as they are. A tensor has its channels first, an array last.

    Raises DataError for what is no image, or has its channels elsewhere.
    """
    if isinstance(value, Image.Image):
        return take_pillow(value)
    if not is_picture(value):
        rule = say("a tensor C×H×W, an array H×W×C or H×W, or a Pillow image")
        raise DataError(where, say("this is no image"), got=describe_item(value), rule=rule)
    pixels = convert_tensor(value) if is_tensor(value) else np.asarray(value)
    if pixels.ndim == 2:
        return pixels[..., None]
    if pixels.ndim != 3:
        raise DataError(where, say("this is no image"), got=describe_item(value), rule=say("two or three axes"))
    if is_tensor(value):
        if are_bands_first((1, *pixels.transpose(2, 0, 1).shape)) and not are_bands_first((1, *pixels.shape)):
            hint = "x.permute(2, 0, 1)"
            raise DataError(
                where, say("the channels come first in a tensor"), got=describe_item(value), rule="C×H×W", hint=hint
            )
        return pixels.transpose(1, 2, 0)
    if are_bands_first((1, *pixels.shape)):
        hint = "x.transpose(1, 2, 0)"
        raise DataError(
            where, say("the channels come last in an array"), got=describe_item(value), rule="H×W×C", hint=hint
        )
    return pixels


def take_pillow(image: Image.Image) -> np.ndarray:
    """Pillow's image, upright, as H×W×C: gray or RGB of 8 bits as a file of it is read, deeper ones as they are."""
    turn = ORIENTATIONS.get(read_orientation(image))
    upright = image if turn is None else image.transpose(turn)
    deep = upright.mode.startswith("I") or upright.mode == "F"
    plain = upright if deep else convert_mode(upright, 1 if upright.mode in ("1", "L") else 3)
    return np.array(plain).reshape(plain.height, plain.width, -1)


def take_label(value: Any, where: str) -> str | int | float:
    """A label as a name or a number. Raises DataError for anything but one class."""
    if isinstance(value, str):
        return value
    numbers = convert_tensor(value) if is_tensor(value) else np.asarray(value)
    if numbers.size != 1 or numbers.dtype.kind not in "biufU":
        several = numbers.size > 1
        hint = say("label.argmax(), where it is one-hot") if several and numbers.dtype.kind in "biuf" else None
        rule = say("a name or a whole number")
        raise DataError(where, say("a label is one class"), got=describe_item(value), rule=rule, hint=hint)
    return numbers.reshape(-1)[0].item()


def split_pair(item: Any, where: str, names: tuple[str, str] | None) -> tuple[Any, Any]:
    """The image and the label of an item: a pair, or a record whose columns are called `names`. Raises DataError."""
    if isinstance(item, Mapping) and names is not None:
        return item[names[0]], item[names[1]]
    if not isinstance(item, tuple | list) or len(item) != 2:
        got = describe_item(item)
        raise DataError(
            where, say("this is not an image and its label"), got=got, rule=say("(image, label), or a record of both")
        )
    return item[0], item[1]


def name_columns(
    likely: Mapping[str, Collection[str]], columns: Collection[str], where: str, reading: Reading
) -> tuple[str, str]:
    """The columns of images and labels among `columns`: as the reading says, else the one of the `likely` ones.

    Raises DataError where none of them is there, or several are.
    """
    found = []
    for what, called, told, option in (
        ("images", say("images"), reading.file_column, "file_column"),
        ("labels", say("labels"), reading.label_column, "label_column"),
    ):
        named = [name for name in ([told] if told else likely[what]) if name in columns]
        if len(named) != 1:
            fault = say("which column holds the {what}?", what=called)
            if told:
                fault = say("no column of {what} is called '{told}'", what=called, told=told)
            several = named or list(columns)
            raise DataError(where, fault, got=", ".join(map(str, several)), hint=f"{option}='{several[0]}'")
        found.append(str(named[0]))
    return found[0], found[1]


def describe_item(value: Any) -> str:
    """A value in a few words: its type, and the shape that it has."""
    shape = getattr(value, "shape", None)
    kind = type(value).__name__
    if isinstance(value, tuple | list):
        return say("a {kind} of {count}", kind=kind, count=len(value))
    return f"{kind} {'×'.join(map(str, shape))}" if shape else kind
