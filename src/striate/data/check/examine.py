"""What an audit keeps of each image: where it belongs, how large it is, its content's hash, its thumbnail."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ...errors import DataError
from ...threads import map_in_threads
from ..images import Images
from ..listing import Entry
from ..read.bands import show_bands
from ..read.decode import decode_as_pillow, decode_to_show, read_contents
from ..read.files import DECODE_CHUNK, Progress, read_image_header, shorten_error
from ..read.quiet import silence_pillow
from ..read.resize import place_image
from ..reading import USUAL_READING, Reading
from ..sources.arrays import load_arrays
from ..sources.load import Source, list_source
from .near_duplicates import THUMBNAIL_SIDE, make_thumbnail

NO_THUMBNAIL = np.zeros((THUMBNAIL_SIDE, THUMBNAIL_SIDE + 1), np.uint8)


class SeenImage(NamedTuple):
    """One image looked at. `why` tells why it cannot be decoded; then the rest from `height` on means nothing."""

    file: str
    label: str
    split: str | None
    why: str | None = None
    height: int = 0
    width: int = 0
    mode: str = ""
    content: str = ""
    thumb: np.ndarray = NO_THUMBNAIL


def examine_file(entry: Entry) -> SeenImage:
    """One file, read and decoded once, at a scale that is enough for a thumbnail."""
    try:
        data = read_contents(entry.path, entry.file)
        height, width, mode, *_ = header = read_image_header(data, entry.file)
        usual = header.bands in (1, 3)
        shown = decode_as_pillow(data, 1, (64, 64), "squash") if usual else decode_to_show(data).convert("L")
        gray = np.asarray(shown)
    except DataError as e:
        return SeenImage(entry.file, entry.label, entry.split, shorten_error(e))
    digest = hashlib.sha256(data).hexdigest()
    return SeenImage(entry.file, entry.label, entry.split, None, height, width, mode, digest, make_thumbnail(gray))


def examine_files(entries: Sequence[Entry], workers: int | None, progress: Progress | None) -> list[SeenImage]:
    """Every file of a listing, in its order."""
    seen = []
    for k, item in enumerate(map_in_threads(examine_file, entries, workers, chunk=DECODE_CHUNK), 1):
        seen.append(item)
        if progress and (k % DECODE_CHUNK == 0 or k == len(entries)):
            progress("images", k, len(entries))
    return seen


def examine_arrays(parts: Mapping[str | None, Images]) -> list[SeenImage]:
    """Every image that is an array already."""
    seen = []
    for split, images in parts.items():
        _, height, width, channels = images.x.shape
        mode = {1: "L", 3: "RGB"}.get(channels, f"{channels} bands")
        for k, image in enumerate(images.x):
            digest = hashlib.sha256(np.ascontiguousarray(image).data).hexdigest()
            gray = image[..., 0] if channels == 1 else image.mean(2).astype(np.uint8)
            label = images.classes[images.y[k]]
            seen.append(
                SeenImage(images.files[k], label, split, None, height, width, mode, digest, make_thumbnail(gray))
            )
    return seen


def load_thumbnails(
    source: Source,
    files: Iterable[str],
    side: int = 160,
    workers: int | None = None,
    reading: Reading = USUAL_READING,
) -> dict[str, np.ndarray]:
    """The named files of a source as RGB pictures, uint8 h×w×3, upright, neither side longer than `side`.

    Those that the source lacks, and those that cannot be decoded, are left out.
    """
    wanted = set(files)
    listing = list_source(source, reading)
    if listing is None:
        parts = load_arrays(source).parts.values()
        rows = {name: images.x[k] for images in parts for k, name in enumerate(images.files) if name in wanted}
        shown = {name: show_bands(image) for name, image in rows.items()}
        return {name: image.repeat(3 // image.shape[2], axis=2) for name, image in shown.items()}

    def small(entry: Entry) -> np.ndarray | None:
        try:
            picture = decode_to_show(entry.path, (side, side))
        except DataError:
            return None
        place = place_image((picture.height, picture.width), (side, side), "pad")
        if max(picture.height, picture.width) > side:
            picture = picture.resize((place.width, place.height))
        return np.array(picture)

    chosen = [entry for entry in listing.entries if entry.file in wanted]
    with silence_pillow():
        return {
            e.file: image
            for e, image in zip(chosen, map_in_threads(small, chosen, workers, chunk=DECODE_CHUNK), strict=True)
            if image is not None
        }
