"""How a data set is to be read where its files do not say so themselves: declared once, for every command and run."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
from collections.abc import Iterable
from typing import Annotated, Any, Literal

import msgspec

from ..errors import DataError, suggest_name
from ..language import say
from ..setting import Setting, find_value_type, list_settings


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """A run keeps those that are not the default, in recipe.json and in its model file; the commands that read its data
    again (`evaluate`, `label_errors`, resuming) read them in the same way.
    """

    bad_share: Annotated[
        float, Setting("Largest share of unreadable files that are skipped", "0 to 1; above it nothing is loaded")
    ] = 0.1
    images: Annotated[
        str | None,
        Setting(
            "Folder of the files that a table names", "as it stands, or beside the table", usual="beside the table"
        ),
    ] = None
    suffix: Annotated[
        str | None, Setting("Suffix that a table's file names lack, such as .jpg", usual="found by looking")
    ] = None
    file_column: Annotated[
        str | None, Setting("Column of a table that names the files", usual="found by what it holds")
    ] = None
    label_column: Annotated[
        str | None, Setting("Column of a table that holds the labels", usual="found by what it holds")
    ] = None
    labels: Annotated[
        str | None,
        Setting(
            "Several labels a picture: the table's columns of 0 and 1, with commas",
            "sunny,rain,snow: each a label that a picture has or lacks; in Python also a list. Learnt by transfer",
            usual="one class a picture",
        ),
    ] = None
    label_separator: Annotated[
        str | None,
        Setting(
            "Several labels a picture: what stands between them in the table's label column",
            "; or | or a comma; an empty cell is a picture without a label. Learnt by transfer",
            usual="one class a picture",
        ),
    ] = None
    number: Annotated[
        str | None,
        Setting(
            "A number instead of a class (regression): the table's column that holds it",
            "price, age, weight. Learnt by transfer",
            usual="one class a picture",
        ),
    ] = None
    drop_unlabelled: Annotated[
        bool, Setting("Leave out a table's rows without a label", "empty, ?, NaN, null, N/A or None; else an error")
    ] = False
    depth: Annotated[
        int | None,
        Setting(
            "Folder level of the classes, counted from the top or from a split's folder",
            "1: photos/cat/… is a cat, however deep it lies",
            usual="found by the names",
        ),
    ] = None
    labels_from: Annotated[
        str, Setting("Where an image's class stands", "name: cat.0.jpg and dog_12.png", choices=("folder", "name"))
    ] = "folder"
    group: Annotated[
        str | tuple[str, ...] | None,
        Setting(
            "What must stay in one split: a regex on the file names, or a table's column",
            "its first brackets, or all that it matches: patients, plants, videos. In Python also a list of names, one "
            "for each image of an array or of a list of files",
            usual="copies and near duplicates alone",
            typed=str,
        ),
    ] = None
    alpha: Annotated[
        str,
        Setting(
            "What becomes of transparency",
            "composite: white behind it; channel: one more channel, where it carries data",
            choices=("composite", "channel"),
        ),
    ] = "composite"
    drop_unplaced: Annotated[
        bool, Setting("Leave out images that belong to no class or split", "more than 1 % of them are an error else")
    ] = False
    corrections: Annotated[
        str | tuple[tuple[str, str, str, str], ...] | None,
        Setting(
            "Table of labels corrected by hand, such as runs/NAME/corrections.csv",
            "file, content, label and corrected, - for no class; `data.corrections` says more. What does not fit the "
            "data set is an error. A run keeps the rows themselves",
            usual="none",
            typed=str,
        ),
    ] = None

    @property
    def several(self) -> bool:
        """Whether a picture has several labels, or one, or none."""
        return self.labels is not None or self.label_separator is not None

    @property
    def outputs(self) -> Literal["softmax", "sigmoid", "identity"]:
        """What a net that learns this answers, a word of `engines.answers`: "softmax", "sigmoid" or "identity"."""
        return "sigmoid" if self.several else "softmax" if self.number is None else "identity"


USUAL_READING = Reading()
# Stands for groups that were given as names wherever a reading is kept: a name for each image is no setting.
NAMES_MARK = "names:"


def make_reading(given: dict[str, Any]) -> Reading:
    """The Reading of what was given by name; None counts as not given.

    Raises DataError for another name or a value of another type.

    >>> make_reading({"bad_share": 0.5}).bad_share
    0.5
    """
    told = {name: value for name, value in given.items() if value is not None}
    for name in told:
        if name not in Reading.__struct_fields__:
            hint = suggest_name(name, Reading.__struct_fields__)
            raise DataError(name, say("there is no such option of reading a data set"), hint=hint)
    for row in list_settings(Reading):
        value = told.get(row.name)
        if row.choices and value is not None and value not in row.choices:
            raise DataError(
                row.name, say("there is no {name} '{value}'", name=row.name, value=value), rule=", ".join(row.choices)
            )
        if value is not None and find_value_type(row.annotation) is float:
            told[row.name] = float(value)
    if "group" in told and not isinstance(told["group"], str):
        told["group"] = list_group_names(told["group"])
    if "corrections" in told:
        told["corrections"] = take_corrections(told["corrections"])
    if "labels" in told and not isinstance(told["labels"], str):
        told["labels"] = ",".join(map(str, told["labels"]))
    try:
        made = msgspec.convert(told, Reading)
    except msgspec.ValidationError as e:
        raise DataError("reading", say("this option makes no sense: {complaint}", complaint=e)) from None
    if made.several:
        check_several(made)
    if made.number is not None:
        check_number_reading(made)
    return made


def list_label_columns(reading: Reading) -> tuple[str, ...]:
    """The columns that hold a label each; () where labels are not read so.

    >>> list_label_columns(Reading(labels="sunny, rain"))
    ('sunny', 'rain')
    """
    return () if reading.labels is None else tuple(name.strip() for name in reading.labels.split(","))


def check_several(reading: Reading) -> None:
    """Raise DataError where several labels a picture are asked for in a way that contradicts itself."""
    columns, usual = list_label_columns(reading), USUAL_READING
    if reading.labels is not None and ("" in columns or len(set(columns)) < len(columns)):
        what, rule = say("a column is named twice, or not at all"), say("each column once, with commas between")
        raise DataError("labels", what, got=reading.labels, rule=rule)
    if reading.label_separator == "":
        raise DataError("label_separator", say("nothing stands between labels"), hint='--label-separator ";"')
    others = [name for name in ("label_separator", "label_column") if reading.labels and getattr(reading, name)]
    others += [name for name in CLASS_OPTIONS if getattr(reading, name) != getattr(usual, name)]
    refuse_contradiction("labels" if reading.labels else "label_separator", others)


# What says how a picture's one class is found.
CLASS_OPTIONS = "labels_from", "corrections", "drop_unlabelled", "depth"


def check_number_reading(reading: Reading) -> None:
    """Raise DataError where a number is asked for beside what says how classes are found."""
    usual = USUAL_READING
    given = [name for name in ("labels", "label_separator", "label_column", *CLASS_OPTIONS)
             if getattr(reading, name) != getattr(usual, name)]  # fmt: skip
    refuse_contradiction("number", given)


def refuse_contradiction(option: str, others: list[str]) -> None:
    """Raise DataError where there are others beside the option."""
    if others:
        what = say("{one} and {other} contradict each other", one=option, other=others[0])
        raise DataError(others[0], what, hint=say("leave one of them out"))


def take_corrections(given: Any) -> Any:
    """What settles of corrections: of a table's file, or of rows. Raises DataError."""
    if isinstance(given, str | os.PathLike):
        from .corrections import read_corrections

        given = read_corrections(os.fspath(given))
    try:
        return tuple(tuple(row[:4]) for row in given) or None
    except TypeError:
        return given  # which the Reading refuses


