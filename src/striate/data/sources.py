"""Whatever a user calls a data set to labelled images: a folder, a table, arrays, shards, a name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from ..errors import DataError, nearest
from . import cache
from .allowance import allowance, sized
from .arrays import as_labels, as_pixels, numbered, read_npz
from .builtin import BUILTINS, load_builtin
from .folder import list_folder
from .hub import list_hub
from .images import LEVELS, Dataset, Images, Skipped, fingerprint, split
from .listing import Listing, class_order, known_classes, shortened, two_or_more, unknown
from .reading import Progress, decode_all, settled
from .resize import resize
from .rows import Rows
from .shards import list_shards, shards_of
from .table import TABLES, list_table

Source = str | Path | tuple[Any, Any]
HUB = "hf:"


class Wish(NamedTuple):
    """How the user wants a source read: what `load` is given, passed on."""

    size: tuple[int, int] | None
    channels: int | None
    fit: str
    bad_share: float
    workers: int | None
    progress: Progress | None
    memory: int | str | None
    level: str | None


@dataclass(frozen=True, eq=False)
class Loaded:
    """A source's images before they are split further: by "train", "valid" and "test", or all under None.

    `owned` tells that the pixels are striate's own array, which may be rearranged in place.
    """

    name: str
    where: str
    parts: Mapping[str | None, Images]
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()
    owned: bool = False
    level: str = "resident"


def load(
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
                 perhaps split; an .npz file; a pair (X, y) of arrays; WebDataset shards ("shards/train-*.tar");
                 "hf:NAME" for a Hugging Face data set; or "digits", "mnist", "fashion-mnist", "cifar10"
    size         (h, w) of every image; by default what the images have, if they agree
    channels     1 or 3; by default 1 where all images are gray
    valid_share  of all images, drawn by `seed` class by class where the source has no valid split
    test_share   the same, where the source has no split at all; 0 draws none
    bad_share    of unreadable files, above which nothing is loaded; up to it they are skipped and listed
    memory       bytes, or "500M" or "2G", that the pixels of image files may take; by default half of what is free.
                 What takes more is decoded into the platform's cache folder and read from there, and where that has
                 no room either, decoded again whenever it is used
    level        "resident", "mapped" or "streamed" says which of these it is to be; the pixels are the same
    progress     called with ("images", done, of all), or with ("bytes of …", done, of all) during a download
    Raises DataError.
    """
    if not (valid_share > 0 and test_share >= 0 and valid_share + test_share < 1):
        got, rule = f"{valid_share} and {test_share}", "valid_share above 0, test_share 0 or more, together below 1"
        raise DataError("valid_share, test_share", "these shares leave nothing on one side", got=got, rule=rule)
    wish = Wish(size, channels, fit, bad_share, workers, progress, memory, level)
    loaded = gathered(source, None, None, wish)
    return divided(loaded, seed, valid_share, test_share)


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

    The test split of a source that has splits (for "digits" the one that `load` draws by `seed`). Of another source
    all of it, unless it is the data that the network was trained on, whose fingerprint is `trained_on`: then only
    the test split that `load` drew by `seed`, for the network knows the rest. A class that the source lacks is fine;
    one that the network lacks is a DataError, as is a source with splits of which none is test. `on_skip` is called
    with each file left out.
    """
    classes = tuple(classes)
    if source == "digits":
        test = load(source, size=size, channels=channels, fit=fit, seed=seed).test
        assert test is not None
        y, _ = numbered([test.classes[k] for k in test.y], classes, "digits")
        return Images(test.x, y, classes, test.files)
    wish = Wish(size, channels, fit, bad_share, workers, progress, memory, level)
    loaded = gathered(source, classes, "test", wish)
    for skipped in loaded.skipped if on_skip else ():
        on_skip(skipped)  # type: ignore[misc]
    [images] = loaded.parts.values()
    return (held_out(loaded, seed, trained_on) if None in loaded.parts and trained_on else None) or images


def held_out(loaded: Loaded, seed: int, trained_on: str) -> Images | None:
    """The test split of the unsplit source `loaded`, where it is the data with the fingerprint `trained_on`."""
    try:
        again = divided(replace(loaded, owned=False), seed, 0.1, 0.1)
    except DataError:  # too few images to have been trained on
        return None
    return again.test if again.fingerprint == trained_on else None


def gathered(source: Source, classes: tuple[str, ...] | None, only: str | None, wish: Wish) -> Loaded:
    """The source's images at one size; of a source that has splits, the split `only` where that is given."""
    listing = listed(source)
    if listing is not None:
        return from_files(listing, classes, only, wish)
    loaded = from_arrays(source, classes, wish.progress)
    chosen = {s: i for s, i in loaded.parts.items() if only is None or s in (only, None)}
    if not chosen:
        raise without(loaded.where, only, [str(s) for s in loaded.parts])
    parts = {s: at_size(images, wish.size, wish.channels, wish.fit) for s, images in chosen.items()}
    return Loaded(loaded.name, loaded.where, parts, (), loaded.notes)


