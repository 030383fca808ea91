"""The splits that a source lacks, drawn from it: train, valid and test, class by class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...errors import DataError
from ...language import say, say_count, to_say
from ...terminal import format_count
from ..images import Dataset, Images, compute_fingerprint, split_indices
from ..listing import shorten_list
from ..number_labels import find_tenths
from ..store.rows import Rows
from .groups import join_alike, name_groups
from .options import LoadedSource

# A class of so many images has at least one in each split that is drawn.
ENOUGH_FOR_SPLITS = 3


def divide_dataset(
    loaded: LoadedSource,
    seed: int,
    valid_share: float,
    test_share: float,
    enough: int = ENOUGH_FOR_SPLITS,
    together: bool = True,
    least_test: int = 0,
) -> Dataset:
    """The Dataset, with the splits that the source lacks drawn by `seed`, class by class.

    A class of `enough` images has one at least in each of them; larger ones are drawn as if there were no smaller.
    What belongs `together` (groups.join_alike) stays on one side; without copies the draw is the same as without this.
    A test split of fewer images than `least_test` is not drawn.
    """
    parts, notes = dict(loaded.parts), [*loaded.notes]
    whole = set(parts) <= {None, "train"}
    everything = parts.get(None, parts.get("train"))
    if everything is None:
        raise DataError(loaded.where, say("there is no image to train on that can be read"))
    train, valid, test = everything, parts.get("valid"), parts.get("test")
    tenths = find_tenths(everything.classes)
    counts = everything.counts if tenths is None else np.bincount(tenths[everything.y])
    sure = np.flatnonzero(np.array(counts) >= enough).tolist()
    groups: np.ndarray | None = None
    if together and valid is None:
        told = loaded.told.get(None, loaded.told.get("train", ()))
        groups, note = join_alike(everything, name_groups(everything.files, told, loaded.group, loaded.where))
        notes += [note] if note else []
    if whole and test_share and test_share * len(everything) >= least_test:
        # Two stay of each class, one of them to validate on.
        train, test, groups = set_apart(train, groups, test_share, seed, loaded.owned, sure, stay=2)
    if valid is None:
        share = valid_share / (1 - test_share) if whole and test is not None else valid_share
        train, valid, _ = set_apart(train, groups, share, seed, loaded.owned or whole, sure)
        sizes = say("{train} train, {valid} valid", train=len(train), valid=len(valid))
        if whole and test is not None:
            sizes = say("{sizes}, {test} test", sizes=sizes, test=len(test))
        told = UNSPLIT if whole else NO_VALID
        by = say("class by class") if tenths is None else say("tenth by tenth of its numbers")
        notes.append(say(told, sizes=sizes, by=by, seed=seed))
    elif test is None:
        notes.append(say("the source has no test split"))
    if loaded.group and parts.get("valid") is not None:
        notes.append(say("the source's own splits stay as they are: --group keeps nothing together in them"))
    if len(valid) == 0:
        what = say("there are too few images to set some aside for validation")
        got, rule = format_count(len(train), "image"), say("a class with two images or more")
        raise DataError(loaded.where, what, got=got, rule=rule)
    measured = {"train": train, "validate": valid, "test": test} if tenths is None else {}
    told = [report_missing_classes(images, doing) for doing, images in measured.items() if images]
    notes += [note for note in told if note]
    if loaded.skipped:
        notes.append(say("skipped: {files} that cannot be read", files=format_count(len(loaded.skipped), "file")))
    mark = compute_fingerprint(train=train, valid=valid, test=test)
    return Dataset(
        loaded.name, train, valid, test, loaded.skipped, mark, tuple(notes), loaded.level, loaded.read_as, loaded.depth,
        drawn_valid="valid" not in loaded.parts,
    )  # fmt: skip


def report_missing_classes(images: Images, doing: str) -> str:
    """The classes of which a split has no image, in a sentence; "" where it has one of each."""
    empty = tuple(name for name, count in zip(images.classes, images.counts, strict=True) if not count)
    if not empty:
        return ""
    said = say(MISSING[doing], classes=shorten_list(empty))
    if doing == "train":
        return said
    return say_count("{said}: it is not measured there", "{said}: they are not measured there", len(empty), said=said)


UNSPLIT = to_say("the source is not split: split into {sizes}, {by}, with seed {seed}")
NO_VALID = to_say("the source has no valid split: train was split into {sizes}, {by}, with seed {seed}")
MISSING = {
    "train": to_say("no image to train on in {classes}"),
    "validate": to_say("no image to validate on in {classes}"),
    "test": to_say("no image to test on in {classes}"),
}


def set_apart(
    images: Images,
    groups: np.ndarray | None,
    share: float,
    seed: int,
    in_place: bool,
    sure: Sequence[int],
    stay: int = 1,
) -> tuple[Images, Images, np.ndarray | None]:
    """The images that stay, a share of them drawn off class by class, and the groups of those that stay.

    `in_place` moves what stays together in its own array.
    """
    tenths = find_tenths(images.classes)
    rest, gone = split_indices(images.y if tenths is None else tenths[images.y], share, seed, sure, stay, groups)
    taken, left = images.take(gone), None if groups is None else groups[rest]
    if not in_place or isinstance(images.x, Rows):
        return images.take(rest), taken, left
    x = images.x
    for to, here in enumerate(rest):
        x[to] = x[here]
    return images.select(x[: len(rest)], rest), taken, left
