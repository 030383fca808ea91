"""A table's rows with a number a picture instead of a class."""

from __future__ import annotations

from collections import Counter
from math import isfinite

from ...errors import DataError
from ...language import say
from ..listing import Listing, is_number_label
from ..number_labels import format_number_label
from ..reading import Reading
from .table_columns import Columns
from .table_labels import MISSING_LABELS
from .table_rows import RawTable, Row


def pick_numbers(
    table: RawTable, columns: Columns, reading: Reading, ignored: Counter[str]
) -> tuple[list[Row], list[str], list[int]]:
    """All rows, the text that stands for the number of each, and their places in the table.

    Raises DataError naming the line and the column.
    """
    rows, [place] = list(columns.rows), columns.labels
    return rows, [read_number(table, columns, row, place) for row in rows], list(range(len(rows)))


def read_number(table: RawTable, columns: Columns, row: Row, place: int) -> str:
    """What stands for the number of a row. Raises DataError for a cell that is none, also NaN and infinity."""
    cell = row.cells[place].strip()
    try:
        value = float(cell)
    except ValueError:
        value = float("nan")
    if isfinite(value) and "_" not in cell:
        return format_number_label(value + 0.0)  # of -0 it makes 0
    missing = cell.lower() in MISSING_LABELS
    what = (
        say("the column {name} holds no number here", name=columns.names[place])
        if missing
        else say("the column {name} holds something else than a number here", name=columns.names[place])
    )
    rule = say("a number such as 12.5 or 3e4, with a point before its fraction and nothing between its digits")
    hint = say("take the row out of the table, or mend it")
    raise DataError(table.place(row.line), what, got=cell or say("nothing"), rule=rule, hint=hint)


def check_number_listing(name: str, listing: Listing | None) -> None:
    """Raise DataError where a source that is to have a number a picture is no table with such."""
    if listing is None or not all(is_number_label(entry.label) for entry in listing.entries):
        what = say("a number a picture is read from a table, and this is none")
        raise DataError(name, what, hint=say("a .csv of file names, with a column of numbers, or a DataFrame"))
