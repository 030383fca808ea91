"""What stands in a table's label column: a class, nothing, or several classes, which one image cannot have here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ...errors import DataError
from ...language import say, to_say
from ..listing import shorten_list
from .table_rows import RawTable, Row

# Cells that hold no label. A class may well be called "none": that one counts as missing where it is rarer than every
# other label.
MISSING_LABELS = frozenset(("", "?", "nan", "null", "n/a", "na", "na?", "<na>"))
PERHAPS_MISSING = frozenset(("none",))
SEVERAL_LABELS = to_say("this looks like several labels a picture")
ONES, ZEROS = ("1", "1.0"), ("0", "0.0")


def find_missing_words(labels: Sequence[str]) -> frozenset[str]:
    """The cells that mean "no label" in this column, in small letters.

    >>> sorted(find_missing_words(["cat", "cat", "None"]) - MISSING_LABELS)
    ['none']
    >>> sorted(find_missing_words(["crack", "none", "none"]) - MISSING_LABELS)
    []
    """
    counts = Counter(label for label in labels if label.lower() not in MISSING_LABELS)
    rare = min((count for label, count in counts.items() if label.lower() not in PERHAPS_MISSING), default=0)
    found = sum(count for label, count in counts.items() if label.lower() in PERHAPS_MISSING)
    return MISSING_LABELS | (PERHAPS_MISSING if found < rare else frozenset())


def find_one_hot(
    table: RawTable, rows: Sequence[Row], columns: Sequence[int], repeating: Sequence[int], names: Sequence[str]
) -> tuple[int, ...]:
    """The columns that hold 0 and 1 alone, one a class; () where others of the `repeating` ones may be the label.

    Raises DataError where they have a 1 twice in a row.
    """
    binary = tuple(k for k in columns if all(row.cells[k] in ONES + ZEROS for row in rows))
    others = [k for k in repeating if k not in binary]
    if len(binary) < 2 or (others and len(binary) < 3):
        return ()
    several = next((row for row in rows if sum(row.cells[k] in ONES for k in binary) > 1), None)
    if several is None:
        return binary
    if others:
        return ()
    got = shorten_list(tuple(names[k] for k in binary if several.cells[k] in ONES))
    every = ",".join(names[k] for k in binary)
    hint = say("--label-column {name} learns one of them, --labels {every} all", name=names[binary[0]], every=every)
    raise DataError(table.place(several.line), say(SEVERAL_LABELS), got=got, rule=say("one label a picture"), hint=hint)


def check_single_labels(table: RawTable, rows: Sequence[Row], labels: Sequence[str]) -> None:
    """Raise DataError where most labels are several words or parts that come again in other labels."""
    distinct = set(labels)
    for mark in (",", ";", "|", " "):
        parts = {label: [part for part in label.replace(mark, "\0").split("\0") if part.strip()] for label in distinct}
        several = sum(len(parts[label]) > 1 for label in labels)
        if 2 * several > len(labels) and can_recombine(list(parts.values()), ordered=mark == " "):
            k = next(k for k, label in enumerate(labels) if len(parts[label]) > 1)
            raise DataError(
                table.place(rows[k].line), say(SEVERAL_LABELS), got=labels[k], rule=say("one label a picture")
            )


def can_recombine(labels: list[list[str]], ordered: bool) -> bool:
    """Whether most parts come in two different labels or more, and, where words are, now first and now later.

    "boston bull" and "french bull" are names of one class each; "cat dog" and "dog" are not.
    """
    found = Counter(part for parts in labels for part in {part.strip() for part in parts})
    places: dict[str, set[int]] = {}
    for parts in labels:
        for place, part in enumerate(parts):
            places.setdefault(part.strip(), set()).add(-1 if len(parts) == 1 else place)
    moving = sum(len(spots) > 1 for spots in places.values())
    return 2 * sum(count > 1 for count in found.values()) > len(found) and (not ordered or 2 * moving >= len(places))
