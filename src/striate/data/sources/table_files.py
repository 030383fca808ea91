"""The image files that a table's cells name: exactly, by the end of their path, without suffix, or as on Windows."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from ..listing import Readable
from ..read.decode import IMAGE_SUFFIXES
from .tree import Parts, is_array_file

SAMPLED_CELLS = 300  # of a column, by which the way from its cells to files is found


def take_sample(cells: Sequence[str]) -> Sequence[str]:
    """Some 300 of many cells, evenly spread."""
    return cells[:: max(1, len(cells) // SAMPLED_CELLS)]


class FileTree(Protocol):
    """The files below a folder, wherever it lies.

    find   what holds the bytes of a file of this name below it, None where there is none
    list   the names of all files, as parts
    enter  the files below a folder of it
    """

    def find(self, name: str) -> Readable | None: ...

    def list(self) -> Iterator[Parts]: ...

    def enter(self, name: str) -> FileTree: ...


class FolderTree(NamedTuple):
    """The files below a folder of the disk."""

    folder: Path

    def enter(self, name: str) -> FolderTree:
        return FolderTree(self.folder / name)

    def find(self, name: str) -> Path | None:
        path = self.folder / name
        try:
            return path if os.path.isfile(path) else None
        except ValueError:  # a NUL in the name
            return None

    def list(self) -> Iterator[Parts]:
        """Hidden folders are left out; a link to a folder is followed, but never twice to the same one."""
        seen: set[str] = set()
        waiting: list[Parts] = [()]
        while waiting:
            here = waiting.pop()
            real = os.path.realpath(self.folder.joinpath(*here))
            if real in seen:
                continue
            seen.add(real)
            try:
                items = sorted(os.scandir(real), key=lambda item: item.name)
            except OSError:
                continue
            for item in items:
                if item.name.startswith("."):
                    continue
                if item.is_dir():
                    waiting.append((*here, item.name))
                else:
                    yield (*here, item.name)


class Match(NamedTuple):
    """How the cells of a column lead to files.

    found    for each cell the names of the files that it may mean, below the tree's folder
    dropped  how many leading folders of a cell are not the tree's; None where each cell is a file's path as it stands
    """

    found: list[list[str]]
    dropped: int | None

    @property
    def files(self) -> int:
        """How many different files are meant."""
        return len({names[0] for names in self.found if names})


class FileFinder:
    """Finds the files that cells name in a tree; the tree is walked when a cell first names none exactly.

    suffix  what is to be put behind every cell; None puts an image's suffix behind those that have none, if need be
    """

    def __init__(self, tree: FileTree, suffix: str | None = None):
        self.tree = tree
        self.suffix = f".{suffix}" if f".{suffix}".lower() in IMAGE_SUFFIXES else suffix or ""
        self.names: dict[str, list[Parts]] | None = None

    def match_column(self, cells: Sequence[str]) -> Match:
        """The files that a sample of a column's cells names, each by the same way: that by which most are found.

        Where half of them are there exactly, the tree is not walked. No folders are dropped that tell two of all cells
        apart: cat/1.jpg is not to be found as dog/1.jpg.
        """
        sample = take_sample(cells)
        exact = self.match_cells(sample, None)
        if exact.files * 2 >= len(set(sample)):
            return exact
        paths = {split_path(cell) for cell in cells}
        most = max(map(len, paths), default=0)
        ways = [way for way in range(most) if len({path[way:] for path in paths}) == len(paths)]
        return max([exact, *(self.match_cells(sample, way) for way in ways)], key=lambda match: match.files)

    def match_cells(self, cells: Sequence[str], dropped: int | None) -> Match:
        """The files that cells name by this way (`Match.dropped`)."""
        wanted = [cell + self.suffix if cell else "" for cell in cells]
        if dropped is None:
            return Match([self.find_exactly(cell) for cell in wanted], None)
        ends = [split_path(cell)[dropped:] for cell in wanted]
        return Match(keep_common_folder([self.find_by_end(end) for end in ends], list(map(len, ends))), dropped)

    def find_exactly(self, cell: str) -> list[str]:
        """The file of this path; where there is none, of the path as Windows writes it, or with its suffix in other
        letters. On Linux a name may hold a backslash.
        """
        for name in dict.fromkeys((cell, cell.replace("\\", "/"))):
            stem, suffix = os.path.splitext(name)
            others = (stem + suffix.lower(), stem + suffix.upper()) if suffix.lower() in IMAGE_SUFFIXES else ()
            found = next((form for form in (name, *others) if form and self.tree.find(form) is not None), None)
            if found is not None:
                return [found]
        return []

    def find_by_end(self, parts: Parts) -> list[str]:
        """The files whose path ends so; an image's suffix may be in other letters, or, where there is none, any."""
        if not parts:
            return []
        if self.names is None:
            self.names = index_names(self.tree.list())
        *folders, name = parts
        alike = self.names.get(fold_suffix(name)) or self.names.get(mark_number(name), [])
        return sorted(
            "/".join(path)
            for path in alike
            if [compose_name(part) for part in path[-len(parts) : -1]] == list(map(compose_name, folders))
        )

    def find_other_suffix(self, cell: str) -> str | None:
        """A file that is called as the cell says but for its suffix."""
        stem = os.path.splitext(split_path(cell)[-1])[0] if split_path(cell) else ""
        return next(iter(self.find_by_end((stem,))), None) if stem else None


