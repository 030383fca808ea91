"""Which images belong together, so that no split parts them: copies, near duplicates, and what the user names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import chain, pairwise
from typing import NamedTuple

import numpy as np

from ...errors import DataError
from ...language import join_texts, say
from ...terminal import format_count
from ..check.near_duplicates import SMALL_SIDE, connect_pairs, find_blank, find_near_pairs, make_thumbnail
from ..images import Images
from ..read.bands import show_bands
from ..reading import NAMES_MARK
from ..store.array_pixels import convert_channels

MOST_ALIKE = 20_000  # pictures whose every pair is compared
# A group by likeness alone that holds more of all images, or of a class, is a chain of pictures that are merely plain.
MOST_OF_ALL, MOST_OF_CLASS = 0.1, 0.5
# Roboflow's augmented copies of one picture: NAME_jpg.rf.HASH.jpg.
AUGMENTED = re.compile(r"^(.*)\.rf\.[0-9a-zA-Z]+\.\w+$")


class Together(NamedTuple):
    """ids  int64 N, the same for images that belong together; note  what was found, "" where nothing was."""

    ids: np.ndarray
    note: str = ""


def name_groups(
    files: Sequence[str], told: Sequence[str], group: str | tuple[str, ...] | None, where: str
) -> list[str]:
    """What each image's group is called: as `told` by names that were given or by the table's column that `group`
    names, or where none is told, by it as a regular expression on the file's name; else by an augmented copy's name. ""
    says nothing.

    Raises DataError for an expression that does not fit all names, or fits all of them alike, and for names that are
    not told.
    """
    if group and not any(told):
        if isinstance(group, tuple) or group.startswith(NAMES_MARK):
            raise explain_lost_names(where, group)
        return match_groups(files, group, where)
    return [name or name_original(file) for file, name in zip(files, told or [""] * len(files), strict=True)]


def explain_lost_names(where: str, group: str | tuple[str, ...]) -> DataError:
    if isinstance(group, str):
        what = say("the groups were given as names, one for each image, which are kept nowhere")
        return DataError(where, what, hint=say("give the same names again, in Python as group="))
    what = say(
        "names of groups are for arrays and for files and labels in two lists: this source has an order of its own"
    )
    return DataError(where, what, hint=say("a regular expression on the file names, or a table's column"))


def check_group_names(names: Sequence[str], images: int, where: str) -> None:
    """Raise DataError where there is not one for each image that may be split."""
    if len(names) != images:
        what, got = (
            say("each image to be split needs the name of one group"),
            say("{count:,} names for {images:,} images", count=len(names), images=images),
        )
        raise DataError(where, what, got=got, hint=say('"" for an image that is in none'))


def name_original(file: str) -> str:
    """
    >>> name_original("train/cat/a_jpg.rf.0123abcd.jpg"), name_original("train/cat/a.jpg")
    ('train/cat/a_jpg', '')
    """
    found = AUGMENTED.match(file)
    return found[1] if found else ""


def match_groups(files: Sequence[str], pattern: str, where: str) -> list[str]:
    """The part of each name that the pattern's first brackets match, or the whole match. Raises DataError."""
    example = say("names such as {name}", name=files[0])
    try:
        compiled = re.compile(pattern)
    except re.error as e:
        raise DataError(
            "group",
            say("this is no regular expression, nor a column: {complaint}", complaint=e),
            got=pattern,
            rule=example,
        ) from None
    found = [compiled.search(file) for file in files]
    missed = [file for file, match in zip(files, found, strict=True) if match is None]
    if missed:
        what = say(
            "the group's expression does not fit {count:,} of {names}",
            count=len(missed),
            names=format_count(len(files), "name"),
        )
        hint = say("--group '([^/_]+)_' takes what stands before the first underscore of the file's name")
        raise DataError(where, what, got=missed[0], rule=f"--group {pattern}", hint=hint)
    names = [match[1] if compiled.groups else match[0] for match in found if match]
    if len(set(names)) < 2:
        what = say("all images are in one group, so there is nothing to split")
        raise DataError(
            where, what, got=names[0], rule=say("--group {pattern}, on {example}", pattern=pattern, example=example)
        )
    return [f"={name}" for name in names]


def join_alike(images: Images, named: Sequence[str] = ()) -> Together:
    """The groups of images: those of one name, byte-identical pixels, and pictures that look the same.

    Two pictures look the same as in an audit (check.near_duplicates); below 32 pixels a side, and of more than 20,000,
    only exact copies do. Where likeness would chain much of the data together, exact copies alone count, which the note
    says. Images that are decoded at one size: a picture and its resized copy are alike too.
    """
    n = len(images)
    exact, near = list(chain_equal(images.digests)), find_alike(images)
    names = list(chain_equal([name or None for name in named]))
    for pairs, more in (
        ([*exact, *near], ""),
        (exact, say("what merely looks alike is not kept together: too much does")),
    ):
        if not is_chained(number_groups(pairs, n), images.y):
            return describe_groups(number_groups([*names, *pairs], n), names, more)
    return describe_groups(
        number_groups(names, n), names, say("copies are not kept together: too many images are copies")
    )


def chain_equal(marks: Sequence[object]) -> list[tuple[int, int]]:
    """Pairs that connect all places of an equal mark; None is equal to nothing."""
    places: dict[object, list[int]] = {}
    for place, mark in enumerate(marks):
        if mark is not None:
            places.setdefault(mark, []).append(place)
    return list(chain.from_iterable(pairwise(found) for found in places.values()))


def find_alike(images: Images) -> list[tuple[int, int]]:
    _, h, w, _ = images.x.shape
    if min(h, w) < SMALL_SIDE or not 1 < len(images) <= MOST_ALIKE:
        return []
    thumbs = np.stack([make_thumbnail(convert_channels(show_bands(image), 1)[..., 0]) for image in images.x])
    shown = np.flatnonzero(~find_blank(thumbs))
    return [(int(shown[a]), int(shown[b])) for a, b in find_near_pairs(thumbs[shown])] if len(shown) > 1 else []


def number_groups(pairs: Sequence[tuple[int, int]], n: int) -> np.ndarray:
    """Each place's group: the least place in it."""
    ids = np.arange(n)
    for members in connect_pairs(iter(pairs), n):
        ids[members] = members[0]
    return ids


def is_chained(ids: np.ndarray, y: np.ndarray) -> bool:
    """Whether one group holds so much that no split could be drawn around it."""
    sizes = Counter(ids.tolist())
    largest, count = sizes.most_common(1)[0]
    members = y[ids == largest]
    shares = np.bincount(members, minlength=int(y.max()) + 1) / np.maximum(1, np.bincount(y))
    return count > 2 and (count > max(2.0, MOST_OF_ALL * len(y)) or bool(shares.max() > MOST_OF_CLASS))


def describe_groups(ids: np.ndarray, names: Sequence[object], more: str = "") -> Together:
    sizes = Counter(ids.tolist())
    several = [count for count in sizes.values() if count > 1]
    if not several:
        return Together(ids, more)
    kinds = say("named groups, copies and near duplicates") if names else say("copies and near duplicates")
    said = say(
        "kept on one side of the split: {images:,} images in {groups} of {kinds}",
        images=sum(several), groups=format_count(len(several), "group"), kinds=kinds,
    )  # fmt: skip
    return Together(ids, join_texts("; ", [said, more]) if more else said)
