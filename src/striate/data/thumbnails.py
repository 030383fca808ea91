"""Small pictures of the files that an audit names."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ..errors import DataError
from .decode import decoded
from .from_arrays import from_arrays
from .listing import Entry
from .quiet import quiet
from .reading import each
from .resize import placed
from .sources import Source, listed


def thumbnails(
    source: Source, files: Iterable[str], side: int = 160, workers: int | None = None
) -> dict[str, np.ndarray]:
    """The named files of a source as RGB pictures, uint8 h×w×3, upright, neither side longer than `side`.

    Those that the source lacks, and those that cannot be decoded, are left out.
    """
    wanted = set(files)
    listing = listed(source)
    if listing is None:
        parts = from_arrays(source).parts.values()
        rows = {name: images.x[k] for images in parts for k, name in enumerate(images.files) if name in wanted}
        return {name: image.repeat(3 // image.shape[2], axis=2) for name, image in rows.items()}

    def small(entry: Entry) -> np.ndarray | None:
        try:
            picture = decoded(entry.path, 3, (side, side), "pad")
        except DataError:
            return None
        place = placed((picture.height, picture.width), (side, side), "pad")
        if max(picture.height, picture.width) > side:
            picture = picture.resize((place.width, place.height))
        return np.array(picture)

    chosen = [entry for entry in listing.entries if entry.file in wanted]
    with quiet():
        return {
            e.file: image for e, image in zip(chosen, each(small, chosen, workers), strict=True) if image is not None
        }
