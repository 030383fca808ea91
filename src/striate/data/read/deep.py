"""Images deeper than 8 bits in their own values, also those that Pillow cuts down to bytes or cannot open."""

from __future__ import annotations

import io
from contextlib import closing
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from ...errors import DataError
from ...language import say

# The key of `Image.info` under which an image that Pillow cannot hold has its values.
OWN_VALUES = "striate values"
TIFF_SIGNS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
PLANAR, BITS, SAMPLES = 284, 258, 277  # tags of TIFF


class DeepPixels(NamedTuple):
    """An image's own values, H×W×bands, and its alpha as uint8 H×W where it has one."""

    values: np.ndarray
    alpha: np.ndarray | None = None


def name_depth_mode(image: Image.Image) -> str:
    """Pillow's mode of an opened image, with what the mode itself does not say: "RGB;16" for 16 bits a channel."""
    if OWN_VALUES in image.info:
        values = image.info[OWN_VALUES].values
        mode = image.mode if values.shape[2] in (1, 3) else f"{values.shape[2]} bands"
        return mode if values.dtype == np.uint8 else f"{mode};{values.dtype.str[1:]}"
    wide = any(";16" in mode for mode in list_raw_modes(image)) and not image.mode.startswith("I")
    return f"{image.mode};16" if wide else image.mode


def is_deep_mode(mode: str) -> bool:
    """Whether `name_depth_mode` says more than 8 bits a value."""
    return mode.startswith(("I", "F")) or ";" in mode


def list_raw_modes(image: Image.Image) -> list[str]:
    """How the file holds its pixels, in Pillow's words, of an image that is not loaded."""
    args = [tile[3] for tile in getattr(image, "tile", [])]
    return [str(arg[0] if isinstance(arg, tuple) and arg else arg) for arg in args]


def read_deep_pixels(image: Image.Image) -> DeepPixels | None:
    """The values of an opened image that is deeper than 8 bits, upright if it is a TIFF; None for any other.

    Of 16-bit colour Pillow keeps the high bytes alone: the file is decoded a second time for the low ones.
    """
    if OWN_VALUES in image.info:
        return image.info[OWN_VALUES]
    if image.mode.startswith(("I", "F")):
        return DeepPixels(np.asarray(image)[..., None])
    raw = list_raw_modes(image)
    if image.mode not in ("RGB", "RGBA") or not raw or not all(";16" in mode for mode in raw):
        return None
    held: Any = image
    again: Any = Image.open(io.BytesIO(held.fp.getvalue()), formats=[str(image.format)])
    if raw[0] == "LA;16B":  # gray and alpha, two bytes each: as four channels of a byte
        again._mode, again.tile = "RGBA", [tile._replace(args="RGBA") for tile in again.tile]
        gray, low, alpha, _ = np.moveaxis(np.asarray(again), 2, 0).astype(np.uint16)
        return DeepPixels((gray << 8 | low)[..., None], alpha.astype(np.uint8))
    again.tile = [tile._replace(args=swap_bytes(tile.args)) for tile in again.tile]
    high, low = (np.asarray(part).astype(np.uint16) for part in (image, again))
    values = high << 8 | low
    return DeepPixels(values[..., :3], high[..., 3].astype(np.uint8) if image.mode == "RGBA" else None)


def swap_bytes(args: Any) -> Any:
    """A tile's arguments with the other order of bytes, which has Pillow take a number's other byte."""
    if isinstance(args, tuple):
        return (swap_bytes(args[0]), *args[1:])
    stem, order = str(args)[:-1], str(args)[-1]
    native = np.dtype(np.uint16).newbyteorder("=").str[0] == "<"
    return stem + {"L": "B", "B": "L", "N": "B" if native else "L"}[order]


def open_unusual(data: bytes, where: str) -> Image.Image | None:
    """An image that Pillow cannot open, its values in `info`; None where it is none that is read here.

    Colour PFM, and TIFF with 16-bit or 64-bit floats, with colours that are floats or wider than 16 bits, or with other
    bands.
    Raises DataError for a broken one, and where the package tifffile is missing.
    """
    if data[:2] == b"PF":
        return hold_values(read_colour_pfm(data, where))
    return open_with_tifffile(data, where) if data[:4] in TIFF_SIGNS else None