def listed(source: Source) -> Listing | None:
    """The image files that the source names; None for a source that is arrays. Raises DataError."""
    if isinstance(source, tuple) or source in BUILTINS:
        return None
    if str(source).startswith(HUB):
        return list_hub(str(source).removeprefix(HUB))
    path = Path(source)
    if shards := shards_of(path):
        return list_shards(str(source), shards)
    if path.is_dir():
        return list_folder(path)
    if not path.exists():
        known = nearest(str(source), BUILTINS)
        hint = known if known.startswith("did") else f"a folder of class folders, a .csv, an .npz, or {known}"
        if path.suffix == ".tar":
            raise DataError(str(source), "there is no such shard", hint="shards/train-*.tar")
        raise DataError(str(source), "there is no such folder, file or data set", hint=hint)
    if path.suffix.lower() in TABLES:
        return list_table(path)
    if path.suffix.lower() == ".npz":
        return None
    hint = "a folder of class folders, a .csv or .parquet of path and label, an .npz of x and y, or .tar shards"
    raise DataError(str(source), "this file is no table of images", got=path.suffix or "no suffix", hint=hint)


def from_files(listing: Listing, classes: tuple[str, ...] | None, only: str | None, wish: Wish) -> Loaded:
    """The listing's images, decoded. Raises DataError, also where too many of the files are bad."""
    if only is not None and listing.splits and only not in listing.splits:
        raise without(listing.name, only, list(listing.splits))
    order: list[str | None] = [None, "train", "valid", "test"]
    entries = sorted(listing.entries, key=lambda entry: order.index(entry.split))
    if only is not None:
        entries = [entry for entry in entries if entry.split in (only, None)]
    if classes is None:
        classes = known_classes(listing)
    for entry in entries:
        if entry.label not in classes:
            raise unknown(listing.name, entry, classes, "the network")
    size, channels = settled(entries, wish.size, wish.channels, listing.name, wish.workers)
    level, notes = chosen(len(entries) * size[0] * size[1] * channels, wish)
    x: np.ndarray | Rows
    if level == "resident":
        x, kept, skipped = decode_all(entries, size, channels, wish.fit, workers=wish.workers, progress=wish.progress)
    else:
        decode = cache.mapped if level == "mapped" else cache.streamed
        store, kept, skipped = decode(entries, size, channels, wish.fit, workers=wish.workers, progress=wish.progress)
        x = Rows(store, np.array(kept, np.int64))
    if not kept or len(skipped) > wish.bad_share * len(entries):
        raise too_many_bad(listing.name, len(entries), skipped, wish.bad_share)
    place = {name: k for k, name in enumerate(classes)}
    y = np.array([place[entries[k].label] for k in kept], np.int64)
    shards = np.array([entries[k].shard or 0 for k in kept]) if entries[0].shard is not None else None
    parts = {}
    for part in dict.fromkeys(entries[k].split for k in kept):
        rows = [row for row, k in enumerate(kept) if entries[k].split == part]
        low, high = rows[0], rows[-1] + 1
        files = tuple(entries[k].file for k in kept[low:high])
        pixels = x.take(slice(low, high)) if isinstance(x, Rows) else x[low:high]
        parts[part] = Images(pixels, y[low:high], classes, files, None if shards is None else shards[low:high])
    path = Path(listing.name).resolve()
    name = path.name if path.is_dir() else path.stem
    return Loaded(name, listing.name, parts, tuple(skipped), (*listing.notes, *notes), owned=True, level=level)


def chosen(pixels: int, wish: Wish) -> tuple[str, tuple[str, ...]]:
    """The level for so many bytes of pixels, and why in a sentence where it is not simply memory. Raises DataError."""
    if wish.level is not None and wish.level not in LEVELS:
        raise DataError("level", f"there is no level '{wish.level}'", hint=nearest(wish.level, LEVELS))
    allowed = allowance(wish.memory)
    level = wish.level or ("resident" if pixels <= allowed else "mapped" if cache.room(pixels) else "streamed")
    if level == "resident":
        return level, ()
    taken = f"{sized(pixels)} of pixels"
    over = "" if wish.level else f", and {sized(allowed)} of memory allowed"
    if level == "mapped":
        return level, (f"{taken}{over}: decoded on disk, in {cache.folder()}",)
    full = "" if wish.level else f" and too little room in {cache.folder()}"
    return level, (f"{taken}{over}{full}: decoded again in every epoch",)


