"""A look at a few of a source's files: how large they are, of what kind, and so how the source is told of in a line."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import NamedTuple

from ...errors import DataError
from ...language import join_texts, say
from ...terminal import format_count
from ..listing import Entry, Listing
from ..read.bands import name_bands
from ..read.deep import is_deep_mode
from ..read.depth import Depth, format_depth
from ..read.files import ImageHeader, read_image_header
from ..read.quiet import silence_pillow

PEEKED_FILES = 48


def peek_headers(entries: Sequence[Entry]) -> list[ImageHeader]:
    """The headers of some of the files, spread evenly over them; those that cannot be read are left out."""
    found = []
    every = max(1, len(entries) // PEEKED_FILES)
    with silence_pillow():
        for entry in entries[::every][:PEEKED_FILES]:
            try:
                found.append(read_image_header(entry.path, entry.file))
            except DataError:
                continue
    return found


class UsualImage(NamedTuple):
    """What the images of a source are like: the median size, and the most bands of any."""

    height: int
    width: int
    bands: int


def find_usual_image(entries: Sequence[Entry]) -> UsualImage | None:
    """What some of the files are like; None where none of them is an image."""
    seen = peek_headers(entries)
    if not seen:
        return None
    height, width = (round(statistics.median(sides)) for sides in zip(*(h[:2] for h in seen), strict=True))
    return UsualImage(height, width, max(header.bands for header in seen))


def describe_listing(listing: Listing, depth: Depth | None = None) -> str:
    """How the source was understood, in a line: "class folders in train/ and val/, 1,204 images, 12-bit gray".

    The kind is that of some of the files; `depth` is the scale of those that are deeper than 8 bits.
    """
    kinds = sorted({describe_kind(header, depth) for header in peek_headers(listing.entries)})
    told = [
        listing.read_as or say("files"),
        format_count(len(listing.entries), "image"),
        join_texts(say(" and "), kinds),
    ]
    return join_texts(", ", list(filter(None, told)))


def describe_kind(header: ImageHeader, scale: Depth | None = None) -> str:
    """
    >>> describe_kind(ImageHeader(4, 4, "I;16", 1)), describe_kind(ImageHeader(4, 4, "P", 3))
    ('16-bit gray', '8-bit RGB')
    """
    floats = ";f" in header.mode or header.mode.startswith("F")
    wide = say("float") if floats else say("{bits}-bit", bits=16)
    depth = say("{bits}-bit", bits=1 if header.mode == "1" else 8) if not is_deep_mode(header.mode) else wide
    if scale is not None and depth == wide:
        depth = format_depth(scale)
    return say("{depth} {bands}", depth=depth, bands=name_bands(header.bands))
