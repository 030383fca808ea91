"""What a source holds before any picture is decoded: a file, a label and a split to each image."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import NamedTuple, Protocol

from ..errors import DataError, suggest_name
from ..language import Text, join_texts, render_text, say

# Words that name a split, in small letters.
SPLIT_NAMES = {
    **dict.fromkeys("train training trn trainset trainingset".split(), "train"),
    **dict.fromkeys("val valid validation validate vali dev development devel".split(), "valid"),
    **dict.fromkeys("valset validset validationset devset".split(), "valid"),
    **dict.fromkeys("test testing tst testset testingset eval evaluation evalset holdout heldout".split(), "test"),
}


# The order of a listing's entries: those of no split first.
SPLIT_ORDER = (None, "train", "valid", "test")


class Readable(Protocol):
    """A file, or what holds a file's bytes otherwise."""

    def read_bytes(self) -> bytes: ...


class Entry(NamedTuple):
    """One labelled image file. `file` is its name for people, `split` is "train", "valid", "test" or None.

    path   what holds its bytes: a Path, or a place in a larger file
    shard  the number of the shard that it lies in, where the source is shards
    group  what it shares with other images that must lie in the same split; "" where nothing is said
    fold   the source's own fold that it is in, for cross-validation; "" where there is none
    """

    file: str
    path: Readable
    label: str
    split: str | None
    shard: int | None = None
    group: str = ""
    fold: str = ""


class Member(NamedTuple):
    """An image file inside a larger one that is not compressed: `size` bytes of `path` from `start` on."""

    path: Path
    start: int
    size: int

    def read_bytes(self) -> bytes:
        with open(self.path, "rb") as opened:
            opened.seek(self.start)
            return opened.read(self.size)


@dataclass(frozen=True, eq=False)
class HubFile:
    """An image file's bytes in some library's keeping. `key` changes when they do."""

    key: str
    read: Callable[[], bytes]

    def read_bytes(self) -> bytes:
        return self.read()


@dataclass(frozen=True)
class Listing:
    """The image files of a source, in a fixed order.

    name     the source, for messages
    entries  sorted by split, class and file
    ignored  what was passed over, counted by reason
    notes    the same and other decisions, as sentences
    read_as  how the source was understood, in a few words: "class folders in train/ and val/"
    """

    name: str
    entries: tuple[Entry, ...]
    ignored: dict[str, int]
    notes: tuple[str, ...] = ()
    read_as: str = ""

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that the source itself has, in the order train, valid, test."""
        return tuple(s for s in ("train", "valid", "test") if any(e.split == s for e in self.entries))


def order_classes(labels: list[str] | set[str]) -> tuple[str, ...]:
    """The labels once each, in the order of a network's outputs: by number where all are numbers, else by name.

    >>> order_classes(["10", "9", "10"]), order_classes(["b", "a", "B"])
    (('9', '10'), ('B', 'a', 'b'))
    """
    names = set(labels)
    if all(name.isascii() and name.isdecimal() for name in names):
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    return tuple(sorted(names))


def normalise_name(name: str) -> str:
    """A class's name, readable and as composed Unicode (NFC): macOS and Linux write "é" differently, and it is one."""
    return unicodedata.normalize("NFC", escape_name(name))


def escape_name(name: str) -> str:
    r"""A file's name with the bytes written out that are no Unicode, such as Latin-1 on Linux: no file takes them.

    >>> print(escape_name("caf\udce9.png"))
    caf\udce9.png
    """
    return name.encode("utf-8", "backslashreplace").decode()


def is_label_set(label: str) -> bool:
    """Whether it is the set of labels of a picture (`label_sets`), and not the name of its one class."""
    return label[:1] == "{" and label[-1:] == "}"


def is_number_label(label: str) -> bool:
    """Whether it stands for the number of a picture (`number_labels`), and is not the name of its class."""
    try:
        return label[:1] == "=" and isfinite(float(label[1:]))
    except ValueError:
        return False


