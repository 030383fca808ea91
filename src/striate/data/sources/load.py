"""Whatever a user calls a data set to labelled images: a folder, a table, arrays, shards, a name."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ...errors import DataError, suggest_name
from ...language import join_texts, render_text, say
from ..corrections import correct_listing
from ..images import Dataset, Images, Skipped
from ..listing import (
    SPLIT_ORDER,
    Entry,
    Listing,
    explain_unknown_class,
    is_number_label,
    list_classes,
    need_two_classes,
    report_similar_names,
    shorten_list,
)
from ..read.depth import Depth
from ..read.files import Progress, choose_shape, decode_all, explain_depth, sample_depth
from ..reading import USUAL_READING, Reading
from ..store import disk_images
from ..store.allowance import parse_allowance
from ..store.rows import Rows
from .archive import is_archive, read_archive_tree
from .array_formats import number_labels
from .arrays import load_arrays
from .builtin import BUILTINS
from .flat_splits import list_folders_and_tables
from .folder import list_folder
from .folds import cut_source, take_fold
from .hub import list_hub
from .in_python import list_in_python
from .layout import MOST_DROPPED
from .options import LoadedSource, LoadOptions, Source, explain_missing_split, explain_storage, fits_in_memory
from .pairs import CollectedImages, collect_source
from .parquet_files import list_packed_tables
from .peek import UsualImage, describe_listing, find_usual_image
from .shards import find_shards, holds_samples, list_shards
from .split import ENOUGH_FOR_SPLITS, divide_dataset
from .table import TABLE_SUFFIXES, list_table
from .table_beside import list_by_tables, list_tables_beside
from .table_label_sets import check_label_sets
from .table_numbers import check_number_listing
from .tree import index_files

HUB_PREFIX = "hf:"


def load_dataset(
    source: Source,
    *,
    size: tuple[int, int] | None = None,
    channels: int | None = None,
    fit: str = "pad",
    seed: int = 0,
    valid_share: float = 0.1,
    test_share: float = 0.1,
    reading: Reading = USUAL_READING,
    workers: int | None = None,
    progress: Progress | None = None,
    memory: int | str | None = None,
    level: str | None = None,
    depth: Depth | None = None,
    least_test: int = 0,
) -> Dataset:
    """A data set to train on: decoded, at one size, in train, valid and test.

    source       a folder of class folders, with or without split folders; a table of files, labels and perhaps splits
                 (CSV, text, JSON, JSON lines, Parquet); an .npz file; a pair (X, y) of arrays, memory maps or .npy
                 files; WebDataset shards ("shards/train-*.tar"); "hf:NAME" for a Hugging Face data set; "digits",
                 "mnist", "fashion-mnist", "cifar10"; or in Python {file: label}, {label: [files]}, a list of
                 (file, label), a DataFrame, (files, labels); a torch Dataset or DataLoader, a Hugging Face data set, a
                 generator or list of (image, label), or such for each split: {"train": …, "valid": …, "test": …}
    size         (h, w) of every image; by default what the images have, if they agree
    channels     1 (gray), 3 (RGB), or as many as the images have bands; by default what they have, and 1 where all are
                 gray
    valid_share  of all images, drawn by `seed` class by class where the source has no valid split
    test_share   the same, where the source has no split at all; 0 draws none. Of a class of three images or more each
                 drawn split has one at least
    reading      how the files are to be understood, and how many may be bad
    memory       bytes, or "500M" or "2G", that the pixels may take; by default half of what is free. What takes more
                 is decoded into the platform's cache folder and read from there; what has no room there either is
                 decoded again whenever it is used. Arrays in memory and built-in sets stay there
    level        "resident", "mapped" (all on disk, or a DataError) or "streamed" (on disk what has room) says which of
                 these it is to be; the pixels are the same
    progress     called with ("images", done, of all), or with ("bytes of …", done, of all) during a download
    depth        the scale of values that are deeper than 8 bits; by default chosen by the training images
    least_test   a test split of fewer images than this is not drawn: they are to train on
    Raises DataError.

    >>> digits = load_dataset("digits")
    >>> digits.shape, len(digits.train), len(digits.valid), len(digits.test)
    ((1, 8, 8), 1437, 180, 180)
    """
    if not (valid_share > 0 and test_share >= 0 and valid_share + test_share < 1):
        got, rule = (
            say("{valid_share} and {test_share}", valid_share=valid_share, test_share=test_share),
            say("valid_share above 0, test_share 0 or more, together below 1"),
        )
        raise DataError("valid_share, test_share", say("these shares leave nothing on one side"), got=got, rule=rule)
    wish = LoadOptions(size, channels, fit, reading, workers, progress, memory, level, depth or "choose")
    loaded = gather_images(collect_source(source, reading, progress), None, None, wish)
    return divide_dataset(loaded, seed, valid_share, test_share, least_test=least_test)


def load_images(
    source: Source,
    classes: tuple[str, ...],
    *,
    size: tuple[int, int] | None = None,
    channels: int | None = None,
    fit: str = "pad",
    seed: int = 0,
    reading: Reading = USUAL_READING,
    workers: int | None = None,
    progress: Progress | None = None,
    on_skip: Callable[[Skipped], None] | None = None,
    trained_on: str = "",
    memory: int | str | None = None,
    level: str | None = None,
    depth: Depth | None = None,
    fold: tuple[int, int] | None = None,
) -> Images:
    """The images to measure a trained network on, their labels in the order of its `classes`.

    The test split of a source that has splits (for "digits" the one that `load_dataset` draws by `seed`). Of another
    source all of it, unless it is the data that the network was trained on, whose fingerprint is `trained_on`: then
    only the test split that `load_dataset` drew by `seed`, for the network knows the rest. A class that the source
    lacks is fine; one that the network lacks is a DataError, as is a source with splits of which none is test.
    `on_skip` is called with each file left out; `depth` is the scale that the network was trained with. Of a network
    that was trained beside `fold`, its number and their count, that fold is the test split.
    """
    classes = tuple(classes)
    if isinstance(source, str) and source == "digits" and fold is None and not reading.corrections:
        test = load_dataset(source, size=size, channels=channels, fit=fit, seed=seed).test
        assert test is not None
        y, _ = number_labels([test.classes[k] for k in test.y], classes, "digits")
        return Images(test.x, y, classes, test.files)
    wish = LoadOptions(size, channels, fit, reading, workers, progress, memory, level, depth)
    loaded = gather_images(collect_source(source, reading, progress), classes, "test", wish)
    for skipped in loaded.skipped if on_skip else ():
        on_skip(skipped)  # type: ignore[misc]
    [images] = loaded.parts.values()
    return (find_held_out(loaded, seed, trained_on, fold) if None in loaded.parts and trained_on else None) or images


def find_held_out(
    loaded: LoadedSource, seed: int, trained_on: str, fold: tuple[int, int] | None = None
) -> Images | None:
    """The test split, or that fold, of the unsplit source `loaded`, where it is the data with that fingerprint."""
    if fold is not None:
        try:
            again = take_fold(cut_source(loaded, fold[1], seed), fold[0], seed)
        except DataError:  # other data, which cannot be cut so
            return None
        return again.test if again.fingerprint == trained_on else None
    # Before, copies were drawn apart, and small classes like all others.
    for together, enough in ((True, ENOUGH_FOR_SPLITS), (False, ENOUGH_FOR_SPLITS), (False, sys.maxsize)):
        try:
            again = divide_dataset(replace(loaded, owned=False), seed, 0.1, 0.1, enough, together)
        except DataError:  # too few images to have been trained on
            continue
        if again.fingerprint == trained_on:
            return again.test
    return None


def gather_images(source: Source, classes: tuple[str, ...] | None, only: str | None, wish: LoadOptions) -> LoadedSource:
    """The source's images at one size; of a source that has splits, the split `only` where that is given."""
    listing = list_source(source, wish.reading, strict=classes is None)
    if listing is not None:
        return load_files(listing, classes, only, wish)
    return load_arrays(source, classes, only, wish)


