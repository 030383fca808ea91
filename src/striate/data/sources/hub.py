"""Hugging Face data sets, by name or as saved on disk, through the library `datasets`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from ...errors import DataError
from ..listing import SPLIT_NAMES, Entry, HubFile, Listing, format_ignored, normalise_name

LABEL_COLUMNS = ("label", "labels", "class", "fine_label", "coarse_label", "category", "target")


def list_hub(name: str) -> Listing:
    """The images of the data set `NAME`, `OWNER/NAME`, `NAME:CONFIG`, or of a folder that `save_to_disk` wrote.

    Nothing is decoded here. Raises DataError where the library is missing, where the data set is not to be had, and
    where it has no column of images or none of labels.
    """
    where = f"hf:{name}"
    parts = open_tables(name, where)
    first = next(iter(parts.values()))
    images, labels = find_hub_columns(first.features, where)
    from datasets import Image as AsImage

    names = getattr(first.features[labels], "names", None)
    entries: list[Entry] = []
    ignored: Counter[str] = Counter()
    for part, table in parts.items():
        split = SPLIT_NAMES.get(part.lower()) if len(parts) > 1 else None
        if split is None and len(parts) > 1:
            ignored[f"images of the split {part}"] += len(table)
            continue
        raw = table.cast_column(images, AsImage(decode=False))
        for row, label in enumerate(raw[labels]):
            if label is None or (names and not 0 <= label < len(names)):
                ignored["images without a label"] += 1
                continue
            shown = normalise_name(names[label] if names else str(label))
            entries.append(Entry(f"{part}[{row}]", hold_row(raw, images, part, row), shown, split))
    return Listing(where, tuple(entries), dict(ignored), format_ignored(ignored))


def hold_row(table: Any, column: str, part: str, row: int) -> HubFile:
    def read() -> bytes:
        found = table[row][column]
        return found["bytes"] if found["bytes"] is not None else Path(found["path"]).read_bytes()

    return HubFile(f"{table._fingerprint}/{part}/{row}", read)


def open_tables(name: str, where: str) -> dict[str, Any]:
    """The data set's tables by split. Raises DataError."""
    try:
        import datasets
    except ImportError:
        hint = 'pip install "striate[hub]"'
        raise DataError(where, "a Hugging Face data set needs a library that is not installed", hint=hint) from None
    stem, _, config = name.partition(":")
    try:
        if Path(name).is_dir():
            found = datasets.load_from_disk(name)
        else:
            found = datasets.load_dataset(stem, config or None)
    except Exception as e:  # the library raises its own, its network library's and its file formats' errors
        text = " ".join(str(e).split())[:300] or type(e).__name__
        hint = "see https://huggingface.co/datasets for the names, or give a folder written by save_to_disk"
        raise DataError(where, f"this data set cannot be loaded: {text}", hint=hint) from None
    tables = dict(found) if isinstance(found, dict) else {str(found.split or "all"): found}
    return {part: table for part, table in tables.items() if len(table)} or tables


def find_hub_columns(features: Any, where: str) -> tuple[str, str]:
    """The names of the columns of images and of labels. Raises DataError."""
    images = [column for column, kind in features.items() if type(kind).__name__ == "Image"]
    known = [column for column, kind in features.items() if type(kind).__name__ == "ClassLabel"]
    labels = known or [column for column in LABEL_COLUMNS if column in features]
    got = ", ".join(f"{column} ({type(kind).__name__})" for column, kind in features.items())
    if not images:
        raise DataError(where, "this data set has no column of images", got=got)
    if not labels:
        raise DataError(
            where, "this data set has no column of labels", got=got, rule=f"a ClassLabel, or {LABEL_COLUMNS[0]}"
        )
    return images[0], next((column for column in LABEL_COLUMNS if column in labels), labels[0])
