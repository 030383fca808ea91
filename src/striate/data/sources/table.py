"""A table of image files: which file, which label and, if it says so, which split."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ...errors import DataError, suggest_name
from ...language import join_texts, say, to_say
from ...regular_file import need_regular
from ...terminal import format_count
from ..listing import SPLIT_NAMES, Entry, Listing, Readable, format_ignored, normalise_name, shorten_list
from ..reading import USUAL_READING, Reading
from .folder_splits import take_folder_splits
from .parquet import read_parquet
from .records import parse_json, parse_json_lines
from .split_names import find_split_word
from .table_columns import FLAGS, Columns, find_columns, read_cell
from .table_files import FileFinder, FolderTree
from .table_label_sets import pick_label_sets
from .table_labels import ONES, check_single_labels, find_missing_words
from .table_numbers import pick_numbers
from .table_rows import FILE_NAMES, LABEL_NAMES, TABLE_HINT, RawTable, Row, decode_text, simplify_name, split_rows

TABLE_SUFFIXES = (".csv", ".tsv", ".txt", ".lst", ".json", ".jsonl", ".ndjson", ".parquet")


class FoundTable(NamedTuple):
    """A table with what its columns are, and the files that it names."""

    table: RawTable
    columns: Columns
    finder: FileFinder


class NamedFile(NamedTuple):
    """The file that a row means: its name for people, and what holds its bytes."""

    file: str
    path: Readable
    there: bool


def list_table(table: Path, reading: Reading = USUAL_READING) -> Listing:
    """The images that a table names: a text with delimiters, JSON, JSON lines or Parquet, which may hold them too.

    Its columns are found by what they hold: the one whose cells name files, relative to the table, to the folder
    `reading.images` or in folders beside it, with a suffix or without; the one of labels; of splits, if there is one.
    The first row names the columns, or is data. Where no column says the splits, folders such as train/ and test/ do. A
    row that is there already is ignored and counted. Raises DataError naming the line; in a Parquet file the column
    names are line 1.
    """
    return take_folder_splits(list_rows(understand_table(read_table(table, reading), reading), reading))


def read_table(path: Path, reading: Reading = USUAL_READING) -> RawTable:
    """A table file's rows, read by its suffix. Raises DataError naming the line where it is broken."""
    need_regular(path, DataError)
    if path.suffix.lower() == ".parquet":
        return read_parquet(path, reading.file_column)
    try:
        data = path.read_bytes()
    except OSError as e:
        raise DataError(str(path), say("the table cannot be read: {why}", why=e.strerror or e)) from None
    return parse_table(data, path.suffix.lower(), str(path), path.parent)


def parse_table(data: bytes, suffix: str, where: str, folder: Path) -> RawTable:
    """The rows of a table from its file's bytes, by its suffix. Raises DataError."""
    text, notes = decode_text(data, where)
    if suffix in (".jsonl", ".ndjson"):
        return parse_json_lines(text, where, folder)
    if suffix == ".json":
        return parse_json(text, where, folder)
    return RawTable(where, folder, None, split_rows(text, where), notes=notes)


def understand_table(table: RawTable, reading: Reading, finder: FileFinder | None = None) -> FoundTable:
    """What the table's columns are. Raises DataError."""
    if not table.rows:
        raise DataError(
            table.where, say("the table has no row") if table.names else say("the table is empty"), hint=TABLE_HINT
        )
    finder = finder or FileFinder(FolderTree(find_image_folder(table, reading)), reading.suffix)
    return FoundTable(table, find_columns(table, finder, reading), finder)


def find_image_folder(table: RawTable, reading: Reading) -> Path:
    """The folder of the table's files: `reading.images`, as it stands or beside the table. Raises DataError."""
    if reading.images is None:
        return table.folder
    for folder in (Path(reading.images), table.folder / reading.images):
        if folder.is_dir():
            return folder
    hint = say("leave it out to search beside the table")
    raise DataError(f"--images {reading.images}", say("there is no such folder"), hint=hint)


def list_rows(found: FoundTable, reading: Reading) -> Listing:
    """The Listing of a table. Raises DataError naming the line."""
    table, columns, _ = found
    ignored: Counter[str] = Counter()
    check_files_named(table, columns)
    rows, labels, numbers = PICKING[reading.outputs](table, columns, reading, ignored)
    splits = [find_split(table, columns, row) for row in rows]
    check_all_split(table, rows, splits)
    files = find_files(found, rows, numbers, splits)
    entries = [
        Entry(
            name.file, name.path, label, split, group=read_cell(row, columns.group), fold=read_cell(row, columns.fold)
        )
        for row, label, split, name in zip(rows, labels, splits, files, strict=True)
    ]
    once = keep_single_rows(table, rows, entries)
    if len(once) < len(entries):
        ignored[to_say("rows that are there already")] = len(entries) - len(once)
    notes = (*describe_reading(found, files, reading.outputs), *table.notes, *format_ignored(ignored))
    if table.images is None:  # pictures in a table stay in its order, in which they are read fastest
        once.sort(key=order_entry)
    named = ", ".join(columns.names[place] for place in columns.labels[:4])
    held = say("pictures inside") if columns.file is None else say("files in {name}", name=columns.names[columns.file])
    named = f"{named}, …" if len(columns.labels) > 4 else named
    read_as = say("a table, {held}, labels in {named}", held=held, named=named)
    return Listing(table.where, tuple(once), dict(ignored), notes, read_as)