def list_source(source: Source, reading: Reading = USUAL_READING, strict: bool = True) -> Listing | None:
    """The image files that the source names, understood by `reading`; None for one that is arrays. Raises DataError.

    strict  whether a correction that does not fit is an error; see `data.corrections.correct_listing`
    """
    listing = list_uncorrected(source, reading)
    if reading.several:
        check_label_sets(say("labels"), listing)
        return listing
    if reading.number is not None:
        check_number_listing("number", listing)
        return listing
    return None if listing is None else correct_listing(listing, reading.corrections or (), strict)


def list_uncorrected(source: Source, reading: Reading) -> Listing | None:
    """The same, with the labels that the source has."""
    if isinstance(source, CollectedImages):
        return None
    if not isinstance(source, str | Path):
        return list_in_python(source, reading)
    if source in BUILTINS:
        return None
    if str(source).startswith(HUB_PREFIX):
        return list_hub(str(source).removeprefix(HUB_PREFIX), reading)
    path = Path(source)
    if path.is_file() and is_archive(path):
        return list_archive(path, reading)
    if shards := find_shards(path):
        return list_shards(str(source), shards)
    if path.is_dir():
        return list_tables_beside(path, reading) or list_folder(path, reading)
    if not path.exists():
        known = suggest_name(str(source), BUILTINS)
        hint = (
            known
            if render_text(known, "en").startswith("did")
            else say("a folder of class folders, a .csv, an .npz, or {known}", known=known)
        )
        if path.suffix == ".tar":
            raise DataError(str(source), say("there is no such shard"), hint="shards/train-*.tar")
        raise DataError(str(source), say("there is no such folder, file or data set"), hint=hint)
    if path.suffix.lower() in TABLE_SUFFIXES:
        return list_table(path, reading)
    if path.suffix.lower() == ".npz":
        return None
    hint = say("a folder of class folders, a .csv or .parquet of path and label, an .npz of x and y, or .tar shards")
    raise DataError(
        str(source), say("this file is not a table of images"), got=path.suffix or say("no suffix"), hint=hint
    )


