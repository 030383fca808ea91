"""One image file to one uint8 array, by one policy: training, evaluation, prediction and serving all decode here.

Orientation   the EXIF (or XMP) orientation is applied: the picture stands as its photographer saw it.
Transparency  composited on `background`; or a band of its own, after gray or red, green and blue.
Bands         others than gray or RGB (TIFF, .npy) as they are, all of them, where `channels` asks for so many.
Colour        an embedded ICC profile is converted to sRGB; palette, CMYK, LAB and 1-bit images become RGB or gray.
Depth         16-bit, 32-bit and float images are scaled by the data set's own `Depth`; where there is none, each by
              `convert_levels`. 8-bit images are taken as they are.
Frames        the first one of an animated or multi-page file.
Refused       more than `max_pixels` pixels, by the header, before anything is decoded; truncated and broken files,
              but for a JPEG that lacks nothing but its end marker.
Large JPEGs   decoded at 1/2, 1/4 or 1/8 scale where that still leaves twice the pixels that the target size needs.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

from ...errors import DataError
from ...language import say, to_say
from ...regular_file import need_regular
from ..listing import Readable
from .bands import (
    NPY_SIGN,
    count_bands,
    read_alpha_band,
    read_bands,
    read_npy_image,
    refuse_channels,
    show_bands,
)
from .colour import convert_colours, convert_depth, convert_mode
from .deep import (
    DeepPixels,
    complete_jpeg,
    drops_bands,
    hold_values,
    lies_in_deep_planes,
    open_unusual,
    open_with_tifffile,
    read_deep_pixels,
)
from .depth import Depth
from .quiet import silence_pillow
from .resize import place_image, resize_image, resize_pillow

PLUGINS = {
    "JPEG": JpegImagePlugin,
    "PNG": PngImagePlugin,
    "BMP": BmpImagePlugin,
    "GIF": GifImagePlugin,
    "WEBP": WebPImagePlugin,
    "TIFF": TiffImagePlugin,
    "PPM": PpmImagePlugin,
    "AVIF": AvifImagePlugin,
}
JPEG_SUFFIXES, OTHER_SUFFIXES = (
    ".jpg .jpeg .jpe .jfif .mpo",
    ".png .bmp .dib .gif .webp .tif .tiff .ppm .pgm .pbm .pnm .pfm .npy",
)
IMAGE_SUFFIXES = frozenset(f"{JPEG_SUFFIXES} {OTHER_SUFFIXES} .avif .heic .heif".split())
KNOWN_FORMATS = to_say("JPEG, PNG, BMP, GIF, WebP, TIFF, PPM/PGM, AVIF, .npy, and HEIC with the package pillow-heif")
MAX_PIXELS = 178_956_970  # twice Pillow's own Image.MAX_IMAGE_PIXELS, where Pillow itself stops; 0.5 GB as RGB
HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
ORIENTATIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIDEWAYS = (5, 6, 7, 8)  # the orientations that swap height and width


def decode_image(
    source: Path | str | bytes | Readable,
    channels: int,
    *,
    background: int = 255,
    max_pixels: int = MAX_PIXELS,
    depth: Depth | None = None,
    alpha: bool = False,
) -> np.ndarray:
    """The image in a file, or in a file's bytes, as uint8 `H×W×C` at its own size.

    channels  1 (gray), 3 (RGB), or as many as the image has bands; with `alpha` 2 or 4, the last its transparency
    Raises DataError naming the file and the reason: not there, empty, no image, truncated, broken, too many pixels,
    other bands.
    """
    image = decode_guarded(source, channels, None, "pad", background, max_pixels, depth, alpha)
    return image if isinstance(image, np.ndarray) else np.array(image).reshape(image.height, image.width, channels)


def read_image(
    source: Path | str | bytes | Readable,
    size: tuple[int, int],
    fit: str = "pad",
    channels: int = 3,
    *,
    background: int = 255,
    max_pixels: int = MAX_PIXELS,
    depth: Depth | None = None,
    alpha: bool = False,
) -> np.ndarray:
    """The image in a file, or in a file's bytes, decoded as by `decode_image` and resized: uint8 `h×w×C` for `size`.

    `fit` is "pad" (all of the picture, bars beside it), "crop" (the middle, no bars) or "squash" (all, distorted).
    Raises DataError as `decode_image` does.
    """
    image = decode_guarded(source, channels, size, fit, background, max_pixels, depth, alpha)
    return resize_image(image, size, fit) if isinstance(image, np.ndarray) else resize_pillow(image, size, fit)


def decode_to_show(
    source: Path | Readable | bytes, size: tuple[int, int] | None = None, fit: str = "pad"
) -> Image.Image:
    """The image in colour, to be looked at: of other bands than gray or RGB the first three, or the first.

    Raises DataError as `decode_image` does.
    """
    image = decode_guarded(source, None, size, fit, 255, MAX_PIXELS, None, False)
    return Image.fromarray(image) if isinstance(image, np.ndarray) else image


def decode_as_pillow(
    source: Path | str | bytes | Readable,
    channels: int,
    size: tuple[int, int] | None = None,
    fit: str = "pad",
    *,
    background: int = 255,
    max_pixels: int = MAX_PIXELS,
    depth: Depth | None = None,
) -> Image.Image:
    """The image as Pillow's, mode L or RGB, upright; with a target `size` a large JPEG comes at reduced scale.

    depth  the scale of an image that is deeper than 8 bits; None takes its own
    Raises DataError as `decode_image` does.
    """
    if channels not in (1, 3):
        raise DataError("channels", say("a picture has 1 channel (gray) or 3 (RGB)"), got=channels)
    image = decode_guarded(source, channels, size, fit, background, max_pixels, depth, False)
    assert isinstance(image, Image.Image)
    return image


def decode_guarded(
    source: Path | str | bytes | Readable, channels: int | None, size: tuple[int, int] | None, fit: str,
    background: int, max_pixels: int, depth: Depth | None, alpha: bool,
) -> Image.Image | np.ndarray:  # fmt: skip
    """The image as Pillow's, mode L or RGB; of other bands as uint8 H×W×C. Raises DataError, whatever Pillow raises.

    channels  None: in colour, to be looked at
    """
    where = "image" if isinstance(source, bytes) else str(source)
    data = read_contents(Path(source) if isinstance(source, str) else source, where)
    with silence_pillow():
        try:
            return load_upright(data, where, channels, size, fit, background, max_pixels, depth, alpha)
        except DataError:
            raise
        except Exception as e:  # on broken files Pillow raises OSError, SyntaxError, ValueError, struct.error and more
            whole = complete_jpeg(data)
            if whole is None:
                raise DataError(where, explain_pillow_error(e)) from None
        return load_upright(whole, where, channels, size, fit, background, max_pixels, depth, alpha)


def load_upright(
    data: bytes, where: str, channels: int | None, size: tuple[int, int] | None, fit: str, background: int,
    max_pixels: int, depth: Depth | None, alpha: bool,
) -> Image.Image | np.ndarray:  # fmt: skip
    """`decode_guarded` of a file's bytes, before its guard."""
    with open_image(data, where, max_pixels) as image:
        if (bands := count_bands(image)) not in (1, 3):
            levels = read_bands(image, channels or bands, depth, where)
            return levels if channels else show_bands(levels).repeat(3 if bands == 2 else 1, axis=2)
        channels = channels or 3
        if channels not in (1, 3) and not alpha:
            raise refuse_channels(where, bands, channels)
        scaled = convert_depth(image, depth)  # first: to look for the orientation may load the image
        orientation = read_orientation(image)
        if size is not None:
            reduce_scale(image, channels, size, fit, orientation)
        scaled.load()
        plain = convert_colours(scaled) if alpha else convert_mode(scaled, channels, background)
        if image.format == "TIFF":  # Pillow turns these while it loads them, and takes the tag off
            orientation = read_orientation(image)
        upright = plain.transpose(ORIENTATIONS[orientation]) if orientation in ORIENTATIONS else plain
        return read_alpha_band(upright, channels, where) if alpha else upright


