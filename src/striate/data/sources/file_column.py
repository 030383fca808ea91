"""The files that a table names, a row at a time: what a table of millions is asked for before it is predicted."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ...errors import DataError, suggest_name
from ...extras import need_package
from ...language import say
from ...regular_file import need_regular
from .remote import is_remote
from .table_rows import FILE_NAMES, simplify_name

STREAMED_TABLES = (".csv", ".tsv", ".txt", ".lst", ".jsonl", ".ndjson", ".parquet")


def stream_file_column(table: Path) -> Iterator[str]:
    """The files in a table's column of that name, in its order, relative to the table's folder; addresses as they are.

    .txt and .lst have a name a line. Of the others the column is called file, path, image or their like. Raises
    DataError, naming the line, where there is no such column or a cell is empty.
    """
    need_regular(table, DataError)
    try:
        for line, name in read_cells(table):
            if not isinstance(name, str) or not name.strip():
                raise DataError(f"{table}, {say('line {line}', line=line)}", say("there is no file's name"), got=name)
            known = is_remote(name) or name.startswith(("http://", "https://"))
            yield name if known else str(table.parent / name)
    except (OSError, UnicodeDecodeError, csv.Error, json.JSONDecodeError) as e:
        raise DataError(str(table), say("the table cannot be read: {why}", why=e)) from None


def read_cells(table: Path) -> Iterator[tuple[int, Any]]:
    """The number of each line and the cell in its column of files."""
    suffix = table.suffix.lower()
    if suffix == ".parquet":
        yield from enumerate(read_parquet_cells(table), 1)
        return
    with open(table, encoding="utf-8-sig", newline="") as file:
        if suffix in (".txt", ".lst"):
            yield from ((line, text.rstrip("\r\n")) for line, text in enumerate(file, 1) if text.strip())
        elif suffix in (".jsonl", ".ndjson"):
            for line, text in enumerate(file, 1):
                if text.strip():
                    record = json.loads(text)
                    names = record if isinstance(record, dict) else {}
                    yield line, names[choose_file_column(list(names), table)]
        else:
            rows = csv.reader(file, delimiter="\t" if suffix == ".tsv" else ",")
            heading = next(rows, [])
            place = heading.index(choose_file_column(heading, table))
            yield from ((rows.line_num, row[place] if place < len(row) else None) for row in rows if row)


def read_parquet_cells(table: Path) -> Iterator[Any]:
    need_package("pyarrow", str(table))
    from pyarrow import ArrowInvalid, parquet

    try:
        opened = parquet.ParquetFile(table)
    except ArrowInvalid as e:
        raise DataError(str(table), say("the table cannot be read: {why}", why=e)) from None
    with opened:
        column = choose_file_column(opened.schema_arrow.names, table)
        for batch in opened.iter_batches(columns=[column]):
            yield from batch.column(0).to_pylist()


def choose_file_column(names: Iterable[str], table: Path) -> str:
    """The one column that is called as columns of files are. Raises DataError."""
    held = list(names)
    found = [name for name in held if simplify_name(name) in FILE_NAMES]
    if len(found) != 1:
        what = say("there is not one column of files")
        hint = say("call it file") if not found else suggest_name(found[0], found)
        raise DataError(str(table), what, got=", ".join(held)[:200], hint=hint)
    return found[0]