def order_entry(entry: Entry) -> tuple[str, ...]:
    return entry.file, str(entry.path), entry.label, entry.split or ""


def check_files_named(table: RawTable, columns: Columns) -> None:
    """Raise DataError for a row without a file."""
    for row in columns.rows if columns.file is not None else ():
        if not read_cell(row, columns.file):
            raise DataError(table.place(row.line), say("this row has no path"), got=", ".join(row.cells))


def pick_labelled_rows(
    table: RawTable, columns: Columns, reading: Reading, ignored: Counter[str]
) -> tuple[list[Row], list[str], list[int]]:
    """The rows with a label, their labels, and their places in the table. Raises DataError where some have none."""
    labels = [read_row_label(columns, row) for row in columns.rows]
    missing = find_missing_words(labels)
    kept = [k for k, label in enumerate(labels) if label.lower() not in missing]
    without = len(labels) - len(kept)
    if without and not reading.drop_unlabelled:
        k = next(k for k, label in enumerate(labels) if label.lower() in missing)
        what = say("this row has no label")
        if without > 1:
            what = say("this row has no label, and {more:,} more have none", more=without - 1)
        got, hint = (
            ", ".join(columns.rows[k].cells),
            say("--drop-unlabelled leaves {rows} out", rows=format_count(without, "row")),
        )
        raise DataError(table.place(columns.rows[k].line), what, got=got, hint=hint)
    if not kept:
        raise DataError(
            table.where, say("no row has a label"), got=say("{without:,} rows without one", without=without)
        )
    if without:
        ignored[to_say("rows without a label")] = without
    rows, told = [columns.rows[k] for k in kept], [labels[k] for k in kept]
    if len(columns.labels) == 1:
        check_single_labels(table, rows, told)
    return rows, list(map(normalise_name, told)), kept


# What a picture's label is, by what a net that learns it answers.
PICKING = {"softmax": pick_labelled_rows, "sigmoid": pick_label_sets, "identity": pick_numbers}


def read_row_label(columns: Columns, row: Row) -> str:
    """What a row says of its class: the cell of its label, or the name of the column with a 1."""
    if len(columns.labels) == 1:
        return row.cells[columns.labels[0]]
    return next((columns.names[k] for k in columns.labels if row.cells[k] in ONES), "")


def find_split(table: RawTable, columns: Columns, row: Row) -> str | None:
    """The row's split, by its column of splits or by yes and no. Raises DataError for one that there is not."""
    if columns.split is not None:
        told = row.cells[columns.split]
        if told and told.lower() not in SPLIT_NAMES:
            hint = suggest_name(told.lower(), SPLIT_NAMES)
            raise DataError(table.place(row.line), say("there is no split '{told}'", told=told), hint=hint)
        return SPLIT_NAMES.get(told.lower())
    if columns.flags:
        return next((split for split, k in columns.flags.items() if FLAGS[row.cells[k].lower()]), "train")
    return None


def check_all_split(table: RawTable, rows: Sequence[Row], splits: Sequence[str | None]) -> None:
    if None in splits and any(splits):
        line = rows[splits.index(None)].line
        raise DataError(
            table.place(line), say("this row has no split, and others have one"), rule=say("all rows or none")
        )


def find_files(
    found: FoundTable, rows: Sequence[Row], numbers: Sequence[int], splits: Sequence[str | None]
) -> list[NamedFile]:
    """The file that each row means. Raises DataError where none is there, and where a row may mean two."""
    table, columns, finder = found
    if table.images is not None:
        stem = Path(table.where).name
        return [NamedFile(f"{stem}[{k}]", table.images[k], True) for k in numbers]
    cells = [read_cell(row, columns.file) for row in rows]
    match = finder.match_cells(cells, columns.way)
    files = [
        name_file(found, row, cell, names, split)
        for row, cell, names, split in zip(rows, cells, match.found, splits, strict=True)
    ]
    if not any(file.there for file in files):
        titles = [name for k, name in enumerate(columns.names) if k == columns.file]
        what = say(
            "none of the {files} that the column {name} names is there",
            files=format_count(len(set(cells)), "file"),
            name=titles[0],
        )
        other = finder.find_other_suffix(cells[0])
        hint = (
            say("{other} is there: write that suffix, or none", other=other)
            if other
            else say("--images FOLDER says where they lie")
        )
        raise DataError(table.place(rows[0].line), what, got=cells[0], hint=hint)
    return files


