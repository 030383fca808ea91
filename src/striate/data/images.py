"""Labelled images in memory, and a data set split into train, valid and test."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Images:
    """Labelled images of one size, in memory.

    x        uint8 N×H×W×C; C is 1 (gray) or 3 (RGB)
    y        int64 N, the place of each image's class in `classes`
    classes  the class names in the network's output order
    files    where each image came from: a path below the source, or a name such as "train[17]"
    """

    x: np.ndarray
    y: np.ndarray
    classes: tuple[str, ...]
    files: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.y)

    @property
    def counts(self) -> tuple[int, ...]:
        """Images a class, in the order of `classes`."""
        return tuple(np.bincount(self.y, minlength=len(self.classes)).tolist())


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
    """

    name: str
    train: Images
    valid: Images
    test: Images | None
    skipped: tuple[Skipped, ...]
    fingerprint: str
    notes: tuple[str, ...]

    @property
    def classes(self) -> tuple[str, ...]:
        return self.train.classes

    @property
    def shape(self) -> tuple[int, int, int]:
        """One image as a network's input: (C, H, W)."""
        _, h, w, c = self.train.x.shape
        return c, h, w


def fingerprint(**splits: Images | None) -> str:
    """sha256, as hex, of the splits' names, classes, shapes, labels and pixels. File names do not count."""
    digest = hashlib.sha256()
    for name, images in splits.items():
        if images is not None:
            digest.update(json.dumps([name, images.classes, images.x.shape]).encode())
            digest.update(np.ascontiguousarray(images.y, "<i8").data)
            digest.update(np.ascontiguousarray(images.x).data)
    return digest.hexdigest()


def split(y: np.ndarray, share: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two sorted sets of indices into the labels `y`: what stays, and about `share` of it, drawn class by class.

    Of each class `share` goes, rounded so that the total is right too (largest remainders first), but never its
    last image; at least one image goes in all if a class has two. The same labels, share and seed give the same
    split, and one class's draw does not depend on the other classes.

    >>> [part.tolist() for part in split(np.array([0, 0, 0, 0, 1, 1, 1, 1]), 0.25)]
    [[0, 1, 3, 4, 5, 6], [2, 7]]
    """
    classes, counts = np.unique(y, return_counts=True)
    wanted = counts * share
    goes = np.floor(wanted).astype(int)
    total = max(1, round(len(y) * share)) if share > 0 else 0
    for k in np.argsort(-(wanted - np.floor(wanted)), kind="stable"):
        if goes.sum() < total and goes[k] < counts[k] - 1:
            goes[k] += 1
    drawn = [
        np.random.default_rng([seed, int(label)]).permutation(np.flatnonzero(y == label))[:count]
        for label, count in zip(classes, goes, strict=True)
    ]
    gone = np.sort(np.concatenate(drawn)) if drawn else np.zeros(0, np.int64)
    return np.setdiff1d(np.arange(len(y)), gone), gone
