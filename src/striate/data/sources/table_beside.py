"""Folders whose classes are not folders but stand in a table beside the pictures, or in one in each split's folder."""

from __future__ import annotations

import os
import posixpath
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import msgspec

from ...errors import DataError
from ...language import say, to_say
from ...terminal import format_count
from ..listing import SPLIT_ORDER, Entry, Listing, Readable, format_ignored, keep_reason, shorten_list
from ..read.decode import IMAGE_SUFFIXES
from ..reading import Reading
from .archive import unpack_member
from .folder_splits import split_by_folders
from .layout import MOST_DROPPED
from .nodes import join_names
from .parquet import read_parquet
from .parquet_files import PackedTable, list_parquet_files
from .split_names import PART_WORDS, find_split_word
from .table import (
    TABLE_SUFFIXES,
    FoundTable,
    choose_by_split,
    find_image_folder,
    find_table_split,
    list_rows,
    parse_table,
    understand_table,
)
from .table_columns import NoFileColumn, NoLabelColumn, number_columns
from .table_files import FileFinder, FileTree, FolderTree, Parts
from .table_rows import RawTable, simplify_name

HOLDING_WORDS = frozenset("image images img imgs data jpg jpeg png".split())  # and of numbered folders these too:
NUMBERED_WORDS = HOLDING_WORDS | frozenset("photo photos picture pictures pics frames files folder set".split())


class SeenTable(NamedTuple):
    """A table in the folder.

    path   below the folder
    split  whose it is, by the folder that it lies in or by its name; None where neither says so
    found  None where it names no pictures with labels
    why    the sentence that says so
    error  what is wrong with it, where it names pictures and cannot be read
    table  its rows, and what finds its files, where it names any
    """

    path: Parts
    split: str | None
    found: FoundTable | None
    why: str = ""
    error: DataError | None = None
    table: RawTable | None = None
    finder: FileFinder | None = None

    @property
    def name(self) -> str:
        return "/".join(self.path)


def list_tables_beside(folder: Path, reading: Reading) -> Listing | None:
    """The images of a folder by a table in it (labels.csv beside train/ and test/), or one in each split's folder.

    None where it has no such table, and where folders are classes. A table without labels is not a test split, which a
    note says. Parquet files with pictures in them are taken together, split by their names. Raises DataError where
    more than one table names the images, or the only one cannot be read.
    """
    near = list_near_files(folder)
    packed = [item for item in near if item.suffix.lower() == ".parquet"]
    if packed and not any(is_image(item.name) for item in near):
        files = [PackedTable(Path(os.path.relpath(path, folder)).parts, path) for path in sorted(packed)]
        return list_parquet_files(files, str(folder), reading)
    if not any(is_table(item.name) for item in near):
        return None
    return list_by_tables(FolderTree(folder), str(folder), reading)


def list_near_files(folder: Path) -> list[Path]:
    """What lies in the folder, in its splits' folders and in one called data; nothing where it cannot be read."""
    try:
        items = [item for item in folder.iterdir() if not item.name.startswith(".")]
        near = [item for item in items if (find_split_word(item.name) or item.name == "data") and item.is_dir()]
        return items + [file for item in near for file in item.iterdir()]
    except OSError:
        return []


def list_by_tables(tree: FileTree, where: str, reading: Reading) -> Listing | None:
    """`list_tables_beside` for any tree of files, called `where`; a folder that holds all images is stepped into."""
    paths = [path for path in tree.list() if "__MACOSX" not in path]
    images = [path for path in paths if is_image(path[-1])]
    near = [path for path in paths if is_table(path[-1]) and is_near(path)]
    seen = [examine_table(tree, path, where, reading) for path in near]
    naming = [table for table in seen if table.found or table.error]
    if not naming:
        return step_into_tables(tree, images, where, reading)
    classes = find_class_folders(images)
    if len(classes) > 1 and not leaves_folders_out(naming, classes):
        return None
    chosen = choose_tables(naming, where)
    return join_tables(chosen, [table for table in seen if table not in naming], images, where, reading)


def step_into_tables(tree: FileTree, images: Sequence[Parts], where: str, reading: Reading) -> Listing | None:
    """The images by a table in the one folder that holds them all; None where there is no such folder or table."""
    tops = {path[0] if len(path) > 1 else "" for path in images}
    top = tops.pop() if len(tops) == 1 else ""
    if not top or find_split_word(top):
        return None
    inside = list_by_tables(tree.enter(top), f"{where}/{top}", reading)
    if inside is None:
        return None
    entries = tuple(entry._replace(file=f"{top}/{entry.file}") for entry in inside.entries)
    return replace(
        inside,
        name=where,
        entries=entries,
        notes=(say("read from {folder}/, which holds all images", folder=top), *inside.notes),
    )


def is_image(name: str) -> bool:
    return Path(name).suffix.lower() in IMAGE_SUFFIXES


