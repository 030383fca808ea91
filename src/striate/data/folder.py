"""A folder of class folders, with or without split folders. It is only ever read."""

from __future__ import annotations

import os
import stat
from collections import Counter
from pathlib import Path

from ..errors import DataError
from .decode import SUFFIXES
from .listing import SPLITS, Entry, Listing, counted, normal, readable

LITTER = frozenset({"__macosx", "thumbs.db", "desktop.ini", "@eadir", "ehthumbs.db", "icon\r"})


def list_folder(folder: Path) -> Listing:
    """The images below `folder`: `class/…` or `split/class/…`, with the splits named as in SPLITS, in any case.

    A class folder is read to any depth, and may be a link. Hidden files and folders (`.ipynb_checkpoints` and
    AppleDouble `._*` among them), `__MACOSX`, `Thumbs.db` and their like, empty folders, files that are no images by
    their suffix, pipes and devices, and links to folders that are within class folders or lead back are ignored and
    counted. Raises DataError where there is no folder, no class folder or no image.
    """
    ignored: Counter[str] = Counter()
    top = forward(folder, visible(folder, ignored), ignored)
    folders = [item for item in top if is_folder(item)]
    loose = [item for item in top if not is_folder(item)]
    of_split = split_folders(folder, folders)
    entries: list[Entry] = []
    notes: list[str] = []
    if of_split:
        for item in folders:
            if item not in of_split.values():
                kind = (
                    "split folders without class folders"
                    if item.name.lower() in SPLITS
                    else "folders beside the splits"
                )
                ignored[f"{kind} ({item.name})"] += 1
        for split, item in of_split.items():
            inside = forward(folder, visible(item, ignored), ignored)
            loose += [file for file in inside if not is_folder(file)]
            for child in inside:
                if is_folder(child):
                    entries += of_class(folder, child, split, ignored)
    else:
        for item in folders:
            entries += of_class(folder, item, None, ignored)
            if item.name.lower() in SPLITS:
                notes.append(f"{item.name}/ is taken as a class: it holds images and no class folders")
    images = [file for file in loose if file.suffix.lower() in SUFFIXES]
    if images:
        ignored["images outside the class folders"] += len(images)
    if len(loose) > len(images):
        ignored["files that are no images"] += len(loose) - len(images)
    if not entries:
        raise nothing_in(folder, len(images), ignored)
    return Listing(str(folder), tuple(entries), dict(ignored), (*notes, *counted(ignored)))


def nothing_in(folder: Path, images: int, ignored: Counter[str]) -> DataError:
    hint = "one folder a class: photos/cat/1.jpg, photos/dog/2.jpg"
    if images:
        what = "the images lie in no class folder"
        return DataError(str(folder), what, got=f"{images} images at the top", hint=hint)
    found = ", ".join(f"{count} {reason}" for reason, count in sorted(ignored.items())) or "an empty folder"
    return DataError(str(folder), "there is no image in this folder", got=found, hint=hint)


def visible(folder: Path, ignored: Counter[str]) -> list[Path]:
    """What lies in the folder, by name, without hidden items and the litter that systems leave. Raises DataError."""
    try:
        items = sorted(folder.iterdir(), key=lambda item: normal(item.name))
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


def kind_of(item: Path) -> str:
    """ "folder", "special" for a pipe, socket or device, and "file" for all else, also for what cannot be looked at:

    that is said when it is read.
    """
    try:
        mode = item.stat().st_mode
    except OSError:
        return "file"
    return "folder" if stat.S_ISDIR(mode) else "file" if stat.S_ISREG(mode) else "special"


def is_folder(item: Path) -> bool:
    return kind_of(item) == "folder"


def forward(root: Path, items: list[Path], ignored: Counter[str]) -> list[Path]:
    """The items without the links that lead back to `root` or to a folder that it lies in."""
    real = root.resolve()
    kept = []
    for item in items:
        if item.is_symlink() and is_folder(item) and item.resolve() in (real, *real.parents):
            ignored["links that lead back"] += 1
        else:
            kept.append(item)
    return kept


def split_folders(folder: Path, folders: list[Path]) -> dict[str, Path]:
    """The folders that are splits, by split: those named so which hold folders themselves. Else they are classes.

    Raises DataError where two mean the same split.
    """
    found: dict[str, Path] = {}
    for item in folders:
        split = SPLITS.get(item.name.lower())
        if split and any(is_folder(child) for child in visible(item, Counter())):
            if split in found:
                got = f"{found[split].name}, {item.name}"
                raise DataError(str(folder), f"two folders mean the {split} split", got=got, hint="keep one of them")
            found[split] = item
    return {split: found[split] for split in ("train", "valid", "test") if split in found}


def of_class(root: Path, folder: Path, split: str | None, ignored: Counter[str]) -> list[Entry]:
    """The images of one class folder, at any depth. Links to folders inside it are not followed."""
    entries = []
    waiting = [folder]
    while waiting:
        here = waiting.pop()
        for item in visible(here, ignored):
            kind = kind_of(item)
            if kind == "folder" and item.is_symlink():
                ignored["links to folders inside class folders"] += 1
            elif kind == "folder":
                waiting.append(item)
            elif kind == "special":
                ignored["pipes and devices"] += 1
            elif item.suffix.lower() in SUFFIXES:
                entries.append(Entry(readable(os.path.relpath(item, root)), item, normal(folder.name), split))
            else:
                ignored["files that are no images"] += 1
    if not entries:
        ignored["class folders without an image"] += 1
    return sorted(entries)
