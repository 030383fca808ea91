"""The audit of a data set as one HTML file that opens anywhere: no script, no second file, no request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from numpy.typing import NDArray

from ..data.check.audit import Audit, Finding, SimilarFiles, name_split
from ..data.check.label_errors import Doubts
from ..data.listing import say_reason
from ..language import find_language, say, say_count, to_say
from ..terminal import format_count
from . import pictures
from .album import render_doubt_caption
from .markup import Markup, join_markup, tag
from .run_page import render_section

# So many files of a finding are shown; their number is always whole.
SHOWN_FILES = 24
# So many groups of files that show the same picture, likewise.
SHOWN_GROUPS = 12
# So many doubtful labels.
SHOWN_LABEL_ERRORS = 60
# Pictures are reduced to at most so many pixels a side.
PICTURE_SIDE = 160

SEVERITY_TITLES = {
    "error": (to_say("Errors"), to_say("These would make measured results wrong.")),
    "warning": (to_say("Warnings"), to_say("Worth a look: some may be fine.")),
    "note": (to_say("Notes"), ""),
}
GROUPED_KINDS = ("leak", "conflict", "duplicate")
AUDIT_STYLE = """
.same { display: flex; flex-wrap: wrap; gap: 10px; padding: 14px 0; border-top: 1px dashed var(--rule); }
.same figure { width: 124px; } .same img { width: 124px; }
.same > p { flex: 0 0 100%; max-width: none; margin: 0; }
.same .file { display: block; color: var(--quiet); } .found .wall { margin-bottom: 16px; }
.found { margin: 0 0 30px; } .found h3 { margin: 0 0 10px; } .found h3 span { color: var(--orange); }
.note-of h3 span { color: var(--quiet); }
.blank { display: grid; place-items: center; aspect-ratio: 1; border: 1px dashed var(--rule); border-radius: 4px;
  color: var(--quiet); font-size: 0.78rem; text-align: center; padding: 6px; }
.same img { aspect-ratio: 1; object-fit: contain; background: var(--raised); border: 1px solid var(--rule);
  border-radius: 4px; }
