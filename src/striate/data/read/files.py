"""Many image files decoded at once, into one array."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from ...errors import DataError
from ...language import say, say_count
from ...terminal import format_count
from ...threads import map_in_threads
from ..images import Skipped
from ..listing import Entry, Readable
from .bands import count_bands, has_alpha
from .decode import (
    JPEG_SUFFIXES,
    SIDEWAYS,
    explain_pillow_error,
    open_image,
    read_image,
    read_orientation,
    read_own_values,
)
from .deep import is_deep_mode, name_depth_mode
from .depth import VALUES_A_FILE, Depth, choose_depth, draw_values, format_depth, measure_clipped
from .quiet import silence_pillow

Progress = Callable[[str, int, int], None]
T = TypeVar("T")
DECODE_CHUNK = 16
# Files that are looked at for the scale of a data set, spread evenly over it.
SAMPLED_FILES = 200


class ImageHeader(NamedTuple):
    """What a file says of itself before it is decoded.

    height, width  as it will be seen
    mode           `name_depth_mode`
    bands          1 is gray, 3 is colour; transparency is not among them, but `alpha`
    """

    height: int
    width: int
    mode: str
    bands: int
    alpha: bool = False


def read_image_header(source: Path | bytes | Readable, where: str) -> ImageHeader:
    """The header of a file, or of its bytes. Raises DataError at `where`."""
    with silence_pillow():
        try:
            with open_image(source, where) as image:
                height, width = image.height, image.width
                mode, bands, alpha = name_depth_mode(image), count_bands(image), has_alpha(image)
                turned = (
                    image.format != "TIFF" and read_orientation(image) in SIDEWAYS
                )  # Pillow gives a TIFF's size turned already
                return ImageHeader(*((width, height) if turned else (height, width)), mode, bands, alpha)
        except DataError:
            raise
        except Exception as e:
            raise DataError(where, explain_pillow_error(e)) from None


def choose_shape(
    entries: Sequence[Entry], size: tuple[int, int] | None, channels: int | None, where: str,
    workers: int | None = None, alpha: bool = False,
) -> tuple[tuple[int, int], int]:  # fmt: skip
    """The size and the channels to decode at: those given, else what the files have in common.

    alpha  whether transparency is a channel
    Raises DataError where there is no size given and the files differ in theirs, and as `choose_channels`.
    """
    if size is not None and channels is not None:
        return size, channels
    headers = list(
        map_in_threads(
            catch_data_errors(lambda e: read_image_header(e.path, e.file)), entries, workers, chunk=DECODE_CHUNK
        )
    )
    found = [(e, h) for e, h in zip(entries, headers, strict=True) if isinstance(h, ImageHeader)]
    if not found:
        got = say("{count} files", count=len(entries))
        if entries and isinstance(headers[0], DataError):
            got = say(
                "{files}, the first {first}: {why}", files=got, first=entries[0].file, why=shorten_error(headers[0])
            )
        raise DataError(where, say("none of its images can be read"), got=got)
    if size is None:
        (first, a), *_ = found
        other = next(((e, h) for e, h in found if h[:2] != a[:2]), None)
        if other:
            got = f"{first.file} {a.height}×{a.width}, {other[0].file} {other[1].height}×{other[1].width}"
            raise DataError(where, say("the images differ in size, so a size is needed"), got=got, hint="size=(64, 64)")
        size = (a.height, a.width)
    return size, channels or choose_channels(found, alpha, where)


def choose_channels(found: Sequence[tuple[Entry, ImageHeader]], alpha: bool, where: str) -> int:
    """The channels of images with these headers: 1 only where every file is gray, 3 where some are colour.

    Those of other bands must have as many all; with `alpha` the transparency of gray and colour is one more. Raises
    DataError.
    """
    (first, a), *_ = found
    other = next(((e, h) for e, h in found if h.bands != a.bands and {h.bands, a.bands} != {1, 3}), None)
    if other:
        got = f"{first.file} {a.bands}, {other[0].file} {other[1].bands}"
        raise DataError(
            where, say("the images differ in the number of their bands"), got=got, rule=say("one number for all")
        )
    bands = max(header.bands for _, header in found)
    if not alpha:
        return bands
    if not any(header.alpha for _, header in found):
        hint = say("leave out --alpha channel")
        raise DataError(
            where,
            say("no image has a transparency to be a channel"),
            got=say("{count} images", count=len(found)),
            hint=hint,
        )
    return bands + 1


class SampledDepth(NamedTuple):
    """The scale chosen for a data set.

    files   how many files deeper than 8 bits it was chosen by
    beyond  the share of their values that lies outside it
    shallow, others  how many more of 8 bits were looked at, and of the other kind, floats or whole numbers
    """

    depth: Depth
    files: int
    beyond: float
    shallow: int
    others: int


def sample_depth(entries: Sequence[Entry], workers: int | None = None) -> SampledDepth | None:
    """The scale of the entries by some of their files, the same ones each time; None where those are of 8 bits.

    Of whole numbers and floats the kind counts that more of them have. JPEGs have 8 bits and are not looked at. Files
    that cannot be read are left out: decoding them says why.
    """
    deep = [entry for entry in entries if Path(entry.file).suffix.lower() not in JPEG_SUFFIXES.split()]
    looked = [deep[k] for k in spread_places(len(deep), SAMPLED_FILES)]
    found = list(map_in_threads(catch_data_errors(draw_own_values), looked, workers, chunk=DECODE_CHUNK))
    whole = [part for part in found if isinstance(part, np.ndarray) and part.dtype.kind in "iu"]
    floats = [part for part in found if isinstance(part, np.ndarray) and part.dtype.kind == "f"]
    kind, others = (whole, floats) if len(whole) >= len(floats) else (floats, whole)
    if not kind:
        return None
    drawn = np.concatenate(kind)
    depth = choose_depth(drawn)
    shallow = sum(part is None for part in found)
    return SampledDepth(depth, len(kind), measure_clipped(drawn, depth), shallow, len(others))


def spread_places(count: int, most: int) -> np.ndarray:
    """At most so many places of `count`, evenly spread, so that every class is among them.

    >>> spread_places(10, 4).tolist(), spread_places(3, 4).tolist()
    ([0, 3, 6, 9], [0, 1, 2])
    """
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int))


def explain_depth(found: SampledDepth) -> str:
    """How the values were scaled, and by what, in a sentence."""
    depth = found.depth
    told = say(
        "values from {low:g} to {high:g} become 0 to 255 ({depth}), as chosen by {files}",
        low=depth.low,
        high=depth.high,
        depth=format_depth(depth),
        files=format_count(found.files, "training file"),
    )
    if found.beyond:
        told = say("{told}; {share:.2g} of the values lie beyond and are clipped", told=told, share=found.beyond)
    if found.shallow:
        shallow = format_count(found.shallow, "file")
        told = say("{told}; beside them {files} of 8 bits, taken as they are", told=told, files=shallow)
    if found.others:
        told = say_count(
            "{told}; and {files} of {kinds}, scaled by its own largest value",
            "{told}; and {files} of {kinds}, scaled by their own largest value",
            found.others,
            told=told,
            files=format_count(found.others, "file"),
            kinds=say("floats") if depth.whole else say("whole numbers"),
        )
    return told


def draw_own_values(entry: Entry) -> np.ndarray | None:
    """Some values of the entry's image, if it is deeper than 8 bits."""
    if not is_deep_mode(read_image_header(entry.path, entry.file).mode):
        return None
    pixels = read_own_values(entry.path, entry.file)
    return None if pixels is None else draw_values(pixels.values, VALUES_A_FILE)


