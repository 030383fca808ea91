"""Small tables that people fill in or look at, as CSV: UTF-8, a line a row."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..language import say
from ..regular_file import need_regular


def read_csv_rows(path: Path) -> list[list[str]]:
    """All rows of a CSV file, a blank line as an empty one. Raises DataError."""
    need_regular(path, DataError)
    try:
        return list(csv.reader(io.StringIO(path.read_text(encoding="utf-8-sig"))))
    except (OSError, ValueError, csv.Error) as e:
        raise DataError(str(path), say("this table cannot be read: {complaint}", complaint=e)) from None


def format_csv_rows(rows: Iterable[Iterable[Any]]) -> str:
    """The rows as CSV.

    >>> format_csv_rows([("file", "label"), ("a, b.png", None)])
    'file,label\\n"a, b.png",\\n'
    """
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()
