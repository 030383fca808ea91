"""Corrections of images that are arrays: their names are "train[17]", their contents their own numbers."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from ..corrections import find_named, settle_labels
from ..read.npy import FileArray


def name_rows(part: str | None, count: int) -> tuple[str, ...]:
    """What the images of a part are called.

    >>> name_rows("test", 2)
    ('test[0]', 'test[1]')
    """
    return tuple(f"{part or 'image'}[{k}]" for k in range(count))


class FoundArrays(Protocol):
    """What `arrays.open_arrays` finds: images and labels by split."""

    @property
    def where(self) -> str: ...

    @property
    def arrays(self) -> Mapping[str | None, tuple[np.ndarray | FileArray, Any]]: ...


def correct_numbers(
    pairs: FoundArrays,
    numbers: Mapping[str | None, np.ndarray],
    classes: Sequence[str],
    corrections: Sequence[Sequence[str]] | None,
    strict: bool,
) -> tuple[dict[str | None, np.ndarray], dict[str | None, np.ndarray], str]:
    """The corrected places in `classes` of each part's images, which of these stay, and a note.

    Raises DataError as `data.corrections.settle_labels` does.
    """
    if not corrections:
        return dict(numbers), {part: np.ones(len(y), bool) for part, y in numbers.items()}, ""
    files = [file for part, y in numbers.items() for file in name_rows(part, len(y))]
    labels = [classes[k] for y in numbers.values() for k in y]
    wanted = {files[k] for own in find_named(files, corrections).values() for k in own}
    held: dict[str, bytes] = {}
    for part, y in numbers.items():
        held |= read_row_bytes(pairs.arrays[part][0], name_rows(part, len(y)), wanted)
    found, note = settle_labels(pairs.where, files, labels, lambda k: held[files[k]], corrections, strict, classes)
    right, stays, start = {}, {}, 0
    for part, y in numbers.items():
        own = found[start : start + len(y)]
        start += len(y)
        stays[part] = np.array([label is not None for label in own], bool)
        right[part] = np.array([0 if label is None else classes.index(label) for label in own], np.int64)
    return right, stays, note


def read_row_bytes(x: np.ndarray | FileArray, files: Sequence[str], wanted: Collection[str]) -> dict[str, bytes]:
    """The bytes of those rows of `x` whose names are wanted."""
    found: dict[str, bytes] = {}
    if not any(file in wanted for file in files):
        return found
    row = 0
    for block in x.blocks() if isinstance(x, FileArray) else [x]:
        for image, file in zip(block, files[row : row + len(block)], strict=True):
            if file in wanted:
                found[file] = np.ascontiguousarray(image).tobytes()
        row += len(block)
    return found