def catch_data_errors(work: Callable[[Entry], T]) -> Callable[[Entry], T | DataError]:
    """`work`, with its DataError returned instead of raised."""

    def tried(entry: Entry) -> T | DataError:
        try:
            return work(entry)
        except DataError as e:
            return e

    return tried


def decode_all(
    entries: Sequence[Entry],
    size: tuple[int, int],
    channels: int,
    fit: str = "pad",
    *,
    depth: Depth | None = None,
    alpha: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
) -> tuple[np.ndarray, list[int], list[Skipped]]:
    """The entries' images as one uint8 N×h×w×C, the entries' indices that they belong to, and the files left out."""
    x = np.empty((len(entries), *size, channels), np.uint8)
    kept: list[int] = []
    skipped: list[Skipped] = []
    work = catch_data_errors(lambda entry: read_image(entry.path, size, fit, channels, depth=depth, alpha=alpha))
    with silence_pillow():
        for k, image in enumerate(map_in_threads(work, entries, workers, chunk=DECODE_CHUNK)):
            if isinstance(image, DataError):
                skipped.append(Skipped(entries[k].file, shorten_error(image)))
            else:
                x[len(kept)] = image
                kept.append(k)
            if progress and (k % DECODE_CHUNK == DECODE_CHUNK - 1 or k == len(entries) - 1):
                progress("images", k + 1, len(entries))
    return x[: len(kept)], kept, skipped


def shorten_error(error: DataError) -> str:
    """An error's reason on one line, without the file."""
    if error.got is None:
        return error.what
    return say("{what} ({got})", what=error.what, got=error.got)
