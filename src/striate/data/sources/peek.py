"""A look at a few of a source's files: how large they are, of what kind, and so how the source is told of in a line."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from ...errors import DataError
from ...terminal import format_count
from ..listing import Entry, Listing
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


def find_median_size(entries: Sequence[Entry]) -> tuple[int, int] | None:
    """The median (height, width) of some of the files; None where none of them is an image."""
    seen = peek_headers(entries)
    if not seen:
        return None
    return round(statistics.median(h.height for h in seen)), round(statistics.median(h.width for h in seen))


def describe_listing(listing: Listing) -> str:
    """How the source was understood, in a line: "class folders in train/ and val/, 1,204 images, 12-bit gray".

    The kind is that of some of the files.
    """
    kinds = sorted({describe_kind(header) for header in peek_headers(listing.entries)})
    told = [listing.read_as or "files", format_count(len(listing.entries), "image"), " and ".join(kinds)]
    return ", ".join(filter(None, told))


def describe_kind(header: ImageHeader) -> str:
    """
    >>> describe_kind(ImageHeader(4, 4, "I;16")), describe_kind(ImageHeader(4, 4, "P"))
    ('16-bit gray', '8-bit RGB')
    """
    depth = {"1": "1-bit", "F": "float"}.get(header.mode) or ("16-bit" if header.mode.startswith("I") else "8-bit")
    return f"{depth} {'gray' if header.gray else 'RGB'}"
