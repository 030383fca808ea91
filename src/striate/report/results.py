"""The parts of the report page that render a Report: headline, confusion matrix, classes, calibration."""

from __future__ import annotations

from collections.abc import Sequence

from ..language import say, to_say
from ..metrics.classification import Report
from ..metrics.meanings import MEANINGS
from ..metrics.numbers import format_percent
from ..metrics.verdict import Verdict
from ..summaries.summary import Summary
from .charts import draw_meter, draw_reliability
from .confusion import draw_confusion
from .markup import Markup, join_markup, keep_unbroken, tag

# With more classes than this their table scrolls.
MANY_CLASSES = 20

# A split as it is called in a sentence.
CORRECT = {
    "test": to_say("of {images:,} test images correct; 95 % interval {low} to {high}."),
    "valid": to_say("of {images:,} validation images correct; 95 % interval {low} to {high}."),
    "cross-validation": to_say("of {images:,} cross-validated images correct; 95 % interval {low} to {high}."),
}

# Up to this many classes the list of confusions stands beside the matrix, else under it.
MOST_BESIDE = 12

# So many of the most frequent confusions are listed.
MOST_FREQUENT = 8


def render_headline(report: Report, split: str, summary: Summary, notes: Sequence[str]) -> Markup:
    """The accuracy, its interval, what is to be known about it, and the numbers beside it with what they are."""
    low, high = report.accuracy_interval
    value = format_percent(report.accuracy).removesuffix(" %")
    ends = {"low": format_percent(low), "high": format_percent(high)}
    lead = say(CORRECT[split], images=report.images, **ends)
    facts = [
        (say("Top-5 accuracy"), format_percent(report.top5), "top5") if len(report.classes) > 5 else None,
        (say("Macro F1"), f"{report.macro_f1:.4f}", "macro_f1"),
        (say("Balanced accuracy"), format_percent(report.balanced_accuracy), "balanced_accuracy"),
        (say("Cross-entropy (nats per image)"), f"{report.loss:.4f}", "loss"),
        (say("Calibration error"), format_percent(report.ece), "ece"),
        *((name, "–" if value is None else f"{value:.4f}") for name, value in report.metrics.items()),
        (say("Classes"), f"{len(report.classes):,}"),
        (say("Parameters"), f"{summary.params:,}"),
        (say("MACs per image"), f"{summary.macs:,}"),
    ]
    flatters = say(
        "There is no test split. These images also chose the epoch that was kept, so the numbers are optimistic: "
        "set some images aside as a test split to know how good the model is."
    )
    crossed = say(
        "There is no test split: the model has learnt from all images. Each was classified by a model that had not "
        "seen it, fitted to the others in the same way."
    )
    remark = {"valid": [flatters], "cross-validation": [crossed]}.get(split, [])
    return join_markup(
        tag("p", value, tag("small", "%"), class_="result", title=format_percent(report.accuracy)),
        tag("p", keep_unbroken(lead)),
        render_interval(report),
        *(tag("p", note, class_="note") for note in [*remark, *notes]),
        tag("dl", *(render_fact(*fact) for fact in facts if fact), class_="facts"),
    )


def render_fact(name: str, value: str, kind: str = "") -> Markup:
    """A number under its name, and where it has one a line on what it is."""
    meaning = tag("dd", say(MEANINGS[kind]), class_="meaning") if kind else None
    return tag("div", tag("dt", name), tag("dd", value), meaning)


def render_verdict(verdict: Verdict) -> Markup:
    """What it comes to in a few sentences, and what to do about it."""
    advice = verdict.tell_advice()
    todo = [
        tag("h2", say("What to do, what is worth most first")),
        tag("ol", *(tag("li", keep_unbroken(line)) for line in advice)),
    ]
    told = tag("p", keep_unbroken(" ".join(verdict.tell())), class_="told")
    return tag("div", told, *(todo if advice else []), class_="verdict")


