"""What the report page of a run of several labels or of a number shows, gathered from the run and its data."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..data.label_sets import make_targets
from ..language import say
from ..metrics.label_report import LabelReport
from ..metrics.number_report import NumberReport, format_quantity
from ..model.label_model import LabelModel
from ..report.answer_page import AnswerPage, CaptionedPicture
from ..summaries.summary import summarise_net

if TYPE_CHECKING:
    from ..data.images import Images
    from .head_training import HeadData, HeadRun, TableDoubt

SHOWN_DOUBTS, SHOWN_MISTAKES = 48, 24
# A label has few pictures with less than these, and is worth more.
FEW_PICTURES = 50


def gather_answer_page(run: HeadRun, given: HeadData) -> AnswerPage:
    from .. import __version__

    whole, header = given.whole, run.model.about.source
    return AnswerPage(
        run=run.folder.name,
        dataset=whole.name,
        summary=summarise_net(header.net),
        report=run.report,
        split=run.split,
        advice=give_advice(run),
        doubtful=[caption_doubt(run, given, doubt) for doubt in run.doubts[:SHOWN_DOUBTS]],
        doubts=len(run.doubts),
        judged=run.judged,
        mistakes=show_mistakes(run, whole.measured),
        recipe={"preset": "transfer", "backbone": given.backbone},
        skipped=[(item.file, item.why) for item in whole.skipped],
        notes=whole.notes,
        versions={"striate": __version__, "Python": platform.python_version()},
    )


def give_advice(run: HeadRun) -> list[str]:
    """What to do, a sentence each."""
    told = []
    if run.doubts:
        told.append(say("Look at {count:,} places of the table that are likely wrong: they are below.",
                        count=len(run.doubts)))  # fmt: skip
    if isinstance(run.report, LabelReport) and (weak := run.report.weakest) is not None:
        few = weak.support < FEW_PICTURES
        told.append(say("Add pictures with {label}: it is the weakest.", label=weak.name))
        if few:
            told.append(say("Its figures rest on {count:,} pictures: test more of them.", count=weak.support))
    if isinstance(run.report, NumberReport) and run.report.within < 0.8 * run.report.images:
        told.append(say("The margin does not hold here: these pictures are others than those learnt from. Add such."))
    return told


def caption_doubt(run: HeadRun, given: HeadData, doubt: TableDoubt) -> CaptionedPicture:
    if isinstance(run.report, LabelReport):
        said = say("{label} {p:.0%}", label=doubt.label, p=doubt.unseen)
        was = say("labelled with it") if doubt.given else say("labelled without it")
    else:
        said, was = format_quantity(doubt.unseen), say("the table says {number}", number=format_quantity(doubt.given))
    return CaptionedPicture(given.take_picture(doubt.row), said, was, doubt.file)


def show_mistakes(run: HeadRun, images: Images) -> list[CaptionedPicture]:
    """Pictures of those measured on, the most wrong first."""
    if isinstance(run.report, NumberReport):
        return show_far_numbers(run.report.worst, images)
    assert isinstance(run.model, LabelModel)
    return show_wrong_labels(run.model, images)


def show_far_numbers(worst: Sequence[tuple[str, float, float]], images: Images) -> list[CaptionedPicture]:
    place = {file: k for k, file in enumerate(images.files)}
    return [
        CaptionedPicture(
            images.x[place[file]], format_quantity(answer), say("is {number}", number=format_quantity(truth)), file
        )
        for file, truth, answer in worst[:SHOWN_MISTAKES]
    ]


def show_wrong_labels(model: LabelModel, images: Images) -> list[CaptionedPicture]:
    """Those with a label too many or too few, the one whose probability is furthest from the truth first."""
    truth, p = make_targets(images, model.labels), model.probabilities(images.x)
    given = p >= np.asarray(model.thresholds)
    far = np.abs(p - truth).max(1)
    wrong = np.flatnonzero((given != truth).any(1))
    rows = wrong[np.argsort(-far[wrong], kind="stable")][:SHOWN_MISTAKES]
    return [
        CaptionedPicture(
            images.x[k],
            name_marks(model.labels, given[k]),
            say("is {number}", number=name_marks(model.labels, truth[k])),
            images.files[k],
        )
        for k in rows
    ]


def name_marks(labels: Sequence[str], marks: np.ndarray) -> str:
    return ", ".join(label for label, mark in zip(labels, marks, strict=True) if mark) or "–"
