"""The table of corrections beside a run: what a person says of an image, written at once, and taken back."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from .. import atomic_file
from ..data.corrections import NO_CLASS, Correction, format_corrections, read_corrections
from ..data.listing import order_classes, shorten_list
from ..data.reading import restore_reading
from ..data.sources.finding import FoundImage, find_images
from ..errors import DataError, RunError, suggest_name
from ..language import say
from ..run_files import RunFiles
from .folders import read_settings


def list_corrections(run: str | Path) -> tuple[Correction, ...]:
    """What has been said of the images of a run's data: what the run began with, and what came since.

    Raises DataError where the table is broken, RunError for no run.
    """
    file = RunFiles(Path(run)).corrections
    return read_corrections(file) if file.exists() else list_begun(Path(run))


def list_begun(run: Path) -> tuple[Correction, ...]:
    """The corrections that the run was trained with."""
    return tuple(Correction(*row) for row in restore_reading(read_settings(run)).corrections or ())


def correct_label(run: str | Path, file: str, label: str, reason: str = "") -> Correction:
    """Say what class an image of a run's data is of. The table beside the run is written; the data stay as they are.

    file    its name as the reports and `striate check` give it
    label   its right class: another; the one it has, which confirms it; or "-" for a picture of none of the classes
    reason  why it was looked at, for the table
    `striate.train(data, corrections=RUN/corrections.csv)` takes them. Raises DataError for an image or a class that the
    data do not have, RunError where the run does not say where its data are.

    >>> import tempfile, striate
    >>> run = striate.train("digits", "lenet5", epochs=1, out=tempfile.mkdtemp() + "/run")
    >>> striate.correct_label(run.folder, "image[5]", "9").label
    '5'
    >>> again = striate.train("digits", "lenet5", epochs=1, corrections=run.folder / "corrections.csv",
    ...                       out=tempfile.mkdtemp() + "/again")
    >>> len(striate.runs.correcting.list_corrections(again.folder))
    1
    """
    began = read_settings(Path(run))
    return add_correction(
        Path(run), find_images(find_data(Path(run), began), restore_reading(began)), file, label, reason
    )


def find_data(run: Path, began: Mapping[str, Any]) -> str:
    """The name of a run's data, where they can be read again."""
    data = str(began.get("data", ""))
    if data in ("arrays", "files", "") or ("/" not in data and not Path(data).exists() and data not in list_names()):
        what = say("the data of this run were handed over in Python, so its images cannot be found again")
        raise RunError(str(run), what, got=data, hint=say("train on a folder, a table or an .npz file"))
    return data


def list_names() -> tuple[str, ...]:
    from ..data.sources.builtin import BUILTINS

    return tuple(BUILTINS)


def add_correction(run: Path, images: Mapping[str, FoundImage], file: str, label: str, reason: str = "") -> Correction:
    """`correct_label`, where the `images` of the data are known already."""
    found = images.get(file)
    if found is None:
        raise DataError(file, say("the data set has no such image"), hint=suggest_name(file, images))
    classes = order_classes({image.label for image in images.values()})
    if label not in (NO_CLASS, *classes):
        rule = say("{classes}, or - for none of them", classes=shorten_list(classes))
        what = say("the data set has no such class")
        raise DataError(file, what, got=label, rule=rule, hint=suggest_name(label, classes))
    time = datetime.now().astimezone().isoformat(timespec="seconds")
    made = Correction(file, found.content, found.label, label, reason, time)
    write_corrections(run, (*(row for row in list_corrections(run) if row.file != file), made))
    return made


def undo_correction(run: str | Path) -> Correction:
    """Take back what was said last, and return it; what the run was trained with stays. Raises RunError."""
    rows = list_corrections(run)
    begun = {row.file: row for row in list_begun(Path(run))}
    if not rows or rows[-1].settling in {row.settling for row in begun.values()}:
        raise RunError(str(run), say("there is no correction to take back"))
    *rest, last = rows
    if last.file in begun:  # before it was said anew
        rest.insert(0, begun[last.file])
    write_corrections(Path(run), tuple(rest))
    return last


def write_corrections(run: Path, rows: tuple[Correction, ...]) -> None:
    file = RunFiles(run).corrections
    if rows:
        atomic_file.write_file(file, format_corrections(rows))
    else:
        file.unlink(missing_ok=True)
