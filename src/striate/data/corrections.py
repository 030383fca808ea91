"""Labels corrected by hand: a table beside a run, and what it does to a data set as it is read.

The user's own files stay as they are. A row names an image by its path and by its content, so that another file under
that name is never taken for the one that was corrected.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import DataError, suggest_name
from ..language import join_texts, say, say_count
from .csv_rows import format_csv_rows, read_csv_rows
from .listing import Listing, shorten_list
from .read.decode import read_contents

# Stands in the table for "a picture of none of the classes".
NO_CLASS = "-"
COLUMNS = ("file", "content", "label", "corrected", "reason", "time")
# What the mark of a file's name begins with.
HIDDEN = "sha256:"
# Of the sha256 of an image's bytes so many hexadecimal digits are kept: 64 bits.
CONTENT_DIGITS = 16


class Correction(NamedTuple):
    """What is right of one image.

    file       its name, as the data set's listing gives it
    content    the first 64 bits, as hex, of the sha256 of its file's bytes, or of an array's numbers
    label      its class in the data set
    corrected  its right class: another, the same (it was looked at and is right), or NO_CLASS
    reason     why it was looked at; time  when, ISO 8601. Neither changes what is read
    """

    file: str
    content: str
    label: str
    corrected: str
    reason: str = ""
    time: str = ""

    @property
    def settling(self) -> tuple[str, str, str, str]:
        """What a Reading keeps of it."""
        return self.file, self.content, self.label, self.corrected


def mark_content(content: bytes) -> str:
    """
    >>> mark_content(b"")
    'e3b0c44298fc1c14'
    """
    return hashlib.sha256(content).hexdigest()[:CONTENT_DIGITS]


def hide_name(file: str) -> str:
    """A mark of a file's name, for what goes to others."""
    return f"{HIDDEN}{mark_content(file.encode(errors='surrogateescape'))}"


def hide_names(reading: dict[str, Any]) -> dict[str, Any]:
    """A model's reading as JSON data, the files of its corrections under marks of their names."""
    rows = reading.get("corrections")
    return reading if rows is None else reading | {"corrections": [[hide_name(row[0]), *row[1:]] for row in rows]}


def read_corrections(path: str | Path) -> tuple[Correction, ...]:
    """The rows of a table of corrections. Raises DataError for a file or a row that is none."""
    path = Path(path)
    if path.is_dir():
        path = path / "corrections.csv"
    if not path.exists():
        hint = say("the studio's view Fix, or striate correct, writes one beside a run")
        raise DataError(str(path), say("there is no such table of corrections"), hint=hint)
    head, *body = read_csv_rows(path) or [[]]
    if tuple(head[:4]) != COLUMNS[:4]:
        what, rule = say("this is no table of corrections"), ",".join(COLUMNS)
        raise DataError(str(path), what, got=",".join(head) or say("an empty file"), rule=rule)
    found: dict[str, Correction] = {}
    for line, cells in enumerate(body, start=2):
        if not cells:
            continue
        where = f"{path}:{line}"
        if not 4 <= len(cells) <= len(COLUMNS) or not all(cells[:4]):
            rule = say("file, content, label and corrected in each row")
            raise DataError(where, say("this row is no correction"), got=",".join(cells), rule=rule)
        if cells[0] in found:
            raise DataError(where, say("this file is corrected twice"), got=cells[0], rule=say("one row a file"))
        found[cells[0]] = Correction(*cells)
    return tuple(found.values())


def format_corrections(rows: Sequence[Correction]) -> str:
    """The table as CSV, which `read_corrections` reads again."""
    return format_csv_rows([COLUMNS, *rows])


def correct_listing(listing: Listing, corrections: Sequence[Sequence[str]], strict: bool = True) -> Listing:
    """The listing with its labels corrected, without the images of no class, and with a note that says so.

    strict  Raises DataError for a correction that does not fit; else, where a model reads other data than its own, it
            is passed over
    """
    if not corrections:
        return listing
    entries = listing.entries
    labels, note = settle_labels(
        listing.name,
        [entry.file for entry in entries],
        [entry.label for entry in entries],
        lambda k: read_contents(entries[k].path, entries[k].file),
        corrections,
        strict,
    )
    right = tuple(
        entry if label == entry.label else entry._replace(label=label)
        for entry, label in zip(entries, labels, strict=True)
        if label is not None
    )
    return replace(listing, entries=right, notes=(*listing.notes, note) if note else listing.notes)