def name_file(found: FoundTable, row: Row, cell: str, names: list[str], split: str | None) -> NamedFile:
    """The file of one row. Raises DataError where it may be any of several."""
    table, columns, finder = found
    names = choose_by_split(names, split or find_table_split(table))
    if len(names) > 1:
        what, got = say("'{cell}' may be any of several files", cell=cell), shorten_list(tuple(names), 4)
        hint = say("--images FOLDER with one of them")
        if not finder.suffix:
            hint = say("--images FOLDER with one of them, or --suffix, such as .jpg")
        raise DataError(table.place(row.line), what, got=got, hint=hint)
    if names:
        path = finder.tree.find(names[0])
        if path is not None:
            return NamedFile(names[0] if columns.way is not None else cell, path, True)
    return NamedFile(cell, table.folder / (cell + finder.suffix), False)


def choose_by_split(names: list[str], split: str | None) -> list[str]:
    """Of several files those in a folder of the split, if any."""
    if len(names) < 2 or split is None:
        return names
    return [name for name in names if split in map(find_split_word, name.split("/")[:-1])] or names


def find_table_split(table: RawTable) -> str | None:
    return find_split_word(Path(table.where).stem)


def keep_single_rows(table: RawTable, rows: Sequence[Row], entries: Sequence[Entry]) -> list[Entry]:
    """The entries, each once. Raises DataError for a file with two labels or in two splits."""
    found: dict[str, Entry] = {}
    lines: dict[str, int] = {}
    for row, entry in zip(rows, entries, strict=True):
        key = os.path.normpath(entry.path) if isinstance(entry.path, Path) else entry.file
        first = found.setdefault(key, entry)
        line = lines.setdefault(key, row.line)
        if (first.label, first.split) != (entry.label, entry.split):
            what, told = say("{file} has two splits", file=entry.file), (first.split, entry.split)
            if first.label != entry.label:
                what, told = say("{file} has two labels", file=entry.file), (first.label, entry.label)
            places = [table.say_line(number) for number in (line, row.line)]
            pairs = [say("{one} in {place}", one=one, place=place) for one, place in zip(told, places, strict=True)]
            raise DataError(
                table.place(row.line), what, got=join_texts(say(" and "), pairs), rule=say("one row a file")
            )
    return list(found.values())


def describe_reading(found: FoundTable, files: Sequence[NamedFile], outputs: str = "softmax") -> tuple[str, ...]:
    """A sentence on how the columns were understood, where their names do not say so themselves."""
    table, columns, finder = found
    names = columns.names
    plain = columns.file is not None and columns.way is None and simplify_name(names[columns.file]) in FILE_NAMES
    named = len(columns.labels) == 1 and simplify_name(names[columns.labels[0]]) in LABEL_NAMES
    if (plain and named or names[0] == "1") and not columns.unused and not columns.flags and columns.fold is None:
        return ()
    parts = [] if columns.file is None else [describe_files(names[columns.file], describe_places(files, columns.way))]
    labels = shorten_list(tuple(names[k] for k in columns.labels), 6)
    parts.append(
        say("{labels}: several labels a picture", labels=labels)
        if outputs == "sigmoid"
        else say("column {labels} the number", labels=labels)
        if outputs == "identity"
        else say("column {labels} the classes", labels=labels)
        if len(columns.labels) == 1
        else say("columns {labels} the classes", labels=labels)
    )
    parts += [
        say("{name} the splits", name=name)
        for k, name in enumerate(names)
        if k == columns.split or k in columns.flags.values()
    ]
    parts += [say("{name} the folds, for --folds", name=names[columns.fold])] if columns.fold is not None else []
    unused = [say("not used: {names}", names=shorten_list(columns.unused, 8))] if columns.unused else []
    return (join_texts("; ", [join_texts(", ", parts), *unused]),)


def describe_files(name: str, places: str) -> str:
    """The column that names the files, and where these lie."""
    if places:
        return say("column {name} names the files in {places}", name=name, places=places)
    return say("column {name} names the files", name=name)


def describe_places(files: Sequence[NamedFile], way: int | None) -> str:
    """Where the files lie, if not where the cells say."""
    if way is None:
        return ""
    folders = sorted({os.path.dirname(file.file) + "/" for file in files if file.there} - {"/"})
    return shorten_list(tuple(folders), 3) if folders else ""
