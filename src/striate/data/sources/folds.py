"""A data set cut into folds, each of which in turn is the test split of a training: cross-validation."""

from __future__ import annotations

import heapq
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...errors import DataError
from ...language import say, say_count
from ...terminal import format_count
from ..images import Dataset, Images, compute_fingerprint, split_indices
from ..listing import shorten_list
from .groups import join_alike, name_groups
from .options import LoadedSource
from .split import report_missing_classes

# A class of so many images beside the fold has one at least to train on and one to validate on.
ENOUGH_TO_VALIDATE = 2
# Stands for a fold's number where no fold is left out.
ALL_FOLDS = 0


@dataclass(frozen=True, eq=False)
class CutSource:
    """A source and the fold of each image that is in one.

    images   those that are cut: what is not in a test or valid split of the source's own
    numbers  int64 N, the fold of each, 1 to `count`
    groups   int64 N, the same for images that belong together (groups.join_alike)
    """

    loaded: LoadedSource
    images: Images
    numbers: np.ndarray
    groups: np.ndarray
    count: int
    notes: tuple[str, ...]


def cut_source(loaded: LoadedSource, count: int, seed: int) -> CutSource:
    """The source with its own folds, or with folds drawn by `seed`. Raises DataError where there cannot be so many."""
    part = None if None in loaded.parts else "train"
    if part not in loaded.parts:
        raise DataError(loaded.where, say("there is no image to train on that can be read"))
    images, own = loaded.parts[part], loaded.folds.get(part, ())
    told = loaded.told.get(part, ())
    if any(own):  # a fold's name is no group within it
        told = ["" if name == fold else name for name, fold in zip(told or [""] * len(own), own, strict=True)]
    groups, note = join_alike(images, name_groups(images.files, told, loaded.group, loaded.where))
    if any(own):
        numbers, said = number_own_folds(loaded.where, own, count)
        note = report_parted(groups, numbers)
    else:
        check_class_groups(loaded.where, images, groups, count)
        numbers = draw_folds(images.y, count, seed, groups)
        said = say("cut into {count} folds, class by class, with seed {seed}", count=count, seed=seed)
    notes = [*loaded.notes, said, *([note] if note else []), *describe_own_splits(loaded)]
    return CutSource(loaded, images, numbers, groups, count, tuple(notes))


def number_own_folds(where: str, own: Sequence[str], count: int) -> tuple[np.ndarray, str]:
    """The number of each image's fold by the source's own folds, and a note. Raises DataError for another count."""
    names = sorted(set(own), key=order_naturally)
    if "" in names:
        what = say(
            "{images} of {count:,} have no fold, and the others have one",
            images=format_count(list(own).count(""), "image"),
            count=len(own),
        )
        raise DataError(where, what, rule=say("all images or none"))
    if len(names) != count:
        what, got = say("the source has {folds} of its own", folds=format_count(len(names), "fold")), f"--folds {count}"
        hint = say("--folds {count} takes them", count=len(names)) if len(names) > 1 else None
        raise DataError(where, what, got=got, rule=shorten_list(tuple(names)), hint=hint)
    places = {name: place for place, name in enumerate(names, 1)}
    return np.array([places[name] for name in own]), say(
        "the source's own {count} folds: {names}", count=count, names=shorten_list(tuple(names))
    )


def order_naturally(name: str) -> list[tuple[int, int | str]]:
    """Words by letters and numbers by size: fold2 before fold10."""
    return [(0, int(word)) if word.isdecimal() else (1, word) for word in re.split(r"(\d+)", name) if word]


def report_parted(groups: np.ndarray, numbers: np.ndarray) -> str:
    """How many images belong together with some of another fold, in a sentence; "" where none do."""
    _, places = np.unique(groups, return_inverse=True)
    pairs = np.unique(np.stack([places, numbers]), axis=1)[0]
    count = int(np.isin(places, np.flatnonzero(np.bincount(pairs) > 1)).sum())
    if not count:
        return ""
    return say_count(
        "{n:,} image has a copy, a near duplicate or another of the same group in another of these folds",
        "{n:,} images have a copy, a near duplicate or another of the same group in another of these folds",
        count,
    )


def check_class_groups(where: str, images: Images, groups: np.ndarray, count: int) -> None:
    """Raise DataError where a class cannot be in each fold."""
    pairs = np.unique(np.stack([images.y, groups]), axis=1)[0]
    have = np.bincount(pairs, minlength=len(images.classes))
    least = int(have.argmin())
    if have[least] >= count:
        return
    several = len(pairs) < len(images)
    found = say("{count} groups of images", count=have[least]) if several else format_count(int(have[least]), "image")
    what = say("class {name} cannot be in each of {count} folds", name=images.classes[least], count=count)
    rule = say("{count} images a class, one for each fold", count=count)
    if several:
        rule = say("{count} groups of images a class, one for each fold", count=count)
    hint = f"--folds {have[least]}" if have[least] > 1 else say("more images of {name}", name=images.classes[least])
    raise DataError(where, what, got=found, rule=rule, hint=hint)


