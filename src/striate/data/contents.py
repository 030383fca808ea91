"""What a data set holds, small enough to be kept beside a run, so that a later look can say what has changed."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors
import safetensors.numpy

from .. import atomic_file
from ..language import join_texts, say, say_count
from .images import Dataset


class ImageMark(NamedTuple):
    """An image by 64 bits of the sha256 of its pixels and of its file's name, and its class."""

    pixels: int
    name: int
    label: str


@dataclass(frozen=True, eq=False)
class Contents:
    """The images of all splits of a data set, 20 bytes each.

    pixels, names  uint64 N, the first 64 bits of the sha256 of the image's pixels and of its file's name
    y              int32 N, its place in `classes`
    """

    classes: tuple[str, ...]
    pixels: np.ndarray
    names: np.ndarray
    y: np.ndarray

    def images(self) -> Counter[ImageMark]:
        rows = zip(self.pixels.tolist(), self.names.tolist(), self.y.tolist(), strict=True)
        return Counter(ImageMark(pixels, name, self.classes[label]) for pixels, name, label in rows)


def list_contents(data: Dataset) -> Contents:
    """What `data` holds. Pixels that are not in memory are not read for it."""
    parts = [part for part in (data.train, data.valid, data.test) if part is not None]
    pixels = np.concatenate([take_first_bits(part.digests) for part in parts])
    names = take_first_bits([hashlib.sha256(name.encode()).digest() for part in parts for name in part.files])
    return Contents(data.classes, pixels, names, np.concatenate([part.y for part in parts]).astype(np.int32))


def no_images(classes: Sequence[str]) -> Contents:
    """The contents of a data set of which nothing is known but its classes."""
    nothing = np.zeros(0, np.uint64)
    return Contents(tuple(classes), nothing, nothing, np.zeros(0, np.int32))


def take_first_bits(marks: Sequence[bytes]) -> np.ndarray:
    return np.frombuffer(b"".join(mark[:8] for mark in marks), "<u8")


def save_contents(path: Path, found: Contents) -> None:
    """Write them to `path`, whole or not at all."""
    tensors = {"pixels": found.pixels, "names": found.names, "y": found.y}
    atomic_file.write_file(
        path, safetensors.numpy.save(tensors, metadata={f"{k:06}": v for k, v in enumerate(found.classes)})
    )


def read_saved_contents(path: Path) -> Contents | None:
    """What `path` holds; None where there is no such file that can be read."""
    try:
        with safetensors.safe_open(str(path), framework="np") as file:
            classes = tuple(name for _, name in sorted((file.metadata() or {}).items()))
            return Contents(classes, *(file.get_tensor(name) for name in ("pixels", "names", "y")))
    except (OSError, safetensors.SafetensorError):
        return None


def describe_differences(before: Contents, now: Contents) -> str:
    """What has changed, in a line: "12 images more, class wolf new, 3 removed, 2 replaced"; "" where nothing has.

    An image is replaced where its file's name has other pixels now, and relabelled where its pixels have another class.
    """
    gone, came = before.images(), now.images()
    told = {}
    for what, same in (
        ("", lambda image: (image.pixels, image.label)),
        ("relabelled", lambda image: image.pixels),
        ("replaced", lambda image: image.name),
    ):
        gone, came, told[what] = drop_matches(gone, came, same)
    words = [
        *tell_count(came.total(), say_count("{n:,} image more", "{n:,} images more", came.total())),
        *(say("class {name} new", name=name) for name in now.classes if name not in before.classes),
        *(say("class {name} gone", name=name) for name in before.classes if name not in now.classes),
        *tell_count(gone.total(), say("{n:,} removed", n=gone.total())),
        *tell_count(told["replaced"], say("{n:,} replaced", n=told["replaced"])),
        *tell_count(told["relabelled"], say("{n:,} relabelled", n=told["relabelled"])),
    ]
    return join_texts(", ", words) if words else ""


def tell_count(count: int, text: str) -> list[str]:
    """The text, unless it counts nothing."""
    return [text] if count else []


def drop_matches(
    gone: Counter[ImageMark], came: Counter[ImageMark], same: Any
) -> tuple[Counter[ImageMark], Counter[ImageMark], int]:
    """What is left of both when images that are the `same` are taken from each, and how many such pairs there were."""
    left = Counter(gone)
    partners: dict[Any, list[ImageMark]] = {}
    for image in gone.elements():
        partners.setdefault(same(image), []).append(image)
    rest: Counter[ImageMark] = Counter()
    for image in came.elements():
        found = partners.get(same(image))
        if found:
            left[found.pop()] -= 1
        else:
            rest[image] += 1
    return +left, rest, gone.total() - left.total()
