"""The report of a run that answers with several labels or a number, as one HTML file that opens anywhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from numpy.typing import NDArray

from ..language import find_language, say, to_say
from ..metrics.label_report import LabelReport
from ..metrics.number_report import NumberReport, format_quantity
from ..metrics.numbers import format_number
from ..summaries.summary import Summary
from .album import PHOTO_SIDE, render_picture
from .charts import draw_meter, draw_scatter
from .markup import Markup, join_markup, keep_unbroken, tag
from .results import render_fact
from .run_page import render_network, render_page_head, render_recipe, render_section, render_skipped, render_versions

MEASURED_ON = {
    "test": to_say("Measured on {images:,} test pictures, which the head has not learnt from."),
    "valid": to_say("Measured on {images:,} validation pictures, which the head has not learnt from."),
}


class CaptionedPicture(NamedTuple):
    """A picture, uint8 H×W×C, what is said under it, in two parts, and its file."""

    image: NDArray
    said: str
    was: str
    file: str


@dataclass(frozen=True, kw_only=True)
class AnswerPage:
    """What such a report shows.

    split     what `report` was measured on, "test" or "valid"
    advice    what to do, what is worth most first
    doubtful  pictures whose label or number is likely wrong; doubts  how many such there are, of so many `judged`
    mistakes  pictures of the test, the most wrong first
    """

    run: str
    dataset: str
    summary: Summary
    report: LabelReport | NumberReport
    split: str
    advice: Sequence[str] = ()
    doubtful: Sequence[CaptionedPicture] = ()
    doubts: int = 0
    judged: int = 0
    mistakes: Sequence[CaptionedPicture] = ()
    recipe: Mapping[str, Any] = field(default_factory=dict)
    skipped: Sequence[tuple[str, str]] = ()
    notes: Sequence[str] = ()
    versions: Mapping[str, str] = field(default_factory=dict)


def render_answer_page(given: AnswerPage) -> str:
    """The HTML file, to be written as UTF-8."""
    report = given.report
    own = render_labels(report) if isinstance(report, LabelReport) else render_numbers(report)
    sections = [
        own,
        render_wall(say("The worst answers"), say("The most wrong first."), given.mistakes),
        render_doubtful(given),
        render_network(given.summary),
        render_recipe(given.recipe),
        render_skipped(given.skipped),
    ]
    body = join_markup(render_header(given), tag("main", *sections), render_versions(given.versions))
    title = say("{run}: {words}", run=given.run, words=report.tell()[0])
    page = tag("html", render_page_head(title), tag("body", body), lang=find_language())
    return join_markup(Markup("<!doctype html>\n"), page, Markup("\n")).encode("utf-8", "replace").decode("utf-8")


def render_header(given: AnswerPage) -> Markup:
    """The run, the verdict in words, what to do, and what it was measured on."""
    s, report = given.summary, given.report
    trained = say(
        "{net}, {params:,} parameters, trained on {data}", net=s.net.name, params=s.params, data=given.dataset
    )
    todo = [
        tag("h2", say("What to do, what is worth most first")),
        tag("ol", *(tag("li", keep_unbroken(line)) for line in given.advice)),
    ]
    told = tag("p", keep_unbroken(" ".join(report.tell())), class_="told")
    facts = list_label_facts(report) if isinstance(report, LabelReport) else list_number_facts(report)
    return tag(
        "header",
        tag("h1", given.run),
        tag("p", trained, ".", class_="quiet"),
        tag("div", told, *(todo if given.advice else []), class_="verdict"),
        tag("p", say(MEASURED_ON[given.split], images=report.images)),
        *(tag("p", note, class_="note") for note in given.notes),
        tag("dl", *(render_fact(*fact) for fact in facts), class_="facts"),
    )


def list_label_facts(report: LabelReport) -> list[tuple[str, ...]]:
    interval = report.map_interval
    ends = "" if interval is None else f" ({format_number(interval[0])}–{format_number(interval[1])})"
    return [
        (say("Mean average precision (95 %)"), format_number(report.mean_average_precision) + ends, "map"),
        (say("Macro F1"), format_number(report.macro_f1), "macro_f1"),
        (say("Labels"), f"{len(report.per_label):,}"),
    ]


def list_number_facts(report: NumberReport) -> list[tuple[str, ...]]:
    low, high = map(format_quantity, report.error_interval)
    return [
        (say("Mean absolute error (95 %)"), f"{format_quantity(report.error)} ({low}–{high})", "mae"),
        ("RMSE", format_quantity(report.rmse), "rmse"),
        ("R²", format_number(report.r2), "r2"),
        (say("Margin of nine in ten"), f"±{format_quantity(report.margin)}", "margin"),
        (say("Within it"), f"{report.within:,} / {report.images:,}"),
    ]


def render_labels(report: LabelReport) -> Markup:
    lead = say(
        "Average precision: how well the probabilities rank the pictures with the label before those without; its "
        "share of the pictures is chance. Precision, recall and F1 are at the label's threshold."
    )
    names = (say("pictures"), "AP", say("precision"), say("recall"), "F1", say("threshold"))
    heads = tag("tr", tag("th", say("label")), *(tag("th", name, class_="n") for name in names))
    rows = [
        tag("tr", tag("td", s.name), tag("td", f"{s.support:,}", class_="n"),
            *(tag("td", draw_meter(value), class_="n") for value in (s.average_precision, s.precision, s.recall, s.f1)),
            tag("td", format_number(s.threshold), class_="n"))
        for s in report.per_label
    ]  # fmt: skip
    table = tag("table", tag("thead", heads), tag("tbody", *rows))
    return render_section(say("Label by label"), lead, tag("div", table, class_="scroll"))


def render_numbers(report: NumberReport) -> Markup:
    lead = say(
        "A point a picture: the truth to the right, the answer upwards. On the dashed line both are the same; "
        "between the paler ones the error is within the margin."
    )
    return render_section(say("Answer against truth"), lead, draw_scatter(report.points, report.name, report.margin))


def render_wall(title: str, lead: str, pictures: Sequence[CaptionedPicture]) -> Markup | None:
    if not pictures:
        return None
    figures = [
        tag("figure", render_picture(item.image, PHOTO_SIDE, item.file),
            tag("figcaption", tag("span", item.said, class_="said"), tag("br"), tag("span", item.was, class_="was"),
                tag("span", item.file, class_="file")))
        for item in pictures
    ]  # fmt: skip
    return render_section(title, lead, tag("div", *figures, class_="wall"))


def render_doubtful(given: AnswerPage) -> Markup | None:
    """What is likely wrong in the table, as pictures."""
    labels = isinstance(given.report, LabelReport)
    title = say("Likely label errors") if labels else say("Numbers that are likely wrong")
    judged = say("{judged:,} images to train and to validate on", judged=given.judged)
    if not given.doubts:
        return render_section(title, say("None among the {judged}.", judged=judged))
    lead = (
        say(
            "{found:,} in the {judged}, label by label: heads that were not trained on a picture are confident of the "
            "opposite (confident learning, Northcutt et al. 2021). Some are just hard examples.",
            found=given.doubts, judged=judged,
        )
        if labels
        else say(
            "{found:,} in the {judged}: what heads that were not trained on a picture answer is more than three "
            "margins from its number. Some are just hard examples.",
            found=given.doubts, judged=judged,
        )
    )  # fmt: skip
    if len(given.doubtful) < given.doubts:
        lead = say("{lead} The first {shown}; report.json names all.", lead=lead, shown=len(given.doubtful))
    return render_wall(title, lead, given.doubtful)
