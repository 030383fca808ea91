"""The images of a source by their names, with the labels that the source itself has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ..corrections import mark_content
from ..listing import order_classes
from ..read.decode import read_contents
from ..reading import Reading, drop_corrections
from .array_corrections import name_rows, read_row_bytes
from .array_formats import check_image_shape, format_labels, number_labels
from .arrays import open_arrays
from .load import list_source
from .options import LoadOptions, Source


@dataclass(frozen=True)
class FoundImage:
    """An image of a source. `picture` is what shows it: what holds its file's bytes, or an array and its row."""

    file: str
    label: str
    split: str | None
    picture: Any
    read: Callable[[], bytes]

    @property
    def content(self) -> str:
        """What tells it from another of its name: see `data.corrections.mark_content`."""
        return mark_content(self.read())


def find_images(source: Source, reading: Reading) -> dict[str, FoundImage]:
    """Every image by its name, in the source's order, before any correction. Raises DataError."""
    plain = drop_corrections(reading)
    listing = list_source(source, plain)
    if listing is not None:
        return {e.file: FoundImage(e.file, e.label, e.split, e.path, partial(read_contents, e.path, e.file))
                for e in listing.entries}  # fmt: skip
    pairs, found = open_arrays(source, LoadOptions(reading=plain)), dict[str, FoundImage]()
    shapes = {part: check_image_shape(x.shape, x.dtype, pairs.title(part)) for part, (x, _) in pairs.arrays.items()}
    names = {part: format_labels(y, shapes[part][0], pairs.title(part)) for part, (_, y) in pairs.arrays.items()}
    classes = pairs.classes or order_classes(names["train"] if "train" in names else names[None])
    for part, (x, _) in pairs.arrays.items():
        numbers, files = number_labels(names[part], classes, pairs.title(part))[0], name_rows(part, shapes[part][0])
        for k, file in enumerate(files):
            read = partial(read_row, x, files, file)
            found[file] = FoundImage(file, classes[numbers[k]], part, (x, k), read)
    return found


def read_row(x: Any, files: tuple[str, ...], file: str) -> bytes:
    if isinstance(x, np.ndarray):
        return np.ascontiguousarray(x[files.index(file)]).tobytes()
    return read_row_bytes(x, files, {file})[file]