def from_arrays(source: Source, classes: tuple[str, ...] | None, progress: Progress | None) -> Loaded:
    """A built-in data set, an .npz file or a pair of arrays. Raises DataError."""
    notes: tuple[str, ...] = ()
    pairs: Mapping[str | None, tuple[Any, Any]]
    if isinstance(source, tuple):
        if len(source) != 2:
            raise DataError("(X, y)", "two arrays are needed, images and labels", got=f"{len(source)} things")
        name, where, pairs, own = "arrays", "(X, y)", {None: source}, None
    elif source in BUILTINS:
        builtin = BUILTINS[str(source)]
        told = (lambda done, total: progress(f"bytes of {builtin.name}", done, total)) if progress else None
        found = load_builtin(builtin, told)
        name, where, pairs, own = builtin.name, builtin.name, found.arrays, builtin.classes
        notes = (f"read from {found.where}",)
    else:
        name, where = Path(source).stem, str(source)
        pairs, own = read_npz(Path(source))
    labels, pixels = {}, {}
    for part, (x, y) in pairs.items():
        place = f"{where}, {part}" if part else where
        pixels[part] = as_pixels(x, place)
        labels[part] = as_labels(y, len(pixels[part]), place)
    first = labels["train"] if "train" in labels else labels[None]
    own = own or class_order(first)
    if classes is None:
        classes = two_or_more(where, own)
    parts: dict[str | None, Images] = {}
    for part, names in labels.items():
        y, _ = numbered(names, own, f"{where}, {part}" if part else where)
        if classes != own:
            y, _ = numbered([own[k] for k in y], classes, where)
        files = tuple(f"{part or 'image'}[{k}]" for k in range(len(y)))
        parts[part] = Images(pixels[part], y, classes, files)
    return Loaded(name, where, parts, (), notes)


def at_size(images: Images, size: tuple[int, int] | None, channels: int | None, fit: str) -> Images:
    """The images, an array in memory, at `size` and with `channels`, where these are given and differ."""
    _, h, w, c = images.x.shape
    size, channels = size or (h, w), channels or c
    if (h, w, c) == (*size, channels):
        return images
    x = np.empty((len(images), *size, channels), np.uint8)
    for k, image in enumerate(images.x):
        x[k] = resize(recoloured(image, channels), size, fit)
    return Images(x, images.y, images.classes, images.files)


def recoloured(image: np.ndarray, channels: int) -> np.ndarray:
    """A uint8 H×W×C image as gray (ITU-R 601 luma) or as RGB."""
    if image.shape[2] == channels:
        return image
    if channels == 3:
        return image.repeat(3, axis=2)
    if channels == 1:
        return np.asarray(Image.fromarray(image).convert("L"))[..., None]
    raise DataError("channels", "an image has 1 channel (gray) or 3 (RGB)", got=channels)


def divided(loaded: Loaded, seed: int, valid_share: float, test_share: float) -> Dataset:
    """The Dataset, with the splits that the source lacks drawn by `seed`, class by class."""
    parts, notes = dict(loaded.parts), [*loaded.notes]
    whole = set(parts) <= {None, "train"}
    everything = parts.get(None, parts.get("train"))
    if everything is None:
        raise DataError(loaded.where, "there is no image to train on that can be read")
    train, valid, test = everything, parts.get("valid"), parts.get("test")
    if whole and test_share:
        train, test = apart(train, test_share, seed, loaded.owned)
    if valid is None:
        share = valid_share / (1 - test_share) if whole else valid_share
        train, valid = apart(train, share, seed, loaded.owned or whole)
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
    empty = [name for name, count in zip(train.classes, train.counts, strict=True) if not count]
    if empty:
        notes.append(f"no image to train on in {shortened(tuple(empty))}")
    if loaded.skipped:
        notes.append(f"skipped: {len(loaded.skipped)} files that cannot be read")
    mark = fingerprint(train=train, valid=valid, test=test)
    return Dataset(loaded.name, train, valid, test, loaded.skipped, mark, tuple(notes), loaded.level)


def apart(images: Images, share: float, seed: int, in_place: bool) -> tuple[Images, Images]:
    """The images that stay, and a share of them drawn off; `in_place` moves what stays together in its own array."""
    rest, gone = split(images.y, share, seed)
    taken = images.take(gone)
    if not in_place or isinstance(images.x, Rows):
        return images.take(rest), taken
    x = images.x
    for to, here in enumerate(rest):
        x[to] = x[here]
    shards = None if images.shards is None else images.shards[rest]
    return Images(x[: len(rest)], images.y[rest], images.classes, tuple(images.files[k] for k in rest), shards), taken


def without(where: str, only: str | None, splits: list[str]) -> DataError:
    what = f"the source has splits, but no {only} split"
    return DataError(where, what, got=", ".join(splits), hint="name one split's own folder")


def too_many_bad(where: str, files: int, skipped: list[Skipped], share: float) -> DataError:
    """The error for a source with more unreadable files than may be skipped."""
    shown = [f"{bad.file}: {bad.why}" for bad in skipped[:5]]
    more = [f"… and {len(skipped) - 5} more"] if len(skipped) > 5 else []
    what = f"{len(skipped)} of {files} files cannot be read, more than may be skipped"
    rule = f"at most {share:.0%}"
    return DataError(
        where, what, got="\n        ".join(shown + more), rule=rule, hint="remove them, or raise bad_share"
    )
