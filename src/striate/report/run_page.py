"""The report of a run as one HTML file that opens anywhere: no script, no second file, no request."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any, Literal, NamedTuple

from numpy.typing import NDArray

from ..data.check.label_errors import Doubts
from ..language import find_language, say, to_say
from ..metrics.classification import Report
from ..metrics.numbers import format_percent
from ..metrics.verdict import Verdict, judge_report
from ..summaries.summary import Summary
from ..summaries.table_pages import render_table_html
from ..terminal import format_count
from .album import render_doubts, render_filters, render_journey, render_mistakes
from .markup import Markup, join_markup, tag
from .pictures import encode_data_uri
from .results import (
    MANY_CLASSES,
    render_calibration,
    render_class_table,
    render_confusion,
    render_headline,
    render_verdict,
)
from .training import describe_training, render_training

# So many skipped files are listed; their number is always whole.
SHOWN_SKIPPED = 200

FLAWLESS = {
    "test": to_say("None: every test image was classified correctly."),
    "valid": to_say("None: every validation image was classified correctly."),
    "cross-validation": to_say("None: every image was classified correctly by a model that had not seen it."),
}
WRONG = {
    "test": to_say("Wrong predictions on test images, most confident first."),
    "valid": to_say("Wrong predictions on validation images, most confident first."),
    "cross-validation": to_say("Wrong predictions of models that had not seen the image, most confident first."),
}


Split = Literal["test", "valid", "cross-validation"]


class MistakePicture(NamedTuple):
    """A wrong answer as a picture: `image` uint8 H×W×C, `truth` and `predicted` as indices into the classes."""

    image: NDArray
    truth: int
    predicted: int
    probability: float
    file: str = ""


class Journey(NamedTuple):
    """One image's way through the net: the picture, uint8 H×W×C, and each layer's output, float C×H×W or C."""

    image: NDArray
    layers: Sequence[tuple[str, NDArray]]
    caption: str = ""


@dataclass(frozen=True, kw_only=True)
class ReportPage:
    """What a report shows. Everything but the names, the summary and the Report may be empty.

    epochs        a mapping each with epoch, loss, acc, seconds, and valid_loss, valid_acc where there are valid images;
                  losses in nats per image, accuracies and probabilities 0 to 1
    report_split  what `report` was measured on; "valid" is said to flatter, as it also chose the epoch;
                  "cross-validation" is all images, each by a model that had not seen it
    filters       the first convolution's weights, F×C×h×w
    strengths     of a transfer, a mapping each strength of its head that was cross-validated: strength, accuracy, loss
    verdict       what the report comes to; None: what it says by itself
    doubts        what is said of the labels; None: nothing
    doubtful      the pictures of its first errors, uint8 H×W×C
    by_hand       a picture of one filter chosen by hand on one image, uint8 H×W×3
    skipped       (file, why) for each file that could not be used
    versions      program -> version
    """

    run: str
    dataset: str
    summary: Summary
    report: Report
    report_split: Split
    recipe: Mapping[str, Any] = field(default_factory=dict)
    epochs: Sequence[Mapping[str, Any]] = ()
    strengths: Sequence[Mapping[str, float]] = ()
    verdict: Verdict | None = None
    mistakes: Sequence[MistakePicture] = ()
    doubts: Doubts | None = None
    doubtful: Sequence[NDArray] = ()
    filters: NDArray | None = None
    by_hand: NDArray | None = None
    maps: Sequence[Journey] = ()
    skipped: Sequence[tuple[str, str]] = ()
    notes: Sequence[str] = ()
    versions: Mapping[str, str] = field(default_factory=dict)


def render_report(given: ReportPage) -> str:
    """The HTML file of a run's report, to be written as UTF-8."""
    sections = [
        render_training(given.epochs, given.recipe, given.strengths),
        render_confusion(given.report),
        render_classes(given.report),
        render_calibration(given.report),
        render_mistake_section(given),
        render_doubt_section(given),
        render_filter_section(given.filters),
        render_hand_filter(given.by_hand),
        render_maps(given.maps),
        render_network(given.summary),
        render_recipe(given.recipe),
        render_skipped(given.skipped),
    ]
    body = join_markup(render_report_header(given), tag("main", *sections), render_versions(given.versions))
    title = say(
        "{run}: {accuracy} on {data}",
        run=given.run, accuracy=format_percent(given.report.accuracy), data=given.dataset,
    )  # fmt: skip
    html = join_markup(
        Markup("<!doctype html>\n"),
        tag("html", render_page_head(title), tag("body", body), lang=find_language()),
        Markup("\n"),
    )
    return html.encode("utf-8", "replace").decode("utf-8")


def render_page_head(title: str) -> Markup:
    # The policy makes "no request" a rule that the browser holds, whatever a name in the data set contains.
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    style = Markup(files(__package__).joinpath("page.css").read_text(encoding="utf-8"))
    return tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("link", rel="icon", href="data:,"),
        tag("title", title),
        tag("style", style),
    )