def stand_for_others(labels: Iterable[str]) -> bool:
    """Whether all labels are sets of labels, or all are numbers: then a split may have some that train lacks."""
    given = list(labels)
    return all(map(is_label_set, given)) or all(map(is_number_label, given))


def list_classes(listing: Listing) -> tuple[str, ...]:
    """The one class order for all splits: train's, or everything's where there are no splits.

    Of sets of labels and of numbers the other splits may have some that train lacks.
    Raises DataError for a split with a class that train lacks, for a source without a train split where there are
    others, and for fewer than two classes.
    """
    splits = listing.splits
    if splits and "train" not in splits:
        what = say("there are splits, but none to train on")
        hint = say("add train, or put the class folders together: striate then splits them itself")
        raise DataError(listing.name, what, got=", ".join(splits), hint=hint)
    free = stand_for_others({e.label for e in listing.entries})
    classes = order_classes([e.label for e in listing.entries if free or e.split in ("train", None)])
    known = set(classes)
    for entry in listing.entries:
        if entry.label not in known:
            raise explain_unknown_class(listing.name, entry, classes, "train")
    return need_two_classes(listing.name, classes)


def report_similar_names(classes: tuple[str, ...]) -> tuple[str, ...]:
    """A sentence for each few classes whose names differ in capitals alone, or in spaces, _ and -.

    >>> report_similar_names(("Hot Dog", "cat", "hot_dog"))
    ('Hot Dog and hot_dog are taken as classes of their own',)
    """
    found: dict[str, list[str]] = {}
    for name in () if stand_for_others(classes) else classes:
        found.setdefault(re.sub(r"[\s_-]+", "", name.casefold()), []).append(name)
    return tuple(
        say("{names} are taken as classes of their own", names=join_texts(say(" and "), names))
        for names in found.values()
        if names[1:]
    )


def need_two_classes(where: str, classes: tuple[str, ...]) -> tuple[str, ...]:
    """The classes, if there is something to tell apart. Raises DataError."""
    if len(classes) == 1 and is_number_label(classes[0]):
        raise DataError(where, say("all numbers are the same, so there is nothing to learn"), got=classes[0][1:])
    if len(classes) < 2:
        got = say("1 class, {name}", name=classes[0]) if classes else say("no class")
        raise DataError(
            where, say("a classifier needs two classes or more"), got=got, hint=say("photos/cat/… and photos/dog/…")
        )
    return classes


def explain_unknown_class(where: str, entry: Entry, classes: tuple[str, ...], whose: str) -> DataError:
    """The error for an image whose class is not among those of `whose`."""
    place = f"{where}, {entry.split}" if entry.split else where
    rule = say("one class order for all splits, that of {whose}: {classes}", whose=whose, classes=shorten_list(classes))
    return DataError(
        place,
        say("there is a class '{label}' that {whose} lacks", label=entry.label, whose=whose),
        got=entry.file,
        rule=rule,
        hint=suggest_name(entry.label, classes),
    )


def shorten_list(names: tuple[str, ...], most: int = 10) -> str:
    shown = ", ".join(names[:most])
    return say("{names}, … ({count} in all)", names=shown, count=len(names)) if len(names) > most else shown


def keep_reason(text: str) -> str:
    """Why something was passed over, as it is written down: in English."""
    return render_text(text, "en")


def say_reason(reason: str) -> str:
    """Why something was passed over, which is written down in English, in the language spoken."""
    return render_text(reason) if isinstance(reason, Text) else say(reason)


def format_ignored(ignored: Counter[str]) -> tuple[str, ...]:
    """The ignored files and folders as sentences."""
    return tuple(
        say("ignored: {counts}", counts=say("{reason}: {count:,}", reason=say_reason(reason), count=count))
        for reason, count in sorted(ignored.items())
    )
