"""Records as a table's rows: what JSON holds, or lists, dictionaries and data frames handed over in Python."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...errors import DataError
from ...language import say
from ..listing import SPLIT_NAMES, shorten_list
from .table_rows import FILE_NAMES, RawTable, Row, format_cell, is_list, simplify_name

JSON_HINT = '[{"file": "cats/1.jpg", "label": "cat"}, …] or {"cats/1.jpg": "cat", …}'


def parse_json_lines(text: str, where: str, folder: Path) -> RawTable:
    """The rows of a text with a JSON object a line. Raises DataError naming the line."""
    records, lines = [], []
    for line, content in enumerate(text.splitlines(), 1):
        if not content.strip():
            continue
        try:
            record = json.loads(content)
        except (ValueError, RecursionError) as e:
            raise DataError(
                say("{where}, line {line}", where=where, line=line),
                say("this line is not JSON: {complaint}", complaint=e),
            ) from None
        if not isinstance(record, dict):
            raise DataError(
                say("{where}, line {line}", where=where, line=line), say("this line is not an object"), got=content[:80]
            )
        records.append(record)
        lines.append(line)
    names = list_keys(records)
    rows = [Row(line, pick_cells(record, names)) for line, record in zip(lines, records, strict=True)]
    return RawTable(where, folder, names, rows)


def parse_json(text: str, where: str, folder: Path) -> RawTable:
    """The rows of a JSON text. Raises DataError."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as e:
        raise DataError(where, say("the table is broken: {complaint}", complaint=e)) from None
    return tabulate_records(found, where, folder)


def tabulate_records(found: Any, where: str, folder: Path) -> RawTable:
    """The rows of what JSON, or Python, holds: records, pairs, {file: label}, {label: [files]} or {column: [cells]}.

    Raises DataError.
    """
    if isinstance(found, Mapping) and found:
        values = list(found.values())
        if all(is_list(value) and not any(isinstance(cell, Mapping) for cell in value) for value in values):
            return tabulate_lists(found, where, folder)
        if all(isinstance(value, Mapping) for value in values):
            names = list_keys(values)
            cells = [[str(key), *pick_cells(value, names)] for key, value in found.items()]
            return number_rows(where, folder, ("key", *names), cells)
        if not any(isinstance(value, Mapping) or is_list(value) for value in values):
            return number_rows(where, folder, ("file", "label"), [[str(k), format_cell(v)] for k, v in found.items()])
    if is_list(found) and len(found):
        if all(isinstance(record, Mapping) for record in found):
            names = list_keys(found)
            return number_rows(where, folder, names, [pick_cells(record, names) for record in found])
        if all(is_list(record) for record in found):
            rows = [[format_cell(cell) for cell in record] for record in found]
            uneven = next((k for k, row in enumerate(rows) if len(row) != len(rows[0])), None)
            if uneven is None and len(rows[0]) > 1:
                return number_rows(where, folder, None, rows)
    raise DataError(where, say("this is no list of files and labels"), got=describe_value(found), hint=JSON_HINT)


def tabulate_lists(found: Mapping[Any, Any], where: str, folder: Path) -> RawTable:
    """{column: [cells]} where the lists are equally long and one is called as files are, else {label: [files]}."""
    lists = {str(name): [format_cell(cell) for cell in cells] for name, cells in found.items()}
    even = len({len(cells) for cells in lists.values()}) == 1
    if even and any(simplify_name(name) in FILE_NAMES for name in lists):
        return number_rows(where, folder, tuple(lists), [list(cells) for cells in zip(*lists.values(), strict=True)])
    if all(name.lower() in SPLIT_NAMES for name in lists):
        hint = '[("cats/1.jpg", "cat", "train"), …]'
        raise DataError(where, say("these are names of splits, not of classes"), got=", ".join(lists), hint=hint)
    return number_rows(where, folder, ("file", "label"), [[cell, name] for name in lists for cell in lists[name]])


def number_rows(where: str, folder: Path, names: tuple[str, ...] | None, cells: list[list[str]]) -> RawTable:
    return RawTable(where, folder, names, [Row(k, row) for k, row in enumerate(cells, 1)], unit="record")


def list_keys(records: Sequence[Mapping[Any, Any]]) -> tuple[str, ...]:
    """The keys of all records, in the order in which they come first."""
    return tuple(dict.fromkeys(str(key) for record in records for key in record))


def pick_cells(record: Mapping[Any, Any], names: Sequence[str]) -> list[str]:
    held = {str(key): value for key, value in record.items()}
    return [format_cell(held.get(name)) for name in names]


def describe_value(value: Any) -> str:
    if isinstance(value, Mapping):
        return (
            say("an object with {names}", names=shorten_list(tuple(map(str, value)), 5))
            if value
            else say("an empty object")
        )
    return say("a list of {count}", count=len(value)) if is_list(value) else f"{value}"[:80]