def drop_corrections(kept: Reading) -> Reading:
    """The reading of the data set as its files have it."""
    return msgspec.structs.replace(kept, corrections=None)


def list_group_names(given: Iterable[Any]) -> tuple[str, ...]:
    """The names of groups, one for each image, "" for None and NaN. Raises DataError where they tell none apart.

    >>> list_group_names([3, 3, "b", None])
    ('3', '3', 'b', '')
    """
    names = tuple("" if name is None or name != name else str(name) for name in given)
    if len(set(names)) < 2:
        got = say("{count:,} times {name}", count=len(names), name=names[0]) if names else say("no name")
        raise DataError("group", say("all images are in one group, so there is nothing to split"), got=got)
    return names


def take_group_names(kept: Reading, given: Reading) -> Reading:
    """The reading as it was kept, with the names of groups that are given, where it is these that it was kept with."""
    same = isinstance(given.group, tuple) and kept.group == mark_group_names(given.group)
    return msgspec.structs.replace(kept, group=given.group) if same else kept


def drop_group_names(kept: Reading) -> Reading:
    """The reading as it was kept, without groups that were given as names: for where nothing is split."""
    marked = isinstance(kept.group, str) and kept.group.startswith(NAMES_MARK)
    return msgspec.structs.replace(kept, group=None) if marked else kept


def mark_group_names(names: Iterable[str]) -> str:
    return NAMES_MARK + hashlib.sha256(json.dumps(list(names)).encode()).hexdigest()[:16]


def restore_reading(began: dict[str, Any]) -> Reading:
    """How the data of a run are read, by what the run began with (recipe.json). Raises DataError."""
    return make_reading(began.get("reading", {}))


def choose_reading(given: dict[str, Any], own: dict[str, Any]) -> Reading:
    """How a model is to read a data set: as `given`, or if nothing is, as its training data were. Raises DataError."""
    return make_reading({name: value for name, value in given.items() if value is not None} or own)


def list_unusual(reading: Reading) -> dict[str, Any]:
    """What of it is not the default, as JSON data; of names of groups their mark."""
    plain = msgspec.to_builtins(reading)
    if isinstance(reading.group, tuple):
        plain["group"] = mark_group_names(reading.group)
    if reading.corrections is not None:
        plain["corrections"] = [list(row) for row in reading.corrections]
    usual = msgspec.to_builtins(USUAL_READING)
    return {name: value for name, value in plain.items() if value != usual[name]}


def format_reading(reading: Reading) -> str:
    """The options of the command line that say the same, corrections left out; "" for the usual reading.

    >>> format_reading(Reading(bad_share=0.5))
    '--bad-share 0.5'
    """
    flags = []
    for name, value in list_unusual(drop_corrections(reading)).items():
        flag = "--" + name.replace("_", "-")
        flags.append(flag if value is True else f"{flag} {shlex.quote(str(value))}")
    return " ".join(flags)