def render_report_header(given: ReportPage) -> Markup:
    s = given.summary
    trained = say(
        "{net}, {params:,} parameters, trained on {data}", net=s.net.name, params=s.params, data=given.dataset
    )
    for words in describe_training(given.epochs):
        trained = say("{trained}, {words}", trained=trained, words=words)
    return tag(
        "header",
        tag("h1", given.run),
        tag("p", trained, ".", class_="quiet"),
        render_verdict(given.verdict or judge_report(given.report, given.report_split)),
        render_headline(given.report, given.report_split, s, given.notes),
    )


def render_classes(report: Report) -> Markup:
    return render_section(
        say("Class by class"),
        say(
            "Precision: of the images predicted as this class, the share that belong to it. Recall: of its images, the "
            "share found. F1 is their harmonic mean."
        ),
        tag(
            "div", render_class_table(report), class_="scroll long" if len(report.classes) > MANY_CLASSES else "scroll"
        ),
    )


def render_mistake_section(given: ReportPage) -> Markup | None:
    if not given.mistakes:
        if given.report.accuracy == 1:
            return render_section(say("Mistakes"), say(FLAWLESS[given.report_split]))
        return None
    lead = say(WRONG[given.report_split])
    return render_section(say("Most confident mistakes"), lead, render_mistakes(given.mistakes, given.report.classes))


def render_doubt_section(given: ReportPage) -> Markup | None:
    """The likely label errors as pictures; nothing where no label was judged."""
    if given.doubts is None:
        return None
    title = say("Likely label errors")
    judged = say("{judged:,} images to train and to validate on", judged=given.doubts.judged)
    if given.doubts.chance:
        lead = say("Not known: on the {judged}, cross-validation does no better than chance.", judged=judged)
        return render_section(title, lead)
    if not given.doubts.errors:
        return render_section(title, say("None among the {judged}.", judged=judged))
    found, shown = len(given.doubts.errors), len(given.doubtful)
    lead = say(
        "{found:,} of the {judged}, by cross-validation: heads that were not trained on an image are more confident "
        "in another class; the least probable label first (confident learning, Northcutt et al. 2021). Some are just "
        "hard examples.",
        found=found, judged=judged,
    )  # fmt: skip
    if shown < found:
        lead = say("{lead} The first {shown}; report.json names all.", lead=lead, shown=shown)
    return render_section(title, lead, render_doubts(given.doubts, given.doubtful))


def render_filter_section(weights: NDArray | None) -> Markup | None:
    if weights is None or not len(weights):
        return None
    count, channels, height, width = weights.shape
    lead = say(
        "{filters} of {size} over {channels}, {colours}. Each is scaled to its own largest weight.",
        filters=format_count(count, "filter"), size=f"{height}×{width}", channels=format_count(channels, "channel"),
        colours=say("in colour: grey is 0") if channels == 3 else say("blue is negative, grey 0, orange positive"),
    )  # fmt: skip
    return render_section(say("First-layer filters"), lead, render_filters(weights))


def render_hand_filter(picture: NDArray | None) -> Markup | None:
    if picture is None:
        return None
    lead = say(
        "Before anything is learned: one known filter convolved with an image, and the feature map that it gives."
    )
    name = say("image, kernel and feature map")
    return render_section(
        say("A filter by hand"), lead, tag("img", src=encode_data_uri(picture), alt=name, title=name, class_="by-hand")
    )


def render_maps(journeys: Sequence[Journey]) -> Markup | None:
    if not journeys:
        return None
    lead = say(
        "The strongest channels of each layer for an image, on one scale per layer. Dark is 0 and light is "
        "strong; where a layer has negative values, blue is negative, grey 0 and orange positive."
    )
    return render_section(say("Feature maps, layer by layer"), lead, *(render_journey(*item) for item in journeys))


def render_network(summary: Summary) -> Markup:
    return render_section(say("The network"), None, tag("div", Markup(render_table_html(summary)), class_="scroll net"))


def render_recipe(settings: Mapping[str, Any]) -> Markup | None:
    if not settings:
        return None
    pairs = [tag("div", tag("dt", name), tag("dd", format_setting(value))) for name, value in settings.items()]
    return render_section(say("Recipe"), None, tag("dl", *pairs, class_="recipe"))


def format_setting(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)


def render_skipped(list_: Sequence[tuple[str, str]]) -> Markup | None:
    if not list_:
        return None
    rows = [tag("tr", tag("td", file), tag("td", why)) for file, why in list_[:SHOWN_SKIPPED]]
    table = tag("table", tag("tr", tag("th", say("file")), tag("th", say("why"))), *rows)
    more = say("The first {count} of them:", count=SHOWN_SKIPPED) if len(list_) > SHOWN_SKIPPED else None
    lead = say("{files} could not be used.", files=format_count(len(list_), "file"))
    return render_section(
        say("Skipped files"),
        lead,
        more and tag("p", more, class_="quiet"),
        tag("div", table, class_="scroll long"),
    )


def render_versions(given: Mapping[str, str]) -> Markup:
    versions = ", ".join(f"{name} {version}" for name, version in given.items())
    return tag(
        "footer", tag("p", say("Made with {versions}.", versions=versions) if versions else say("Made with striate."))
    )


def render_section(title: str, lead: str | None, *inside: Any) -> Markup:
    return tag("section", tag("h2", title), lead and tag("p", lead, class_="lead"), *inside)
