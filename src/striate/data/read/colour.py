"""Pillow's image modes to plain 8-bit gray or RGB: profiles, depth, transparency, palettes."""

from __future__ import annotations

import io
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

from .deep import OWN_VALUES, read_deep_pixels
from .depth import Depth, apply_depth

LEVEL_DEPTHS = (255, 4095, 65535)


# How much red, green and blue count for gray (ITU-R BT.601).
LUMA = (0.299, 0.587, 0.114)


def convert_mode(image: Image.Image, channels: int, background: int = 255) -> Image.Image:
    """A loaded image as mode L (`channels` 1, ITU-R 601 luma) or RGB (3), transparency composited on `background`.

    What is still deeper than 8 bits gets a scale of its own.
    """
    if image.mode.startswith("I") or image.mode == "F":
        image = Image.fromarray(convert_levels(np.asarray(image)))
    else:
        image = convert_to_srgb(image)
        if image.has_transparency_data:
            image = composite_on_gray(image, background)
    mode = "L" if channels == 1 else "RGB"
    return image if image.mode == mode else image.convert(mode)


def convert_depth(image: Image.Image, depth: Depth | None) -> Image.Image:
    """An opened image that is deeper than 8 bits, at its `depth`, as mode L, RGB or RGBA; any other as it is.

    Without a depth, and where that is of whole numbers and the image of floats or the other way round, the image has a
    scale of its own (`convert_levels`); without one, 16-bit colour is its high bytes.
    """
    pixels = read_deep_pixels(image) if depth is not None or OWN_VALUES in image.info else None
    if pixels is None:
        return image
    fits = depth is not None and depth.whole == (pixels.values.dtype.kind in "iu")
    levels = apply_depth(pixels.values, depth) if depth is not None and fits else convert_levels(pixels.values)
    plain = Image.fromarray(levels[..., 0] if levels.shape[2] == 1 else levels)
    if profile := image.info.get("icc_profile"):
        plain.info["icc_profile"] = profile
    if pixels.alpha is not None:
        plain = plain.convert("RGB")
        plain.putalpha(Image.fromarray(pixels.alpha))
    return plain


def convert_levels(values: np.ndarray) -> np.ndarray:
    """16-bit, 32-bit and float values as uint8, their content kept, each image by its own largest value.

    For models that were trained without a scale of their own (`depth.Depth`).

    Whole numbers from 0 to 65535: full scale is 255, 4095 or 65535 (8, 12 or 16 bits), the least that holds the
    largest value, so that 12-bit data in a 16-bit file do not turn black. Floats within 0 to 1: times 255; within
    0 to 255: as they are. Anything else: the least value becomes 0 and the largest 255. NaN becomes the least value.

    >>> convert_levels(np.array([0, 32768, 65535], np.uint16)), convert_levels(np.array([0.0, 0.5, 1.0]))
    (array([  0, 128, 255], dtype=uint8), array([  0, 128, 255], dtype=uint8))
    """
    whole = np.issubdtype(values.dtype, np.integer)
    wide = values.astype(np.float64)
    finite = wide[np.isfinite(wide)]
    least, most = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    wide = np.clip(np.nan_to_num(wide, nan=least, posinf=most, neginf=least), least, most)
    if whole and least >= 0 and most <= LEVEL_DEPTHS[-1]:
        low, full = 0.0, float(next(full for full in LEVEL_DEPTHS if most <= full))
    elif not whole and least >= 0 and most <= 255:
        low, full = 0.0, 1.0 if most <= 1 else 255.0
    else:
        low, full = least, (most - least) or 1.0
    return np.floor((wide - low) * (255 / full) + 0.5).astype(np.uint8)


def composite_on_gray(image: Image.Image, background: int) -> Image.Image:
    """The image on an opaque gray of level `background`."""
    image = image.convert("RGBA")
    ground = Image.new("RGBA", image.size, (background, background, background, 255))
    return Image.alpha_composite(ground, image).convert("RGB")


def convert_to_srgb(image: Image.Image) -> Image.Image:
    """The image with its ICC profile applied. A profile that is broken, or does not fit the mode, is left out."""
    if image.mode == "LAB":
        return ImageCms.profileToProfile(image, ImageCms.createProfile("LAB"), SRGB, outputMode="RGB") or image
    profile = image.info.get("icc_profile")
    if not profile:
        return image
    if image.has_transparency_data:
        image = image.convert("RGBA")
    elif image.mode not in ("L", "RGB", "CMYK"):
        image = image.convert("RGB")
    try:
        change = make_transform(profile, image.mode)
        return image if change is None else change.apply(image)
    except (ImageCms.PyCMSError, ValueError, OSError):
        return image


SRGB = ImageCms.createProfile("sRGB")
NOCACHE = ImageCms.Flags.NOCACHE  # Little CMS's one-pixel cache is what threads may not share


@lru_cache(maxsize=32)
def make_transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """From `profile` to sRGB for images of `mode`; None where the profile is sRGB itself, as most cameras' are."""
    given = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    if "srgb" in (given.profile.profile_description or "").lower():
        return None
    perceptual = ImageCms.Intent.PERCEPTUAL
    return ImageCms.buildTransform(given, SRGB, mode, "RGBA" if mode == "RGBA" else "RGB", perceptual, NOCACHE)
