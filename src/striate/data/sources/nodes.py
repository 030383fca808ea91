"""The folders of a data set that hold images, one in the other, and what is found out about them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from ...language import say
from ..listing import Entry, keep_reason, normalise_name
from .tree import Parts, TreeFile


@dataclass
class FolderNode:
    """A folder: the folders in it and the images right in it. `count`: all images below."""

    children: dict[str, FolderNode] = field(default_factory=dict)
    files: list[TreeFile] = field(default_factory=list)
    count: int = 0

    def walk(self) -> Iterator[TreeFile]:
        """All images below, folder by folder."""
        yield from self.files
        for child in self.children.values():
            yield from child.walk()


class Branch(NamedTuple):
    """A folder whose folders may be classes: at `path`, of one split or of none, of one fold or of none."""

    path: Parts
    node: FolderNode
    split: str | None = None
    fold: str = ""


@dataclass
class Understood:
    """What is found on the way.

    dropped  images that belong to no class or split, by reason
    links    the links to folders within class folders, which are not followed
    notes    what was decided, a sentence each
    told     how the folders were understood, for the line that is shown first
    """

    where: str
    entries: list[Entry] = field(default_factory=list)
    dropped: dict[str, list[TreeFile]] = field(default_factory=dict)
    links: set[Parts] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)

    def drop(self, reason: str, files: Iterable[TreeFile]) -> None:
        if found := list(files):
            self.dropped.setdefault(keep_reason(reason), []).extend(found)


def build_node(files: Iterable[TreeFile]) -> FolderNode:
    """The folders that hold images. A folder of one folder of its own name is that one: cat/cat/1.jpg is cat/1.jpg."""
    top = FolderNode()
    for file in files:
        node = top
        node.count += 1
        for part in file.parts[:-1]:
            node = node.children.setdefault(part, FolderNode())
            node.count += 1
        node.files.append(file)
    return fold_repeats(top)


def order_parts(file: TreeFile) -> list[str]:
    return [normalise_name(part) for part in file.parts]


def fold_repeats(node: FolderNode) -> FolderNode:
    for name, child in node.children.items():
        child = fold_repeats(child)
        while list(child.children) == [name] and not child.files:
            child = child.children[name]
        node.children[name] = child
    return node


def join_names(names: Iterable[str]) -> str:
    """
    >>> join_names(["train/"]), join_names(["train/", "val/", "test/"])
    ('train/', 'train/, val/ and test/')
    """
    *first, last = names
    return say("{first} and {last}", first=", ".join(first), last=last) if first else last
