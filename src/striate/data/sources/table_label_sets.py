"""A table's rows with several labels a picture: a column of 0 and 1 for each, or a list of them in a cell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ...errors import DataError
from ...language import say
from ..label_sets import BETWEEN, format_label_set
from ..listing import Listing, is_label_set, normalise_name
from ..reading import Reading
from .table_columns import Columns
from .table_labels import MISSING_LABELS, ONES, ZEROS
from .table_rows import RawTable, Row


def pick_label_sets(
    table: RawTable, columns: Columns, reading: Reading, ignored: Counter[str]
) -> tuple[list[Row], list[str], list[int]]:
    """All rows, the set of labels of each, and their places in the table. Raises DataError naming the line.

    A picture may have no label at all: only zeros, or an empty cell.
    """
    read = read_marks if reading.labels is not None else read_list
    rows = list(columns.rows)
    sets = [format_label_set(map(check_label, read(table, columns, row, reading))) for row in rows]
    return rows, sets, list(range(len(rows)))


def read_marks(table: RawTable, columns: Columns, row: Row, reading: Reading) -> list[str]:
    """The names of the columns with a 1. Raises DataError for a cell that is neither 0 nor 1."""
    for k in columns.labels:
        if row.cells[k] not in ONES + ZEROS:
            what = say("the column {name} says neither 0 nor 1", name=columns.names[k])
            rule = say("1 where the picture has the label, 0 where it has not")
            raise DataError(table.place(row.line), what, got=row.cells[k] or say("nothing"), rule=rule)
    return [columns.names[k] for k in columns.labels if row.cells[k] in ONES]


def read_list(table: RawTable, columns: Columns, row: Row, reading: Reading) -> list[str]:
    """The labels of a cell, cut at the separator. Raises DataError where it says that they are unknown."""
    [place] = columns.labels
    labels = [part.strip() for part in row.cells[place].split(str(reading.label_separator))]
    labels = [label for label in labels if label]
    if unknown := next((label for label in labels if label.lower() in MISSING_LABELS), None):
        rule = say("an empty cell for a picture without a label")
        raise DataError(table.place(row.line), say("this row has no label"), got=unknown, rule=rule)
    return labels


def check_label(label: str) -> str:
    """The label as it is kept. Raises DataError for one that holds what stands between labels."""
    if BETWEEN in label:
        rule, hint = say("a label holds no {mark}", mark=BETWEEN), f'--label-separator "{BETWEEN}"'
        raise DataError(say("label {label}", label=label), say("this looks like several labels in one"), rule=rule,
                        hint=hint)  # fmt: skip
    return normalise_name(label)


def check_label_sets(name: str, listing: Listing | None) -> None:
    """Raise DataError where a source that is to have several labels a picture is no table with such."""
    entries: Sequence = () if listing is None else listing.entries
    if listing is None or not all(is_label_set(entry.label) for entry in entries):
        what = say("several labels a picture are read from a table, and this is none")
        hint = say("a .csv of file names, with a column of 0 and 1 for each label, or a column of lists")
        raise DataError(name, what, hint=hint)
