"""A flat split beside one of class folders, its classes in a table: Train/0/…, Test/ and Test.csv."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import replace

from ...errors import DataError
from ...language import say
from ..listing import SPLIT_ORDER, Listing, shorten_list
from ..reading import Reading
from .layout import list_tree
from .split_names import find_roles
from .table import list_rows
from .table_beside import SeenTable, count_unnamed, examine_table, is_table, list_named_files, place_entry, place_name
from .table_files import FileTree
from .tree import Parts, SourceTree, TreeFile, index_files


def list_folders_and_tables(tree: SourceTree, reading: Reading) -> Listing:
    """The images of a tree by their class folders, those of a flat split by the table that names them.

    A flat split is a folder called as one, with images and no folders in it, beside another with class folders. Raises
    DataError, also where more than one table names its images.
    """
    if reading.labels_from == "name":
        return list_tree(tree, reading)
    above = find_common_folder(tree.images)
    flat = find_flat_splits(tree.images, len(above))
    tables = {name: find_split_table(tree, (*above, name), split, reading) for name, split in flat.items()}
    told = {(*above, name): table for name, table in tables.items() if table is not None}
    rest = [file for file in tree.images if file.parts[:-1] not in told]
    used = {table.path for table in told.values()}
    others = [file for file in tree.others if file.parts not in used]
    listing = list_tree(replace(tree, images=rest, others=others), reading)
    for folder, table in told.items():
        images = [file.parts for file in tree.images if file.parts[:-1] == folder]
        listing = add_table_split(listing, table, images, str(flat[folder[-1]]), reading)
    return listing


def find_common_folder(images: Sequence[TreeFile]) -> Parts:
    """The folder that holds all images and is no split's: the way to it; () for the top."""
    above: Parts = ()
    while True:
        tops = {file.parts[: len(above) + 1] for file in images if len(file.parts) > len(above) + 1}
        alone = len(tops) == 1 and all(len(file.parts) > len(above) + 1 for file in images)
        if not alone or find_roles([next(iter(tops))[-1]]):
            return above
        [above] = tops


def find_flat_splits(images: Sequence[TreeFile], level: int) -> dict[str, str]:
    """The folders at that level that are called as splits and hold images and no folders, with their splits; none where
    no other split has folders in it.
    """
    depths: dict[str, set[int]] = {}
    for file in images:
        if len(file.parts) > level + 1:
            depths.setdefault(file.parts[level], set()).add(len(file.parts) - level - 1)
    roles = find_roles(depths)
    splits = {name: str(role.split) for name, role in roles.items() if role.kind == "split"}
    deep = any(max(depths[name]) > 1 for name in splits)
    return {name: split for name, split in splits.items() if depths[name] == {1}} if deep else {}


def find_split_table(tree: SourceTree, folder: Parts, split: str, reading: Reading) -> SeenTable | None:
    """The table beside a flat split's folder or in it that names images of it alone. Raises DataError for several."""
    files: FileTree = index_files(tree)
    near = [file.parts for file in tree.others if is_table(file.parts[-1]) and file.parts[:-1] in (folder, folder[:-1])]
    found = []
    for path in near:
        table = examine_table(files, path, tree.where, reading)
        if table.found and names_only(table, folder, tree.where):
            found.append(table._replace(split=split))
    if len(found) > 1:
        names = tuple(table.name for table in found)
        what = say("more than one table names the images in {folder}/", folder="/".join(folder))
        raise DataError(tree.where, what, got=shorten_list(names), hint=say("keep one of them"))
    return found[0] if found else None


def names_only(table: SeenTable, folder: Parts, where: str) -> bool:
    """Whether all images that a table names lie in the folder."""
    assert table.found
    names = [place_name(name, where, table) for name in list_named_files(table.found)]
    return bool(names) and all(posixpath.dirname(name) == "/".join(folder) for name in names)


def add_table_split(
    listing: Listing, table: SeenTable, images: Sequence[Parts], split: str, reading: Reading
) -> Listing:
    """The listing with the images that the table names, as that split. Raises DataError where it leaves many out."""
    assert table.found
    rows, where = list_rows(table.found, reading), listing.name
    entries = [place_entry(entry, where, table, split) for entry in rows.entries]
    named = {place_name(name, where, table) for name in list_named_files(table.found)}
    ignored = count_unnamed(images, named, where, table)
    whole = sorted([*listing.entries, *entries], key=lambda entry: (SPLIT_ORDER.index(entry.split), entry.label))
    notes = [*listing.notes, *(say("{name}: {note}", name=table.name, note=note) for note in rows.notes)]
    notes += [f"ignored: {reason}: {count:,}" for reason, count in ignored.items()]
    return replace(
        listing,
        entries=tuple(whole),
        ignored=listing.ignored | dict(ignored),
        notes=tuple(notes),
        read_as=say(
            "{read_as}, the {split} images by the table {name}", read_as=listing.read_as, split=split, name=table.name
        ),
    )