.same figcaption { margin-top: 4px; line-height: 1.35; overflow-wrap: anywhere; font-size: 0.78rem; }
.files { margin: 0 0 12px; padding-left: 1.1em; font-size: 0.85rem; color: var(--quiet); overflow-wrap: anywhere; }
.share { display: block; height: 6px; border-radius: 3px; background: var(--blue); min-width: 2px; }
td.bars { width: 45%; }
"""


def render_audit_page(
    audit: Audit,
    thumbnails: Mapping[str, NDArray] | None = None,
    doubts: Doubts | None = None,
) -> str:
    """The HTML file of a data set's audit, to be written as UTF-8.

    thumbnails      file -> uint8 H×W×C, as `data.check.examine.load_thumbnails(source, list_audit_files(audit))` gives
    doubts          what networks that had not seen the images say of their labels
    """
    shown = thumbnails or {}
    sections = [
        *(render_findings(audit, severity, shown) for severity in SEVERITY_TITLES),
        render_label_errors(doubts, shown),
        render_audit_classes(audit),
        render_measures(audit),
        render_unreadable(audit),
    ]
    body = join_markup(
        render_audit_header(audit, doubts),
        tag("main", *sections),
        tag("footer", tag("p", say("Made with striate."))),
    )
    html = join_markup(
        Markup("<!doctype html>\n"),
        tag("html", render_audit_head(audit), tag("body", body), lang=find_language()),
        Markup("\n"),
    )
    return html.encode("utf-8", "replace").decode("utf-8")


def list_audit_files(audit: Audit) -> list[str]:
    """The files that `render_audit_page` shows pictures of."""
    found: dict[str, None] = {}
    for kind in GROUPED_KINDS:
        for finding in [item for item in audit.findings if item.kind == kind][:SHOWN_GROUPS]:
            found |= dict.fromkeys(finding.files[:SHOWN_FILES])
    for finding in audit.findings:
        if finding.kind not in (*GROUPED_KINDS, "unreadable"):
            found |= dict.fromkeys(finding.files[:SHOWN_FILES])
    return list(found)


def render_audit_head(audit: Audit) -> Markup:
    # The policy makes "no request" a rule that the browser holds, whatever a name in the data set contains.
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    style = files(__package__).joinpath("page.css").read_text(encoding="utf-8")
    return tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("link", rel="icon", href="data:,"),
        tag("title", say("{name}: audit", name=audit.name)),
        tag("style", Markup(style + AUDIT_STYLE)),
    )


def render_audit_header(audit: Audit, doubts: Doubts | None) -> Markup:
    counts = {severity: sum(item.severity == severity for item in audit.findings) for severity in SEVERITY_TITLES}
    words = {
        "error": say_count("{n:,} error", "{n:,} errors", counts["error"]),
        "warning": say_count("{n:,} warning", "{n:,} warnings", counts["warning"]),
        "note": say_count("{n:,} note", "{n:,} notes", counts["note"]),
    }
    found = [words[severity] for severity, n in counts.items() if n]
    facts = [
        (say("Images"), f"{audit.images:,}"),
        (say("Classes"), f"{len(audit.classes):,}"),
        (say("Unreadable files"), f"{len(audit.unreadable):,}"),
        (say("Largest to smallest class"), f"{audit.imbalance:.1f} : 1"),
        (say("Doubtful labels"), f"{len(doubts.errors):,}") if doubts and not doubts.chance else None,
    ]
    return tag(
        "header",
        tag("h1", audit.name),
        tag("p", say("{found}.", found=", ".join(found)) if found else say("Nothing found."), class_="quiet"),
        tag("dl", *(tag("div", tag("dt", f[0]), tag("dd", f[1])) for f in facts if f), class_="facts"),
    )


def render_findings(audit: Audit, severity: str, shown: Mapping[str, NDArray]) -> Markup | None:
    own = [item for item in audit.findings if item.severity == severity]
    if not own:
        return None
    parts: list[Markup] = []
    for kind in dict.fromkeys(item.kind for item in own):
        same = [item for item in own if item.kind == kind]
        parts.append(
            render_groups(audit, kind, same, shown)
            if kind in GROUPED_KINDS
            else render_plain_findings(kind, same, severity, shown)
        )
    title, lead = SEVERITY_TITLES[severity]
    return render_section(say(title), say(lead) if lead else None, *parts)


def render_groups(audit: Audit, kind: str, items: Sequence[Finding], shown: Mapping[str, NDArray]) -> Markup:
    """Groups of files that show the same picture, side by side, each with its split and its label."""
    of = {group.files: group for group in audit.same}
    rows = [render_same(item, of[item.files], shown) for item in items[:SHOWN_GROUPS]]
    more = (
        tag("p", say("… and {count:,} more groups", count=len(items) - SHOWN_GROUPS), class_="quiet")
        if len(items) > SHOWN_GROUPS
        else None
    )
    return tag(
        "div",
        render_finding_title(kind, format_count(len(items), "group")),
        *rows,
        more,
        class_="found",
    )


def render_same(item: Finding, group: SimilarFiles, shown: Mapping[str, NDArray]) -> Markup:
    parts = list(zip(group.files, group.labels, group.splits, strict=True))
    figures = [
        render_file_figure(file, shown, tag("b", label), None if split == "all" else say(" in {split}", split=split))
        for file, label, split in parts[:SHOWN_FILES]
    ]
    return tag("div", tag("p", item.text, format_rest(len(parts))), *figures, class_="same")


def render_plain_findings(kind: str, items: Sequence[Finding], severity: str, shown: Mapping[str, NDArray]) -> Markup:
    parts: list[Markup | None] = []
    for item in items:
        parts.append(tag("p", item.text, format_rest(len(item.files)), "."))
        some = item.files[:SHOWN_FILES]
        if any(file in shown for file in some):
            parts.append(tag("div", *(render_file_figure(file, shown) for file in some), class_="wall"))
        elif some:
            parts.append(tag("ul", *(tag("li", file) for file in some), class_="files"))
    return tag("div", render_finding_title(kind), *parts, class_="found note-of" if severity == "note" else "found")


def render_finding_title(kind: str, count: str = "") -> Markup:
    return tag("h3", tag("span", say(kind)), f", {count}" if count else None)


def format_rest(count: int) -> str | None:
    return say(" (the first {shown} of {count:,})", shown=SHOWN_FILES, count=count) if count > SHOWN_FILES else None


def render_file_figure(file: str, shown: Mapping[str, NDArray], *words: Any) -> Markup:
    picture = shown.get(file)
    image = (
        tag("div", say("no picture"), class_="blank")
        if picture is None
        else tag(
            "img", src=pictures.encode_data_uri(pictures.reduce_picture(picture, PICTURE_SIDE)), alt=file, title=file
        )
    )
    return tag("figure", image, tag("figcaption", *words, tag("span", file, class_="file")))


def render_label_errors(doubts: Doubts | None, shown: Mapping[str, NDArray]) -> Markup | None:
    if doubts is None:
        return None
    if not doubts.errors:
        return render_section(say("Likely label errors"), say("{found}.", found=doubts))
    found = list(zip(doubts.errors, doubts.files, strict=True))[:SHOWN_LABEL_ERRORS]
    figures = [render_file_figure(file, shown, *render_doubt_caption(doubts.classes, error)) for error, file in found]
    lead = say(
        "Images that networks not trained on them confidently predict as another class; the least probable label "
        "first (confident learning, Northcutt et al. 2021). Some are just hard examples."
    )
    if len(doubts.errors) > SHOWN_LABEL_ERRORS:
        lead = say(
            "{lead} The first {shown} of {count:,}.", lead=lead, shown=SHOWN_LABEL_ERRORS, count=len(doubts.errors)
        )
    return render_section(say("Likely label errors"), lead, tag("div", *figures, class_="wall"))


def render_audit_classes(audit: Audit) -> Markup:
    splits = list(audit.counts)
    totals = {label: sum(audit.counts[split][label] for split in splits) for label in audit.classes}
    most = max(totals.values(), default=0) or 1
    heads = tag(
        "tr", tag("th", say("class")), *(tag("th", name_split(split), class_="n") for split in splits), tag("th", "")
    )
    rows = [
        tag(
            "tr",
            tag("td", label),
            *(tag("td", f"{audit.counts[split][label]:,}", class_="n") for split in splits),
            tag("td", tag("i", class_="share", style=f"width:{100 * totals[label] / most:.1f}%"), class_="bars"),
        )
        for label in audit.classes
    ]
    table = tag("table", tag("thead", heads), tag("tbody", *rows))
    return render_section(say("Classes"), None, tag("div", table, class_="scroll long" if len(rows) > 20 else "scroll"))


def render_measures(audit: Audit) -> Markup:
    low, middle, high = audit.aspects
    pairs = [
        (say("sizes, height×width"), format_tally(audit.sizes)),
        (say("width / height"), say("{low:.2f} to {high:.2f}, median {middle:.2f}", low=low, high=high, middle=middle)),
        (say("modes"), format_tally(audit.modes)),
        (
            say("passed over"),
            format_tally({say_reason(what): n for what, n in audit.ignored.items()}) or say("nothing"),
        ),
    ]
    rows = [tag("tr", tag("td", name), tag("td", value)) for name, value in pairs]
    return render_section(say("Pictures"), None, tag("div", tag("table", *rows), class_="scroll"))


def format_tally(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{what} {n:,}" for what, n in counts.items())


def render_unreadable(audit: Audit) -> Markup | None:
    if not audit.unreadable:
        return None
    rows = [tag("tr", tag("td", item.file), tag("td", item.why)) for item in audit.unreadable[:200]]
    table = tag("table", tag("tr", tag("th", say("file")), tag("th", say("why"))), *rows)
    many = len(audit.unreadable)
    lead = say("{files} cannot be decoded.", files=format_count(many, "file"))
    if many > 200:
        lead = say("{lead} The first 200:", lead=lead)
    return render_section(say("Unreadable files"), lead, tag("div", table, class_="scroll long"))
