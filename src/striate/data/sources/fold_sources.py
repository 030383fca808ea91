"""Whatever a user calls a data set to one of its folds, read once for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..images import Dataset, Images
from ..store.allowance import parse_allowance
from .folds import CutSource, cut_source, take_fold
from .groups import check_group_names
from .load import gather_images
from .options import LoadedSource, LoadOptions, Source
from .pairs import collect_source


def load_fold(
    source: Source,
    number: int,
    count: int,
    *,
    held: dict[str, CutSource],
    seed: int = 0,
    valid_share: float = 0.1,
    memory: int | str | None = None,
    depth: Any = None,
    **wish: Any,
) -> Dataset:
    """The Dataset whose test split is fold `number` of `count`, from 1; the rest is to train and to validate on.

    number  folds.ALL_FOLDS: it has no test split, and all folds are to train on

    held  where the source stays, cut, between one fold and the next: it is read once
    wish  size, channels, fit, reading, progress, as for `load.load_dataset`, like the others
    A source's own folds are taken as they are, its own valid split validates each fold, and its test split is left out.
    `valid_share` is of all images, as in a split into three; 0 draws none. Raises DataError.
    """
    key = repr(
        (count, seed, memory, depth, sorted((name, value) for name, value in wish.items() if name != "progress"))
    )
    if key not in held:
        held.clear()  # of one size at a time
        # The folds are copies out of what is read.
        options = LoadOptions(memory=parse_allowance(memory) // 2, depth=depth or "choose", **wish)
        loaded = keep_splits(source, options) if isinstance(source, Dataset) else gather_whole(source, options)
        held[key] = cut_source(loaded, count, seed)
    return take_fold(held[key], number, seed, valid_share)


def keep_splits(data: Dataset, wish: LoadOptions) -> LoadedSource:
    """A Dataset as a source that is split."""
    splits = {"train": data.train, "valid": data.valid, "test": data.test}
    parts: dict[str | None, Images] = {name: images for name, images in splits.items() if images is not None}
    group, told = wish.reading.group, dict[str | None, Sequence[str]]()
    if isinstance(group, tuple):
        check_group_names(group, len(data.train), data.name)
        told = {"train": group}
    return LoadedSource(
        data.name, data.name, parts, data.skipped, data.notes, False, data.level, data.read_as, data.depth,
        told=told, group=group,
    )  # fmt: skip


def gather_whole(source: Source, wish: LoadOptions) -> LoadedSource:
    return gather_images(collect_source(source, wish.reading, wish.progress), None, None, wish)
