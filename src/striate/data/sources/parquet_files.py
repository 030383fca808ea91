"""Several Parquet files with pictures in them, in a folder or in an archive, as the Hugging Face Hub has them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ...errors import DataError
from ...language import say
from ...terminal import format_count
from ..listing import SPLIT_ORDER, Entry, Listing, format_ignored
from ..reading import Reading
from .archive import unpack_member
from .folder_splits import take_folder_splits
from .parquet import read_parquet
from .split_names import find_split_word
from .table import list_rows, understand_table
from .tree import Parts, SourceTree


class PackedTable(NamedTuple):
    """A Parquet file: its name below the folder or in the archive, and where it lies on the disk."""

    name: Parts
    path: Path


def list_packed_tables(tree: SourceTree, reading: Reading) -> Listing | None:
    """The images in an archive's Parquet files; None where it has none, or images beside them. Raises DataError."""
    packed = [file for file in tree.others if file.parts[-1].lower().endswith(".parquet")]
    if not packed or tree.images:
        return None
    files = [PackedTable(file.parts, unpack_member(file.source, ".parquet")) for file in packed]
    return list_parquet_files(sorted(files), tree.where, reading)


def list_parquet_files(files: Sequence[PackedTable], where: str, reading: Reading) -> Listing:
    """The images of several Parquet files, each of the split of which its name or its folder's speaks.

    Raises DataError where one of them is missing by their numbers, as in train-00000-of-00002.parquet.
    """
    splits = [find_split_word(Path(file.name[-1]).stem) or find_split_word(name_folder(file, where)) for file in files]
    check_numbers(files, where)
    if None in splits and any(splits):
        what = say("this file's name has no split, and others have one")
        raise DataError(name_table(files[splits.index(None)], where), what, rule=say("all of them or none"))
    entries: list[Entry] = []
    ignored: Counter[str] = Counter()
    for file, split in zip(files, splits, strict=True):
        listing = list_packed_table(file, where, reading)
        ignored.update(listing.ignored)
        for entry in listing.entries:
            name = "/".join((*file.name[:-1], entry.file))
            entries.append(entry._replace(file=name, split=split if len(set(splits)) > 1 else entry.split))
    entries.sort(key=lambda entry: SPLIT_ORDER.index(entry.split))  # as they lie in the files
    read_as = say("Parquet files, {count:,} of them", count=len(files))
    return Listing(where, tuple(entries), dict(ignored), format_ignored(ignored), read_as)


def list_packed_table(file: PackedTable, where: str, reading: Reading) -> Listing:
    table = read_parquet(file.path, reading.file_column, name_table(file, where))
    return take_folder_splits(list_rows(understand_table(table, reading), reading))


def name_table(file: PackedTable, where: str) -> str:
    return "/".join((where, *file.name))


def name_folder(file: PackedTable, where: str) -> str:
    """The folder that holds the file; at the top what the source is called."""
    return file.name[-2] if len(file.name) > 1 else Path(where).name


def check_numbers(files: Sequence[PackedTable], where: str) -> None:
    """Raise DataError where files that are numbered "-00000-of-00002" are not all there."""
    told = [re.fullmatch(r"(.*)-(\d+)-of-(\d+)", Path(file.name[-1]).stem) for file in files]
    for stem, count in {(match[1], int(match[3])) for match in told if match}:
        there = {int(match[2]) for match in told if match and match[1] == stem}
        if missing := sorted(set(range(count)) - there):
            got = say(
                "{files} of {count}, without number {missing}",
                files=format_count(len(there), "file"),
                count=count,
                missing=missing[0],
            )
            raise DataError(
                where,
                say("the files of {stem} are not all there", stem=stem),
                got=got,
                hint=say("fetch the rest of them"),
            )
