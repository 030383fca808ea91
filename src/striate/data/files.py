"""The image files that a user names: files, folders of them, or a list on stdin."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..errors import DataError
from .decode import SUFFIXES
from .folder import kind_of, visible


def image_files(names: Iterable[str]) -> Iterator[str]:
    """Each file in `names`; for a folder the images in it and below, sorted; for "-" the names on stdin, a line each.

    Hidden files and those without an image's suffix are left out of a folder; a named file is taken as it is.
    Raises DataError for a folder without any image.
    """
    for name in names:
        if name == "-":
            yield from (line.rstrip("\r\n") for line in sys.stdin if line.strip())
        elif Path(name).is_dir():
            found = below(Path(name))
            if not found:
                raise DataError(name, "no image in this folder or below it", hint="name a folder with image files")
            yield from map(str, found)
        else:
            yield name


def below(folder: Path) -> list[Path]:
    """The images in `folder` and in its folders."""
    found: list[Path] = []
    for path in visible(folder, Counter()):
        kind = kind_of(path)
        if kind == "folder":
            found += [] if path.is_symlink() else below(path)
        elif kind == "file" and path.suffix.lower() in SUFFIXES:
            found.append(path)
    return found
