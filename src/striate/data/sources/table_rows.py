"""A table's rows as they stand in a file or in Python, before it is known what its columns are."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ...errors import DataError
from ...language import say
from ..listing import Readable

DELIMITERS = ",;\t|"
TABLE_HINT = "path,label,split\n        cats/1.jpg,cat,train"
# What people call the column of files and that of labels, as `simplify_name` has it: it decides where what the cells
# hold leaves a choice. The first of each are so clear that a table needs no more to be read.
FILE_NAMES = frozenset("path file filename filepath image imagename imagepath img imgpath".split())
LABEL_NAMES = frozenset("label labels class classname category target".split())
LIKELY_FILE_NAMES = frozenset("id imageid imgid imgname name fname photo picture filenames filepaths".split())
LIKELY_LABEL_NAMES = frozenset(
    "breed species diagnosis dx tag y kind classid classlabel labelname labelid categoryname categoryid".split()
)
SAMPLED_ROWS = 200  # that tell which delimiter a text has


class Row(NamedTuple):
    line: int
    cells: list[str]


@dataclass(frozen=True, eq=False)
class RawTable:
    """Rows of cells.

    where   the table, for messages
    folder  what its files are named relative to
    names   what its columns are called; None where the first row may say so, or may be data
    unit    what `Row.line` counts, for messages
    images  the pictures themselves, one a row, where the table holds them
    """

    where: str
    folder: Path
    names: tuple[str, ...] | None
    rows: list[Row]
    unit: str = "line"
    images: Sequence[Readable] | None = None
    notes: tuple[str, ...] = ()

    def place(self, line: int) -> str:
        return say("{where}, {line}", where=self.where, line=self.say_line(line))

    def say_line(self, line: int) -> str:
        return say("record {line}", line=line) if self.unit == "record" else say("line {line}", line=line)


def decode_text(data: bytes, where: str) -> tuple[str, tuple[str, ...]]:
    """A table's text: UTF-8, UTF-16 with its mark, else the Windows code page of western Europe, which a note says."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        try:
            return data.decode("utf-16"), ()
        except UnicodeDecodeError as e:
            raise DataError(
                where, say("the table is broken: {complaint}", complaint=e.reason), hint=say('save it as "CSV UTF-8"')
            ) from None
    try:
        return data.decode("utf-8-sig"), ()
    except UnicodeDecodeError:
        pass
    for encoding, title in (("cp1252", "Windows-1252"), ("latin-1", "Latin-1")):
        try:
            return data.decode(encoding), (say("the table is not UTF-8 text: read as {title}", title=title),)
        except UnicodeDecodeError:
            continue
    raise AssertionError("Latin-1 takes every byte")


def split_rows(text: str, where: str) -> list[Row]:
    """The rows of a text with delimiters, those without any content left out. Raises DataError."""
    told = re.match(r"sep=(.)\r?\n", text)  # Excel's own way to say it
    skipped = 1 if told else 0
    text = text[told.end() :] if told else text
    text = blank_comments(text)
    delimiter = told[1] if told else choose_delimiter(text)
    if delimiter == " ":
        return split_at_blanks(text, skipped)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        rows = [Row(reader.line_num + skipped, row) for row in reader]
    except csv.Error as e:
        raise DataError(
            say("{where}, line {line}", where=where, line=reader.line_num + skipped),
            say("the table is broken: {complaint}", complaint=e),
        ) from None
    return [row for row in rows if any(cell.strip() for cell in row.cells)]


def blank_comments(text: str) -> str:
    """The text with the lines before the first row left empty that begin with #.

    One that is cut as that row is stays, for it may name the columns; words between blanks may always be a sentence.
    """
    lines = text.splitlines(keepends=True)
    first = next((k for k, line in enumerate(lines) if line.strip() and not line.startswith("#")), 0)
    delimiter = choose_delimiter("".join(lines[first:])) if first else ","
    for k, line in enumerate(lines[:first]):
        if line.startswith("#") and (delimiter == " " or line.count(delimiter) != lines[first].count(delimiter)):
            lines[k] = "\n"
    return "".join(lines)


def choose_delimiter(text: str) -> str:
    """The delimiter that cuts most rows into as many cells as the first; a blank only where there is no other.

    >>> choose_delimiter("a b|c\\nd, e|f"), choose_delimiter("cats/1.jpg 0\\ndogs/1.jpg 1"), choose_delimiter("a.jpg")
    ('|', ' ', ',')
    """
    first = next((line for line in text.splitlines() if line.strip(DELIMITERS + ' "')), "")
    found = [mark for mark in DELIMITERS if mark in first]
    if not found:
        lines = [line for line in text.splitlines()[:SAMPLED_ROWS] if line.strip()]
        return " " if lines and all(len(line.split()) > 1 for line in lines) else ","
    sample = "\n".join(text.split("\n", SAMPLED_ROWS)[:SAMPLED_ROWS])
    return max(found, key=lambda mark: (measure_evenness(sample, mark), first.count(mark)))


def measure_evenness(text: str, delimiter: str) -> float:
    """The share of rows with as many cells as the first one."""
    try:
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        widths = [len(row) for row in rows if any(row)] or [0]
    except csv.Error:
        return 0.0
    return widths.count(widths[0]) / len(widths)


def split_at_blanks(text: str, skipped: int = 0) -> list[Row]:
    """Rows cut at blanks, several of which are one; where that gives uneven rows, at the last one: names may have some.

    >>> [row.cells for row in split_at_blanks('my cat.jpg 0\\nb.jpg 1')]
    [['my cat.jpg', '0'], ['b.jpg', '1']]
    """
    lines = [(line, " ".join(content.split())) for line, content in enumerate(text.splitlines(), 1 + skipped)]
    rows = [Row(line, next(csv.reader([content], delimiter=" "))) for line, content in lines if content]
    if len({len(row.cells) for row in rows}) == 1:
        return rows
    return [Row(line, content.rsplit(" ", 1)) for line, content in lines if content]


def simplify_name(name: str) -> str:
    """A column's name in small letters, without what stands between its words.

    >>> simplify_name("Image Path"), simplify_name("ClassId")
    ('imagepath', 'classid')
    """
    return re.sub(r"[\W_]+", "", name.lower())


def is_list(value: Any) -> bool:
    """Whether a value is a list of any kind: a tuple, an array or a pandas or polars column as well."""
    if isinstance(value, str | bytes | Mapping):
        return False
    return isinstance(value, Sequence) or (hasattr(value, "__len__") and hasattr(value, "__iter__"))


def format_cell(value: Any) -> str:
    """A value as a table's text has it: nothing for None and NaN, several values with commas, a whole float as such.

    >>> [format_cell(value) for value in (None, float("nan"), 3.0, True, ["cat"], {"x": 1})]
    ['', '', '3', 'True', 'cat', '']
    """
    if isinstance(value, Mapping):
        return ""
    if is_list(value):
        return ",".join(map(format_cell, value))
    if value is None or str(value) in ("nan", "NaT", "<NA>"):
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