def lies_in_deep_planes(image: Image.Image) -> bool:
    """Whether this is a TIFF with a plane a channel and more than 8 bits, which Pillow reads as nonsense."""
    tags = getattr(image, "tag_v2", {})
    bits = tags.get(BITS, (1,))
    return tags.get(PLANAR) == 2 and len(bits) > 1 and max(bits) > 8


def drops_bands(image: Image.Image) -> bool:
    """Whether this is a TIFF of more bands than Pillow hands over."""
    return getattr(image, "tag_v2", {}).get(SAMPLES, 1) > len(image.getbands())


def open_with_tifffile(data: bytes, where: str) -> Image.Image:
    """A TIFF's first image by the package tifffile. Raises DataError."""
    try:
        import tifffile
    except ImportError:
        what = say("this kind of TIFF needs the package tifffile, which is not installed")
        raise DataError(where, what, hint='pip install "striate[deep]"') from None
    try:
        with closing(tifffile.TiffFile(io.BytesIO(data))) as file:
            page = file.pages[0]
            values = np.asarray(page.asarray())
            planes, turn = page.planarconfig == 2, int(page.tags.valueof(274, 1))  # type: ignore[union-attr]
    except Exception as e:  # on broken files tifffile raises what NumPy, zlib and struct raise, and its own
        text = " ".join(str(e).split())[:120]
        hint = "pip install imagecodecs" if "imagecodecs" in text else None
        raise DataError(
            where, say("the TIFF cannot be read: {complaint}", complaint=text or type(e).__name__), hint=hint
        ) from None
    if values.ndim == 3 and planes:
        values = np.moveaxis(values, 0, 2)
    values = values[..., None] if values.ndim == 2 else values
    if values.ndim != 3 or values.dtype.kind not in "uif":
        got = f"{values.dtype} {'×'.join(map(str, values.shape))}"
        raise DataError(where, say("this TIFF is not an image"), got=got, rule=say("numbers, height×width×bands"))
    return hold_values(turn_upright(values, turn))


def hold_values(values: np.ndarray) -> Image.Image:
    """A Pillow image of this size that stands for the values, upright."""
    height, width, channels = values.shape
    image = Image.new("F" if channels == 1 else "RGB", (width, height))
    image.info[OWN_VALUES] = DeepPixels(values)
    return image


def turn_upright(values: np.ndarray, orientation: int) -> np.ndarray:
    """H×W×C as it is to be seen, by TIFF's and EXIF's tag 274."""
    if orientation in (5, 6, 7, 8):
        values = values.swapaxes(0, 1)
    down, across = orientation in (3, 4, 7, 8), orientation in (2, 3, 6, 7)
    return values[:: -1 if down else 1, :: -1 if across else 1]


def read_colour_pfm(data: bytes, where: str) -> np.ndarray:
    """H×W×3 floats of a colour PFM file: "PF", width, height, a scale whose sign is the order of bytes; bottom first.

    Raises DataError.
    """
    words = data[:100].split(maxsplit=4)
    try:
        width, height, scale = int(words[1]), int(words[2]), float(words[3])
        start = data.index(words[3], data.index(words[2], data.index(words[1], 2) + len(words[1])) + len(words[2]))
        body = data[start + len(words[3]) + 1 :]
        values = np.frombuffer(body, "<f4" if scale < 0 else ">f4", width * height * 3).reshape(height, width, 3)
    except (ValueError, IndexError) as e:
        raise DataError(where, say("the PFM file is broken or truncated: {complaint}", complaint=str(e)[:80])) from None
    return values[::-1]


def complete_jpeg(data: bytes) -> bytes | None:
    """A baseline JPEG that lacks nothing but its end marker, with it; None for any other.

    Where data are missing, the picture depends on what is put in their place: it is decoded with two fillings, and
    only where both give one picture was it whole.
    """
    if data[:2] != b"\xff\xd8" or data.rstrip(b"\xff").endswith(b"\xff\xd9"):
        return None
    body = data.removesuffix(b"\xff")
    try:
        if "progressive" in Image.open(io.BytesIO(data)).info:  # that a later scan is missing would not be seen
            return None
        seen = [
            np.asarray(Image.open(io.BytesIO(body + fill + b"\xff\xd9"))) for fill in (b"", b"\0" * 64, b"\xa5" * 64)
        ]
    except (OSError, SyntaxError, ValueError):
        return None
    return body + b"\xff\xd9" if all(np.array_equal(seen[0], other) for other in seen[1:]) else None
