"""How large a source's images are, from some files' headers, before any of them is decoded."""

from __future__ import annotations

import io
import statistics
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from ..errors import DataError
from ..regular_file import need_regular
from .loaded import Source
from .quiet import quiet

FILES = 48


def usual_size(source: Source) -> tuple[int, int] | None:
    """The median (height, width) of some of the source's image files, spread evenly over it.

    None where the source is arrays, or where none of those files is an image. Raises DataError for no source at all.
    """
    from .sources import listed

    listing = listed(source)
    if listing is None or not listing.entries:
        return None
    every = max(1, len(listing.entries) // FILES)
    sizes = []
    with quiet():
        for entry in listing.entries[::every][:FILES]:
            path = entry.path
            try:
                if isinstance(path, Path):
                    need_regular(path, DataError)
                with Image.open(path if isinstance(path, Path) else io.BytesIO(path.read_bytes())) as image:
                    sizes.append(image.size)
            except (DataError, OSError, UnidentifiedImageError, ValueError, Image.DecompressionBombError):
                continue
    if not sizes:
        return None
    return round(statistics.median(h for _, h in sizes)), round(statistics.median(w for w, _ in sizes))
