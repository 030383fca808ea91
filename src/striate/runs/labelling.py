"""Pictures that a person has labelled for a run: a table beside it, and the data set that the next training takes.

The user's own folders stay as they are. `labelled.csv` has what was said, `grown.csv` is made of it: the run's data set
as a table, its corrections applied, and the labelled pictures behind, to train on.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import msgspec

from .. import atomic_file
from ..data.corrections import NO_CLASS, mark_content
from ..data.csv_rows import format_csv_rows, read_csv_rows
from ..data.listing import Listing, list_classes, shorten_list
from ..data.read.decode import read_contents
from ..data.reading import restore_reading, take_corrections
from ..data.sources.load import list_source
from ..errors import DataError, RunError, suggest_name
from ..language import say
from ..run_files import RunFiles
from .correcting import find_data
from .folders import read_settings

COLUMNS = ("file", "content", "label", "time")


class LabelledPicture(NamedTuple):
    """A picture outside the run's data set, and what a person says that it shows.

    file     where it lies, an absolute path
    content  the first 64 bits, as hex, of the sha256 of its bytes: what it was when it was labelled
    label    a class of the run, or "-" for none of them: then it is not trained on, and not asked about again
    time     when, ISO 8601
    """

    file: str
    content: str
    label: str
    time: str = ""


def list_labelled(run: str | Path) -> tuple[LabelledPicture, ...]:
    """What has been said for a run, the last one last. Raises DataError where the table is broken."""
    file = RunFiles(Path(run)).labelled
    if not file.exists():
        return ()
    head, *rows = read_rows(file)
    if tuple(head) != COLUMNS or any(len(row) != len(COLUMNS) for row in rows):
        raise DataError(
            str(file), say("this is no table of labelled pictures"), got=",".join(head), rule=",".join(COLUMNS)
        )
    return tuple(LabelledPicture(*row) for row in rows)


def read_rows(path: Path) -> list[list[str]]:
    """The rows of a CSV file that are not empty, its head first. Raises DataError."""
    return [row for row in read_csv_rows(path) if row] or [[]]


def label_picture(run: str | Path, file: str | Path, label: str) -> LabelledPicture:
    """Say what an unlabelled picture shows, for the next training of `run`. `labelled.csv` beside the run is written.

    file   the picture, anywhere; it stays where it is
    label  a class of the run's data, or "-" for none of them
    What was said of it before is replaced. `write_grown` makes the data set to train on. Raises DataError.

    >>> import striate
    >>> try:
    ...     label_picture("runs/none", "photo.jpg", "cat")
    ... except striate.StriateError as e:
    ...     print(e.where)
    runs/none/recipe.json
    """
    return label_pictures(run, [(str(file), label)])[0]


def label_pictures(
    run: str | Path, said: Iterable[tuple[str, str]], classes: tuple[str, ...] | None = None
) -> tuple[LabelledPicture, ...]:
    """`label_picture` of several, all or, where one is refused, none of them.

    classes  of the run's data, where they are known already
    """
    classes = list_classes(list_run_data(run)) if classes is None else classes
    made = tuple(check_label(file, label, classes) for file, label in said)
    names = {row.file for row in made}
    write_labelled(Path(run), (*(row for row in list_labelled(run) if row.file not in names), *made))
    return made


def check_label(file: str, label: str, classes: tuple[str, ...]) -> LabelledPicture:
    if label not in (NO_CLASS, *classes):
        rule, what = (
            say("{classes}, or - for none of them", classes=shorten_list(classes)),
            say("the data set has no such class"),
        )
        raise DataError(file, what, got=label, rule=rule, hint=suggest_name(label, classes))
    path = Path(file).absolute()
    if not path.is_file():
        raise DataError(file, say("there is no such picture"))
    time = datetime.now().astimezone().isoformat(timespec="seconds")
    return LabelledPicture(str(path), mark_content(path.read_bytes()), label, time)


def take_label_table(run: str | Path, table: str | Path) -> tuple[LabelledPicture, ...]:
    """The labels that a person filled into a table of `striate suggest`; rows without one are passed over.

    Raises DataError for a table without the columns file and label, or without any label.
    """
    path = Path(table)
    if not path.exists():
        raise DataError(
            str(path),
            say("there is no such table"),
            hint=say("striate suggest FOLDER --run RUN -o FILE.csv writes one"),
        )
    head, *rows = read_rows(path)
    if not {"file", "label"} <= set(head):
        raise DataError(
            str(path), say("this table has no columns file and label"), got=",".join(head), rule="file,label"
        )
    place, own = head.index("file"), head.index("label")
    said = [(row[place], row[own].strip()) for row in rows if len(row) > max(place, own) and row[own].strip()]
    if not said:
        raise DataError(str(path), say("no label is filled in"), got=say("{count:,} rows", count=len(rows)))
    return label_pictures(run, said)


def undo_picture(run: str | Path) -> LabelledPicture:
    """Take back what was said last of an unlabelled picture, and return it. Raises RunError."""
    rows = list_labelled(run)
    if not rows:
        raise RunError(str(run), say("there is no label to take back"))
    write_labelled(Path(run), rows[:-1])
    return rows[-1]


def write_labelled(run: Path, rows: tuple[LabelledPicture, ...]) -> None:
    file = RunFiles(run).labelled
    if rows:
        atomic_file.write_file(file, format_csv_rows([COLUMNS, *rows]))
    else:
        file.unlink(missing_ok=True)


def list_run_data(run: str | Path) -> Listing:
    """The files of the run's data set, with the corrections that there are by now. Raises RunError, DataError.

    Arrays have no files to stand in a table beside others.
    """
    began, files = read_settings(Path(run)), RunFiles(Path(run))
    data, reading = find_data(Path(run), began), restore_reading(began)
    if files.corrections.is_file():
        reading = msgspec.structs.replace(reading, corrections=take_corrections(files.corrections))
    listing = list_source(data, reading)
    if listing is None or any(not isinstance(entry.path, Path) for entry in listing.entries):
        what = say("the pictures of this run are not files of their own, so that others cannot stand beside them")
        raise RunError(str(run), what, got=data, hint=say("train on a folder or a table of picture files"))
    return listing


def list_known_files(run: str | Path) -> set[str]:
    """The pictures that have a label: of the run's data set, where that is files, and those labelled since."""
    said = {row.file for row in list_labelled(run)}
    try:
        return said | {str(Path(entry.path).absolute()) for entry in list_run_data(run).entries}  # type: ignore[arg-type]
    except RunError:
        return said


def write_grown(run: str | Path) -> Path:
    """The run's data set with the labelled pictures, as a table: `striate train RUN/grown.csv`. Returns its place.

    Where the data set has splits of its own, the labelled pictures are to train on. Raises DataError for a picture that
    is another now than when it was labelled, RunError where nothing was labelled.
    """
    listing, said = list_run_data(run), [row for row in list_labelled(run) if row.label != NO_CLASS]
    if not said:
        raise RunError(str(run), say("no picture has been labelled yet"))
    for row in said:
        if mark_content(read_contents(Path(row.file), row.file)) != row.content:
            raise DataError(
                row.file, say("this picture is another now than when it was labelled"), hint=say("label it again")
            )
    split = any(entry.split for entry in listing.entries)
    known = [(str(Path(entry.path).absolute()), entry.label, entry.split or "train") for entry in listing.entries]  # type: ignore[arg-type]
    rows = [("file", "label", "split"), *known, *((row.file, row.label, "train") for row in said)]
    file = RunFiles(Path(run)).grown
    atomic_file.write_file(file, format_csv_rows(row if split else row[:2] for row in rows))
    return file
