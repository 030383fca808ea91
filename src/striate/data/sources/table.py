"""A table of image files, as CSV or Parquet: path, label and, if it is there, split."""

from __future__ import annotations

import csv
import io
import os
from collections import Counter
from pathlib import Path

from ...errors import DataError, suggest_name
from ...regular_file import need_regular
from ..listing import SPLIT_NAMES, Entry, Listing, format_ignored, normalise_name
from ..read.decode import IMAGE_SUFFIXES

COLUMN_NAMES = {
    **dict.fromkeys("path file filename file_name filepath image image_path image_name img img_path".split(), "path"),
    **dict.fromkeys("label labels class class_name category target".split(), "label"),
    **dict.fromkeys(("split", "set", "subset"), "split"),
}
TABLE_SUFFIXES = (".csv", ".tsv", ".parquet")
TABLE_HINT = "path,label,split\n        cats/1.jpg,cat,train"


def list_table(table: Path) -> Listing:
    """The images that a CSV or Parquet file names, by paths relative to the table's own folder.

    The first row names the columns: path, label and, if wanted, split (train, valid or test), in any order; or there
    is no such row, and they come in that order. Commas, semicolons or tabs. A path may be written as on Windows. A row
    that is there already is ignored and counted. Raises DataError naming the line; in a Parquet file the column names
    are line 1.
    """
    need_regular(table, DataError)
    lines = read_parquet(table) if table.suffix.lower() == ".parquet" else read_rows(table)
    rows = [(line, row) for line, row in lines if any(cell.strip() for cell in row)]
    if not rows:
        raise DataError(str(table), "the table is empty", hint=TABLE_HINT)
    named, header = find_columns(table, rows)
    entries = [make_entry(table, line, dict(zip(named, row, strict=False))) for line, row in rows[header:]]
    if not entries:
        raise DataError(str(table), "the table has no row", hint=TABLE_HINT)
    if len({e.split is None for e in entries}) == 2:
        without = next(line for (line, _), e in zip(rows[header:], entries, strict=True) if e.split is None)
        raise DataError(
            f"{table}, line {without}", "this row has no split, and others have one", rule="all rows or none"
        )
    once = set(entries)
    ignored = Counter({"rows that are there already": len(entries) - len(once)} if len(once) < len(entries) else {})
    return Listing(str(table), tuple(sorted(once)), dict(ignored), format_ignored(ignored))


def find_columns(table: Path, rows: list[tuple[int, list[str]]]) -> tuple[list[str], bool]:
    """What each column is, "path", "label", "split" or nothing, and whether the first row says so. Raises DataError."""
    line, first = rows[0]
    where, got = f"{table}, line {line}", ", ".join(first)
    named = [COLUMN_NAMES.get(cell.strip().lower(), "") for cell in first]
    if "path" in named and "label" in named:
        twice = next((name for name, count in Counter(filter(None, named)).items() if count > 1), None)
        if twice:
            raise DataError(where, f"more than one column means the {twice}", got=got, hint="rename all but one")
        return named, True
    if len(first) < 2:
        raise DataError(where, "a table needs a path and a label", got=got, hint=TABLE_HINT)
    if len(rows) > 1 and names_image(rows[1][1][0]) and not names_image(first[0]):
        raise DataError(where, "these names of columns are not known", got=got, hint=TABLE_HINT)
    return ["path", "label", "split"][: len(first)], False


def names_image(cell: str) -> bool:
    return Path(cell.strip()).suffix.lower() in IMAGE_SUFFIXES


def read_rows(table: Path) -> list[tuple[int, list[str]]]:
    """The table's rows with their line numbers. Raises DataError."""
    try:
        text = table.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise DataError(str(table), "the table is not UTF-8 text", hint='save it as "CSV UTF-8"') from None
    except OSError as e:
        raise DataError(str(table), f"the table cannot be read: {e.strerror or e}") from None
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        return [(reader.line_num, row) for row in reader]
    except csv.Error as e:
        raise DataError(f"{table}, line {reader.line_num}", f"the table is broken: {e}") from None


def read_parquet(table: Path) -> list[tuple[int, list[str]]]:
    """A Parquet file's rows as text, its column names first. Raises DataError."""
    try:
        import pyarrow
        from pyarrow import parquet as files
    except ImportError:
        raise DataError(
            str(table), "a Parquet table needs a library that is not installed", hint='pip install "striate[hub]"'
        ) from None
    try:
        columns = files.read_schema(table).names
        wanted = [name for name in columns if name.strip().lower() in COLUMN_NAMES]
        held = files.read_table(table, columns=wanted)
    except (pyarrow.ArrowException, OSError) as e:
        raise DataError(str(table), f"the table cannot be read: {str(e).splitlines()[0]}") from None
    if not {"path", "label"} <= {COLUMN_NAMES[name.strip().lower()] for name in wanted}:
        raise DataError(str(table), "a table needs a path and a label", got=", ".join(columns), hint=TABLE_HINT)
    cells = zip(*(column.to_pylist() for column in held.columns), strict=True)
    rows = [["" if cell is None else str(cell) for cell in row] for row in cells]
    return [(line, row) for line, row in enumerate([held.column_names, *rows], 1)]


def make_entry(table: Path, line: int, row: dict[str, str]) -> Entry:
    """One row's image. Raises DataError."""
    cells = {key: value.strip() for key, value in row.items()}
    where = f"{table}, line {line}"
    for column in ("path", "label"):
        if not cells.get(column):
            raise DataError(where, f"this row has no {column}", got=", ".join(row.values()))
    split = cells.get("split", "")
    if split and split.lower() not in SPLIT_NAMES:
        raise DataError(where, f"there is no split '{split}'", hint=suggest_name(split.lower(), SPLIT_NAMES))
    path = table.parent / cells["path"]
    if "\\" in cells["path"] and not os.path.exists(path):  # written on Windows; on Linux a name may hold a \
        path = table.parent / cells["path"].replace("\\", "/")
    return Entry(cells["path"], path, normalise_name(cells["label"]), SPLIT_NAMES.get(split.lower()))
