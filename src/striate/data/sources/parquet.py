"""A Parquet file as a table: rows of text, and the pictures themselves where it holds their bytes."""

from __future__ import annotations

import bisect
import json
from collections import OrderedDict
from pathlib import Path
from threading import Lock
from typing import Any

from ...errors import DataError
from ...language import say
from ..listing import HubFile
from ..store.cache import describe_file
from .table_rows import RawTable, Row, simplify_name

IMAGE_COLUMNS = ("image", "img", "picture", "photo", "pixels")
HELD_GROUPS = 2  # row groups of pictures in memory; those who decode go through a file in its order


def read_parquet(table: Path, file_column: str | None = None, where: str | None = None) -> RawTable:
    """A Parquet file's rows as text, its column names being line 1; a column of pictures becomes `images`.

    where  what the table is called, if not by its path: that in an archive, out of which it was taken

    Such a column is one of bytes, or of records with "bytes" as the library `datasets` writes them; a label that is
    a number there has its name. No picture is read here. Raises DataError.
    """
    where = where or str(table)
    try:
        import pyarrow
        from pyarrow import parquet as files
    except ImportError:
        raise DataError(
            where, say("a Parquet table needs a library that is not installed"), hint='pip install "striate[hub]"'
        ) from None
    try:
        opened = files.ParquetFile(table)
        schema = opened.schema_arrow
        pictures = [field.name for field in schema if holds_bytes(field.type)]
        plain = [
            field.name for field in schema if field.name not in pictures and not pyarrow.types.is_struct(field.type)
        ]
        held = opened.read(columns=plain)
    except (pyarrow.ArrowException, OSError) as e:
        raise DataError(where, say("the table cannot be read: {complaint}", complaint=str(e).splitlines()[0])) from None
    names = read_class_names(schema.metadata or {})
    columns = [[show_cell(cell, names.get(name)) for cell in held[name].to_pylist()] for name in plain]
    rows = [Row(line, list(cells)) for line, cells in enumerate(zip(*columns, strict=True), 2)]
    images = None
    if pictures:
        column = choose_image_column(where, pictures, file_column)
        cells = PictureCells(table, opened, column)
        images = [cells.hold(row) for row in range(opened.metadata.num_rows)]
        rows = rows or [Row(line, []) for line in range(2, 2 + len(images))]
    return RawTable(where, table.parent, tuple(plain), rows, images=images)


def holds_bytes(kind: Any) -> bool:
    """Whether a column's cells are bytes, or records with bytes."""
    from pyarrow import types

    if types.is_struct(kind):
        return any(field.name == "bytes" and holds_bytes(field.type) for field in kind)
    return types.is_binary(kind) or types.is_large_binary(kind)


def choose_image_column(where: str, pictures: list[str], wanted: str | None) -> str:
    """The column of pictures: the one wanted, or by its name where there are more. Raises DataError."""
    if wanted in pictures:
        return str(wanted)
    likely = [name for name in pictures if simplify_name(name) in IMAGE_COLUMNS]
    if len(pictures) > 1 and len(likely) != 1:
        what = say("more than one column holds pictures")
        raise DataError(where, what, got=", ".join(pictures), hint=f"--file-column {pictures[0]}")
    return (likely or pictures)[0]


def read_class_names(metadata: dict[bytes, bytes]) -> dict[str, list[str]]:
    """The classes of the columns whose cells are their numbers, as the library `datasets` notes them in the file."""
    try:
        features = json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"]
        found = {name: told.get("names") for name, told in features.items() if isinstance(told, dict)}
        return {name: list(map(str, names)) for name, names in found.items() if isinstance(names, list)}
    except (ValueError, KeyError, AttributeError, TypeError):
        return {}


def show_cell(cell: Any, names: list[str] | None) -> str:
    """A cell as text; the number of a class by its name, -1 of none."""
    if cell is None or cell != cell:
        return ""
    if names and isinstance(cell, int):
        return names[cell] if 0 <= cell < len(names) else ""
    return str(cell)


class PictureCells:
    """The pictures in a column of a Parquet file, read a row group at a time; the last few stay in memory."""

    def __init__(self, table: Path, opened: Any, column: str):
        self.table, self.opened, self.column = table, opened, column
        sizes = [opened.metadata.row_group(k).num_rows for k in range(opened.num_row_groups)]
        self.starts = [sum(sizes[:k]) for k in range(len(sizes))]
        self.held: OrderedDict[int, Any] = OrderedDict()
        self.lock = Lock()
        self.key = f"{table.resolve()}/{describe_file(table)}/{column}"

    def hold(self, row: int) -> HubFile:
        return HubFile(f"{self.key}/{row}", lambda: self.read(row))

    def read(self, row: int) -> bytes:
        """The bytes of one picture. Raises OSError, also for a cell without any."""
        group = bisect.bisect_right(self.starts, row) - 1
        with self.lock:
            if group not in self.held:
                self.held[group] = self.opened.read_row_group(group, columns=[self.column]).column(0)
                while len(self.held) > HELD_GROUPS:
                    self.held.popitem(last=False)
            self.held.move_to_end(group)
            cell = self.held[group][row - self.starts[group]].as_py()
        if isinstance(cell, dict):
            path = cell.get("path")
            cell = (self.table.parent / path).read_bytes() if cell["bytes"] is None and path else cell["bytes"]
        if cell is None:
            raise OSError(say("the cell is empty"))
        return cell