def settle_labels(
    where: str,
    files: Sequence[str],
    labels: Sequence[str],
    read: Callable[[int], bytes],
    corrections: Sequence[Sequence[str]],
    strict: bool = True,
    known: Collection[str] = (),
) -> tuple[list[str | None], str]:
    """The right label of each image, None where it is of no class, and a note; "" where nothing was corrected.

    read   the bytes of image k, by which it is told from another of the same name
    known  classes that there are, beside those of the images
    """
    classes = tuple(dict.fromkeys([*known, *labels]))
    places = find_named(files, corrections)
    found: list[str | None] = list(labels)
    changed = left_out = confirmed = 0
    for row in (Correction(*cells) for cells in corrections):
        own = places.get(row.file, [])
        error = find_misfit(where, row, classes, [(labels[k], mark_content(read(k))) for k in own])
        if error is not None:
            if strict:
                raise error
            continue
        for k in own:
            found[k] = None if row.corrected == NO_CLASS else row.corrected
            changed += found[k] not in (None, labels[k])
            left_out += found[k] is None
            confirmed += found[k] == labels[k]
    if strict:
        check_emptied(where, labels, found)
    return found, describe_counts(changed, left_out, confirmed)


def find_named(files: Sequence[str], corrections: Sequence[Sequence[str]]) -> dict[str, list[int]]:
    """For each name in the table the places of the files that it names."""
    wanted, places = {row[0] for row in corrections}, dict[str, list[int]]()
    hidden = any(name.startswith(HIDDEN) for name in wanted)
    for k, file in enumerate(files):
        name = hide_name(file) if hidden else file
        if name in wanted:
            places.setdefault(name, []).append(k)
    return places


def find_misfit(where: str, row: Correction, classes: tuple[str, ...], own: list[tuple[str, str]]) -> DataError | None:
    """Why a correction does not fit the images of its name, of which `own` are labels and contents; None: it fits."""
    if not own:
        what = say("the corrections name an image that the data set does not have")
        hint = say("it was moved, renamed or removed: take its row out of the table")
        return DataError(where, what, got=row.file, hint=hint)
    if row.corrected not in (NO_CLASS, *classes):
        what = say("the corrections name a class that the data set does not have")
        rule = say("{classes}, or - for none of them", classes=shorten_list(classes))
        got = say("{label} for {file}", label=row.corrected, file=row.file)
        return DataError(where, what, got=got, rule=rule, hint=suggest_name(row.corrected, classes))
    for label, content in own:
        if content != row.content:
            what = say("{file} is another picture than the one that was corrected", file=row.file)
            got = say("content {content}", content=content)
            rule = say("content {content}, as in the table", content=row.content)
            hint = say("look at it again, or take its row out of the table")
            return DataError(where, what, got=got, rule=rule, hint=hint)
        if label not in (row.label, row.corrected):
            what = say("{file} has another label than when it was corrected", file=row.file)
            rule = say("{label}, as in the table", label=row.label)
            return DataError(where, what, got=label, rule=rule, hint=say("take its row out of the table"))
    return None


def check_emptied(where: str, labels: Sequence[str], corrected: Sequence[str | None]) -> None:
    """Raise DataError where a class has no image left."""
    gone = tuple(dict.fromkeys(name for name in labels if name not in set(corrected)))
    if gone:
        what = say("after the corrections no image is left of {classes}", classes=shorten_list(gone))
        raise DataError(where, what, hint=say("take the folder of that class out of the data set, if that is meant"))


def describe_counts(changed: int, left_out: int, confirmed: int) -> str:
    """What corrections came to, in a line: "corrected by hand: 12 labels changed, 3 images left out"."""
    told = [
        (changed, say_count("{n:,} label changed", "{n:,} labels changed", changed)),
        (left_out, say_count("{n:,} image left out", "{n:,} images left out", left_out)),
        (confirmed, say_count("{n:,} label confirmed", "{n:,} labels confirmed", confirmed)),
    ]
    words = [text for count, text in told if count]
    return say("corrected by hand: {counts}", counts=join_texts(", ", words)) if words else ""
