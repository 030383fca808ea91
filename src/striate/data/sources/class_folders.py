"""Each image's class, by the folder that it lies in or by its own name."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain

from ...errors import DataError
from ...language import say, to_say
from ..listing import SPLIT_ORDER, Entry, escape_name, normalise_name, shorten_list
from ..reading import Reading
from .nodes import Branch, FolderNode, Understood
from .tree import Parts, TreeFile

# A file's name that says its class: words, then a number.
NAMED_CLASS = re.compile(r"([^\W\d_]+(?:[ _.-]+[^\W\d_]+)*?)[ _.-]*\(?\d")
LEAST_OF_NAMED = 2  # images that such a class must have


def says_class(names: Sequence[str]) -> bool:
    """Whether files' names are of two classes or more, each of several images."""
    found = Counter(filter(None, map(read_named_class, names)))
    return len(found) >= 2 and min(found.values()) >= LEAST_OF_NAMED and found.total() == len(names)


def place_by_folders(seen: Understood, branches: Sequence[Branch], reading: Reading) -> None:
    """Enter the images of the branches, each of the class that its folder at the classes' level says."""
    depth = reading.depth or choose_depth(seen, branches)
    if depth < 1:
        raise DataError("depth", say("the folder level of the classes counts from 1"), got=depth, hint="--depth 1")
    for branch in branches:
        place_branch(seen, branch, depth)
    told = say("class folders") if depth == 1 else say("class folders {depth} levels down", depth=depth)
    seen.told.insert(0, told)


def place_branch(seen: Understood, branch: Branch, depth: int) -> None:
    """Enter one branch's images, class by class."""
    for way, node in list_folders_at(branch.node, depth):
        label = normalise_name(way[-1])
        files = list(node.walk())
        made = [make_entry(file, label, branch) for file in files if file.linked <= len(branch.path) + depth]
        seen.links |= {file.parts[: file.linked] for file in files if file.linked > len(branch.path) + depth}
        seen.entries += sorted(made, key=lambda entry: entry.file)
    seen.drop(to_say("images outside the class folders"), list_above(branch.node, depth))


def list_folders_at(node: FolderNode, depth: int, way: Parts = ()) -> Iterator[tuple[Parts, FolderNode]]:
    """The folders so many levels below a node, with the way to each."""
    for name, child in node.children.items():
        if depth == 1:
            yield (*way, name), child
        else:
            yield from list_folders_at(child, depth - 1, (*way, name))


def list_above(node: FolderNode, depth: int) -> Iterator[TreeFile]:
    """The images that lie above the folders of that level."""
    yield from node.files
    if depth > 1:
        for child in node.children.values():
            yield from list_above(child, depth - 1)


def make_entry(file: TreeFile, label: str, branch: Branch) -> Entry:
    return Entry(escape_name("/".join(file.parts)), file.source, label, branch.split, None, branch.fold, branch.fold)


def choose_depth(seen: Understood, branches: Sequence[Branch]) -> int:
    """The level of the class folders: 1, or 2 where those of the first level only sort them. Raises DataError where
    both may be.
    """
    uppers = list(chain.from_iterable(branch.node.children.items() for branch in branches))
    if not uppers or any(node.files for _, node in uppers):
        return 1
    upper = sorted({name for name, _ in uppers})
    lower = Counter(
        lower for name in upper for lower in {sub for own, node in uppers if own == name for sub in node.children}
    )
    if len(lower) == 1 or len(upper) == 1 == len(branches):
        return 1
    numbered, below = is_numbered(upper), is_numbered(list(lower))
    if below and not numbered:
        return 1
    repeated = max(lower.values()) > 1
    if not below and (numbered or not repeated):
        seen.notes.append(
            say("the classes are the folders at level 2; --depth 1 takes {names}", names=shorten_list(tuple(upper), 4))
        )
        return 2
    first, second = shorten_list(tuple(upper), 4), shorten_list(tuple(sorted(lower)), 4)
    got = say("level 1: {first}; level 2: {second}", first=first, second=second)
    what = say("the folders of two levels may be the classes")
    raise DataError(seen.where, what, got=got, hint=say("--depth 1 or --depth 2 says which"))


def is_numbered(names: Sequence[str]) -> bool:
    """Whether most names have digits: sessions, dates, patients."""
    return 2 * sum(any(sign.isdecimal() for sign in name) for name in names) > len(names)


def place_by_names(seen: Understood, branches: Sequence[Branch]) -> None:
    """Enter the images of the branches, each of the class that its own name says. Raises DataError where too few do."""
    for branch in branches:
        for file in branch.node.walk():
            label = read_named_class(file.parts[-1])
            if label:
                seen.entries.append(make_entry(file, normalise_name(label), branch))
            else:
                seen.drop(to_say("images whose names say no class"), [file])
    counts = Counter(entry.label for entry in seen.entries)
    if len(counts) < 2 or min(counts.values()) < LEAST_OF_NAMED:
        got = ", ".join(f"{label} ({count})" for label, count in counts.most_common(4)) or say("none")
        rule = say(
            "two classes or more, each of {least} images or more, as in cat.0.jpg and dog_12.png", least=LEAST_OF_NAMED
        )
        raise DataError(seen.where, say("the files' names do not say their classes"), got=got, rule=rule)
    seen.entries.sort(key=lambda entry: (SPLIT_ORDER.index(entry.split), entry.label, entry.file))
    seen.told.insert(0, say("classes from the files' names"))


def read_named_class(name: str) -> str | None:
    """The class that a file's name begins with, before a number.

    >>> [read_named_class(name) for name in ("cat.0.jpg", "Great Dane (12).png", "dog_7_b.jpg", "IMG.jpg", "12.jpg")]
    ['cat', 'Great Dane', 'dog', None, None]
    """
    found = NAMED_CLASS.match(name)
    return found[1] if found else None
