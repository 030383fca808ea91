"""What files' names say of where their pictures come from: one patient, one plant, one video, one original."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePath

from .examine import SeenImage

COPY_WORDS = (
    r"aug|augmented|copy|crop|flip|flipped|frame|img|image|mirror|mirrored|part|patch|rot|rotated|slice|tile|view"
)


COPY_ENDINGS = re.compile(
    rf"(?:\.(?:jpe?g|png|webp|bmp|tiff?))?(?:\.rf\.[0-9a-f]{{8,}}"  # Roboflow's augmented copies
    rf"|[ _\-.]+(?:{COPY_WORDS})[ _\-]*\d*"
    rf"|[ _\-.]+\(?\d+\)?|[ _\-.]*\(\d+\))$",
    re.IGNORECASE,
)


# Of the origins that are in several splits, the share with one label each, from which names tell labels.
AGREEING_SHARE = 0.9


def guess_origin(file: str) -> str | None:
    """What a file's name says of its origin: the name without its last number, copy sign or augmentation's mark.

    None where nothing is taken off, and where what is left holds no number and so names a kind rather than a thing.

    >>> guess_origin("train/ill/patient-012_frame_7.png"), guess_origin("test/cat/IMG_20.jpg.rf.0123456789abcdef.jpg")
    ('patient-012', 'img_20')
    >>> guess_origin("cat/cat_001.jpg"), guess_origin("cat/6075b4a5-9dbfbca7c35c.jpg")
    (None, None)
    """
    stem = PurePath(file).stem
    short = COPY_ENDINGS.sub("", stem)
    if short == stem or not re.search(r"\d", short) or len(short) < 3:
        return None
    return short.lower()


def find_shared_origins(good: Sequence[SeenImage]) -> list[tuple[str, tuple[SeenImage, ...]]]:
    """The origins with pictures in several splits, where nearly all of them have one label each, so that whoever

    knows the origin knows the label; the largest first. Empty where their labels are mixed, as with dates.
    """
    found: dict[str, list[SeenImage]] = {}
    for item in good:
        name = guess_origin(item.file)
        if name is not None:
            found.setdefault(name, []).append(item)
    across = {name: items for name, items in found.items() if len({item.split for item in items}) > 1}
    alike = {name: tuple(items) for name, items in across.items() if len({item.label for item in items}) == 1}
    labels = {items[0].label for items in alike.values()}
    if len(alike) < max(1, AGREEING_SHARE * len(across)) or len(labels) < 2:
        return []
    return sorted(alike.items(), key=lambda pair: (-len(pair[1]), pair[0]))
