"""What a table's columns are: found by what their cells hold, and by their names where that leaves a choice."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ...errors import DataError, suggest_name
from ...language import say
from ..listing import SPLIT_NAMES, shorten_list
from ..read.decode import IMAGE_SUFFIXES
from ..reading import Reading, list_label_columns
from .table_files import FileFinder, Match, take_sample
from .table_labels import SEVERAL_LABELS, find_one_hot
from .table_rows import (
    FILE_NAMES,
    LABEL_NAMES,
    LIKELY_FILE_NAMES,
    LIKELY_LABEL_NAMES,
    TABLE_HINT,
    RawTable,
    Row,
    simplify_name,
)

SPLIT_COLUMNS = frozenset(("split", "set", "subset"))
FLAG_COLUMNS = dict.fromkeys(("isvalid", "isval", "isvalidation"), "valid") | {"istest": "test"}
FLAGS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False, "": False}
FOLD_COLUMNS = frozenset(("fold", "folds", "foldid", "kfold", "cvfold"))


class Columns(NamedTuple):
    """A table understood: its rows without the header, and which cell of a row is what.

    names   what its columns are called
    rows    each as long as `names`, cells without blanks around
    header  where the names stand, for messages; the first row where there are none
    file    None where the table holds the pictures themselves
    way     `Match.dropped` of the column of files
    labels  one column, or several of 0 and 1, a class each
    flags   columns that tell by yes and no whether an image is of a split
    fold    read where the images are cross-validated
    """

    names: tuple[str, ...]
    rows: list[Row]
    header: str
    file: int | None
    way: int | None
    labels: tuple[int, ...]
    split: int | None
    flags: dict[str, int]
    group: int | None
    fold: int | None = None

    @property
    def unused(self) -> tuple[str, ...]:
        used = {self.file, *self.labels, self.split, *self.flags.values(), self.group, self.fold}
        return tuple(name for k, name in enumerate(self.names) if k not in used and name)


def read_cell(row: Row, column: int | None) -> str:
    return "" if column is None else row.cells[column]


class NoFileColumn(DataError):
    """No column of a table names image files."""


class NoLabelColumn(DataError):
    """No column of a table holds labels."""


def find_columns(table: RawTable, finder: FileFinder, reading: Reading) -> Columns:
    """What the columns are. Raises DataError: NoFileColumn, NoLabelColumn, or with the candidates where there are more.

    The file column is the one whose cells name most files that are there; the label column is one of the others, in
    which values repeat.
    """
    first = table.rows[0]
    headed = table.names is None and has_header(table, finder, reading)
    rows = table.rows[1:] if headed else table.rows
    own = tuple(map(str.strip, first.cells)) if headed else number_columns(len(first.cells))
    names = own if table.names is None else table.names
    if len(names) < 2 and table.images is None:
        what, got = say("a table needs a path and a label"), ", ".join(names if headed else first.cells)
        files = finder.match_column(["".join(row.cells[:1]).strip() for row in rows]).files
        kind = NoLabelColumn if files else NoFileColumn
        raise kind(table.place(first.line), what, got=got, hint=TABLE_HINT)
    if not rows:
        raise NoFileColumn(table.where, say("the table has no row"), hint=TABLE_HINT)
    header = table.where if table.names is not None else table.place(first.line)
    even = [Row(row.line, (list(map(str.strip, row.cells)) + [""] * len(names))[: len(names)]) for row in rows]
    found = Columns(names, even, header, None, None, (), None, {}, None)
    if table.images is None:
        file, way = find_file_column(table, finder, reading, found)
        found = found._replace(file=file, way=way)
    check_widths(table, names, rows)
    return assign_columns(found, table, reading)


def assign_columns(found: Columns, table: RawTable, reading: Reading) -> Columns:
    """What the columns beside that of files are."""
    names, file = found.names, found.file
    free = [k for k, name in enumerate(names) if k != file and name]
    folds = [k for k in free if simplify_name(names[k]) in FOLD_COLUMNS]
    free = [k for k in free if k not in folds]
    named = None if reading.label_column is None else find_named_column(found, reading.label_column, "label")
    group = names.index(reading.group) if reading.group in names else None
    several = tuple(find_named_column(found, name, "label", "--labels") for name in list_label_columns(reading))
    if reading.number is not None:
        several = (find_named_column(found, reading.number, "number", "--number"),)
    free = [k for k in free if k not in (named, group, *several)]
    flags = {FLAG_COLUMNS[simplify_name(names[k])]: k for k in free if is_flag_column(found, k)}
    split = find_split_column(found, [k for k in free if k not in flags.values()])
    fold = next((k for k in folds if k != named), None)
    found = found._replace(split=split, flags=flags, group=group, fold=fold)
    free = [k for k in free if k != split and k not in flags.values()]
    if several:
        return found._replace(labels=several)
    return found._replace(labels=(named,) if named is not None else choose_label_columns(table, found, free))


def number_columns(width: int) -> tuple[str, ...]:
    return tuple(str(k) for k in range(1, width + 1))


def check_widths(table: RawTable, names: tuple[str, ...], rows: Sequence[Row]) -> None:
    """Raise DataError for a row with more cells than there are columns."""
    longer = [row for row in rows if any(cell.strip() for cell in row.cells[len(names) :])]
    if longer:
        what = (
            say("this row has {count} cells", count=len(longer[0].cells))
            if 2 * len(longer) <= len(rows)
            else say(SEVERAL_LABELS)
        )
        got = ", ".join(map(str.strip, longer[0].cells))
        rule, hint = (
            say("{count} cells, as in the first row", count=len(names)),
            say('a label with the delimiter in it stands in quotes: a.jpg,"cat, black"'),
        )
        raise DataError(table.place(longer[0].line), what, got=got, rule=rule, hint=hint)


def has_header(table: RawTable, finder: FileFinder, reading: Reading) -> bool:
    """Whether the first row names the columns: by what it says, or since it names no file where the others do."""
    first, *rest = ([cell.strip() for cell in row.cells] for row in table.rows)
    simple = set(map(simplify_name, first))
    if {reading.file_column, reading.label_column, *list_label_columns(reading)} & set(first):
        return True
    if simple & (FILE_NAMES | LIKELY_FILE_NAMES) and simple & (LABEL_NAMES | LIKELY_LABEL_NAMES):
        return True
    columns = {k: [row[k] for row in rest if k < len(row)] for k in range(len(first))}
    matches = match_columns(finder, columns)
    file = max(matches, key=lambda k: matches[k].files, default=None)
    if file is None:
        file = next((k for k, cells in columns.items() if cells and looks_like_files(cells)), None)
        if file is None or not matches and names_image(first[file]):
            return False
        return not names_image(first[file])
    if names_image(first[file]) or finder.match_cells([first[file]], matches[file].dropped).files:
        return False
    return not any(first[k] and first[k] in cells for k, cells in columns.items() if k != file)


def find_file_column(table: RawTable, finder: FileFinder, reading: Reading, found: Columns) -> tuple[int, int | None]:
    """The column that names the files, and the way from its cells to them (`Match.dropped`)."""
    columns = {k: [row.cells[k] for row in found.rows] for k in range(len(found.names))}
    if reading.file_column is not None:
        file = find_named_column(found, reading.file_column, "file")
        return file, finder.match_column([cell for cell in columns[file] if cell]).dropped
    matches = match_columns(finder, columns)
    most = max((match.files for match in matches.values()), default=0)
    fitting = [k for k, match in matches.items() if match.files * 2 >= most]
    if len({tuple(map(tuple, matches[k].found)) for k in fitting}) == 1:  # the same files, so the plainest way to them
        fitting = [min(fitting, key=lambda k: count_dropped(matches[k]))]
    if not matches:
        fitting = [k for k, cells in columns.items() if looks_like_files(cells)]
        fitting = fitting or prefer_names(found.names, range(len(found.names)), (FILE_NAMES,))
    if len(fitting) > 1:
        fitting = prefer_names(found.names, fitting, (FILE_NAMES, LIKELY_FILE_NAMES)) or fitting
    if not fitting:
        what, hint = say("no column names image files that are there"), say("--images FOLDER says where they lie")
        raise NoFileColumn(found.header, what, got=describe_columns(found), hint=hint)
    if len(fitting) > 1:
        raise refuse_choice(found, "file", fitting)
    return fitting[0], matches[fitting[0]].dropped if matches else None


def count_dropped(match: Match) -> int:
    return -1 if match.dropped is None else match.dropped


def match_columns(finder: FileFinder, columns: dict[int, list[str]]) -> dict[int, Match]:
    """The columns that name files, with these; where one does so exactly, the tree is not searched for the others'."""
    exact = {k: finder.match_cells(take_sample(cells), None) for k, cells in columns.items()}
    sure = {k: match for k, match in exact.items() if match.files * 2 >= max(1, len(set(take_sample(columns[k]))))}
    found = sure or {k: finder.match_column(cells) for k, cells in columns.items()}
    return {k: match for k, match in found.items() if match.files}


