"""Images and labels that come one by one from another library's data set, to arrays: read once, in its own order.

A torch Dataset or DataLoader, a Hugging Face data set, a generator or a list of (image, label), or such for each split.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import DataError
from ...language import say, to_say
from ..images import Dataset
from ..listing import SPLIT_NAMES
from ..read.files import Progress
from ..read.resize import resize_image
from ..reading import USUAL_READING, Reading
from .pair_items import (
    IMAGE_NAMES,
    LABEL_NAMES,
    convert_tensor,
    describe_item,
    is_picture,
    is_tensor,
    name_columns,
    split_pair,
    take_label,
    take_pixels,
)

FROZEN_NOTE = to_say(
    "the data set changes its images at random, and each is taken once, as it came: augment= changes them at each step"
)
SHUFFLED_NOTE = to_say("the loader shuffles: to resume the run, hand over its data set, which keeps its order")


@dataclass(frozen=True, eq=False)
class CollectedImages:
    """What such a source gave, by split or all under None; sizes and kinds of numbers are the images' own.

    classes  the names of the classes in the order of their numbers, where the source says them
    """

    name: str
    images: Mapping[str | None, Sequence[np.ndarray]]
    labels: Mapping[str | None, Sequence[str | int | float]]
    classes: tuple[str, ...] | None = None
    notes: tuple[str, ...] = field(default=())

    def stack_images(self, size: tuple[int, int] | None, fit: str) -> dict[str | None, np.ndarray]:
        """N×H×W×C of each split. Images of several sizes are resized to `size`, gray ones among colours are repeated.

        Raises DataError where sizes differ and none is wished, or where the numbers are of several kinds.
        """
        every = [image for images in self.images.values() for image in images]
        shapes, types = {image.shape[:2] for image in every}, {str(image.dtype) for image in every}
        channels = {image.shape[2] for image in every}
        if len(types) > 1:
            raise DataError(self.name, say("the images are of several types"), got=", ".join(sorted(types)))
        if len(channels) > 1 and channels != {1, 3}:
            got = ", ".join(map(str, sorted(channels)))
            raise DataError(
                self.name, say("the images differ in the number of their bands"), got=got, rule=say("one for all")
            )
        if len(shapes) > 1 and (size is None or types != {"uint8"}):
            got = ", ".join(f"{h}×{w}" for h, w in islice(sorted(shapes), 3))
            what, hint = say("the images differ in size, so a size is needed"), "size=64"
            if size is not None:
                what, hint = say("images that are resized here are of 8 bits"), say("resize them in the data set")
            raise DataError(
                self.name, what, got=say("{sizes} of {types}", sizes=got, types=", ".join(types)), hint=hint
            )

        def fitted(image: np.ndarray) -> np.ndarray:
            whole = image if image.shape[2] == max(channels) else image.repeat(3, axis=2)
            return resize_image(whole, size, fit) if len(shapes) > 1 and size is not None else whole

        return {part: np.stack([fitted(image) for image in images]) for part, images in self.images.items()}


def collect_source(source: Any, reading: Reading = USUAL_READING, progress: Progress | None = None) -> Any:
    """The source as it is, or what another library's data set holds. Raises DataError.

    It can be called again with what it gave.
    """
    if isinstance(source, tuple) and len(source) == 2 and is_tensor(source[0]) and len(source[0].shape) in (3, 4):
        return convert_tensors(*source)
    parts = find_parts(source)
    if parts is None:
        return source
    images: dict[str | None, list[np.ndarray]] = {}
    labels: dict[str | None, list[str | int | float]] = {}
    notes: list[str] = []
    for part, data in parts.items():
        where = name_source(data) + (f", {part}" if part else "")
        pairs = list(walk_pairs(data, where, reading, progress))
        if not pairs:
            raise DataError(where, say("there is no image in it"))
        notes += [note for note in find_notes(data, where) if note not in notes]
        images[part], labels[part] = [image for image, _ in pairs], [label for _, label in pairs]
    classes = {found for data in parts.values() if (found := find_class_names(data, reading)) is not None}
    if len(classes) > 1:
        raise DataError(name_source(source), say("the splits name their classes differently"))
    named = name_source(next(iter(parts.values())) if None not in parts else source)
    return CollectedImages(named, images, labels, next(iter(classes), None), tuple(notes))


def find_parts(source: Any) -> dict[str | None, Any] | None:
    """The data sets of a source by split, or all of it under None; None where it is no such source."""
    if isinstance(source, Mapping):
        known = source and all(isinstance(name, str) and name.lower() in SPLIT_NAMES for name in source)
        if not known or not all(is_pair_source(data) or is_array_pair(data) for data in source.values()):
            return None
        return {SPLIT_NAMES[name.lower()]: data for name, data in source.items()}
    return {None: source} if is_pair_source(source) else None


def is_pair_source(source: Any) -> bool:
    """Whether a source gives images with labels one by one, or batch by batch."""
    if isinstance(source, str | bytes | Path | tuple | Mapping | Dataset | CollectedImages) or is_picture(source):
        return False
    if isinstance(source, list):
        first = source[0] if source else None
        return isinstance(first, tuple | list) and len(first) == 2 and is_picture(first[0])
    sized = hasattr(source, "__getitem__") and hasattr(source, "__len__")
    frame = hasattr(source, "columns") and not hasattr(source, "features")  # which a Hugging Face data set has
    return not frame and (sized or hasattr(source, "__iter__"))


def is_array_pair(data: Any) -> bool:
    return isinstance(data, tuple) and len(data) == 2 and is_picture(data[0])


def convert_tensors(x: Any, y: Any) -> tuple[np.ndarray, Any]:
    """A tensor of images, N×C×H×W or N×H×W, and labels as a pair of arrays, channels last."""
    pixels = convert_tensor(x)
    labels = convert_tensor(y) if is_tensor(y) else y
    return (pixels.transpose(0, 2, 3, 1) if pixels.ndim == 4 else pixels), labels


def walk_pairs(
    data: Any, where: str, reading: Reading, progress: Progress | None
) -> Iterator[tuple[np.ndarray, str | int | float]]:
    """Each image and its label, of batches too."""
    if is_array_pair(data):
        x, y = convert_tensors(*data) if is_tensor(data[0]) else (np.asarray(data[0]), data[1])
        for place, (image, label) in enumerate(zip(x, split_labels(y, len(x), where), strict=True)):
            yield take_pixels(image, say("{where}, image {place}", where=where, place=place)), take_label(label, where)
        return
    names = find_column_names(data, where, reading)
    total = count_items(data)
    for number, item in enumerate(iterate_items(data)):
        here = say("{where}, item {number}", where=where, number=number)
        if isinstance(item, Mapping) and names is None:
            names = name_columns({"images": IMAGE_NAMES, "labels": LABEL_NAMES}, item, here, reading)
        for image, label in split_batch(*split_pair(item, here, names), here):
            yield take_pixels(image, here), take_label(label, here)
        if progress is not None and total:
            progress("images", number + 1, total)


def split_batch(image: Any, label: Any, where: str) -> Iterable[tuple[Any, Any]]:
    """An item as it is, or the images and labels of a batch. Raises DataError."""
    if len(getattr(image, "shape", ())) != 4:
        return [(image, label)]
    return zip(image, split_labels(label, len(image), where), strict=True)


def split_labels(label: Any, count: int, where: str) -> Any:
    """The labels of a batch. Raises DataError where there are not as many as images."""
    if not hasattr(label, "__len__") or len(label) != count:
        raise DataError(
            where,
            say("there must be one label for each image"),
            got=say("{labels} for {count} images", labels=describe_item(label), count=count),
        )
    return label


def iterate_items(data: Any) -> Iterable[Any]:
    """The items in their order: as they come, or by their places where the source can only be asked for one."""
    return data if hasattr(data, "__iter__") else (data[place] for place in range(len(data)))


def count_items(data: Any) -> int:
    """How many items there are; 0 where that cannot be told before they have come."""
    try:
        return len(data)
    except TypeError:
        return 0


def find_column_names(data: Any, where: str, reading: Reading) -> tuple[str, str] | None:
    """The columns of image and label that a Hugging Face data set's features tell; None where it has none."""
    features = getattr(data, "features", None)
    if not isinstance(features, Mapping):
        return None
    images = [name for name in list_features(features, "Image") if reading.file_column in (None, name)]
    labels = [name for name in list_features(features, "ClassLabel") if reading.label_column in (None, name)]
    # Those of another kind are found by their names.
    usual = {"images": (images, IMAGE_NAMES), "labels": (labels, LABEL_NAMES)}
    return name_columns({what: names or known for what, (names, known) in usual.items()}, features, where, reading)


