"""A benchmark's results, a line of JSON each, and its table in its page of docs/, between the markers of the script."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

END = "<!-- end of table -->"


def put(page: Path, script: str, made: str) -> None:
    """Write what `script` made into `page`, in place of what it made before. Raises ValueError without its markers."""
    text, begin = page.read_text(encoding="utf-8"), f"<!-- table: bench/{script} -->"
    start = text.index(begin)
    page.write_text(f"{text[:start]}{begin}\n{made}\n{text[text.index(END, start) :]}", encoding="utf-8")


def read_results(file: Path) -> list[dict[str, Any]]:
    """What a study has measured so far."""
    return [json.loads(line) for line in file.read_text().splitlines()] if file.is_file() else []


def add_result(file: Path, row: dict[str, Any]) -> None:
    """Keep a result, so that a broken-off study goes on behind it."""
    with file.open("a") as out:
        out.write(json.dumps(row) + "\n")


def format_gain(points: Sequence[float]) -> str:
    """The mean of paired differences, and its standard error.

    >>> format_gain([1.0, 3.0])
    '+2.0 ± 1.0'
    """
    error = statistics.stdev(points) / len(points) ** 0.5 if len(points) > 1 else 0.0
    return f"{statistics.fmean(points):+.1f} ± {error:.1f}"
