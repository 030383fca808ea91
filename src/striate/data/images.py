"""Labelled images in memory, and a data set split into train, valid and test."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..threads import map_in_threads
from .read.depth import Depth
from .store.rows import Rows, digest_pixels, sum_levels

# Where the pixels are while a network trains: in memory, decoded on disk, or in the source's own files, of which as
# many are decoded on disk as have room there.
STORAGE_LEVELS = ("resident", "mapped", "streamed")
# Handing an image over to a thread costs as much as hashing a small one.
DIGESTED_AT_ONCE = 256


@dataclass(frozen=True, eq=False)
class Images:
    """Labelled images of one size.

    x        uint8 N×H×W×C; C is 1 (gray) or 3 (RGB): an array in memory, or Rows, which read like one
    y        int64 N, the place of each image's class in `classes`
    classes  the class names in the network's output order
    files    where each image came from: a path below the source, or a name such as "train[17]"
    shards   int64 N, the number of the shard that each image lies in, where the source is shards to be read in turn

    >>> x = np.zeros((3, 8, 8, 1), np.uint8)
    >>> Images(x, np.array([0, 1, 1]), ("cat", "dog"), ("a.png", "b.png", "c.png")).counts
    (1, 2)
    """

    x: Any  # np.ndarray | Rows
    y: np.ndarray
    classes: tuple[str, ...]
    files: tuple[str, ...]
    shards: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.y)

    @property
    def counts(self) -> tuple[int, ...]:
        """Images a class, in the order of `classes`."""
        return tuple(np.bincount(self.y, minlength=len(self.classes)).tolist())

    @property
    def digests(self) -> list[bytes]:
        """sha256 of each image's pixels: of Rows from their account, of an array computed once."""
        return list_digests(self.x) if isinstance(self.x, Rows) else self.array_digests

    @cached_property
    def array_digests(self) -> list[bytes]:
        return list_digests(self.x)

    def take(self, rows: np.ndarray) -> Images:
        """Some of the images: pixels in memory are copied, others are not even read."""
        return self.select(self.x.take(rows) if isinstance(self.x, Rows) else self.x[rows], rows)

    def select(self, x: Any, rows: np.ndarray) -> Images:
        """The images at `rows`, whose pixels are `x`; what is known of their digests goes with them."""
        shards = None if self.shards is None else self.shards[rows]
        made = Images(x, self.y[rows], self.classes, tuple(self.files[k] for k in rows), shards)
        if "array_digests" in self.__dict__:
            made.__dict__["array_digests"] = [self.array_digests[k] for k in rows]
        return made


def join_images(parts: Sequence[Images]) -> Images:
    """The images of several splits one after another; those that lie in one store stay where they are."""
    x: Any
    first = parts[0].x
    if isinstance(first, Rows) and all(isinstance(part.x, Rows) and part.x.store is first.store for part in parts):
        x = Rows(first.store, np.concatenate([part.x.rows for part in parts]))
    else:
        x = np.concatenate([part.x[:] for part in parts])
    files = tuple(file for part in parts for file in part.files)
    return Images(x, np.concatenate([part.y for part in parts]), parts[0].classes, files)


@dataclass(frozen=True)
class Skipped:
    """A file left out, and why."""

    file: str
    why: str


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set ready to train on.

    train        what the network learns from
    valid        what chooses and reports while it learns
    test         what measures the result once; never used to choose. None where the source has none to give
    skipped      files that could not be used
    fingerprint  sha256 of all that was loaded: pixels, labels, classes and split
    notes        what was decided on the way, for the user to read: how it was split, what was left out
    level        where the pixels are: "resident", "mapped" or "streamed" (LEVELS); it changes no batch by a bit
    read_as      how the source was understood, in a line
    depth        the scale of values that are deeper than 8 bits; None where none are
    drawn_valid  whether `valid` was drawn from what there was to train on, and is not a split of the source's own

    >>> from striate.data.sources.load import load_dataset
    >>> digits = load_dataset("digits")
    >>> digits.shape, len(digits.classes)
    ((1, 8, 8), 10)
    """

    name: str
    train: Images
    valid: Images
    test: Images | None
    skipped: tuple[Skipped, ...]
    fingerprint: str
    notes: tuple[str, ...]
    level: str = "resident"
    read_as: str = ""
    depth: Depth | None = None
    drawn_valid: bool = False

    @property
    def classes(self) -> tuple[str, ...]:
        return self.train.classes

    @property
    def measured(self) -> Images:
        """The images that a finished network is measured on: the test split, or where there is none, validation."""
        return self.valid if self.test is None else self.test

    @property
    def shape(self) -> tuple[int, int, int]:
        """One image as a network's input: (C, H, W)."""
        _, h, w, c = self.train.x.shape
        return c, h, w


def standardise_pixels(
    x: np.ndarray, mean: Sequence[float] | np.ndarray, std: Sequence[float] | np.ndarray, dtype: type = np.float32
) -> np.ndarray:
    """uint8 N×H×W×C -> N×C×H×W, (x/255 − mean)/std for each channel, computed in `dtype` once for each of 256 levels.

    That takes a third of the time that the formula takes pixel by pixel, to the same bits.
    """
    levels = np.arange(256, dtype=dtype)[:, None] / 255
    table: np.ndarray = ((levels - np.asarray(mean, dtype)) / np.asarray(std, dtype)).T
    count, height, width, channels = x.shape
    out: np.ndarray = np.empty((count, channels, height, width), dtype)
    for k in range(channels):
        out[:, k] = np.take(table[k], x[..., k])
    return out