def read_own_values(source: Readable | Path, where: str) -> DeepPixels | None:
    """The values of a file's image that is deeper than 8 bits, before they are scaled; None for another image.

    Raises DataError.
    """
    with silence_pillow():
        try:
            with open_image(source, where) as image:
                return read_deep_pixels(image)
        except DataError:
            raise
        except Exception as e:
            raise DataError(where, explain_pillow_error(e)) from None


def open_image(source: Path | str | bytes | Readable, where: str, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """The file's header read, its pixels not yet. Raises DataError."""
    data = read_contents(Path(source) if isinstance(source, str) else source, where)
    if not data:
        raise DataError(where, say("the file is empty"), got="0 bytes")
    formats = (
        [*PLUGINS, "HEIF"]
        if data[4:8] == b"ftyp" and data[8:12] in HEIF_BRANDS and supports_heif(where)
        else [*PLUGINS]
    )
    try:
        image: Image.Image = Image.open(io.BytesIO(data), formats=formats)
        if lies_in_deep_planes(image) or drops_bands(image):
            image = open_with_tifffile(data, where)
    except UnidentifiedImageError:
        unusual = hold_values(read_npy_image(data, where)) if data.startswith(NPY_SIGN) else open_unusual(data, where)
        if unusual is None:
            what = say("this is not an image of a known format")
            raise DataError(where, what, got=guess_kind(data), rule=say(KNOWN_FORMATS)) from None
        image = unusual
    except Image.DecompressionBombError as e:
        pixels = next((word for word in str(e).split() if word.strip("(").isdecimal()), "?").strip("(")
        raise refuse_large_image(where, say("{pixels} pixels", pixels=pixels), max_pixels) from None
    if image.width * image.height > max_pixels:
        raise refuse_large_image(
            where, say("{width}×{height} pixels", width=image.width, height=image.height), max_pixels
        )
    return image


def refuse_large_image(where: str, got: str, max_pixels: int) -> DataError:
    return DataError(
        where,
        say("the image has too many pixels to decode"),
        got=got,
        rule=say("at most {most:,}", most=min(max_pixels, MAX_PIXELS)),
    )


def read_contents(path: Readable | bytes, where: str) -> bytes:
    """The file's bytes; those that are read already as they are. Raises DataError."""
    if isinstance(path, bytes):
        return path
    if isinstance(path, Path):
        need_regular(path, DataError)
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise DataError(where, say("there is no such file")) from None
    except IsADirectoryError:
        raise DataError(where, say("this is a folder, not an image")) from None
    except OSError as e:
        raise DataError(where, say("the file cannot be read: {why}", why=e.strerror or e)) from None
    except ValueError as e:  # a NUL in the name
        raise DataError(where, say("the file cannot be read: {complaint}", complaint=e)) from None


def supports_heif(where: str) -> bool:
    """Whether Pillow reads HEIC files, once its plugin is registered. Raises DataError where the plugin is missing."""
    if "HEIF" not in Image.OPEN:
        try:
            import pillow_heif  # type: ignore[import-not-found, unused-ignore]
        except ImportError:
            hint = "pip install pillow-heif"
            raise DataError(where, say("a HEIC image needs a plugin that is not installed"), hint=hint) from None
        pillow_heif.register_heif_opener()
    return "HEIF" in Image.OPEN


def guess_kind(data: bytes) -> str:
    """What a file that is no image seems to be."""
    signs = {
        b"%PDF": say("a PDF"),
        b"PK\x03\x04": say("a ZIP archive"),
        b"\x1f\x8b": say("a gzip archive"),
        b"<svg": say("an SVG drawing"),
    }
    for sign, name in signs.items():
        if data.lstrip()[:100].startswith(sign):
            return name
    head = data[:512]
    text = all(byte >= 32 or byte in b"\t\n\r\f" for byte in head)
    return say("{count} bytes of text", count=len(data)) if text else say("{count} bytes", count=len(data))


def read_orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 where there is none or it cannot be read."""
    try:
        orientation = image.getexif().get(0x0112, 1)
    except Exception:  # a broken EXIF block says nothing about the pixels
        return 1
    return orientation if orientation in range(1, 9) else 1


def reduce_scale(image: Image.Image, channels: int, size: tuple[int, int], fit: str, orientation: int) -> None:
    """Have a large JPEG decoded at a fraction of its scale, with at least twice the pixels a side that are needed.

    On photographs of 400×533 made 64×64 this decodes 2.4 times as fast as at full scale, and moves a value by 1.5 of
    255 on average; at once rather than twice the pixels it would move by 2.4 for a further 1.3 times.
    """
    height, width = (image.width, image.height) if orientation in SIDEWAYS else (image.height, image.width)
    place = place_image((height, width), size, fit)
    need = (2 * place.width, 2 * place.height)
    if image.format in ("JPEG", "MPO"):
        luma = "L" if channels == 1 and image.mode == "RGB" and not image.info.get("icc_profile") else None
        image.draft(luma, (need[1], need[0]) if orientation in SIDEWAYS else need)


def explain_pillow_error(error: Exception) -> str:
    """Pillow's complaint about a file, in the user's words."""
    text = " ".join(str(error).split())
    if "truncated" in text.lower() or isinstance(error, EOFError):
        return say("the file is truncated")
    if isinstance(error, MemoryError):
        return say("the image does not fit into memory")
    return say("the image data are broken: {text}", text=text[:120] or type(error).__name__)