def looks_like_files(cells: Sequence[str]) -> bool:
    return 2 * sum(map(names_image, cells)) >= len(cells)


def names_image(cell: str) -> bool:
    return os.path.splitext(cell)[1].lower() in IMAGE_SUFFIXES


def find_split_column(found: Columns, free: list[int]) -> int | None:
    """The column of splits: by its name, or since it holds two names of splits and nothing else."""
    for k in free:
        if simplify_name(found.names[k]) in SPLIT_COLUMNS:
            return k
    for k in free:
        held = {row.cells[k].lower() for row in found.rows}
        if held <= set(SPLIT_NAMES) and len({SPLIT_NAMES[word] for word in held}) > 1:
            return k
    return None


def is_flag_column(found: Columns, k: int) -> bool:
    return simplify_name(found.names[k]) in FLAG_COLUMNS and all(row.cells[k].lower() in FLAGS for row in found.rows)


def choose_label_columns(table: RawTable, found: Columns, free: list[int]) -> tuple[int, ...]:
    """The label column, or several of 0 and 1. Raises DataError where there is none or a choice."""
    named = prefer_names(found.names, free, (LABEL_NAMES, LIKELY_LABEL_NAMES))
    if named:
        fitting = drop_numbers(found, named)
    else:
        held = {k: {row.cells[k] for row in found.rows} for k in free}
        fitting = [k for k in free if 1 < len(held[k]) < len(found.rows)] or free
        if one_hot := find_one_hot(table, found.rows, free, fitting, found.names):
            return one_hot
        fitting = drop_numbers(found, fitting)
        if len(fitting) == 1 and len(held[fitting[0]]) == len(found.rows) >= ENOUGH_TO_REPEAT:
            fitting = []
    if not fitting:
        what, hint = say("no column holds labels, whose values repeat"), "--label-column NAME"
        raise NoLabelColumn(found.header, what, got=describe_columns(found), hint=hint)
    if len(fitting) > 1:
        raise refuse_choice(found, "label", fitting)
    if holds_measurements(found, fitting[0]):
        what, rule = (
            say("the column {name} holds measurements, not classes", name=found.names[fitting[0]]),
            say("names or whole numbers"),
        )
        raise DataError(found.header, what, got=found.rows[0].cells[fitting[0]], rule=rule)
    return (fitting[0],)


