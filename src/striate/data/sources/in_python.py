"""Files and labels handed over in Python: a dictionary, pairs, records, a data frame, or a list of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from ...errors import DataError
from ...language import say, to_say
from ..listing import Listing
from ..reading import Reading
from .folder_splits import take_folder_splits
from .groups import check_group_names
from .records import number_rows, tabulate_records
from .table import list_rows, understand_table
from .table_rows import RawTable, Row, format_cell, is_list

FILES_NAME = "files"  # what such a source is called, as pairs of arrays are called "arrays"
FILES_HINT = to_say(
    'a folder, a table, arrays (X, y), a torch Dataset, {"cats/1.jpg": "cat", …} or [("cats/1.jpg", "cat"), …]'
)


def list_in_python(source: Any, reading: Reading) -> Listing | None:
    """The images of a source that is no name: None where it is a pair of arrays. Paths are relative to where one is.

    {file: label}, {label: [files]}, [(file, label), …], [(file, label, split), …], records, a pandas or polars
    DataFrame, (files, labels). Raises DataError.
    """
    if isinstance(source, tuple) and not holds_names(source):
        return None
    table = tabulate_source(source)
    if isinstance(reading.group, tuple) and isinstance(source, tuple):
        check_group_names(reading.group, len(table.rows), table.where)
        rows = [Row(row.line, [*row.cells, name]) for row, name in zip(table.rows, reading.group, strict=True)]
        table = replace(table, names=(*(table.names or ()), "group"), rows=rows)
        reading = msgspec.structs.replace(reading, group="group")
    return take_folder_splits(list_rows(understand_table(table, reading), reading))


def tabulate_source(source: Any) -> RawTable:
    here = Path()
    if isinstance(source, tuple):
        files, labels = source
        if not is_list(labels) or len(files) != len(labels):
            got = say("{files} files, no list of labels", files=len(files))
            if is_list(labels):
                got = say("{files} files, {labels} labels", files=len(files), labels=len(labels))
            raise DataError("(files, labels)", say("there must be one label for each file"), got=got)
        rows = [[str(file), format_cell(label)] for file, label in zip(files, labels, strict=True)]
        return number_rows(FILES_NAME, here, ("file", "label"), rows)
    if hasattr(source, "columns") and hasattr(source, "__getitem__"):
        return tabulate_frame(source, here)
    if isinstance(source, Mapping) or is_list(source):
        if holds_pictures(source):
            what, hint = say("pictures in memory are given as one array"), "(numpy.stack(images), labels)"
            raise DataError(FILES_NAME, what, hint=hint)
        return tabulate_records(source, FILES_NAME, here)
    raise DataError("data", say("this is not a data set"), got=type(source).__name__, hint=say(FILES_HINT))


def tabulate_frame(frame: Any, folder: Path) -> RawTable:
    """The rows of a data frame; an index that has a name is a column too."""
    columns = {str(name): list(frame[name]) for name in frame.columns}
    index: Any = getattr(frame, "index", None)
    if getattr(index, "name", None) is not None:
        columns = {str(index.name): list(index), **columns}
    rows = [list(map(format_cell, cells)) for cells in zip(*columns.values(), strict=True)]
    return number_rows(FILES_NAME, folder, tuple(columns), rows)


def holds_names(pair: tuple[Any, ...]) -> bool:
    """Whether a pair's first part is a list of files' names, and not images."""
    return (
        len(pair) == 2
        and is_list(pair[0])
        and len(pair[0]) > 0
        and all(isinstance(name, str | Path) for name in islice(pair[0], 100))
    )


def holds_pictures(source: Any) -> bool:
    """Whether records or pairs hold arrays or Pillow images instead of files."""
    records = list(islice(source.values() if isinstance(source, Mapping) else source, 1))
    cells = [cell for record in records for cell in (record if isinstance(record, list | tuple) else [record])]
    return any(hasattr(cell, "tobytes") and getattr(cell, "ndim", 2) >= 2 for cell in cells)  # an image has no ndim
