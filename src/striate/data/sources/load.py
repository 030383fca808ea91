"""Whatever a user calls a data set to labelled images: a folder, a table, arrays, shards, a name."""

from __future__ import annotations

import io
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from ...errors import DataError, suggest_name
from ...regular_file import need_regular
from ...terminal import format_count
from ..images import Dataset, Images, Skipped, compute_fingerprint, split_indices
from ..listing import Listing, explain_unknown_class, list_classes, report_similar_names, shorten_list
from ..read.files import Progress, choose_shape, decode_all
from ..read.quiet import silence_pillow
from ..store import disk_images
from ..store.allowance import parse_allowance
from ..store.rows import Rows
from .array_formats import number_labels
from .arrays import load_arrays
from .builtin import BUILTINS
from .folder import list_folder
from .hub import list_hub
from .options import LoadedSource, LoadOptions, Source, explain_missing_split, explain_storage, fits_in_memory
from .shards import find_shards, list_shards
from .table import TABLE_SUFFIXES, list_table

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
    bad_share: float = 0.1,
    workers: int | None = None,
    progress: Progress | None = None,
    memory: int | str | None = None,
    level: str | None = None,
) -> Dataset:
    """A data set to train on: decoded, at one size, in train, valid and test.

    source       a folder of class folders, with or without split folders; a CSV or Parquet table of path, label and
                 perhaps split; an .npz file; a pair (X, y) of arrays, memory maps or .npy files; WebDataset shards
                 ("shards/train-*.tar"); "hf:NAME" for a Hugging Face data set; or "digits", "mnist",
                 "fashion-mnist", "cifar10"
    size         (h, w) of every image; by default what the images have, if they agree
    channels     1 or 3; by default 1 where all images are gray
    valid_share  of all images, drawn by `seed` class by class where the source has no valid split
    test_share   the same, where the source has no split at all; 0 draws none. Of a class of three images or more each
                 drawn split has one at least
    bad_share    of unreadable files, above which nothing is loaded; up to it they are skipped and listed
    memory       bytes, or "500M" or "2G", that the pixels may take; by default half of what is free. What takes more
                 is decoded into the platform's cache folder and read from there; what has no room there either is
                 decoded again whenever it is used. Arrays in memory and built-in sets stay there
    level        "resident", "mapped" (all on disk, or a DataError) or "streamed" (on disk what has room) says which of
                 these it is to be; the pixels are the same
    progress     called with ("images", done, of all), or with ("bytes of …", done, of all) during a download
    Raises DataError.
    """
    if not (valid_share > 0 and test_share >= 0 and valid_share + test_share < 1):
        got, rule = f"{valid_share} and {test_share}", "valid_share above 0, test_share 0 or more, together below 1"
        raise DataError("valid_share, test_share", "these shares leave nothing on one side", got=got, rule=rule)
    wish = LoadOptions(size, channels, fit, bad_share, workers, progress, memory, level)
    loaded = gather_images(source, None, None, wish)
    return divide_dataset(loaded, seed, valid_share, test_share)


def load_images(
    source: Source,
    classes: tuple[str, ...],
    *,
    size: tuple[int, int] | None = None,
    channels: int | None = None,
    fit: str = "pad",
    seed: int = 0,
    bad_share: float = 0.1,
    workers: int | None = None,
    progress: Progress | None = None,
    on_skip: Callable[[Skipped], None] | None = None,
    trained_on: str = "",
    memory: int | str | None = None,
    level: str | None = None,
) -> Images:
    """The images to measure a trained network on, their labels in the order of its `classes`.

    The test split of a source that has splits (for "digits" the one that `load_dataset` draws by `seed`). Of another
    source all of it, unless it is the data that the network was trained on, whose fingerprint is `trained_on`: then
    only the test split that `load_dataset` drew by `seed`, for the network knows the rest. A class that the source
    lacks is fine; one that the network lacks is a DataError, as is a source with splits of which none is test.
    `on_skip` is called with each file left out.
    """
    classes = tuple(classes)
    if source == "digits":
        test = load_dataset(source, size=size, channels=channels, fit=fit, seed=seed).test
        assert test is not None
        y, _ = number_labels([test.classes[k] for k in test.y], classes, "digits")
        return Images(test.x, y, classes, test.files)
    wish = LoadOptions(size, channels, fit, bad_share, workers, progress, memory, level)
    loaded = gather_images(source, classes, "test", wish)
    for skipped in loaded.skipped if on_skip else ():
        on_skip(skipped)  # type: ignore[misc]
    [images] = loaded.parts.values()
    return (find_held_out(loaded, seed, trained_on) if None in loaded.parts and trained_on else None) or images


