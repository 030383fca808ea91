"""Pillow's image modes to plain 8-bit gray or RGB: profiles, depth, transparency, palettes."""

from __future__ import annotations

import io
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

from .deep import OWN_VALUES, read_deep_pixels
from .depth import Depth, convert_levels, scale_values

# How much red, green and blue count for gray (ITU-R BT.601).
LUMA = (0.299, 0.587, 0.114)


def convert_mode(image: Image.Image, channels: int, background: int = 255) -> Image.Image:
    """A loaded image as mode L (`channels` 1, ITU-R 601 luma) or RGB (3), transparency composited on `background`.

    What is still deeper than 8 bits gets a scale of its own.
    """
    image = convert_colours(image)
    if image.has_transparency_data:
        image = composite_on_gray(image, background)
    mode = "L" if channels == 1 else "RGB"
    return image if image.mode == mode else image.convert(mode)


def convert_colours(image: Image.Image) -> Image.Image:
    """A loaded image of 8 bits, in sRGB; what is still deeper gets a scale of its own."""
    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(convert_levels(np.asarray(image)))
    return convert_to_srgb(image)


def convert_depth(image: Image.Image, depth: Depth | None) -> Image.Image:
    """An opened image that is deeper than 8 bits, at its `depth`, as mode L, RGB or RGBA; any other as it is.

    Without a depth, and where that is of whole numbers and the image of floats or the other way round, the image has a
    scale of its own (`convert_levels`); without one, 16-bit colour is its high bytes.
    """
    pixels = read_deep_pixels(image) if depth is not None or OWN_VALUES in image.info else None
    if pixels is None:
        return image
    levels = scale_values(pixels.values, depth)
    plain = Image.fromarray(levels[..., 0] if levels.shape[2] == 1 else levels)
    if profile := image.info.get("icc_profile"):
        plain.info["icc_profile"] = profile
    if pixels.alpha is not None:
        plain = plain.convert("RGB")
        plain.putalpha(Image.fromarray(pixels.alpha))
    return plain


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