def holds_measurements(found: Columns, k: int) -> bool:
    """Whether most cells of a column are different numbers with fractions."""
    cells = {row.cells[k] for row in found.rows}
    broken = [cell for cell in cells if is_number(cell) and not float(cell).is_integer()]
    return len(cells) >= ENOUGH_TO_REPEAT and 2 * len(broken) > len(found.rows)


# Rows among which some labels must be the same, where the column is not called as labels are.
ENOUGH_TO_REPEAT = 10


def prefer_names(names: Sequence[str], columns: Iterable[int], tiers: Sequence[frozenset[str]]) -> list[int]:
    """The columns whose name is in the first of the `tiers` that has any."""
    for tier in tiers:
        if fitting := [k for k in columns if simplify_name(names[k]) in tier]:
            return fitting
    return []


def drop_numbers(found: Columns, columns: list[int]) -> list[int]:
    """The columns without those that number what a column of words names: of a class's number and name, the name."""
    words = [k for k in columns if not all(is_number(row.cells[k]) for row in found.rows)]
    if len(words) != 1 or len(columns) == 1:
        return columns
    pairs = {k: {(row.cells[k], row.cells[words[0]]) for row in found.rows} for k in columns}
    classes = len(pairs[words[0]])
    same = [k for k in columns if len(pairs[k]) == classes == len({number for number, _ in pairs[k]})]
    return [k for k in columns if k == words[0] or k not in same]


def is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def find_named_column(found: Columns, name: str, what: str, option: str = "") -> int:
    """The column that an option names. Raises DataError."""
    if name not in found.names:
        hint = f"{option or f'--{what}-column'}: {suggest_name(name, found.names)}"
        raise DataError(found.header, say("there is no column '{wanted}'", wanted=name), hint=hint)
    return found.names.index(name)


def refuse_choice(found: Columns, what: str, fitting: Sequence[int]) -> DataError:
    named = tuple(found.names[k] for k in fitting)
    hint = f"--{what}-column {quote_word(named[0])}"
    fault = say("more than one column means the label")
    if what == "file":
        fault = say("more than one column means the path")
    return DataError(found.header, fault, got=shorten_list(named), hint=hint)


def describe_columns(found: Columns) -> str:
    """The columns' names, or the first row where they have none."""
    if not found.names:
        return ""
    return ", ".join(found.rows[0].cells if found.names == number_columns(len(found.names)) else found.names)


def quote_word(word: str) -> str:
    return f'"{word}"' if " " in word else word
