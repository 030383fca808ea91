"""What an audit keeps of each image: where it belongs, how large it is, its content's hash, its thumbnail."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ..errors import DataError
from .decode import contents, decoded
from .images import Images
from .likeness import SIDE, thumbnail
from .listing import Entry
from .reading import CHUNK, Progress, each, header, why

NOTHING = np.zeros((SIDE, SIDE + 1), np.uint8)


class Seen(NamedTuple):
    """One image looked at. `why` tells why it cannot be decoded; then the rest from `height` on means nothing."""

    file: str
    label: str
    split: str | None
    why: str | None = None
    height: int = 0
    width: int = 0
    mode: str = ""
    content: str = ""
    thumb: np.ndarray = NOTHING


def look(entry: Entry) -> Seen:
    """One file, read and decoded once, at a scale that is enough for a thumbnail."""
    try:
        data = contents(entry.path, entry.file)
        height, width, mode = header(data, entry.file)
        gray = np.asarray(decoded(data, 1, (64, 64), "squash"))
    except DataError as e:
        return Seen(entry.file, entry.label, entry.split, why(e))
    digest = hashlib.sha256(data).hexdigest()
    return Seen(entry.file, entry.label, entry.split, None, height, width, mode, digest, thumbnail(gray))


def look_at_files(entries: Sequence[Entry], workers: int | None, progress: Progress | None) -> list[Seen]:
    """Every file of a listing, in its order."""
    seen = []
    for k, item in enumerate(each(look, entries, workers), 1):
        seen.append(item)
        if progress and (k % CHUNK == 0 or k == len(entries)):
            progress("images", k, len(entries))
    return seen


def look_at_arrays(parts: Mapping[str | None, Images]) -> list[Seen]:
    """Every image that is an array already."""
    seen = []
    for split, images in parts.items():
        _, height, width, channels = images.x.shape
        mode = "L" if channels == 1 else "RGB"
        for k, image in enumerate(images.x):
            digest = hashlib.sha256(np.ascontiguousarray(image).data).hexdigest()
            gray = image[..., 0] if channels == 1 else image.mean(2).astype(np.uint8)
            label = images.classes[images.y[k]]
            seen.append(Seen(images.files[k], label, split, None, height, width, mode, digest, thumbnail(gray)))
    return seen
