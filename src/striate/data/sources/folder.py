"""A folder of class folders, with or without split folders. It is only ever read."""

from __future__ import annotations

import os
import stat
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from ...errors import DataError
from ...terminal import format_count
from ..listing import SPLIT_NAMES, Entry, Listing, escape_name, format_ignored, normalise_name
from ..read.decode import IMAGE_SUFFIXES

LITTER = frozenset({"__macosx", "thumbs.db", "desktop.ini", "@eadir", "ehthumbs.db", "icon\r"})


def list_folder(folder: Path) -> Listing:
    """The images below `folder`: `class/…` or `split/class/…`, with the splits named as in SPLITS, in any case.

    A class folder is read to any depth, and may be a link. Hidden files and folders (`.ipynb_checkpoints` and
    AppleDouble `._*` among them), `__MACOSX`, `Thumbs.db` and their like, empty folders, files that are not images by
    their suffix, pipes and devices, and links to folders that are within class folders or lead back are ignored and
    counted. Raises DataError where there is no folder, no class folder or no image.
    """
    ignored: Counter[str] = Counter()
    top = drop_backward_links(folder, list_visible(folder, ignored), ignored)
    folders = [item for item in top if is_folder(item)]
    loose = [item for item in top if not is_folder(item)]
    of_split = find_split_folders(folder, folders)
    entries: list[Entry] = []
    notes: list[str] = []
    if of_split:
        for item in folders:
            if item not in of_split.values():
                kind = (
                    "split folders without class folders"
                    if item.name.lower() in SPLIT_NAMES
                    else "folders beside the splits"
                )
                ignored[f"{kind} ({item.name})"] += 1
        for split, item in of_split.items():
            inside = drop_backward_links(folder, list_visible(item, ignored), ignored)
            loose += [file for file in inside if not is_folder(file)]
            for child in inside:
                if is_folder(child):
                    entries += list_class(folder, child, split, ignored)
    else:
        for item in folders:
            entries += list_class(folder, item, None, ignored)
            if item.name.lower() in SPLIT_NAMES:
                notes.append(f"{item.name}/ is taken as a class: it holds images and no class folders")
    images = [file for file in loose if file.suffix.lower() in IMAGE_SUFFIXES]
    if images:
        ignored["images outside the class folders"] += len(images)
    if len(loose) > len(images):
        ignored["files that are not images"] += len(loose) - len(images)
    if not entries:
        raise explain_empty_folder(folder, len(images), ignored)
    return Listing(str(folder), tuple(entries), dict(ignored), (*notes, *format_ignored(ignored)))


def explain_empty_folder(folder: Path, images: int, ignored: Counter[str]) -> DataError:
    hint = "one folder per class: photos/cat/1.jpg, photos/dog/2.jpg"
    if images:
        what = "the images lie in no class folder"
        return DataError(str(folder), what, got=f"{format_count(images, 'image')} at the top", hint=hint)
    found = ", ".join(f"{reason}: {count:,}" for reason, count in sorted(ignored.items())) or "an empty folder"
    return DataError(str(folder), "there is no image in this folder", got=found, hint=hint)


def list_visible(folder: Path, ignored: Counter[str]) -> list[Path]:
    """What lies in the folder, by name, without hidden items and the litter that systems leave. Raises DataError."""
    try:
        items = sorted(folder.iterdir(), key=lambda item: normalise_name(item.name))
    except OSError as e:
        raise DataError(str(folder), f"the folder cannot be read: {e.strerror or e}") from None
    kept = []
    for item in items:
        if item.name.startswith("."):
            ignored["hidden files and folders"] += 1
        elif item.name.lower() in LITTER:
            ignored["system files and folders (Thumbs.db, __MACOSX, …)"] += 1
        else:
            kept.append(item)
    return kept


def classify_item(item: Path) -> str:
    """ "folder", "special" for a pipe, socket or device, and "file" for all else, also for what cannot be looked at:

    that is said when it is read.
    """
    try:
        mode = item.stat().st_mode
    except OSError:
        return "file"
    return "folder" if stat.S_ISDIR(mode) else "file" if stat.S_ISREG(mode) else "special"


def is_folder(item: Path) -> bool:
    return classify_item(item) == "folder"


def drop_backward_links(root: Path, items: list[Path], ignored: Counter[str]) -> list[Path]:
    """The items without the links that lead back to `root` or to a folder that it lies in."""
    real = root.resolve()
    kept = []
    for item in items:
        if item.is_symlink() and is_folder(item) and item.resolve() in (real, *real.parents):
            ignored["links that lead back"] += 1
        else:
            kept.append(item)
    return kept


def find_split_folders(folder: Path, folders: list[Path]) -> dict[str, Path]:
    """The folders that are splits, by split: those named so which hold folders themselves. Else they are classes.

    Raises DataError where two mean the same split.
    """
    found: dict[str, Path] = {}
    for item in folders:
        split = SPLIT_NAMES.get(item.name.lower())
        if split and any(is_folder(child) for child in list_visible(item, Counter())):
            if split in found:
                got = f"{found[split].name}, {item.name}"
                raise DataError(str(folder), f"two folders mean the {split} split", got=got, hint="keep one of them")
            found[split] = item
    return {split: found[split] for split in ("train", "valid", "test") if split in found}


def list_class(root: Path, folder: Path, split: str | None, ignored: Counter[str]) -> list[Entry]:
    """The images of one class folder, at any depth. Links to folders inside it are not followed."""
    entries = []
    waiting = [folder]
    while waiting:
        here = waiting.pop()
        for item in list_visible(here, ignored):
            kind = classify_item(item)
            if kind == "folder" and item.is_symlink():
                ignored["links to folders inside class folders"] += 1
            elif kind == "folder":
                waiting.append(item)
            elif kind == "special":
                ignored["pipes and devices"] += 1
            elif item.suffix.lower() in IMAGE_SUFFIXES:
                entries.append(
                    Entry(escape_name(os.path.relpath(item, root)), item, normalise_name(folder.name), split)
                )
            else:
                ignored["files that are not images"] += 1
    if not entries:
        ignored["class folders without an image"] += 1
    return sorted(entries)


def list_image_files(names: Iterable[str]) -> Iterator[str]:
    """Each file in `names`; for a folder the images in it and below, sorted; for "-" the names on stdin, a line each.

    Hidden files and those without an image's suffix are left out of a folder; a named file is taken as it is.
    Raises DataError for a folder without any image.
    """
    for name in names:
        if name == "-":
            yield from (line.rstrip("\r\n") for line in sys.stdin if line.strip())
        elif Path(name).is_dir():
            found = list_images_below(Path(name))
            if not found:
                raise DataError(name, "no image in this folder or below it", hint="name a folder with image files")
            yield from map(str, found)
        else:
            yield name


def list_images_below(folder: Path) -> list[Path]:
    """The images in `folder` and in its folders."""
    found: list[Path] = []
    for path in list_visible(folder, Counter()):
        kind = classify_item(path)
        if kind == "folder":
            found += [] if path.is_symlink() else list_images_below(path)
        elif kind == "file" and path.suffix.lower() in IMAGE_SUFFIXES:
            found.append(path)
    return found
