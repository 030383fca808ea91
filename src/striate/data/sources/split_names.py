"""What a folder's name says of its part in a data set: a split, a fold, a part of many, or none of these."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import NamedTuple

from ..listing import SPLIT_NAMES

# Words that say nothing of which part it is.
FILLER_WORDS = frozenset(
    "set sets data dataset split splits subset folder dir image images img imgs pic pics picture pictures photo photos "
    "sample samples jpg jpeg png the of class classes label labels labelled labeled".split()
)
FOLD_WORDS = frozenset(("fold", "folds", "kfold", "cv"))
PART_WORDS = frozenset("part parts chunk chunks batch batches shard shards piece volume vol disc disk".split())
JOINED_WORDS = {"hold out": "holdout", "held out": "heldout"}


class FolderRole(NamedTuple):
    """kind  "split", "fold" or "part"; split  which, "train", "valid" or "test"."""

    kind: str
    split: str | None = None


def list_words(name: str) -> list[str]:
    """A name's words in small letters, and its numbers: parted by what is no letter, by capitals and by digits.

    >>> list_words("trainImages_2"), list_words("seg-TEST"), list_words("Hold_Out")
    (['train', 'images', '2'], ['seg', 'test'], ['holdout'])
    """
    found = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_A-Za-z]+", name)
    text = " ".join(word.lower() for word in found)
    for apart, together in JOINED_WORDS.items():
        text = text.replace(apart, together)
    return text.split()


def find_roles(names: Collection[str]) -> dict[str, FolderRole]:
    """The roles of the folders that stand side by side, by name; a folder without one is not there.

    A split's name says train, valid or test in one of their words, and beside it nothing but words that mean nothing,
    numbers, or what all such names of the folder share: seg_train, seg_test. "train_station" and "test_tube" are none.

    >>> {name: role.split for name, role in find_roles(["seg_train", "seg_test", "seg_pred"]).items()}
    {'seg_train': 'train', 'seg_test': 'test'}
    >>> find_roles(["train_station", "test_tube"]), find_roles(["fold_0", "fold_1"])["fold_1"].kind
    ({}, 'fold')
    """
    told = {name: name_split(name) for name in names}
    found: dict[str, FolderRole] = {}
    others = {name: rest for name, (split, rest) in told.items() if split}
    shared = len(set(others.values())) == 1 and len(others) > 1
    for name, (split, rest) in told.items():
        words = {word for word in list_words(name) if not word.isdecimal()} - FILLER_WORDS
        if split and (not rest or shared):
            found[name] = FolderRole("split", split)
        elif words and words <= FOLD_WORDS:
            found[name] = FolderRole("fold")
        elif words & PART_WORDS and all(len(word) == 1 for word in words - PART_WORDS):
            found[name] = FolderRole("part")
    return found


def name_split(name: str) -> tuple[str | None, frozenset[str]]:
    """The split of which a name speaks, if it is one, and its other words that mean something."""
    words = {word for word in list_words(name) if not word.isdecimal()} - FILLER_WORDS
    splits = {SPLIT_NAMES[word] for word in words if word in SPLIT_NAMES}
    rest = frozenset(word for word in words if word not in SPLIT_NAMES)
    return (splits.pop() if len(splits) == 1 else None), rest


def find_split_word(name: str) -> str | None:
    """The split of which a folder's or a table's name speaks, whatever else it says.

    >>> [find_split_word(name) for name in ("train_images", "Test", "labels-val.csv", "trainer", "cats")]
    ['train', 'test', 'valid', None, None]
    """
    return name_split(name)[0]


def find_pure_splits(names: Iterable[str]) -> dict[str, str]:
    """The split of each name, where all of them are splits' names; else nothing."""
    told = list(names)
    roles = find_roles(told)
    if not told or len(roles) < len(told) or any(role.kind != "split" for role in roles.values()):
        return {}
    return {name: str(role.split) for name, role in roles.items()}