def is_table(name: str) -> bool:
    return Path(name).suffix.lower() in TABLE_SUFFIXES and not name.startswith(".")


def is_near(path: Parts) -> bool:
    return len(path) == 1 or (len(path) == 2 and find_split_word(path[0]) is not None)


def find_class_folders(images: Sequence[Parts]) -> set[str]:
    """The folders that may be classes: the first on each picture's way that is neither a split nor a part."""
    ways = ([part for part in path[:-1] if not is_part(part)] for path in images)
    return {way[0] for way in ways if way}


def is_part(name: str) -> bool:
    """Whether a folder just holds pictures, by its name, and cannot be a class.

    >>> [is_part(name) for name in ("images_001", "HAM_part_2", "train", "images", "photos", "n01440764")]
    [True, True, True, True, False, False]
    """
    words = {word for word in re.split(r"[\W_\d]+", name.lower()) if word}
    last = re.sub(r"[\W_\d]+$", "", name.lower())
    holding = NUMBERED_WORDS if re.search(r"\d", name) else HOLDING_WORDS
    named = any(re.search(rf"(^|[\W_\d]){word}$", last) for word in PART_WORDS)
    return find_split_word(name) is not None or named or (bool(words) and words <= holding)


def leaves_folders_out(tables: Sequence[SeenTable], classes: set[str]) -> bool:
    """Whether all pictures that the tables name lie in one of several folders: these are no classes then."""
    files = [file for table in tables if table.found for file in list_named_files(table.found)]
    return len(find_class_folders([tuple(file.split("/")) for file in files])) == 1 < len(classes)


def list_named_files(found: FoundTable) -> list[str]:
    """The files that a table names, as far as they are there and no other may be meant, below the tree."""
    if found.columns.file is None:
        return []
    cells = [row.cells[found.columns.file] for row in found.columns.rows]
    match = found.finder.match_cells(cells, found.columns.way)
    chosen = [choose_by_split(names, find_table_split(found.table)) for names in match.found]
    return [names[0] for names in chosen if len(names) == 1]


def examine_table(tree: FileTree, path: Parts, where: str, reading: Reading) -> SeenTable:
    """What a table in the folder is: one of pictures and labels, or not, and why."""
    *folders, name = path
    split = find_split_word(folders[0]) if folders else find_split_word(Path(name).stem)
    if "submission" in simplify_name(name):
        return SeenTable(
            path, split, None, say("{name} is to hold predictions, by its name: not read", name="/".join(path))
        )
    inside = tree.enter("/".join(folders)) if folders else tree
    source = inside.find(name)
    if source is None:
        return SeenTable(path, split, None)
    try:
        table = read_table_beside(source, path, where, reading)
    except (DataError, OSError):
        return SeenTable(path, split, None)
    if table.images is not None:
        return SeenTable(
            path, split, None, say("{name} holds pictures itself, beside others: not read", name="/".join(path))
        )
    finder = find_files_of(table, inside, reading)
    try:
        found = understand_table(table, reading, finder)
    except NoFileColumn:
        return SeenTable(path, split, None)
    except NoLabelColumn:
        return SeenTable(path, split, None, say("{name} names images and has no labels: not read", name="/".join(path)))
    except DataError as e:
        return SeenTable(path, split, None, "", e if table.rows else None, table, finder)
    if not list_named_files(found):
        return SeenTable(path, split, None)
    return SeenTable(path, split, found, "", None, table, finder)


def read_table_beside(source: Readable, path: Parts, where: str, reading: Reading) -> RawTable:
    """The rows of a table among the files of a folder or an archive that is called `where`. Raises DataError."""
    title, suffix = f"{where}/{'/'.join(path)}", Path(path[-1]).suffix.lower()
    if suffix != ".parquet":
        return parse_table(source.read_bytes(), suffix, title, Path(where, *path[:-1]))
    local = source if isinstance(source, Path) else unpack_member(source, suffix)
    return replace(read_parquet(local, reading.file_column, title), folder=Path(where, *path[:-1]))


def find_files_of(table: RawTable, inside: FileTree, reading: Reading) -> FileFinder:
    """What finds the files of a table: in the folder that it lies in, or in the one that is named."""
    tree = FolderTree(find_image_folder(table, reading)) if reading.images else inside
    return FileFinder(tree, reading.suffix)


def choose_tables(naming: Sequence[SeenTable], where: str) -> list[SeenTable]:
    """The tables to read: the only one, one of each split, or those in the splits' folders. Raises DataError."""
    inside = [table for table in naming if len(table.path) == 2]
    tables = inside or list(naming)
    splits = [table.split for table in tables]
    if len(tables) > 1 and (None in splits or len(set(splits)) < len(splits)):
        names = tuple(table.name for table in tables)
        what = say("more than one table names the images")
        raise DataError(
            where,
            what,
            got=shorten_list(names),
            hint=say("name the one to read: {where}/{name}", where=where, name=names[0]),
        )
    return tables