def compute_fingerprint(**splits: Images | None) -> str:
    """sha256, as hex, of the splits' names, classes, shapes, labels and each image's sha256. File names do not count.

    It is the same wherever the pixels are, and those that are not in memory are not read for it.
    """
    whole = hashlib.sha256()
    for name, images in splits.items():
        if images is not None:
            whole.update(json.dumps([name, images.classes, images.x.shape]).encode())
            whole.update(np.ascontiguousarray(images.y, "<i8").data)
            whole.update(b"".join(images.digests))
    return whole.hexdigest()


def list_digests(x: Any) -> list[bytes]:
    """sha256 of each image's pixels; of Rows from their account, without reading them."""
    if isinstance(x, Rows):
        return [bytes(mark) for mark in x.store.account.digests[x.rows]]
    return list(map_in_threads(digest_pixels, x, chunk=DIGESTED_AT_ONCE))


def measure_channels(x: np.ndarray | Rows) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel over all pixels of uint8 N×H×W×C, in units of 255.

    To 6 decimals, from whole sums, so that they are the same wherever the pixels are; a deviation is 1/255 or more.
    """
    pixels = int(np.prod(x.shape[:3]))
    if isinstance(x, Rows):
        sums = x.store.account.sums[x.rows].sum(0)
    else:
        sums = sum(sum_levels(image) for image in x)
    means = [int(total) / pixels for total, _ in sums]
    variances = [int(squares) / pixels - mean**2 for (_, squares), mean in zip(sums, means, strict=True)]
    stds = [max(max(variance, 0.0) ** 0.5, 1.0) for variance in variances]
    return tuple(round(mean / 255, 6) for mean in means), tuple(round(std / 255, 6) for std in stds)


def split_indices(
    y: np.ndarray,
    share: float,
    seed: int = 0,
    sure: Collection[int] = (),
    stay: int = 1,
    groups: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Two sorted sets of indices into the labels `y`: what stays, and about `share` of it, drawn class by class.

    Of each class `share` goes, rounded so that the total is right too (largest remainders first), but never its
    last image; at least one image goes in all if a class has two. The same labels, share and seed give the same
    split, and one class's draw does not depend on the other classes.

    sure    classes of which one image goes at least, beside that total, and `stay` stay at least
    groups  of each image; a group goes whole or stays whole. Where each image is its own the draw is as without

    >>> [part.tolist() for part in split_indices(np.array([0, 0, 0, 0, 1, 1, 1, 1]), 0.25)]
    [[0, 1, 3, 4, 5, 6], [2, 7]]
    """
    classes, counts = np.unique(y, return_counts=True)
    wanted = counts * share
    goes = np.floor(wanted).astype(int)
    total = max(1, round(len(y) * share)) if share > 0 else 0
    for k in np.argsort(-(wanted - np.floor(wanted)), kind="stable"):
        if goes.sum() < total and goes[k] < counts[k] - 1:
            goes[k] += 1
    goes = np.where(np.isin(classes, list(sure)), np.clip(goes, 1, np.maximum(counts - stay, 1)), goes)
    orders = [np.random.default_rng([seed, int(label)]).permutation(np.flatnonzero(y == label)) for label in classes]
    if groups is None or len(np.unique(groups)) == len(y):
        drawn = [order[:count] for order, count in zip(orders, goes, strict=True)]
        gone = np.sort(np.concatenate(drawn)) if drawn else np.zeros(0, np.int64)
    else:
        gone = draw_groups(np.searchsorted(classes, y), orders, goes, counts - np.minimum(stay, counts), groups)
    return np.setdiff1d(np.arange(len(y)), gone), gone


def draw_groups(
    y: np.ndarray, orders: Sequence[np.ndarray], goes: np.ndarray, most: np.ndarray, groups: np.ndarray
) -> np.ndarray:
    """Sorted indices of whole groups: of each class, in its order, as many as are to go.

    A group that is larger than what a class still has to give waits; where a class has given nothing then, its smallest
    group goes that leaves every class something.
    most  images of a class that may go at most
    """
    places = np.argsort(groups, kind="stable")
    names, starts = np.unique(groups[places], return_index=True)
    members = dict(zip(names.tolist(), np.split(places, starts[1:]), strict=True))
    gone: set[int] = set()
    given = np.zeros(len(goes), int)

    def size(group: int) -> np.ndarray:
        return np.bincount(y[members[group]], minlength=len(goes))

    for label, order in enumerate(orders):
        waiting = [group for group in dict.fromkeys(groups[order].tolist()) if group not in gone]
        for group in waiting:
            if given[label] >= goes[label]:
                break
            taken = size(group)
            if given[label] + taken[label] <= goes[label] and (given + taken <= most).all():
                gone.add(group)
                given = given + taken
        if goes[label] and not given[label]:
            fitting = [group for group in waiting if (given + size(group) <= most).all()]
            if fitting:
                least = min(fitting, key=lambda group: len(members[group]))
                gone.add(least)
                given = given + size(least)
    return np.sort(np.concatenate([members[group] for group in gone])) if gone else np.zeros(0, np.int64)
