"""Images of other bands than gray or RGB: as they lie in the file, none made into a colour and none left out."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from ...errors import DataError
from ...language import say
from ...terminal import format_count
from .deep import OWN_VALUES
from .depth import Depth, scale_values

NPY_SIGN = b"\x93NUMPY"
# An array with so few rows, fewer than it has columns and layers, is taken for one whose bands come first.
FEW_BANDS = 16


def count_bands(image: Image.Image) -> int:
    """The bands of an opened image, its transparency left out: 1 is gray, 3 is colour."""
    if OWN_VALUES in image.info:
        return int(image.info[OWN_VALUES].values.shape[2])
    return 1 if image.mode in ("1", "L", "LA", "La") or image.mode.startswith(("I", "F")) else 3


def has_alpha(image: Image.Image) -> bool:
    """Whether an opened image has a transparency that can be a band of its own."""
    if OWN_VALUES in image.info:
        return image.info[OWN_VALUES].alpha is not None
    return image.has_transparency_data


def read_bands(image: Image.Image, channels: int, depth: Depth | None, where: str) -> np.ndarray:
    """The bands of an opened image that has others than gray or RGB, as levels, uint8 H×W×B.

    Raises DataError where they are not as many as `channels`.
    """
    values = image.info[OWN_VALUES].values
    if values.shape[2] != channels:
        raise refuse_channels(where, values.shape[2], channels)
    return scale_values(values, depth)


def read_alpha_band(image: Image.Image, channels: int, where: str) -> np.ndarray:
    """A gray or colour image, loaded and upright, with its transparency as the last band: uint8 H×W×2 or ×4.

    Where it has none, that band is 255, opaque. Raises DataError where `channels` is neither 2 nor 4.
    """
    if channels not in (2, 4):
        what, rule = say("transparency as a channel does not fit this network"), say("2 channels (gray) or 4 (RGB)")
        raise DataError(
            where, what, got=format_count(channels, "channel"), rule=rule, hint=say("leave out --alpha channel")
        )
    return np.array(image.convert("LA" if channels == 2 else "RGBA"))


def name_bands(bands: int) -> str:
    """
    >>> name_bands(1), name_bands(3), name_bands(4)
    ('gray', 'RGB', 'with 4 bands')
    """
    if bands in (1, 3):
        return say("gray") if bands == 1 else "RGB"
    return say("with {bands} bands", bands=bands)


def refuse_channels(where: str, bands: int, channels: int) -> DataError:
    """The error for an image that has other bands than are to be read of it."""
    what = say("the network takes images {bands}", bands=name_bands(channels))
    got, rule = (
        say("an image {bands}", bands=name_bands(bands)),
        say("all bands of an image are used, and none is made up"),
    )
    return DataError(where, what, got=got, rule=rule)


def show_bands(image: np.ndarray) -> np.ndarray:
    """H×W×C as a picture that can be looked at, H×W×1 or H×W×3: of other bands the first three, or of two the first."""
    channels = image.shape[2]
    return image if channels in (1, 3) else image[..., : 3 if channels > 3 else 1]


def read_npy_image(data: bytes, where: str) -> np.ndarray:
    """The numbers of one image in a .npy file, H×W×C. Raises DataError."""
    try:
        values = np.load(io.BytesIO(data), allow_pickle=False)
    except (ValueError, EOFError, OSError) as e:
        raise DataError(
            where, say("the .npy file cannot be read: {complaint}", complaint=" ".join(str(e).split())[:120])
        ) from None
    values = values[..., None] if values.ndim == 2 else values
    if values.ndim != 3 or 0 in values.shape or values.dtype.kind not in "buif":
        got = f"{values.dtype} {'×'.join(map(str, values.shape))}"
        raise DataError(where, say("this array is not one image"), got=got, rule=say("numbers H×W or H×W×bands"))
    if values.shape[0] <= FEW_BANDS and values.shape[0] < min(values.shape[1:]):
        got, hint = "×".join(map(str, values.shape)), "numpy.save(file, numpy.moveaxis(x, 0, 2))"
        raise DataError(where, say("the bands of this array come first"), got=got, rule="H×W×bands", hint=hint)
    if not np.isfinite(values).all():
        raise DataError(where, say("pixels are finite numbers"), got=say("NaN or infinity"), hint="numpy.nan_to_num(x)")
    return values.astype(np.uint8) * np.uint8(255) if values.dtype.kind == "b" else values
