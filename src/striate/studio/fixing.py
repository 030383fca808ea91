"""The studio's view Fix: the images of a run's data whose labels are worth a look, and what a person says of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from io import BytesIO
from shlex import quote
from typing import Any

import numpy as np

from ..data.check.audit import Audit
from ..data.corrections import NO_CLASS, Correction
from ..data.listing import order_classes
from ..data.read.bands import show_bands
from ..data.read.decode import decode_to_show
from ..data.read.resize import place_image
from ..data.sources.finding import FoundImage, find_images
from ..errors import DataError, StriateError
from ..language import render_text, say
from ..metrics.classification import find_mistakes
from ..metrics.numbers import format_percent
from ..report import pictures
from ..runs.correcting import add_correction, list_corrections, undo_correction
from .answers import Studio
from .jobs import list_again
from .runs import read_json_file

# Pixels of the longer side of a large picture, so many mistakes and images of groups that look the same.
PICTURE_PIXELS, MOST_MISTAKES, MOST_SAME = 1000, 500, 500
# Up to so many pixels a picture is shown pixel by pixel.
EXACT_PIXELS = 256
# A digit for each of so many classes.
LIKELY = 9


@dataclass
class Doubtful:
    """An image to look at: why (a kind, sentences), what it is taken for, others that look the same."""

    kind: str
    texts: list[str] = field(default_factory=list)
    suggested: str | None = None
    likely: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)


def list_doubtful(studio: Studio, run: str) -> dict[str, Any]:
    """The doubtful labels of a run's report and its mistakes, the likeliest errors first, and what was said so far."""
    found: dict[str, Doubtful] = {}
    add_doubts(found, studio, run)
    add_mistakes(found, studio, run)
    return describe_items(studio, run, found)


def list_same(studio: Studio, run: str) -> dict[str, Any]:
    """The images that look the same as another, of other labels first, and blank ones, by the audit of the data."""
    found: dict[str, Doubtful] = {}
    add_audited(found, studio.audited(run))
    return describe_items(studio, run, found)


def add_doubts(found: dict[str, Doubtful], studio: Studio, run: str) -> None:
    """Those that were looked for since, or else those of the run's report."""
    folder = studio.folder(run)
    kept = read_json_file(folder.files.label_errors) or folder.report or {}
    classes = kept.get("classes") or studio.model(run).classes
    for error in kept.get("label_errors") or []:
        given, suggested = classes[error["given"]], classes[error["suggested"]]
        text = say(
            "networks that had not seen it say {suggested} ({other}), and {given} by {confidence}",
            given=given, confidence=format_percent(error["confidence"]),
            suggested=suggested, other=format_percent(error["other"]),
        )  # fmt: skip
        found[error["file"]] = Doubtful("label", [text], suggested, [suggested, given])


def add_mistakes(found: dict[str, Doubtful], studio: Studio, run: str) -> None:
    images, p, classes = studio.images(run), studio.answers(run), studio.model(run).classes
    for mistake in find_mistakes(p, images.y, MOST_MISTAKES):
        suggested = classes[mistake.predicted]
        text = say(
            "the model says {suggested} ({share})", suggested=suggested, share=format_percent(mistake.probability)
        )
        item = found.setdefault(images.files[mistake.index], Doubtful("mistake", suggested=suggested))
        item.texts.append(text)
        item.likely = list(dict.fromkeys([*item.likely, *(classes[k] for k in np.argsort(-p[mistake.index]))]))[:LIKELY]


def add_audited(found: dict[str, Doubtful], audit: Audit) -> None:
    groups = sorted(audit.same, key=lambda group: len(set(group.labels)) == 1)[:MOST_SAME]
    for group in groups:
        kind = "conflict" if len(set(group.labels)) > 1 else "leak" if len(set(group.splits)) > 1 else "duplicate"
        for file in group.files:
            others = [other for other in group.files if other != file]
            item = found.setdefault(file, Doubtful(kind))
            told = [
                f"{other} ({label})" for other, label in zip(group.files, group.labels, strict=True) if other != file
            ]
            item.texts.append(say("looks the same as {others}", others=", ".join(told[:3])))
            item.others += others[:LIKELY]
    for file in audit.blank:
        found.setdefault(file, Doubtful("blank")).texts.append(say("shows almost nothing"))


