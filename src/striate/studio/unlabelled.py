"""Unlabelled pictures in the studio's view Fix labels: those first that teach most, and what a person says of them."""

from __future__ import annotations

import os
from pathlib import Path
from shlex import quote
from typing import Any

from ..data.corrections import NO_CLASS
from ..data.listing import order_classes
from ..data.sources.finding import FoundImage, find_images
from ..errors import DataError
from ..language import render_text, say
from ..metrics.numbers import format_percent
from ..runs.labelling import label_pictures, list_labelled, list_run_data, undo_picture
from ..runs.suggesting import Suggestion, suggest_pictures
from .answers import Studio

# Pictures that are suggested at once.
SUGGESTED = 200
KIND = "unlabelled"


def find_known(studio: Studio, run: str) -> dict[str, FoundImage]:
    """Every image of the run's data by its name, with its own label."""
    data, reading = studio.source(run), studio.reading(run)
    return studio.once(("found", data, reading), lambda: find_images(data, reading))


def list_unlabelled(studio: Studio, run: str, folder: str) -> dict[str, Any]:
    """The unlabelled pictures in a folder, as items for the page; from now on it may ask for them.

    Raises DataError for no folder, RunError for a run whose data are no files.
    """
    path = Path(os.path.expanduser(folder.strip())).absolute()
    if not folder.strip() or not path.is_dir():
        raise DataError(folder, say("there is no such folder"), hint=say("a folder with pictures, on this machine"))
    place = studio.folder(run).path
    list_run_data(place)  # can they stand beside its pictures?
    found = suggest_pictures(path, place, SUGGESTED)
    studio.unlabelled.setdefault(run, set()).update(row.file for row in found.rows)
    return {
        "items": [describe_suggestion(row, path) for row in found.rows],
        "pictures": found.pictures,
        "skipped": len(found.skipped),
    }


def describe_suggestion(row: Suggestion, folder: Path) -> dict[str, Any]:
    """An item for the page; its name is its path below the folder."""
    text = say(
        "the model says {suggested} ({share}), and {other} ({other_share})",
        suggested=row.suggested, share=format_percent(row.probability),
        other=row.other, other_share=format_percent(row.other_probability),
    )  # fmt: skip
    return {
        "file": row.file,
        "name": os.path.relpath(row.file, folder),
        "label": "",
        "split": None,
        "corrected": None,
        "kind": KIND,
        "texts": [render_text(text)],
        "suggested": row.suggested,
        "likely": [name for name in (row.suggested, row.other) if name],
        "others": [],
    }


def say_unlabelled(studio: Studio, run: str, file: str, label: str) -> dict[str, Any]:
    """Write what a person says of a picture that was suggested. Raises DataError."""
    if file not in studio.unlabelled.get(run, ()):
        raise DataError(file, say("this picture was not suggested"))
    classes = order_classes({image.label for image in find_known(studio, run).values()})
    [made] = label_pictures(studio.folder(run).path, [(file, label)], classes)
    return {"file": made.file, "corrected": made.label}


def take_back_unlabelled(studio: Studio, run: str) -> dict[str, Any]:
    return {"file": undo_picture(studio.folder(run).path).file, "corrected": None}


def count_labelled(studio: Studio, run: str) -> int:
    """How many pictures the next training has more."""
    return sum(row.label != NO_CLASS for row in list_labelled(studio.folder(run).path))


def suggest_command(studio: Studio, run: str) -> str:
    folder = studio.folder(run)
    return f"striate label {quote(str(folder.path))} && striate train {quote(str(folder.files.grown))}"
