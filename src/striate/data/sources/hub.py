"""Hugging Face data sets, by name or as saved on disk, through the library `datasets`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from ...errors import DataError, suggest_name
from ...language import say, to_say
from ...terminal import format_count
from ..listing import SPLIT_NAMES, Entry, HubFile, Listing, format_ignored, keep_reason, normalise_name
from ..reading import USUAL_READING, Reading
from .table_labels import SEVERAL_LABELS

LABEL_COLUMNS = ("label", "labels", "class", "fine_label", "coarse_label", "category", "target")


def list_hub(name: str, reading: Reading = USUAL_READING) -> Listing:
    """The images of the data set `NAME`, `OWNER/NAME`, `NAME:CONFIG`, or of a folder that `save_to_disk` wrote.

    Nothing is decoded here. A split without any label is left out, as contests have them. Raises DataError where the
    library is missing, where the data set is not to be had, where it has no column of images or none of labels, and
    where some images of a split have no label.
    """
    where = f"hf:{name}"
    parts = open_tables(name, where)
    first = next(iter(parts.values()))
    images, labels = find_hub_columns(first.features, where, reading)
    from datasets import Image as AsImage

    names = getattr(first.features[labels], "names", None)
    entries: list[Entry] = []
    ignored: Counter[str] = Counter()
    for part, table in parts.items():
        split = SPLIT_NAMES.get(part.lower()) if len(parts) > 1 else None
        if split is None and len(parts) > 1:
            ignored[keep_reason(say("images of the split {part}", part=part))] += len(table)
            continue
        raw = table.cast_column(images, AsImage(decode=False))
        told = [name_hub_label(label, names) for label in raw[labels]]
        without = told.count("")
        if without == len(told) and len(parts) > 1:
            ignored[keep_reason(say("images of the split {part}, which has no labels", part=part))] += len(told)
            continue
        if without and not reading.drop_unlabelled:
            what = say("{images} of {count:,} have no label", images=format_count(without, "image"), count=len(told))
            hint = say("--drop-unlabelled leaves them out")
            raise DataError(f"{where}, {part}[{told.index('')}]", what, hint=hint)
        ignored[to_say("images without a label")] += without
        for row, shown in enumerate(told):
            if shown:
                entries.append(Entry(f"{part}[{row}]", hold_row(raw, images, part, row), shown, split))
    ignored = +ignored
    read_as = say("a Hugging Face data set, images in {images}, labels in {labels}", images=images, labels=labels)
    return Listing(where, tuple(entries), dict(ignored), format_ignored(ignored), read_as)


def name_hub_label(label: Any, names: list[str] | None) -> str:
    """A row's class; "" where it has none."""
    if label is None or (names and not 0 <= label < len(names)):
        return ""
    return normalise_name(names[label] if names else str(label))


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
        raise DataError(
            where, say("a Hugging Face data set needs a library that is not installed"), hint=hint
        ) from None
    stem, _, config = name.partition(":")
    try:
        if Path(name).is_dir():
            found = datasets.load_from_disk(name)
        else:
            found = datasets.load_dataset(stem, config or None)
    except Exception as e:  # the library raises its own, its network library's and its file formats' errors
        text = " ".join(str(e).split())[:300] or type(e).__name__
        hint = say("see https://huggingface.co/datasets for the names, or give a folder written by save_to_disk")
        raise DataError(where, say("this data set cannot be loaded: {text}", text=text), hint=hint) from None
    tables = dict(found) if isinstance(found, dict) else {str(found.split or "all"): found}
    return {part: table for part, table in tables.items() if len(table)} or tables


def find_hub_columns(features: Any, where: str, reading: Reading = USUAL_READING) -> tuple[str, str]:
    """The names of the columns of images and of labels. Raises DataError."""
    images = [column for column, kind in features.items() if type(kind).__name__ == "Image"]
    for option, wanted in (("--file-column", reading.file_column), ("--label-column", reading.label_column)):
        if wanted is not None and wanted not in features:
            raise DataError(
                where,
                say("there is no column '{wanted}'", wanted=wanted),
                hint=f"{option}: {suggest_name(wanted, features)}",
            )
    known = [column for column, kind in features.items() if type(kind).__name__ == "ClassLabel"]
    chosen = [reading.label_column] if reading.label_column else []
    labels = chosen or known or [column for column in LABEL_COLUMNS if column in features]
    got = ", ".join(f"{column} ({type(kind).__name__})" for column, kind in features.items())
    if not images:
        raise DataError(where, say("this data set has no column of images"), got=got)
    if not labels:
        raise DataError(
            where,
            say("this data set has no column of labels"),
            got=got,
            rule=say("a ClassLabel, or {name}", name=LABEL_COLUMNS[0]),
        )
    label = reading.label_column or next((column for column in LABEL_COLUMNS if column in labels), labels[0])
    if type(features[label]).__name__ in ("Sequence", "List", "LargeList") or isinstance(features[label], list):
        got, rule = f"{label} ({type(features[label]).__name__})", say("one label a picture")
        raise DataError(where, say(SEVERAL_LABELS), got=got, rule=rule)
    return reading.file_column or images[0], label