def index_names(paths: Iterable[Parts]) -> dict[str, list[Parts]]:
    """The image files by their name, its suffix in small letters, and by their name without suffix.

    Those called by a number with leading zeros also by that number, for spreadsheets take the zeros away. A name
    without suffix is no array's beside pictures, whose mask or feature that is.
    """
    found: dict[str, list[Parts]] = {}
    images = [(path, fold_suffix(path[-1])) for path in paths]
    images = [(path, name) for path, name in images if os.path.splitext(name)[1] in IMAGE_SUFFIXES]
    pictures = any(not is_array_file(name) for _, name in images)
    for path, name in images:
        stem = os.path.splitext(name)[0]
        found.setdefault(name, []).append(path)
        if not (pictures and is_array_file(name)):
            found.setdefault(stem, []).append(path)
            if stem.isdecimal() and stem.startswith("0"):
                found.setdefault(mark_number(stem), []).append(path)
    return found


def keep_common_folder(found: list[list[str]], lengths: list[int]) -> list[list[str]]:
    """The files that each cell may mean, `lengths` parts of whose names the cells say: where a cell may mean several,
    and one folder alone holds files of all cells, those in it.

    >>> keep_common_folder([["test/1.jpg", "train/1.jpg"], ["train/2.jpg"], []], [1, 1, 1])
    [['train/1.jpg'], ['train/2.jpg'], []]
    """
    if all(len(names) < 2 for names in found):
        return found
    places = [
        {name: "/".join(name.split("/")[:-length]) for name in names}
        for names, length in zip(found, lengths, strict=True)
    ]
    common = set.intersection(*(set(folders.values()) for folders in places if folders))
    if len(common) != 1:
        return found
    return [[name for name, folder in folders.items() if folder in common] for folders in places]


def mark_number(name: str) -> str:
    """A number without leading zeros, as no file is called.

    >>> mark_number("007"), mark_number("7"), mark_number("x7")
    ('/7', '/7', '/x7')
    """
    return f"/{int(name)}" if name.isdecimal() else f"/{name}"


def split_path(cell: str) -> Parts:
    """A path's parts, as Windows or others write it.

    >>> split_path("C:\\\\photos\\\\cat\\\\1.jpg"), split_path("./a//1.jpg")
    (('C:', 'photos', 'cat', '1.jpg'), ('a', '1.jpg'))
    """
    return tuple(part for part in cell.replace("\\", "/").split("/") if part not in ("", "."))


def fold_suffix(name: str) -> str:
    """A file's name with an image's suffix in small letters, as composed Unicode (NFC)."""
    stem, suffix = os.path.splitext(compose_name(name))
    return stem + suffix.lower() if suffix.lower() in IMAGE_SUFFIXES else stem + suffix


def compose_name(name: str) -> str:
    return unicodedata.normalize("NFC", name)