def describe_items(studio: Studio, run: str, found: dict[str, Doubtful]) -> dict[str, Any]:
    """The images for the page, with what has been said of each; those that the data set no longer has are left out."""
    images, said = (
        find_known(studio, run),
        {row.file: row.corrected for row in list_corrections(studio.folder(run).path)},
    )
    items = [
        {
            "file": file,
            "label": images[file].label,
            "split": images[file].split,
            "corrected": said.get(file),
            "kind": item.kind,
            "texts": [render_text(text) for text in item.texts],
            "suggested": item.suggested,
            "likely": item.likely,
            "others": [other for other in item.others if other in images],
        }
        for file, item in found.items()
        if file in images
    ]
    return {"items": items} | describe_said(studio, run)


def describe_said(studio: Studio, run: str) -> dict[str, Any]:
    """The classes, how many corrections there are, the command that takes them, and why the page cannot begin it."""
    folder, images = studio.folder(run), find_known(studio, run)
    rows, table = list_corrections(folder.path), str(folder.files.corrections)
    try:
        list_again(folder)
        refused = None
    except StriateError as e:
        refused = str(e)
    return {
        "classes": list(order_classes({image.label for image in images.values()})),
        "changed": sum(row.corrected not in (NO_CLASS, row.label) for row in rows),
        "left_out": sum(row.corrected == NO_CLASS for row in rows),
        "confirmed": sum(row.corrected == row.label for row in rows),
        "command": f"striate train {quote(str(studio.source(run)))} --corrections {quote(table)}",
        "refused": refused,
    }


def find_known(studio: Studio, run: str) -> dict[str, FoundImage]:
    """Every image of the run's data by its name, with its own label."""
    data, reading = studio.source(run), studio.reading(run)
    return studio.once(("found", data, reading), lambda: find_images(data, reading))


def say_label(studio: Studio, run: str, file: str, label: str, reason: str) -> dict[str, Any]:
    """Write what a person says of an image into the run's table. Raises DataError."""
    with studio.lock:
        made = add_correction(studio.folder(run).path, find_known(studio, run), file, label, reason)
    return describe_row(made) | describe_said(studio, run)


def take_back(studio: Studio, run: str) -> dict[str, Any]:
    """Take the last one back. Raises RunError where there is none."""
    with studio.lock:
        gone = undo_correction(studio.folder(run).path)
    kept = {row.file: row.corrected for row in list_corrections(studio.folder(run).path)}
    return {"file": gone.file, "corrected": kept.get(gone.file)} | describe_said(studio, run)


def describe_row(row: Correction) -> dict[str, Any]:
    return {"file": row.file, "corrected": row.corrected}


def show_picture(studio: Studio, run: str, file: str) -> tuple[bytes, str]:
    """An image of the data set, whole and large, and its content type. Raises DataError."""
    found = find_known(studio, run).get(file)
    if found is None:
        raise DataError(file, say("the data set has no such image"))
    if isinstance(found.picture, tuple):
        x, row = studio.pictures(run)[file][1]
        return pictures.encode_png(pictures.reduce_picture(show_bands(x[row]), PICTURE_PIXELS)), "image/png"
    side = (PICTURE_PIXELS, PICTURE_PIXELS)
    shown = decode_to_show(found.picture, side)
    if max(shown.size) > PICTURE_PIXELS:
        place = place_image((shown.height, shown.width), side, "pad")
        shown = shown.resize((place.width, place.height))
    if max(shown.size) <= EXACT_PIXELS:
        return pictures.encode_png(np.asarray(shown)), "image/png"
    packed = BytesIO()
    shown.convert("RGB").save(packed, "JPEG", quality=90)
    return packed.getvalue(), "image/jpeg"
