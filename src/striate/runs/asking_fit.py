"""Whether photographs are padded or cropped, where nobody said: asked of some of those that are to train on."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..data.images import Dataset, Images, list_digests
from ..data.listing import Readable
from ..data.read.decode import read_image
from ..data.read.files import read_image_header
from ..data.read.resize import place_image
from ..data.reading import Reading
from ..data.sources.load import list_source
from ..language import say
from ..model.prediction import find_depth
from ..threads import map_in_threads
from .asking import ASKED_IMAGES, cross_validate_vectors, extract_wide

if TYPE_CHECKING:
    from ..engines.model_file import Preprocess
    from ..model.model import Model

USUAL_FIT, OTHER_FIT = "pad", "crop"
# Of fewer images the difference is chance.
LEAST_ASKED = 40


class AskedFit(NamedTuple):
    """What cross-validation says of a head on training images that are padded, and on the same ones cropped.

    pad, crop        nats per image that a head had not seen
    gained, error    what cropping takes off on average, of the same images, and its standard error
    seconds          that it took to find out
    """

    images: int
    pad: float
    crop: float
    gained: float
    error: float
    seconds: float

    @property
    def fit(self) -> str:
        """Cropped, where that is better by more than its error."""
        return OTHER_FIT if self.gained > self.error else USUAL_FIT

    def __str__(self) -> str:
        return say(
            "fit {fit}: a head on {images} training images has a loss of {pad:.3f} with pad and {crop:.3f} with crop "
            "(cross-validated, {seconds:.1f}s); crop is taken where it is better by more than {error:.3f}, its error",
            fit=self.fit, images=self.images, pad=self.pad, crop=self.crop, seconds=self.seconds, error=self.error,
        )  # fmt: skip


def ask_fit(source: Any, data: Dataset, reading: Reading, model: Model, preprocess: Preprocess) -> AskedFit | None:
    """Which fit a head on `model` prefers, asked of images of `data.train`, which were loaded padded from `source`.

    None where there is nothing to ask: few images, images that fill the frame, pixels that come from no files.
    """
    began, seed = time.perf_counter(), 0
    rows = np.sort(np.random.default_rng(seed).permutation(len(data.train))[:ASKED_IMAGES])
    images = data.train.take(rows)
    files = find_files(source, images, reading)
    if files is None or len(rows) < LEAST_ASKED or not any(map_in_threads(leaves_bars(preprocess.size), files)):
        return None

    def crop_image(file: Readable) -> np.ndarray:
        channels = model.net.input[0]
        return read_image(file, preprocess.size, OTHER_FIT, channels, depth=find_depth(preprocess))

    cropped = np.stack(list(map_in_threads(crop_image, files)))
    padded, other = (
        judge_pixels(model, x, marks, images, seed)
        for x, marks in ((images.x, images.digests), (cropped, list_digests(cropped)))
    )
    gained = padded - other
    error = float(gained.std(ddof=1) / len(gained) ** 0.5)
    took = time.perf_counter() - began
    return AskedFit(len(rows), float(padded.mean()), float(other.mean()), float(gained.mean()), error, took)


def find_files(source: Any, images: Images, reading: Reading) -> list[Readable] | None:
    """What holds the bytes of each image; None where one comes from no file of its own."""
    listing = None if isinstance(source, Dataset) else list_source(source, reading)
    held = {} if listing is None else {entry.file: entry.path for entry in listing.entries}
    return None if any(file not in held for file in images.files) else [held[file] for file in images.files]


def leaves_bars(size: tuple[int, int]) -> Any:
    """Whether a file's picture, padded to `size`, does not fill it."""

    def look(file: Readable) -> bool:
        head = read_image_header(file, str(file))
        place = place_image((head.height, head.width), size, USUAL_FIT)
        return (place.height, place.width) != tuple(size)

    return look


def judge_pixels(model: Model, x: Any, marks: list[bytes], images: Images, seed: int) -> np.ndarray:
    """Nats of each image by a head of cross-validation that had not seen it."""
    vectors, blocks = extract_wide(model, x, marks, len(images.classes))
    p = cross_validate_vectors(vectors, images.y, len(images.classes), seed, marks, blocks)
    return -np.log(np.maximum(p[np.arange(len(p)), images.y], 1e-12))
