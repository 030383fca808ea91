"""The pixels of an array: as uint8 levels, at one size, in memory or on disk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from PIL import __version__ as pillow

from ...threads import map_in_threads
from ..read.bands import refuse_channels
from ..read.depth import Depth
from ..read.files import DECODE_CHUNK
from ..read.npy import FileArray
from ..read.resize import resize_image
from ..sources.array_formats import check_image_shape, scale_to_levels
from ..sources.options import LoadOptions
from . import cache, disk_images
from .rows import MappedStore, Rows


class PixelTarget(NamedTuple):
    """What every image is to become."""

    size: tuple[int, int]
    channels: int
    fit: str

    @property
    def row(self) -> int:
        """Bytes of one image."""
        return self.size[0] * self.size[1] * self.channels

    def of(self, image: np.ndarray) -> np.ndarray:
        """A uint8 H×W×C image at this size, in these channels; as it is where it has them."""
        if self.same(image.shape):
            return image
        return resize_image(convert_channels(image, self.channels), self.size, self.fit)

    def same(self, shape: tuple[int, ...]) -> bool:
        """Whether an image of this H×W×C is what it is to become."""
        return shape == (*self.size, self.channels)

    def lies_in(self, x: FileArray) -> bool:
        """Whether the file holds the very bytes of these images, so that it can be read row by row as it is."""
        if x.start is None or x.head.fortran or x.dtype != np.uint8:
            return False
        return self.same(x.shape[1:] if len(x.shape) == 4 else (*x.shape[1:], 1))


def convert_channels(image: np.ndarray, channels: int) -> np.ndarray:
    """A uint8 H×W×C image as gray (ITU-R 601 luma) or as RGB; one of other bands as it is. Raises DataError."""
    given = image.shape[2]
    if given == channels:
        return image
    if {given, channels} != {1, 3}:
        raise refuse_channels("image", given, channels)
    if channels == 3:
        return image.repeat(3, axis=2)
    return np.asarray(Image.fromarray(image).convert("L"))[..., None]


def load_pixels(x: np.ndarray | FileArray, where: str, target: PixelTarget, depth: Depth | None = None) -> np.ndarray:
    """The images as one array N×h×w×C; `x` itself where nothing is to be changed. Raises DataError."""
    if isinstance(x, np.ndarray):
        levels = scale_to_levels(x.reshape(check_image_shape(x.shape, x.dtype, where)), depth)
        if target.same(levels.shape[1:]):
            return levels
        images: Iterator[np.ndarray] = map(target.of, levels)
    else:
        images = iterate_pixels(x, where, target, depth)
    out = np.empty((len(x) if isinstance(x, np.ndarray) else x.shape[0], *target.size, target.channels), np.uint8)
    for k, image in enumerate(images):
        out[k] = image
    return out


def iterate_pixels(x: FileArray, where: str, target: PixelTarget, depth: Depth | None) -> Iterator[np.ndarray]:
    """The images one by one; of the file no more than a block is in memory. Raises DataError."""
    _, h, w, c = check_image_shape(x.shape, x.dtype, where)
    for block in x.blocks():
        yield from map(target.of, scale_to_levels(block.reshape(-1, h, w, c), depth))


def store_pixels(x: FileArray, where: str, target: PixelTarget, wish: LoadOptions, depth: Depth | None = None) -> Rows:
    """The images as rows of `x`'s own file, or, where they must be changed or unpacked, of one in the cache folder.

    Each is read once now, unless it was before and the file is as it was then. Raises DataError.
    """
    shape, place = (x.shape[0], *target.size, target.channels), choose_pixel_file(x, target, depth)

    def images() -> Iterator[disk_images.MeasuredImage]:
        return map_in_threads(
            disk_images.measure_image, iterate_pixels(x, where, target, depth), wish.workers, chunk=DECODE_CHUNK
        )

    if target.lies_in(x):
        account = disk_images.account_images(place, images, shape, wish.progress)
        return Rows(MappedStore(x.file, x.start or 0, shape, account), np.arange(shape[0]))
    _, _, front = disk_images.store_images(place, images, shape, True, wish.progress)
    assert front is not None  # all of them were wanted
    return Rows(front, np.arange(shape[0]))


def choose_pixel_file(x: FileArray, target: PixelTarget, depth: Depth | None) -> Path:
    """The file in the cache folder for these pixels, named by what they depend on."""
    file = cache.read_file_state(x.file)
    known = [
        cache.CACHE_POLICY,
        pillow,
        x.file.name,
        *file,
        x.member,
        x.start,
        x.shape,
        x.dtype.str,
        x.head.fortran,
        target,
        *(depth or ()),
    ]
    return cache.find_cache_folder() / f"{hashlib.sha256(json.dumps(known).encode()).hexdigest()}.npy"