def describe_own_splits(loaded: LoadedSource) -> list[str]:
    """What becomes of the splits that the source has."""
    notes = []
    if "test" in loaded.parts:
        count = format_count(len(loaded.parts["test"]), "image")
        notes.append(say("the source's own test split, {count}, is in no fold and stays untouched", count=count))
    if "valid" in loaded.parts:
        notes.append(
            say(
                "the source's own valid split, {images}, validates each fold",
                images=format_count(len(loaded.parts["valid"]), "image"),
            )
        )
    return notes


def draw_folds(y: np.ndarray, count: int, seed: int, groups: np.ndarray) -> np.ndarray:
    """The fold of each image, 1 to `count`, drawn by `seed`: each class as even as its groups allow, no group parted.

    Groups of several images come first, the largest ahead, each into the fold where the classes' shares grow least
    uneven (their squares); then the images that are alone, class by class, each into the fold that has fewest of its
    class, and of equal ones fewest in all. Where all are alone, a class differs by one image at most between folds,
    and so does the whole.

    >>> draw_folds(np.array([0, 0, 0, 1, 1, 1]), 3, 0, np.arange(6)).tolist()
    [2, 3, 1, 1, 3, 2]
    """
    labels = np.unique(y, return_inverse=True)[1]
    _, ids, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(y))
    numbers = np.zeros(len(y), np.int64)
    have = place_groups(numbers, labels, ids, order, count)
    place_lone_images(numbers, labels, order[sizes[ids[order]] == 1], have)
    return numbers


def place_groups(numbers: np.ndarray, labels: np.ndarray, ids: np.ndarray, order: np.ndarray, count: int) -> np.ndarray:
    """Put the fold of each image of a group of several into `numbers`; int count×K, the images of each class there."""
    totals, sizes = np.bincount(labels), np.bincount(ids)
    have = np.zeros((count, len(totals)), np.int64)
    members = np.split(np.argsort(ids, kind="stable"), np.cumsum(sizes)[:-1])
    several = [int(group) for group in dict.fromkeys(ids[order].tolist()) if sizes[group] > 1]
    for group in sorted(several, key=lambda group: -sizes[group]):
        taken = np.bincount(labels[members[group]], minlength=len(totals))
        growth = (have * taken / totals**2.0).sum(1)
        fold = int(np.lexsort((have.sum(1), growth))[0])
        have[fold] += taken
        numbers[members[group]] = fold + 1
    return have


def place_lone_images(numbers: np.ndarray, labels: np.ndarray, order: np.ndarray, have: np.ndarray) -> None:
    """Put the fold of each image of `order`, which are in no group, into `numbers`, where the folds `have` others."""
    whole = have.sum(1)
    for label in range(have.shape[1]):
        rows = order[labels[order] == label]
        waiting = [(int(have[fold, label]), int(whole[fold]), fold) for fold in range(len(have))]
        heapq.heapify(waiting)
        for row in rows.tolist():
            own, others, fold = waiting[0]
            heapq.heapreplace(waiting, (own + 1, others + 1, fold))
            numbers[row] = fold + 1
        whole += np.bincount(numbers[rows] - 1, minlength=len(have))


def take_fold(cut: CutSource, number: int, seed: int, valid_share: float = 0.1) -> Dataset:
    """The Dataset that is tested on fold `number`. Raises DataError where nothing is left to validate on.

    number       ALL_FOLDS: it is not tested, and learns from every fold
    valid_share  of all images, which validate where the source has no valid split of its own; 0: none do
    """
    loaded, images, whole = cut.loaded, cut.images, number == ALL_FOLDS
    test, rest = images.take(np.flatnonzero(cut.numbers == number)), np.flatnonzero(cut.numbers != number)
    valid, stays = loaded.parts.get("valid"), rest
    if valid is None and not valid_share:
        valid = images.take(np.arange(0))
    if valid is None:
        share = valid_share if whole else valid_share * cut.count / (cut.count - 1)
        sure = np.flatnonzero(np.bincount(images.y[rest]) >= ENOUGH_TO_VALIDATE).tolist()
        stay, gone = split_indices(images.y[rest], share, seed, sure, groups=cut.groups[rest])
        valid, stays = images.take(rest[gone]), rest[stay]
    train = images.take(stays)
    if not len(valid) and valid_share:
        what, got = (
            say("there are too few images to set some aside for validation"),
            say("{count} images", count=len(train)),
        )
        raise DataError(loaded.where, what, got=got, rule=say("a class with two images or more beside the fold"))
    missing = ((train, "train"), *([(valid, "validate")] if len(valid) else []), *([] if whole else [(test, "test")]))
    notes = [*cut.notes, *filter(None, (report_missing_classes(part, doing) for part, doing in missing))]
    if loaded.skipped:
        notes.append(say("skipped: {files} that cannot be read", files=format_count(len(loaded.skipped), "file")))
    held_out = None if whole else test
    mark = compute_fingerprint(train=train, valid=valid, test=held_out)
    return Dataset(
        loaded.name, train, valid, held_out, loaded.skipped, mark, tuple(notes), loaded.level, loaded.read_as,
        loaded.depth, drawn_valid="valid" not in loaded.parts,
    )  # fmt: skip
