"""A folder of class folders, with or without split folders; and the image files that a user names. Only ever read."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from ...errors import DataError
from ...language import say
from ..listing import Listing
from ..read.decode import IMAGE_SUFFIXES
from ..reading import Reading
from .archive import is_archive, name_archive, read_archive_tree
from .flat_splits import list_folders_and_tables
from .tree import SourceTree, TreeFile, classify_item, is_array_file, list_visible, read_folder_tree


def list_folder(folder: Path, reading: Reading) -> Listing:
    """The images below `folder`, their classes and splits by `layout.list_tree`.

    Hidden files and folders (`.ipynb_checkpoints` and AppleDouble `._*` among them), `__MACOSX`, `Thumbs.db` and their
    like, empty folders, files that are not images, pipes and devices, and links to folders that are within class
    folders or lead back are ignored and counted. Where there is no image but archives, each of these is as a folder of
    its name. Raises DataError where there is no folder, no class folder or no image.
    """
    tree = read_folder_tree(folder)
    if not tree.images:
        mount_archives(tree)
    return list_folders_and_tables(tree, reading)


def mount_archives(tree: SourceTree) -> None:
    """Put the archives that lie at the top of a folder into its tree, each as a folder: cat.zip as cat/."""
    files, tree.others = tree.others, []
    for file in files:
        path = file.source
        if len(file.parts) > 1 or not isinstance(path, Path) or not is_archive(path):
            tree.others.append(file)
            continue
        inside, name = read_archive_tree(path), name_archive(path)
        tree.images += [TreeFile((name, *one.parts), one.source) for one in inside.images]
        tree.others += [TreeFile((name, *one.parts), one.source) for one in inside.others]
        tree.folders |= {(name,), *((name, *parts) for parts in inside.folders)}
        tree.ignored += inside.ignored


def list_image_files(names: Iterable[str]) -> Iterator[str]:
    """Each file in `names`; for a folder the images in it and below, sorted; for "-" the names on stdin, a line each.

    Hidden files and those without an image's suffix are left out of a folder; a named file is taken as it is.
    Raises DataError for a folder without any image.
    """
    for name in names:
        if name == "-":
            yield from (line.rstrip("\r\n") for line in sys.stdin if line.strip())
        elif Path(name).is_dir():
            found = list_images_below(Path(name))
            pictures = [path for path in found if not is_array_file(path.name)]
            found = pictures or found  # beside pictures, arrays are masks or features of these
            if not found:
                raise DataError(
                    name, say("no image in this folder or below it"), hint=say("name a folder with image files")
                )
            yield from map(str, found)
        else:
            yield name


def list_images_below(folder: Path) -> list[Path]:
    """The images in `folder` and in its folders."""
    found: list[Path] = []
    for item in list_visible(folder, Counter()):
        path, kind = Path(item.path), classify_item(item)
        if kind == "folder":
            found += [] if item.is_symlink() else list_images_below(path)
        elif kind == "file" and path.suffix.lower() in IMAGE_SUFFIXES:
            found.append(path)
    return found
