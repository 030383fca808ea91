"""A benchmark's table in its page of docs/, between the markers that name the script."""

from __future__ import annotations

from pathlib import Path

END = "<!-- end of table -->"


def put(page: Path, script: str, made: str) -> None:
    """Write what `script` made into `page`, in place of what it made before. Raises ValueError without its markers."""
    text, begin = page.read_text(encoding="utf-8"), f"<!-- table: bench/{script} -->"
    start = text.index(begin)
    page.write_text(f"{text[:start]}{begin}\n{made}\n{text[text.index(END, start) :]}", encoding="utf-8")
