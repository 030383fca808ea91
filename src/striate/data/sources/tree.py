"""The files of a data set in one form, whether they lie in a folder or in an archive: names in parts, and bytes."""

from __future__ import annotations

import os
import posixpath
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ...errors import DataError
from ...language import say, to_say
from ..listing import Readable, normalise_name
from ..read.decode import HEIF_BRANDS, IMAGE_SUFFIXES

Parts = tuple[str, ...]
LITTER = frozenset({"__macosx", "thumbs.db", "desktop.ini", "@eadir", "ehthumbs.db", "icon\r"})
# How files of the formats that are read begin, for those whose name has no suffix.
IMAGE_HEADS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"BM", b"II*\0", b"MM\0*")
HEAD_BYTES = 16


class TreeFile(NamedTuple):
    """One file.

    parts   its name below the top, a part a folder; source  what holds its bytes
    linked  how many folders from the top on lead to a link to a folder, that one counted; 0 where there is none
    """

    parts: Parts
    source: Readable
    linked: int = 0


@dataclass
class SourceTree:
    """All files below the `folder` or in the archive that is called `where`.

    images   those that are images, by their suffix, or where they have none by how they begin
    others   those that are none
    folders  all folders, those without a file too
    ignored  what was passed over, by reason
    """

    where: str
    folder: bool = True
    images: list[TreeFile] = field(default_factory=list)
    others: list[TreeFile] = field(default_factory=list)
    folders: set[Parts] = field(default_factory=set)
    ignored: Counter[str] = field(default_factory=Counter)

    def add(self, file: TreeFile) -> None:
        name = file.parts[-1]
        suffix = posixpath.splitext(name)[1].lower()
        if suffix in IMAGE_SUFFIXES or (not suffix and begins_as_image(file.source)):
            self.images.append(file)
        else:
            self.others.append(file)

    def set_arrays_aside(self) -> None:
        """Beside pictures, arrays are masks or features of these, and no pictures."""
        arrays = [file for file in self.images if is_array_file(file.parts[-1])]
        if len(arrays) < len(self.images):
            self.images = [file for file in self.images if not is_array_file(file.parts[-1])]
            self.others += arrays


def is_array_file(name: str) -> bool:
    return name.lower().endswith(".npy")


def begins_as_image(source: Readable) -> bool:
    """Whether a file begins as an image of a known format does."""
    try:
        if isinstance(source, Path):
            with source.open("rb") as opened:
                head = opened.read(HEAD_BYTES)
        else:
            head = source.read_bytes()[:HEAD_BYTES]
    except (OSError, ValueError, DataError):
        return False
    if head[:4] == b"RIFF":
        return head[8:12] == b"WEBP"
    if head[4:8] == b"ftyp":
        return head[8:12] in (b"avif", b"avis", *HEIF_BRANDS)
    return head.startswith(IMAGE_HEADS)


def is_litter(name: str) -> str:
    """Why a file or a folder of this name is passed over; "" where it is not."""
    if name.startswith("."):
        return to_say("hidden files and folders")
    return to_say("system files and folders (Thumbs.db, __MACOSX, …)") if name.lower() in LITTER else ""


class TreeFiles(NamedTuple):
    """The files of a tree by name, as a table among them sees them (`table_files.FileTree`)."""

    files: dict[str, Readable]

    def find(self, name: str) -> Readable | None:
        return self.files.get(name)

    def list(self) -> Iterator[Parts]:
        return (tuple(name.split("/")) for name in self.files)

    def enter(self, name: str) -> TreeFiles:
        start = f"{name}/"
        return TreeFiles({file.removeprefix(start): at for file, at in self.files.items() if file.startswith(start)})


def index_files(tree: SourceTree) -> TreeFiles:
    """All files of the tree by their names."""
    return TreeFiles({"/".join(file.parts): file.source for file in (*tree.images, *tree.others)})


class Walk(NamedTuple):
    """A folder that is to be read: its name below the top, its place, the folders that lead to it, the links."""

    parts: Parts
    folder: Path
    above: frozenset[str]
    linked: int


def read_folder_tree(folder: Path) -> SourceTree:
    """The files below a folder. It is only read.

    A link to a folder is followed, but not from within another one, and not where it leads back up; both are counted.
    Raises DataError where a folder cannot be read.
    """
    tree = SourceTree(str(folder))
    real = folder.resolve()
    waiting = [Walk((), folder, frozenset(map(str, (real, *real.parents))), 0)]
    while waiting:
        here = waiting.pop()
        waiting += list(read_one_folder(tree, here))
    tree.set_arrays_aside()
    return tree


def read_one_folder(tree: SourceTree, here: Walk) -> Iterator[Walk]:
    """Enter the files of one folder into the tree; the folders in it that are to be read."""
    for item in list_visible(here.folder, tree.ignored):
        parts = (*here.parts, item.name)
        kind = classify_item(item)
        if kind == "file":
            tree.add(TreeFile(parts, Path(item.path), here.linked))
        elif kind == "special":
            tree.ignored[to_say("pipes and devices")] += 1
        elif not item.is_symlink():
            tree.folders.add(parts)
            yield Walk(parts, Path(item.path), here.above, here.linked)
        elif (real := os.path.realpath(item.path)) in here.above:
            tree.ignored[to_say("links that lead back")] += 1
        elif here.linked:
            tree.ignored[to_say("links to folders inside class folders")] += 1
        else:
            tree.folders.add(parts)
            yield Walk(parts, Path(item.path), here.above | {real}, len(parts))


def list_visible(folder: Path, ignored: Counter[str]) -> list[os.DirEntry]:
    """What lies in a folder, by name, without hidden items and the litter that systems leave. Raises DataError."""
    items = sorted(scan_folder(folder), key=lambda item: normalise_name(item.name))
    kept = []
    for item in items:
        if reason := is_litter(item.name):
            ignored[reason] += 1
        else:
            kept.append(item)
    return kept


def scan_folder(folder: Path) -> Iterator[os.DirEntry]:
    """What lies in a folder, in the system's order. Raises DataError."""
    try:
        with os.scandir(folder) as items:
            yield from items
    except OSError as e:
        raise DataError(str(folder), say("the folder cannot be read: {why}", why=e.strerror or e)) from None


def classify_item(item: os.DirEntry) -> str:
    """ "folder", "special" for a pipe, socket or device, and "file" for all else, also for what cannot be looked at:

    that is said when it is read.
    """
    try:
        mode = item.stat().st_mode
    except OSError:
        return "file"
    return "folder" if stat.S_ISDIR(mode) else "file" if stat.S_ISREG(mode) else "special"