def find_held_out(loaded: LoadedSource, seed: int, trained_on: str) -> Images | None:
    """The test split of the unsplit source `loaded`, where it is the data with the fingerprint `trained_on`."""
    for enough in (ENOUGH_FOR_SPLITS, sys.maxsize):  # until striate 0.1 small classes were drawn like all others
        try:
            again = divide_dataset(replace(loaded, owned=False), seed, 0.1, 0.1, enough)
        except DataError:  # too few images to have been trained on
            continue
        if again.fingerprint == trained_on:
            return again.test
    return None


def gather_images(source: Source, classes: tuple[str, ...] | None, only: str | None, wish: LoadOptions) -> LoadedSource:
    """The source's images at one size; of a source that has splits, the split `only` where that is given."""
    listing = list_source(source)
    if listing is not None:
        return load_files(listing, classes, only, wish)
    return load_arrays(source, classes, only, wish)


def list_source(source: Source) -> Listing | None:
    """The image files that the source names; None for a source that is arrays. Raises DataError."""
    if isinstance(source, tuple) or source in BUILTINS:
        return None
    if str(source).startswith(HUB_PREFIX):
        return list_hub(str(source).removeprefix(HUB_PREFIX))
    path = Path(source)
    if shards := find_shards(path):
        return list_shards(str(source), shards)
    if path.is_dir():
        return list_folder(path)
    if not path.exists():
        known = suggest_name(str(source), BUILTINS)
        hint = known if known.startswith("did") else f"a folder of class folders, a .csv, an .npz, or {known}"
        if path.suffix == ".tar":
            raise DataError(str(source), "there is no such shard", hint="shards/train-*.tar")
        raise DataError(str(source), "there is no such folder, file or data set", hint=hint)
    if path.suffix.lower() in TABLE_SUFFIXES:
        return list_table(path)
    if path.suffix.lower() == ".npz":
        return None
    hint = "a folder of class folders, a .csv or .parquet of path and label, an .npz of x and y, or .tar shards"
    raise DataError(str(source), "this file is not a table of images", got=path.suffix or "no suffix", hint=hint)


# A class of so many images has at least one in each split that is drawn.
ENOUGH_FOR_SPLITS = 3


def divide_dataset(
    loaded: LoadedSource, seed: int, valid_share: float, test_share: float, enough: int = ENOUGH_FOR_SPLITS
) -> Dataset:
    """The Dataset, with the splits that the source lacks drawn by `seed`, class by class.

    A class of `enough` images has one at least in each of them; larger ones are drawn as if there were no smaller.
    """
    parts, notes = dict(loaded.parts), [*loaded.notes]
    whole = set(parts) <= {None, "train"}
    everything = parts.get(None, parts.get("train"))
    if everything is None:
        raise DataError(loaded.where, "there is no image to train on that can be read")
    train, valid, test = everything, parts.get("valid"), parts.get("test")
    sure = np.flatnonzero(np.array(everything.counts) >= enough).tolist()
    if whole and test_share:
        train, test = set_apart(train, test_share, seed, loaded.owned, sure, stay=2)  # one of them to validate on
    if valid is None:
        share = valid_share / (1 - test_share) if whole else valid_share
        train, valid = set_apart(train, share, seed, loaded.owned or whole, sure)
        sizes = f"{len(train)} train, {len(valid)} valid" + (
            f", {len(test)} test" if whole and test is not None else ""
        )
        had = "the source is not split: split" if whole else "the source has no valid split: train was split"
        notes.append(f"{had} into {sizes}, class by class, with seed {seed}")
    elif test is None:
        notes.append("the source has no test split")
    if len(valid) == 0:
        what = "there are too few images to set some aside for validation"
        raise DataError(loaded.where, what, got=f"{len(train)} images", rule="a class with two images or more")
    notes += [
        note for note in (report_missing_classes(train, "train"), report_missing_classes(valid, "validate")) if note
    ]
    notes += [note for note in [test and report_missing_classes(test, "test")] if note]
    if loaded.skipped:
        notes.append(f"skipped: {format_count(len(loaded.skipped), 'file')} that cannot be read")
    mark = compute_fingerprint(train=train, valid=valid, test=test)
    return Dataset(loaded.name, train, valid, test, loaded.skipped, mark, tuple(notes), loaded.level)


def report_missing_classes(images: Images, doing: str) -> str:
    """The classes of which a split has no image, in a sentence; "" where it has one of each."""
    empty = tuple(name for name, count in zip(images.classes, images.counts, strict=True) if not count)
    said = "" if doing == "train" else f": {'it is' if len(empty) == 1 else 'they are'} not measured there"
    return f"no image to {doing} on in {shorten_list(empty)}{said}" if empty else ""