def list_archive(path: Path, reading: Reading) -> Listing:
    """The images of a .zip or .tar: of a shard by its samples, else by a table in it or by its folders.

    Raises DataError.
    """
    tree = read_archive_tree(path)
    if holds_samples(tree):
        if path.suffix.lower() == ".tar":
            return list_shards(str(path), [path])
        what, suffix = say("a compressed shard cannot be read from the middle"), "".join(path.suffixes)
        raise DataError(str(path), what, got=suffix, hint=say("unpack it to .tar; JPEGs gain nothing"))
    if (packed := list_packed_tables(tree, reading)) is not None:
        return packed
    return list_by_tables(index_files(tree), str(path), reading) or list_folders_and_tables(tree, reading)


def load_files(listing: Listing, classes: tuple[str, ...] | None, only: str | None, wish: LoadOptions) -> LoadedSource:
    """The listing's images, decoded. Raises DataError, also where too many of the files are bad."""
    if only is not None and listing.splits and only not in listing.splits:
        raise explain_missing_split(listing.name, only, list(listing.splits))
    entries = sorted(listing.entries, key=lambda entry: SPLIT_ORDER.index(entry.split))
    if only is not None:
        entries = [entry for entry in entries if entry.split in (only, None)]
    whole = classes is None
    classes = list_classes(listing) if classes is None else classes
    place = {name: k for k, name in enumerate(classes)}
    for entry in entries:
        if entry.label not in place:
            raise explain_unknown_class(listing.name, entry, classes, say("the network"))
    alpha = wish.reading.alpha == "channel"
    size, channels = choose_shape(entries, wish.size, wish.channels, listing.name, wish.workers, alpha)
    pixels = len(entries) * size[0] * size[1] * channels
    allowed = parse_allowance(wish.memory)
    x: np.ndarray | Rows
    depth, scaled = choose_listed_depth(listing, wish)
    read_as = describe_listing(listing, depth)
    level, notes = "resident", (*listing.notes, *report_similar_names(classes), *scaled)
    if fits_in_memory(pixels, allowed, wish.level):
        x, kept, skipped = decode_all(
            entries, size, channels, wish.fit, depth=depth, alpha=alpha, workers=wish.workers, progress=wish.progress
        )
    else:
        store, kept, skipped, on_disk = disk_images.keep_on_disk(
            entries,
            size,
            channels,
            wish.fit,
            wish.level,
            depth=depth,
            alpha=alpha,
            workers=wish.workers,
            progress=wish.progress,
        )
        x = Rows(store, np.array(kept, np.int64))
        level = wish.level or ("mapped" if on_disk == len(entries) else "streamed")
        notes = (*notes, explain_storage(pixels, allowed, on_disk, len(entries), wish.level))
    if not kept or len(skipped) > wish.reading.bad_share * len(entries):
        raise refuse_bad_files(listing.name, len(entries), skipped, wish.reading.bad_share)
    if whole:
        classes, told = leave_classes_out(listing.name, classes, entries, kept, wish.reading)
        notes, place = (*notes, *told), {name: k for k, name in enumerate(classes)}
    y = np.array([place[entries[k].label] for k in kept], np.int64)
    shards = np.array([entries[k].shard or 0 for k in kept]) if entries[0].shard is not None else None
    parts, groups, folds = {}, {}, {}
    for part in dict.fromkeys(entries[k].split for k in kept):
        rows = [row for row, k in enumerate(kept) if entries[k].split == part]
        low, high = rows[0], rows[-1] + 1
        files = tuple(entries[k].file for k in kept[low:high])
        groups[part] = [entries[k].group for k in kept[low:high]]
        folds[part] = [entries[k].fold for k in kept[low:high]]
        own = x.take(slice(low, high)) if isinstance(x, Rows) else x[low:high]
        parts[part] = Images(own, y[low:high], classes, files, None if shards is None else shards[low:high])
    path = Path(listing.name).resolve()
    name = path.name if path.is_dir() else path.stem
    made = LoadedSource(name, listing.name, parts, tuple(skipped), notes, True, level, read_as, depth)
    return replace(made, told=groups, folds=folds, group=wish.reading.group)


