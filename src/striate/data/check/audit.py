"""What is wrong with a data set, before anyone trains on it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import PurePath
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from ...language import join_texts, render_all, render_text, say, say_count, to_say
from ...terminal import format_count, make_printable, measure_width, pad_left, pad_right
from ..images import Skipped
from ..listing import order_classes, report_similar_names, say_reason, shorten_list
from ..read.files import Progress
from ..reading import USUAL_READING, Reading
from ..sources.arrays import load_arrays
from ..sources.load import Source, choose_listed_depth, list_source
from ..sources.options import LoadOptions
from ..sources.pairs import collect_source
from ..sources.peek import describe_listing
from .examine import NO_THUMBNAIL, SeenImage, examine_arrays, examine_files
from .near_duplicates import SMALL_SIDE, connect_pairs, find_blank, find_near_pairs

AUDIT_SPLITS = ("all", "train", "valid", "test")
SEVERITIES = (to_say("error"), to_say("warning"), to_say("note"))
UNEVEN_RATIO = 5.0  # the largest class against the smallest, above which accuracy alone misleads
FEW_IMAGES = 10  # images of a class to train on, below which it is hardly learnt
LONG_RATIO = 4.0  # a picture's long side against its short one
MOST_COMPARED = 50_000  # pictures whose every pair is compared


class Finding(NamedTuple):
    """One thing found.

    severity  "error" (a result would be wrong), "warning" (look at it) or "note"
    kind      one or two words, the same for all findings of a kind
    text      a sentence
    files     the files it is about
    """

    severity: str
    kind: str
    text: str
    files: tuple[str, ...] = ()


class SimilarFiles(NamedTuple):
    """Files that show the same picture: byte for byte ("exact") or by their look ("near")."""

    kind: str
    files: tuple[str, ...]
    labels: tuple[str, ...]
    splits: tuple[str, ...]


@dataclass(frozen=True)
class Audit:
    """A data set's account and its faults, as plain data: `str` renders it, `as_dict` makes it ready for JSON.

    read_as     how the source was understood, in a line
    images      readable ones
    counts      images by split ("all" where there are none), then by class
    unreadable  files that cannot be decoded, and why
    ignored     what was passed over, by reason
    same        groups of files that show the same picture
    imbalance   images of the largest class to those of the smallest, in train
    sizes       "height×width" of the pictures, by how many have it; the commonest 10
    aspects     least, median and largest width / height
    modes       Pillow's modes of the files, by how many have it
    blank       files that show nothing
    findings    all of it in sentences, the gravest first
    """

    name: str
    images: int
    classes: tuple[str, ...]
    counts: dict[str, dict[str, int]]
    unreadable: tuple[Skipped, ...]
    ignored: dict[str, int]
    same: tuple[SimilarFiles, ...]
    imbalance: float
    sizes: dict[str, int]
    aspects: tuple[float, float, float]
    modes: dict[str, int]
    blank: tuple[str, ...]
    findings: tuple[Finding, ...] = ()
    read_as: str = ""

    @property
    def clean(self) -> bool:
        """Whether nothing worse than a note was found."""
        return all(finding.severity == "note" for finding in self.findings)

    def as_dict(self) -> dict[str, Any]:
        plain = asdict(self)
        plain["findings"] = [finding._asdict() for finding in self.findings]
        plain["same"] = [group._asdict() for group in self.same]
        return render_all(plain, "en")

    def __str__(self) -> str:
        return "\n".join(
            [*format_account(self), *(line for finding in self.findings for line in format_finding(finding))]
        )


def audit_data(
    source: Source,
    *,
    reading: Reading = USUAL_READING,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Audit:
    """Look at every image of a source (as `load_dataset` takes them) and say what is wrong with it. Nothing is written.

    Every file is read, decoded and hashed. Two files show the same picture if their bytes are equal, or if they look
    alike (likeness.near_pairs); the latter is left out for pictures under 32 pixels a side and for more than 50,000.
    Raises DataError only where the source is not there or holds no image.
    """
    source = collect_source(source, reading, progress)
    listing = list_source(source, reading)
    if listing is not None:
        seen = examine_files(listing.entries, workers, progress)
        depth, _ = choose_listed_depth(listing, LoadOptions(workers=workers))
        return summarise_seen(listing.name, seen, listing.ignored, describe_listing(listing, depth), listing.notes)
    loaded = load_arrays(source, wish=LoadOptions(reading=reading, workers=workers, progress=progress))
    return summarise_seen(loaded.name, examine_arrays(loaded.parts), {}, loaded.read_as)


def summarise_seen(
    name: str, seen: Sequence[SeenImage], ignored: dict[str, int], read_as: str = "", notes: Sequence[str] = ()
) -> Audit:
    """The Audit of what was seen; `notes` tell how the source was read."""
    good = [item for item in seen if item.why is None]
    classes = order_classes([item.label for item in seen])
    tally = Counter((item.split or "all", item.label) for item in good)
    splits = [split for split in AUDIT_SPLITS if any((item.split or "all") == split for item in seen)]
    shapes = [item.width / item.height for item in good] or [1.0]
    hidden = find_blank(np.stack([NO_THUMBNAIL, *(item.thumb for item in good)]))[1:]
    shown = [
        item for item, flat in zip(good, hidden, strict=True) if not flat and min(item.height, item.width) >= SMALL_SIDE
    ]
    found = Audit(
        name=name,
        read_as=read_as,
        images=len(good),
        classes=classes,
        counts={split: {label: tally[split, label] for label in classes} for split in splits},
        unreadable=tuple(Skipped(item.file, item.why) for item in seen if item.why is not None),
        ignored=dict(ignored),
        same=(*group_exact(good), *(group_near(shown) if len(shown) <= MOST_COMPARED else ())),
        imbalance=1.0,
        sizes=dict(Counter(f"{item.height}×{item.width}" for item in good).most_common(10)),
        aspects=(min(shapes), median(shapes), max(shapes)),
        modes=dict(Counter(item.mode for item in good).most_common()),
        blank=tuple(item.file for item, flat in zip(good, hidden, strict=True) if flat),
    )
    learnt = [n for n in count_training_images(found).values() if n]
    found = replace(found, imbalance=max(learnt) / min(learnt) if learnt else 1.0)
    findings = [finding for look in AUDIT_CHECKS for finding in look(found, good)]
    findings += [Finding("note", to_say("layout"), note) for note in notes if not is_ignored(note)]
    if len(shown) > MOST_COMPARED:
        text = say(
            "near duplicates were not searched for: {images:,} images, and the limit is {most:,}",
            images=len(shown),
            most=MOST_COMPARED,
        )
        findings.append(Finding("note", to_say("not searched"), text))
    findings.sort(key=lambda finding: SEVERITIES.index(finding.severity))
    return replace(found, findings=tuple(findings))


def is_ignored(note: str) -> bool:
    """Whether a note tells what was passed over, which a finding of its own does."""
    return render_text(note, "en").startswith("ignored: ")


def group_exact(good: Sequence[SeenImage]) -> list[SimilarFiles]:
    """The files with equal bytes."""
    return [make_similar_files("exact", items) for items in group_by_content(good) if len(items) > 1]


def group_near(shown: Sequence[SeenImage]) -> list[SimilarFiles]:
    """The files that look alike and whose bytes are not all equal."""
    contents = group_by_content(shown)
    if len(contents) < 2:
        return []
    pairs = find_near_pairs(np.stack([items[0].thumb for items in contents]))
    return [
        make_similar_files("near", [item for k in members for item in contents[k]])
        for members in connect_pairs(pairs, len(contents))
    ]


def group_by_content(items: Sequence[SeenImage]) -> list[list[SeenImage]]:
    found: dict[str, list[SeenImage]] = {}
    for item in items:
        found.setdefault(item.content, []).append(item)
    return list(found.values())


def make_similar_files(kind: str, items: Sequence[SeenImage]) -> SimilarFiles:
    files, labels = tuple(item.file for item in items), tuple(item.label for item in items)
    return SimilarFiles(kind, files, labels, tuple(item.split or "all" for item in items))


def count_training_images(found: Audit) -> dict[str, int]:
    """Images a class to train on: those of train, or all where there are no splits."""
    return found.counts.get("train", found.counts.get("all", {}))


def find_leaks(found: Audit, good: Sequence[SeenImage]) -> Iterator[Finding]:
    for group in found.same:
        if len(set(group.splits)) > 1:
            where = join_texts(say(" and "), [split for split in AUDIT_SPLITS if split in group.splits])
            text = say("{alike} is in {splits}", alike=describe_likeness(group), splits=where)
            yield Finding("error", to_say("leak"), text, group.files)


def find_conflicts(found: Audit, good: Sequence[SeenImage]) -> Iterator[Finding]:
    for group in found.same:
        if len(set(group.labels)) > 1:
            labels = join_texts(say(" and "), sorted(set(group.labels)))
            text = say("{alike} is labelled {labels}", alike=describe_likeness(group), labels=labels)
            yield Finding("error", to_say("conflict"), text, group.files)


def find_duplicates(found: Audit, good: Sequence[SeenImage]) -> Iterator[Finding]:
    for group in found.same:
        if len(set(group.labels)) == 1 and len(set(group.splits)) == 1:
            text = say("{alike} appears {times} times", alike=describe_likeness(group), times=len(group.files))
            yield Finding("warning", to_say("duplicate"), text, group.files)


def describe_likeness(group: SimilarFiles) -> str:
    return say("the same file") if group.kind == "exact" else say("what looks like the same image")


def check_names(found: Audit, good: Sequence[SeenImage]) -> Iterator[Finding]:
    across = find_shared_origins(good)
    if across:
        first, items = across[0]
        splits = [split for split in AUDIT_SPLITS if split in {item.split for _, items in across for item in items}]
        text = say_count(
            "{origins} by the file names, such as {first} with {images} images, is in {splits}, each of one label",
            "{origins} by the file names, such as {first} with {images} images, are in {splits}, each of one label",
            len(across), origins=format_count(len(across), "origin"), first=first, images=len(items),
            splits=join_words(splits),
        )  # fmt: skip
        files = tuple(item.file for _, items in across for item in items)
        yield Finding("warning", to_say("same origin"), text, files)


def find_broken(found: Audit, good: Sequence[SeenImage]) -> Iterator[Finding]:
    for reason, bad in group_by_reason(found.unreadable).items():
        yield Finding(
            "warning",
            to_say("unreadable"),
            say("{reason}: {files}", reason=reason, files=format_count(len(bad), "file")),
            bad,
        )


def group_by_reason(skipped: Sequence[Skipped]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for item in skipped:
        reason = item.why.partition(" (")[0] if " (" in item.why else item.why
        found[reason] = (*found.get(reason, ()), item.file)
    return found


def check_classes(found: Audit, good: Sequence[SeenImage]) -> Iterator[Finding]:
    learnt = count_training_images(found)
    if len(found.classes) < 2:
        yield Finding(
            "error", to_say("one class"), say("there is only one class, {classes}", classes=shorten_list(found.classes))
        )
    for split, counts in found.counts.items():
        if split in ("valid", "test"):
            for label, n in counts.items():
                if n and not learnt.get(label):
                    files = tuple(item.file for item in good if item.split == split and item.label == label)
                    text = say("{split} has the class {label}, which train lacks", split=split, label=label)
                    yield Finding("error", to_say("unknown class"), text, files)
            lacking = tuple(label for label, n in counts.items() if not n and learnt.get(label))
            if lacking:
                text = say("{split} has no image of {classes}", split=split, classes=shorten_list(lacking))
                yield Finding("warning", to_say("missing class"), text)
    for text in report_similar_names(found.classes):
        yield Finding("warning", to_say("names alike"), text)
    few = tuple(f"{label} ({n})" for label, n in learnt.items() if 0 < n < FEW_IMAGES)
    if few:
        text = say("fewer than {least} training images: {classes}", least=FEW_IMAGES, classes=shorten_list(few))
        yield Finding("warning", to_say("few images"), text)
    if found.imbalance > UNEVEN_RATIO:
        present = {label: n for label, n in learnt.items() if n}
        most, least = max(present, key=present.__getitem__), min(present, key=present.__getitem__)
        text = say(
            "{most} has {many:,} images, {least} {few:,}: {times:.1f} times as many",
            most=most, many=present[most], least=least, few=present[least], times=found.imbalance,
        )  # fmt: skip
        yield Finding("warning", to_say("imbalance"), text)


def check_images(found: Audit, good: Sequence[SeenImage]) -> Iterator[Finding]:
    if found.blank:
        text = say("{images} with almost no contrast", images=format_count(len(found.blank), "image"))
        yield Finding("warning", to_say("blank"), text, found.blank)
    long = tuple(item.file for item in good if not 1 / LONG_RATIO <= item.width / item.height <= LONG_RATIO)
    if long:
        images = format_count(len(long), "image")
        text = say("{images} more than {times:.0f} times as long as wide", images=images, times=LONG_RATIO)
        yield Finding("warning", to_say("thin"), text, long)
    typical = median([min(item.height, item.width) for item in good]) if good else 0
    tiny = tuple(item.file for item in good if min(item.height, item.width) * 8 < typical)
    if tiny:
        images = format_count(len(tiny), "image")
        text = say("{images} under an eighth of the usual {usual:.0f} pixels per side", images=images, usual=typical)
        yield Finding("warning", to_say("tiny"), text, tiny)
    small = tuple(item.file for item in good if min(item.height, item.width) < SMALL_SIDE)
    if small:
        text = say(
            "{images} under {least} pixels per side: only exact copies of these are found",
            images=format_count(len(small), "image"), least=SMALL_SIDE,
        )  # fmt: skip
        yield Finding("note", to_say("small"), text, small if len(small) < len(good) else ())
    if len(found.modes) > 1:
        yield Finding("note", to_say("modes"), say("files of several modes: {modes}", modes=format_counts(found.modes)))


def find_ignored(found: Audit, good: Sequence[SeenImage]) -> Iterator[Finding]:
    if found.ignored:
        counts = [say("{reason}: {count:,}", reason=say_reason(what), count=n) for what, n in found.ignored.items()]
        text = say("ignored: {counts}", counts=join_texts(", ", counts))
        yield Finding("note", to_say("ignored"), text)


AuditCheck = Callable[[Audit, Sequence[SeenImage]], Iterator[Finding]]
AUDIT_CHECKS: tuple[AuditCheck, ...] = (
    find_leaks,
    find_conflicts,
    check_classes,
    check_names,
    find_broken,
    find_duplicates,
    check_images,
    find_ignored,
)


def join_words(words: Sequence[str]) -> str:
    """
    >>> join_words(["train", "test"]), join_words(["train", "valid", "test"])
    ('train and test', 'train, valid and test')
    """
    if len(words) < 2:
        return "".join(words)
    return say("{first} and {last}", first=", ".join(words[:-1]), last=words[-1])


def format_counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{what} {n:,}" for what, n in counts.items())


def format_account(found: Audit) -> list[str]:
    """The account: a line a class, a column a split; then sizes, shapes and modes."""
    splits = list(found.counts)
    total = say("total")
    wide = max([6, *map(measure_width, (total, *map(make_printable, found.classes)))])
    name = make_printable(found.name)
    kinds = format_count(len(found.classes), "class")
    lines = [say("read as: {form}", form=make_printable(found.read_as))] if found.read_as else []
    lines += [f"{name}: {format_count(found.images, 'image')}, {kinds}", ""]
    lines.append(" ".join([" " * (wide + 2), *(pad_left(name_split(split), 8) for split in splits)]).rstrip())
    for label in found.classes:
        lines.append(
            " ".join(
                [
                    f"  {pad_right(make_printable(label), wide)}",
                    *(f"{found.counts[split][label]:>8,}" for split in splits),
                ]
            )
        )
    totals = [f"{sum(found.counts[split].values()):>8,}" for split in splits]
    lines += [" ".join([f"  {pad_right(total, wide)}", *totals]), ""]
    low, middle, high = found.aspects
    sizes = dict(list(found.sizes.items())[:4])
    lines.append("  " + say("sizes    {sizes}", sizes=format_counts(sizes) + (", …" if len(found.sizes) > 4 else "")))
    aspects = say(
        "aspects  width / height from {low:.2f} to {high:.2f}, median {middle:.2f}", low=low, high=high, middle=middle
    )
    lines.append(f"  {aspects}")
    lines.append("  " + say("modes    {modes}", modes=format_counts(found.modes)))
    return [*lines, "", *([] if found.findings else [say("nothing found")])]


def name_split(split: str) -> str:
    """A split as it is called, or that there are none."""
    return say("all") if split == "all" else split


def format_finding(finding: Finding, most: int = 5) -> list[str]:
    """A finding and its first files."""
    left = len(finding.files) - most
    more = ["           " + say("… and {count} more", count=left)] if left > 0 else []
    kind = say("{kind}: {text}", kind=say(finding.kind), text=make_printable(render_text(finding.text)))
    return [
        f"{pad_right(say(finding.severity), 8)} {kind}",
        *(f"           {make_printable(f)}" for f in finding.files[:most]),
        *more,
    ]


COPY_WORDS = (
    r"aug|augmented|copy|crop|flip|flipped|frame|img|image|mirror|mirrored|part|patch|rot|rotated|slice|tile|view"
)


COPY_ENDINGS = re.compile(
    rf"(?:\.(?:jpe?g|png|webp|bmp|tiff?))?(?:\.rf\.[0-9a-f]{{8,}}"  # Roboflow's augmented copies
    rf"|[ _\-.]+(?:{COPY_WORDS})[ _\-]*\d*"
    rf"|[ _\-.]+\(?\d+\)?|[ _\-.]*\(\d+\))$",
    re.IGNORECASE,
)


# Of the origins that are in several splits, the share with one label each, from which names tell labels.
AGREEING_SHARE = 0.9


def guess_origin(file: str) -> str | None:
    """What a file's name says of its origin: the name without its last number, copy sign or augmentation's mark.

    None where nothing is taken off, and where what is left holds no number and so names a kind rather than a thing.

    >>> guess_origin("train/ill/patient-012_frame_7.png"), guess_origin("test/cat/IMG_20.jpg.rf.0123456789abcdef.jpg")
    ('patient-012', 'img_20')
    >>> guess_origin("cat/cat_001.jpg"), guess_origin("cat/6075b4a5-9dbfbca7c35c.jpg")
    (None, None)
    """
    stem = PurePath(file).stem
    short = COPY_ENDINGS.sub("", stem)
    if short == stem or not re.search(r"\d", short) or len(short) < 3:
        return None
    return short.lower()


def find_shared_origins(good: Sequence[SeenImage]) -> list[tuple[str, tuple[SeenImage, ...]]]:
    """The origins with pictures in several splits, where nearly all of them have one label each, so that whoever

    knows the origin knows the label; the largest first. Empty where their labels are mixed, as with dates.
    """
    found: dict[str, list[SeenImage]] = {}
    for item in good:
        name = guess_origin(item.file)
        if name is not None:
            found.setdefault(name, []).append(item)
    across = {name: items for name, items in found.items() if len({item.split for item in items}) > 1}
    alike = {name: tuple(items) for name, items in across.items() if len({item.label for item in items}) == 1}
    labels = {items[0].label for items in alike.values()}
    if len(alike) < max(1, AGREEING_SHARE * len(across)) or len(labels) < 2:
        return []
    return sorted(alike.items(), key=lambda pair: (-len(pair[1]), pair[0]))