def set_apart(
    images: Images, share: float, seed: int, in_place: bool, sure: Sequence[int], stay: int = 1
) -> tuple[Images, Images]:
    """The images that stay, and a share of them drawn off; `in_place` moves what stays together in its own array."""
    rest, gone = split_indices(images.y, share, seed, sure, stay)
    taken = images.take(gone)
    if not in_place or isinstance(images.x, Rows):
        return images.take(rest), taken
    x = images.x
    for to, here in enumerate(rest):
        x[to] = x[here]
    shards = None if images.shards is None else images.shards[rest]
    return Images(x[: len(rest)], images.y[rest], images.classes, tuple(images.files[k] for k in rest), shards), taken


def load_files(listing: Listing, classes: tuple[str, ...] | None, only: str | None, wish: LoadOptions) -> LoadedSource:
    """The listing's images, decoded. Raises DataError, also where too many of the files are bad."""
    if only is not None and listing.splits and only not in listing.splits:
        raise explain_missing_split(listing.name, only, list(listing.splits))
    order: list[str | None] = [None, "train", "valid", "test"]
    entries = sorted(listing.entries, key=lambda entry: order.index(entry.split))
    if only is not None:
        entries = [entry for entry in entries if entry.split in (only, None)]
    if classes is None:
        classes = list_classes(listing)
    place = {name: k for k, name in enumerate(classes)}
    for entry in entries:
        if entry.label not in place:
            raise explain_unknown_class(listing.name, entry, classes, "the network")
    size, channels = choose_shape(entries, wish.size, wish.channels, listing.name, wish.workers)
    pixels = len(entries) * size[0] * size[1] * channels
    allowed = parse_allowance(wish.memory)
    x: np.ndarray | Rows
    level, notes = "resident", (*listing.notes, *report_similar_names(classes))
    if fits_in_memory(pixels, allowed, wish.level):
        x, kept, skipped = decode_all(entries, size, channels, wish.fit, workers=wish.workers, progress=wish.progress)
    else:
        store, kept, skipped, on_disk = disk_images.keep_on_disk(
            entries, size, channels, wish.fit, wish.level, workers=wish.workers, progress=wish.progress
        )
        x = Rows(store, np.array(kept, np.int64))
        level = wish.level or ("mapped" if on_disk == len(entries) else "streamed")
        notes = (*notes, explain_storage(pixels, allowed, on_disk, len(entries), wish.level))
    if not kept or len(skipped) > wish.bad_share * len(entries):
        raise refuse_bad_files(listing.name, len(entries), skipped, wish.bad_share)
    y = np.array([place[entries[k].label] for k in kept], np.int64)
    shards = np.array([entries[k].shard or 0 for k in kept]) if entries[0].shard is not None else None
    parts = {}
    for part in dict.fromkeys(entries[k].split for k in kept):
        rows = [row for row, k in enumerate(kept) if entries[k].split == part]
        low, high = rows[0], rows[-1] + 1
        files = tuple(entries[k].file for k in kept[low:high])
        own = x.take(slice(low, high)) if isinstance(x, Rows) else x[low:high]
        parts[part] = Images(own, y[low:high], classes, files, None if shards is None else shards[low:high])
    path = Path(listing.name).resolve()
    name = path.name if path.is_dir() else path.stem
    return LoadedSource(name, listing.name, parts, tuple(skipped), notes, owned=True, level=level)


def refuse_bad_files(where: str, files: int, skipped: list[Skipped], share: float) -> DataError:
    """The error for a source with more unreadable files than may be skipped."""
    shown = [f"{bad.file}: {bad.why}" for bad in skipped[:5]]
    more = [f"… and {len(skipped) - 5} more"] if len(skipped) > 5 else []
    what = f"{len(skipped)} of {files} files cannot be read, more than the limit"
    rule = f"at most {share:.0%}"
    return DataError(
        where, what, got="\n        ".join(shown + more), rule=rule, hint="remove them, or raise bad_share"
    )


PEEKED_FILES = 48


def find_usual_size(source: Source) -> tuple[int, int] | None:
    """The median (height, width) of some of the source's image files, spread evenly over it.

    None where the source is arrays, or where none of those files is an image. Raises DataError for no source at all.
    """
    from .load import list_source

    listing = list_source(source)
    if listing is None or not listing.entries:
        return None
    every = max(1, len(listing.entries) // PEEKED_FILES)
    sizes = []
    with silence_pillow():
        for entry in listing.entries[::every][:PEEKED_FILES]:
            path = entry.path
            try:
                if isinstance(path, Path):
                    need_regular(path, DataError)
                with Image.open(path if isinstance(path, Path) else io.BytesIO(path.read_bytes())) as image:
                    sizes.append(image.size)
            except (DataError, OSError, UnidentifiedImageError, ValueError, Image.DecompressionBombError):
                continue
    if not sizes:
        return None
    return round(statistics.median(h for _, h in sizes)), round(statistics.median(w for w, _ in sizes))
