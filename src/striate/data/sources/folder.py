"""A folder of class folders, with or without split folders; and the image files that a user names. Only ever read."""

from __future__ import annotations

import heapq
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import IO

from ...errors import DataError
from ...language import say
from ..listing import Listing, normalise_name
from ..read.decode import IMAGE_SUFFIXES
from ..reading import Reading
from .archive import is_archive, name_archive, read_archive_tree
from .flat_splits import list_folders_and_tables
from .remote import is_remote, list_remote_images
from .tree import SourceTree, TreeFile, classify_item, is_array_file, is_litter, read_folder_tree, scan_folder

NAMES_IN_MEMORY = 100_000


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
    """Each file in `names`, and of a folder or an address for fsspec the images in it and below, sorted.

    For "-" the names on stdin, a line each. They come one at a time: a million take no more memory than a hundred
    thousand. Hidden files and those without an image's suffix are left out of a folder; a named file is taken as it is.
    Raises DataError for a folder without any image.
    """
    for name in names:
        if name == "-":
            yield from (line.rstrip("\r\n") for line in sys.stdin if line.strip())
        elif is_remote(name):
            yield from need_images(list_remote_images(name), name)
        elif Path(name).is_dir():
            pictures = holds_pictures(Path(name))  # beside them, arrays are their masks or features
            found = (str(p) for p in walk_images(Path(name)) if not (pictures and is_array_file(p.name)))
            yield from need_images(found, name)
        else:
            yield name


def need_images(found: Iterator[str], where: str) -> Iterator[str]:
    """What is found, of which there must be some. Raises DataError."""
    first = next(found, None)
    if first is None:
        hint = say("name a folder with image files")
        raise DataError(where, say("no image in this folder or below it"), hint=hint)
    yield first
    yield from found


def holds_pictures(folder: Path) -> bool:
    """Whether an image in `folder` or below it is no array; told by the first one that is found. Raises DataError."""
    return any(
        holds_pictures(folder / name) if name.endswith("/") else not is_array_file(name) for name in scan_images(folder)
    )


def walk_images(folder: Path) -> Iterator[Path]:
    """The images in `folder` and in its folders, each folder's by name; not even one folder's names are all in memory.

    Raises DataError.
    """
    for name in sort_names(scan_images(folder), lambda name: normalise_name(name.rstrip("/"))):
        if name.endswith("/"):
            yield from walk_images(folder / name)
        else:
            yield folder / name


def scan_images(folder: Path) -> Iterator[str]:
    """The names of a folder's images, and of its folders with a "/" behind, as the system has them."""
    for item in scan_folder(folder):
        if is_litter(item.name):
            continue
        kind = classify_item(item)
        if kind == "folder" and not item.is_symlink():
            yield item.name + "/"
        elif kind == "file" and Path(item.name).suffix.lower() in IMAGE_SUFFIXES:
            yield item.name


def sort_names(names: Iterable[str], key: Callable[[str], str], most: int = NAMES_IN_MEMORY) -> Iterator[str]:
    r"""The names by `key`; of more than `most` only so many are in memory at once.

    >>> list(sort_names(["b", "c", "a\n"], str, most=1))
    ['a\n', 'b', 'c']
    """
    coming = iter(names)
    run = sorted(islice(coming, most), key=key)
    if len(run) < most:
        yield from run
        return
    with ExitStack() as opened:
        runs = []
        while run:
            runs.append(opened.enter_context(write_run(run)))
            run = sorted(islice(coming, most), key=key)
        yield from heapq.merge(*map(read_run, runs), key=key)


def write_run(names: list[str]) -> IO[str]:
    """A temporary file with a name a line. No name of a file has a NUL, which stands for a line's end within it."""
    file = tempfile.TemporaryFile("w+", encoding="utf-8", errors="surrogateescape", newline="\n")
    file.writelines(name.replace("\n", "\0") + "\n" for name in names)
    file.seek(0)
    return file


def read_run(file: IO[str]) -> Iterator[str]:
    for line in file:
        yield line[:-1].replace("\0", "\n")