def choose_listed_depth(listing: Listing, wish: LoadOptions) -> tuple[Depth | None, tuple[str, ...]]:
    """The scale of the listing's files, as wished or by its training files, and a note on one that was chosen."""
    if wish.depth != "choose":
        return wish.depth, ()
    found = sample_depth([entry for entry in listing.entries if entry.split in ("train", None)], wish.workers)
    return (found.depth, (explain_depth(found),)) if found else (None, ())


def leave_classes_out(
    where: str, classes: tuple[str, ...], entries: Sequence[Entry], kept: Sequence[int], reading: Reading
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The classes of which a file can be read, and a note on the others.

    Raises DataError where these have more than a few images and nobody asked for that, or where one class is left.
    """
    if all(map(is_number_label, classes)):
        return classes, ()  # of which none is a class to be measured
    there = {entries[k].label for k in kept}
    gone = tuple(name for name in classes if name not in there)
    if not gone:
        return classes, ()
    lost = sum(entry.label in gone for entry in entries)
    if lost > MOST_DROPPED * len(entries) and not reading.drop_unplaced:
        what = say(
            "no file of {names} can be read, {lost:,} of {count:,} images",
            names=shorten_list(gone),
            lost=lost,
            count=len(entries),
        )
        hint = say("mend or remove these folders; --drop-unplaced leaves them out")
        raise DataError(
            where, what, rule=say("at most {most:.0%} are left out without being asked", most=MOST_DROPPED), hint=hint
        )
    rest = need_two_classes(where, tuple(name for name in classes if name in there))
    return rest, (say("no class: {names}, of which no file can be read", names=shorten_list(gone)),)


def refuse_bad_files(where: str, files: int, skipped: list[Skipped], share: float) -> DataError:
    """The error for a source with more unreadable files than may be skipped."""
    shown = [say("{file}: {why}", file=bad.file, why=bad.why) for bad in skipped[:5]]
    more = [say("… and {count} more", count=len(skipped) - 5)] if len(skipped) > 5 else []
    what = say("{count} of {files} files cannot be read, more than the limit", count=len(skipped), files=files)
    rule, hint = (
        say("at most {share:.0%}", share=share),
        say("remove them, or --bad-share {share}", share=suggest_bad_share(len(skipped) / files)),
    )
    return DataError(where, what, got=join_texts("\n        ", shown + more), rule=rule, hint=hint)


def suggest_bad_share(share: float) -> str:
    """The least share in steps of a tenth that lets so many bad files pass.

    >>> suggest_bad_share(0.35), suggest_bad_share(1.0)
    ('0.4', '1.0')
    """
    return f"{math.ceil(share * 10) / 10:.1f}"


def peek_source(source: Source, reading: Reading = USUAL_READING) -> UsualImage | None:
    """What some of the source's image files are like, spread evenly over it.

    None where the source is arrays, or where none of those files is an image. Raises DataError for no source at all.
    """
    listing = list_source(source, reading)
    return None if listing is None else find_usual_image(listing.entries)


def find_usual_size(source: Source, reading: Reading = USUAL_READING) -> tuple[int, int] | None:
    """The median (height, width) that `peek_source` finds; None where it finds nothing."""
    found = peek_source(source, reading)
    return None if found is None else (found.height, found.width)