def join_tables(
    tables: Sequence[SeenTable], others: Sequence[SeenTable], images: Sequence[Parts], where: str, reading: Reading
) -> Listing:
    """The Listing of the chosen tables. Raises DataError, also for more than a few pictures that no table names."""
    entries: list[Entry] = []
    notes: list[str] = []
    leading = next((table for table in tables if table.split == "train"), tables[0])
    if leading.error:
        raise leading.error
    matched = [(table, match_label_column(table, leading, reading)) for table in tables]
    labelled = [(table, found) for table, found in matched if found is not None]
    named: set[str] = set()
    for table, found in labelled:
        listing = list_rows(found, reading)
        split = table.split if len(labelled) > 1 or len(table.path) == 2 else None
        entries += [place_entry(entry, where, table, split) for entry in listing.entries]
        notes += [say("{name}: {note}", name=table.name, note=note) for note in listing.notes]
        named |= {place_name(name, where, table) for name in list_named_files(found)}
    notes += [
        say("{name} has no column of labels: not read", name=table.name) for table, found in matched if found is None
    ]
    notes += [table.why for table in others if table.why]
    check_once(entries, where)
    entries, folders = split_by_folders(entries)
    told = [say("split by the folders {folders}", folders=", ".join(folders))] if folders else []
    ignored = count_unnamed(images, named, where, leading)
    entries.sort(key=lambda entry: (SPLIT_ORDER.index(entry.split), entry.file))
    read = join_names(table.name for table, _ in labelled)
    notes = [say("labels from {read}", read=read), *told, *notes, *format_ignored(ignored)]
    return Listing(
        where, tuple(entries), dict(ignored), tuple(notes), say("a table beside the images, {read}", read=read)
    )


def match_label_column(table: SeenTable, leading: SeenTable, reading: Reading) -> FoundTable | None:
    """The table with the label column that the `leading` one has; None where it has none of that name.

    Raises DataError.
    """
    assert table.table and leading.found
    first = leading.found.columns
    name = first.names[first.labels[0]]
    if table is leading or len(first.labels) > 1 or first.names == number_columns(len(first.names)):
        if table.error:
            raise table.error
        return table.found
    if name not in (table.table.names or list(map(str.strip, table.table.rows[0].cells))):
        return None
    return understand_table(table.table, msgspec.structs.replace(reading, label_column=name), table.finder)


def place_name(name: str, where: str, table: SeenTable) -> str:
    """A file that a table names, below the folder."""
    if table.finder and isinstance(table.finder.tree, FolderTree):
        return Path(os.path.relpath(table.finder.tree.folder / name, where)).as_posix()
    return posixpath.normpath("/".join((*table.path[:-1], name)))


def place_entry(entry: Entry, where: str, table: SeenTable, split: str | None) -> Entry:
    """The entry with its name below the folder, and its table's split if its row says none."""
    file = Path(os.path.relpath(entry.path, where)).as_posix() if isinstance(entry.path, Path) else ""
    return entry._replace(file=file or place_name(entry.file, where, table), split=entry.split or split)


def check_once(entries: Sequence[Entry], where: str) -> None:
    """Raise DataError for a file that two tables name: it would stand in two splits."""
    twice = next((file for file, count in Counter(entry.file for entry in entries).items() if count > 1), None)
    if twice is not None:
        raise DataError(
            where,
            say("two tables name {file}", file=twice),
            rule=say("one split a file"),
            hint=say("take it out of one of them"),
        )


def count_unnamed(images: Sequence[Parts], named: set[str], where: str, leading: SeenTable) -> Counter[str]:
    """The pictures that no table names, by reason. Raises DataError where they lie among those that are named and are
    more than a few.
    """
    used = {file.rpartition("/")[0] for file in named}
    rest = ["/".join(path) for path in images if "/".join(path) not in named]
    among = [file for file in rest if file.rpartition("/")[0] in used]
    if len(among) > MOST_DROPPED * (len(named) + len(among)):
        what = say(
            "{images} of {count:,} are in no table",
            images=format_count(len(among), "image"),
            count=len(named) + len(among),
        )
        hint = say("{where}/{name} instead of the folder reads what it names alone", where=where, name=leading.name)
        raise DataError(
            where,
            what,
            got=shorten_list(tuple(among), 3),
            rule=say("at most {share:.0%}", share=MOST_DROPPED),
            hint=hint,
        )
    ignored = Counter({to_say("images that no table names"): len(among)} if among else {})
    for file in rest:
        folder = file.rpartition("/")[0]
        if folder not in used:
            ignored[keep_reason(say("images without labels in {folder}/", folder=folder or where))] += 1
    return ignored