def render_interval(report: Report) -> Markup:
    """0 to 100 % as a line, with the interval and the accuracy on it."""
    low, high = (round(400 * end, 1) for end in report.accuracy_interval)
    at = round(400 * report.accuracy, 1)
    return tag(
        "svg",
        tag("line", x1=0, x2=400, y1=6, y2=6, class_="all"),
        tag("line", x1=low, x2=high, y1=6, y2=6, class_="range"),
        tag("circle", cx=at, cy=6, r=4.5, class_="at"),
        tag("text", "0", x=0, y=24),
        tag("text", "100 %", x=400, y=24, text_anchor="end"),
        viewBox="0 0 400 26", role="img", aria_label=say("accuracy and its interval"),
        preserveAspectRatio="xMinYMid", class_="interval",
    )  # fmt: skip


def render_confusion(report: Report) -> Markup:
    """The matrix beside the most frequent confusions."""
    chart = tag("figure", tag("div", draw_confusion(report.confusion, report.classes), class_="scroll"), render_key())
    worst = report.confusions(MOST_FREQUENT)
    rows = [
        tag("tr", tag("td", report.classes[t]), tag("td", report.classes[p]), tag("td", f"{n:,}", class_="n"),
            tag("td", format_percent(n / report.per_class[t].support), class_="n"))
        for t, p, n in worst
    ]  # fmt: skip
    names = ((say("truth"), None), (say("predicted"), None), (say("images"), "n"), (say("of its class"), "n"))
    heads = tag("tr", *(tag("th", name, class_=style) for name, style in names))
    listed = tag("table", heads, *rows) if rows else tag("p", say("None: no image was misclassified."), class_="quiet")
    side = tag("div", tag("h3", say("Most frequent confusions")), listed)
    parts = tag("div", chart, side, class_="pair" if len(report.classes) <= MOST_BESIDE else "stack")
    lead = say("Rows are the true class, columns the prediction; the diagonal is what was correct.")
    return tag("section", tag("h2", say("Confusion")), tag("p", lead, class_="lead"), parts)


def render_key() -> Markup:
    items = ((say("correct"), "valid"), (say("confused"), "train"))
    squares = [tag("li", tag("i", class_="square"), text, class_=style) for text, style in items]
    return tag("ul", *squares, tag("li", say("Stronger: a larger share of the row.")), class_="keys")


def render_class_table(report: Report) -> Markup:
    heads = [tag("th", name, class_="n") for name in (say("images"), say("precision"), say("recall"), "F1")]
    rows = [
        tag("tr", tag("td", item.name), tag("td", f"{item.support:,}", class_="n"),
            *(tag("td", draw_meter(value), class_="n") for value in (item.precision, item.recall, item.f1)))
        for item in report.per_class
    ]  # fmt: skip
    return tag("table", tag("thead", tag("tr", tag("th", say("class")), *heads)), tag("tbody", *rows))


def render_calibration(report: Report) -> Markup:
    lead = say(
        "When the net says 90 %, is it right nine times in ten? Expected calibration error {error}: the mean distance "
        "of confidence and accuracy over {bins} bins.",
        error=format_percent(report.ece), bins=len(report.bins),
    )  # fmt: skip
    sure = [item for item in report.bins if item.images]
    heads = [tag("th", name, class_="n") for name in (say("images"), say("mean confidence"), say("accuracy"))]
    rows = [
        tag(
            "tr",
            tag("td", say("{low:.0f} to {high:.0f} %", low=100 * item.low, high=100 * item.high)),
            *(
                tag("td", value, class_="n")
                for value in (
                    f"{item.images:,}",
                    format_percent(item.confidence or 0),
                    format_percent(item.accuracy or 0),
                )
            ),
        )
        for item in sure
    ]
    table = tag("table", tag("tr", tag("th", say("confidence")), *heads), *rows)
    keys = tag(
        "ul",
        tag("li", tag("i", class_="square"), say("accuracy in the bin; paler: fewer images"), class_="valid"),
        tag("li", tag("i"), say("mean confidence"), class_="train"),
        class_="keys",
    )
    chart = tag("figure", draw_reliability(report.bins), keys)
    parts = tag("div", chart, table, class_="pair")
    return tag("section", tag("h2", say("Calibration")), tag("p", keep_unbroken(lead), class_="lead"), parts)