def list_features(features: Mapping[str, Any], kind: str) -> list[str]:
    """The columns of a kind, "Image" or "ClassLabel"."""
    return [name for name, feature in features.items() if type(feature).__name__ == kind]


def find_class_names(data: Any, reading: Reading) -> tuple[str, ...] | None:
    """The names of the classes in the order of their numbers: a ClassLabel's, or those of torchvision's data sets."""
    features = getattr(data, "features", None)
    if isinstance(features, Mapping):
        labels = [reading.label_column] if reading.label_column else list_features(features, "ClassLabel")
        names = getattr(features.get(labels[0]), "names", None) if len(labels) == 1 else None
        return None if names is None else tuple(names)
    while data is not None:  # of torch's Subset the data set below it has them
        names = getattr(data, "classes", None)
        if isinstance(names, Sequence) and names and all(isinstance(name, str) for name in names):
            return tuple(names)
        data = getattr(data, "dataset", None)
    return None


def find_notes(data: Any, where: str) -> Iterator[str]:
    """What the user should know of a source that is read but once."""
    if type(getattr(data, "sampler", None)).__name__ == "RandomSampler":
        yield say(SHUFFLED_NOTE)
    if not hasattr(data, "__iter__"):  # which asks for its items by their places
        first, again = (data[0] for _ in range(2))
        if isinstance(first, tuple | list):
            one, other = (take_pixels(item[0], where) for item in (first, again))
            if not np.array_equal(one, other):
                yield say(FROZEN_NOTE)


def name_source(source: Any) -> str:
    """What such a source is called: its class."""
    return "arrays" if isinstance(source, tuple) else type(source).__name__
