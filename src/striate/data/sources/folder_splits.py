"""The splits of files that a table names, by the folders that they lie in, where no column of it says them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ...language import say
from ..listing import Entry, Listing
from .nodes import join_names
from .split_names import find_roles
from .table_files import split_path


def split_by_folders(entries: Sequence[Entry]) -> tuple[list[Entry], list[str]]:
    """The entries, each of the split of which a folder on its way speaks, and these folders; as they are, and none,
    where a split is said already, or where not all lie in such folders at one level, of train and of another split.

    train/cat/1.jpg and test/cat/2.jpg, and cat/train/1.jpg as well; train_station/1.jpg says no split.
    """
    ways = [split_path(entry.file)[:-1] for entry in entries]
    if any(entry.split for entry in entries):
        return list(entries), []
    for level in range(min(map(len, ways), default=0)):
        folders = {way[level] for way in ways}
        roles = find_roles(folders)
        splits = {folder: role.split for folder, role in roles.items() if role.kind == "split"}
        if splits.keys() == folders and "train" in splits.values() and len(set(splits.values())) > 1:
            found = [entry._replace(split=splits[way[level]]) for entry, way in zip(entries, ways, strict=True)]
            return found, sorted(folders)
    return list(entries), []


def take_folder_splits(listing: Listing) -> Listing:
    """The listing of a table, split by its files' folders where they say the splits; `read_as` tells so."""
    entries, folders = split_by_folders(listing.entries)
    if not folders:
        return listing
    told = say(
        "{read_as}, splits by the folders {names}",
        read_as=listing.read_as,
        names=join_names(f"{folder}/" for folder in folders),
    )
    return replace(listing, entries=tuple(entries), read_as=told)
