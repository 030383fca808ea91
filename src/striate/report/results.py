"""The parts of the report page that render a Report: headline, confusion matrix, classes, calibration."""

from __future__ import annotations

from collections.abc import Sequence

from ..metrics.classification import Report
from ..metrics.numbers import format_percent
from ..summaries.summary import Summary
from .charts import draw_meter, draw_reliability
from .confusion import draw_confusion
from .markup import Markup, join_markup, keep_unbroken, tag

# With more classes than this their table scrolls.
MANY_CLASSES = 20

# A split as it is called in a sentence.
SPLIT_TITLES = {"test": "test", "valid": "validation"}

# Up to this many classes the list of confusions stands beside the matrix, else under it.
MOST_BESIDE = 12

# So many of the most frequent confusions are listed.
MOST_FREQUENT = 8


def render_headline(report: Report, split: str, summary: Summary, notes: Sequence[str]) -> Markup:
    """The accuracy, its interval, what is to be known about it, and the numbers beside it."""
    low, high = report.accuracy_interval
    value = format_percent(report.accuracy).removesuffix(" %")
    of = f"of {report.images:,} {SPLIT_TITLES[split]} images correct"
    facts = [
        ("Top-5 accuracy", format_percent(report.top5)) if len(report.classes) > 5 else None,
        ("Macro F1", f"{report.macro_f1:.4f}"),
        ("Balanced accuracy", format_percent(report.balanced_accuracy)),
        ("Cross-entropy (nats per image)", f"{report.loss:.4f}"),
        ("Calibration error", format_percent(report.ece)),
        *((name, "–" if value is None else f"{value:.4f}") for name, value in report.metrics.items()),
        ("Classes", f"{len(report.classes):,}"),
        ("Parameters", f"{summary.params:,}"),
        ("MACs per image", f"{summary.macs:,}"),
    ]
    flatters = (
        "There is no test split. These images also chose the epoch that was kept, so the numbers are optimistic: "
        "set some images aside as a test split to know how good the model is."
    )
    return join_markup(
        tag("p", value, tag("small", "%"), class_="result", title=format_percent(report.accuracy)),
        tag("p", keep_unbroken(f"{of}; 95 % interval {format_percent(low)} to {format_percent(high)}.")),
        render_interval(report),
        *(tag("p", note, class_="note") for note in ([flatters] if split == "valid" else []) + list(notes)),
        tag("dl", *(tag("div", tag("dt", f[0]), tag("dd", f[1])) for f in facts if f), class_="facts"),
    )


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
        viewBox="0 0 400 26", role="img", aria_label="accuracy and its interval",
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
    names = (("truth", None), ("predicted", None), ("images", "n"), ("of its class", "n"))
    heads = tag("tr", *(tag("th", name, class_=style) for name, style in names))
    listed = tag("table", heads, *rows) if rows else tag("p", "None: no image was misclassified.", class_="quiet")
    side = tag("div", tag("h3", "Most frequent confusions"), listed)
    parts = tag("div", chart, side, class_="pair" if len(report.classes) <= MOST_BESIDE else "stack")
    lead = "Rows are the true class, columns the prediction; the diagonal is what was correct."
    return tag("section", tag("h2", "Confusion"), tag("p", lead, class_="lead"), parts)


def render_key() -> Markup:
    items = (("correct", "valid"), ("confused", "train"))
    squares = [tag("li", tag("i", class_="square"), text, class_=style) for text, style in items]
    return tag("ul", *squares, tag("li", "Stronger: a larger share of the row."), class_="keys")


def render_class_table(report: Report) -> Markup:
    heads = [tag("th", name, class_="n") for name in ("images", "precision", "recall", "F1")]
    rows = [
        tag("tr", tag("td", item.name), tag("td", f"{item.support:,}", class_="n"),
            *(tag("td", draw_meter(value), class_="n") for value in (item.precision, item.recall, item.f1)))
        for item in report.per_class
    ]  # fmt: skip
    return tag("table", tag("thead", tag("tr", tag("th", "class"), *heads)), tag("tbody", *rows))


def render_calibration(report: Report) -> Markup:
    lead = (
        "When the net says 90 %, is it right nine times in ten? Expected calibration error "
        f"{format_percent(report.ece)}: "
        f"the mean distance of confidence and accuracy over {len(report.bins)} bins."
    )
    sure = [item for item in report.bins if item.images]
    heads = [tag("th", name, class_="n") for name in ("images", "mean confidence", "accuracy")]
    rows = [
        tag(
            "tr",
            tag("td", f"{100 * item.low:.0f} to {100 * item.high:.0f} %"),
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
    table = tag("table", tag("tr", tag("th", "confidence"), *heads), *rows)
    keys = tag(
        "ul",
        tag("li", tag("i", class_="square"), "accuracy in the bin; paler: fewer images", class_="valid"),
        tag("li", tag("i"), "mean confidence", class_="train"),
        class_="keys",
    )
    chart = tag("figure", draw_reliability(report.bins), keys)
    parts = tag("div", chart, table, class_="pair")
    return tag("section", tag("h2", "Calibration"), tag("p", keep_unbroken(lead), class_="lead"), parts)
