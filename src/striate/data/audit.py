"""What is wrong with a data set, before anyone trains on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from ..terminal import printable
from .from_arrays import from_arrays
from .images import Skipped
from .likeness import blank, groups, near_pairs
from .listing import alike, class_order, shortened
from .loaded import Wish
from .origins import across_splits
from .reading import Progress
from .seen import NOTHING, Seen, look_at_arrays, look_at_files
from .sources import Source, listed

SPLITS = ("all", "train", "valid", "test")
SEVERITIES = ("error", "warning", "note")
UNEVEN = 5.0  # the largest class against the smallest, above which accuracy alone misleads
FEW = 10  # images of a class to train on, below which it is hardly learnt
SMALL = 32  # pixels a side, below which only exact copies are looked for
LONG = 4.0  # a picture's long side against its short one
MOST = 50_000  # pictures whose every pair is compared


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


class Group(NamedTuple):
    """Files that show the same picture: byte for byte ("exact") or by their look ("near")."""

    kind: str
    files: tuple[str, ...]
    labels: tuple[str, ...]
    splits: tuple[str, ...]


@dataclass(frozen=True)
class Audit:
    """A data set's account and its faults, as plain data: `str` renders it, `as_dict` makes it ready for JSON.

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
    same: tuple[Group, ...]
    imbalance: float
    sizes: dict[str, int]
    aspects: tuple[float, float, float]
    modes: dict[str, int]
    blank: tuple[str, ...]
    findings: tuple[Finding, ...] = ()

    @property
    def clean(self) -> bool:
        """Whether nothing worse than a note was found."""
        return all(finding.severity == "note" for finding in self.findings)

    def as_dict(self) -> dict[str, Any]:
        plain = asdict(self)
        plain["findings"] = [finding._asdict() for finding in self.findings]
        plain["same"] = [group._asdict() for group in self.same]
        return plain

    def __str__(self) -> str:
        return "\n".join([*table(self), *(line for finding in self.findings for line in told(finding))])


def audit(source: Source, *, workers: int | None = None, progress: Progress | None = None) -> Audit:
    """Look at every image of a source (as `load` takes them) and say what is wrong with it. Nothing is written.

    Every file is read, decoded and hashed. Two files show the same picture if their bytes are equal, or if they look
    alike (likeness.near_pairs); the latter is left out for pictures under 32 pixels a side and for more than 50,000.
    Raises DataError only where the source is not there or holds no image.
    """
    listing = listed(source)
    if listing is not None:
        seen = look_at_files(listing.entries, workers, progress)
        return account(listing.name, seen, listing.ignored)
    loaded = from_arrays(source, wish=Wish(workers=workers, progress=progress))
    return account(loaded.name, look_at_arrays(loaded.parts), {})


def account(name: str, seen: Sequence[Seen], ignored: dict[str, int]) -> Audit:
    """The Audit of what was seen."""
    good = [item for item in seen if item.why is None]
    classes = class_order([item.label for item in seen])
    tally = Counter((item.split or "all", item.label) for item in good)
    splits = [split for split in SPLITS if any((item.split or "all") == split for item in seen)]
    shapes = [item.width / item.height for item in good] or [1.0]
    hidden = blank(np.stack([NOTHING, *(item.thumb for item in good)]))[1:]
    shown = [
        item for item, flat in zip(good, hidden, strict=True) if not flat and min(item.height, item.width) >= SMALL
    ]
    found = Audit(
        name=name,
        images=len(good),
        classes=classes,
        counts={split: {label: tally[split, label] for label in classes} for split in splits},
        unreadable=tuple(Skipped(item.file, item.why) for item in seen if item.why is not None),
        ignored=dict(ignored),
        same=(*exact_groups(good), *(near_groups(shown) if len(shown) <= MOST else ())),
        imbalance=1.0,
        sizes=dict(Counter(f"{item.height}×{item.width}" for item in good).most_common(10)),
        aspects=(min(shapes), median(shapes), max(shapes)),
        modes=dict(Counter(item.mode for item in good).most_common()),
        blank=tuple(item.file for item, flat in zip(good, hidden, strict=True) if flat),
    )
    learnt = [n for n in to_learn(found).values() if n]
    found = replace(found, imbalance=max(learnt) / min(learnt) if learnt else 1.0)
    findings = [finding for look in LOOKS for finding in look(found, good)]
    if len(shown) > MOST:
        text = f"near duplicates were not looked for: {len(shown):,} pictures, and {MOST:,} is the most"
        findings.append(Finding("note", "not searched", text))
    findings.sort(key=lambda finding: SEVERITIES.index(finding.severity))
    return replace(found, findings=tuple(findings))


def exact_groups(good: Sequence[Seen]) -> list[Group]:
    """The files with equal bytes."""
    return [grouped("exact", items) for items in by_content(good) if len(items) > 1]


def near_groups(shown: Sequence[Seen]) -> list[Group]:
    """The files that look alike and whose bytes are not all equal."""
    contents = by_content(shown)
    if len(contents) < 2:
        return []
    pairs = near_pairs(np.stack([items[0].thumb for items in contents]))
    return [
        grouped("near", [item for k in members for item in contents[k]]) for members in groups(pairs, len(contents))
    ]


def by_content(items: Sequence[Seen]) -> list[list[Seen]]:
    found: dict[str, list[Seen]] = {}
    for item in items:
        found.setdefault(item.content, []).append(item)
    return list(found.values())


def grouped(kind: str, items: Sequence[Seen]) -> Group:
    files, labels = tuple(item.file for item in items), tuple(item.label for item in items)
    return Group(kind, files, labels, tuple(item.split or "all" for item in items))


def to_learn(found: Audit) -> dict[str, int]:
    """Images a class to train on: those of train, or all where there are no splits."""
    return found.counts.get("train", found.counts.get("all", {}))


def leaks(found: Audit, good: Sequence[Seen]) -> Iterator[Finding]:
    for group in found.same:
        if len(set(group.splits)) > 1:
            where = " and ".join(split for split in SPLITS if split in group.splits)
            yield Finding("error", "leak", f"{likewise(group)} is in {where}", group.files)


def conflicts(found: Audit, good: Sequence[Seen]) -> Iterator[Finding]:
    for group in found.same:
        if len(set(group.labels)) > 1:
            labels = " and ".join(sorted(set(group.labels)))
            yield Finding("error", "conflict", f"{likewise(group)} is labelled {labels}", group.files)


def duplicates(found: Audit, good: Sequence[Seen]) -> Iterator[Finding]:
    for group in found.same:
        if len(set(group.labels)) == 1 and len(set(group.splits)) == 1:
            yield Finding("warning", "duplicate", f"{likewise(group)} is there {len(group.files)} times", group.files)


def likewise(group: Group) -> str:
    return "the same file" if group.kind == "exact" else "what looks like the same picture"


def names(found: Audit, good: Sequence[Seen]) -> Iterator[Finding]:
    across = across_splits(good)
    if across:
        first, items = across[0]
        splits = [split for split in SPLITS if split in {item.split for _, items in across for item in items}]
        text = (
            f"{counting(len(across), 'origin')} by the file names, such as {first} with {len(items)} pictures, "
            f"{'are' if len(across) > 1 else 'is'} in {enumerated(splits)}, each of one label"
        )
        files = tuple(item.file for _, items in across for item in items)
        yield Finding("warning", "same origin", text, files)


def broken(found: Audit, good: Sequence[Seen]) -> Iterator[Finding]:
    for reason, bad in by_reason(found.unreadable).items():
        yield Finding("warning", "unreadable", f"{reason}: {counting(len(bad), 'file')}", bad)


def by_reason(skipped: Sequence[Skipped]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for item in skipped:
        reason = item.why.partition(" (")[0]
        found[reason] = (*found.get(reason, ()), item.file)
    return found


def classes(found: Audit, good: Sequence[Seen]) -> Iterator[Finding]:
    learnt = to_learn(found)
    if len(found.classes) < 2:
        yield Finding("error", "one class", f"there is one class only, {shortened(found.classes)}")
    for split, counts in found.counts.items():
        if split in ("valid", "test"):
            for label, n in counts.items():
                if n and not learnt.get(label):
                    files = tuple(item.file for item in good if item.split == split and item.label == label)
                    yield Finding("error", "unknown class", f"{split} has the class {label}, which train lacks", files)
            lacking = tuple(label for label, n in counts.items() if not n and learnt.get(label))
            if lacking:
                yield Finding("warning", "missing class", f"{split} has no image of {shortened(lacking)}")
    for text in alike(found.classes):
        yield Finding("warning", "names alike", text)
    few = tuple(f"{label} ({n})" for label, n in learnt.items() if 0 < n < FEW)
    if few:
        yield Finding("warning", "few images", f"fewer than {FEW} images to learn from: {shortened(few)}")
    if found.imbalance > UNEVEN:
        present = {label: n for label, n in learnt.items() if n}
        most, least = max(present, key=present.__getitem__), min(present, key=present.__getitem__)
        numbers = f"{most} has {present[most]:,} images, {least} {present[least]:,}"
        yield Finding("warning", "imbalance", f"{numbers}: {found.imbalance:.1f} times as many")


def pictures(found: Audit, good: Sequence[Seen]) -> Iterator[Finding]:
    if found.blank:
        yield Finding("warning", "blank", f"{counting(len(found.blank), 'picture')} nearly of one level", found.blank)
    long = tuple(item.file for item in good if not 1 / LONG <= item.width / item.height <= LONG)
    if long:
        yield Finding(
            "warning", "thin", f"{counting(len(long), 'picture')} over {LONG:.0f} times as long as wide", long
        )
    typical = median([min(item.height, item.width) for item in good]) if good else 0
    tiny = tuple(item.file for item in good if min(item.height, item.width) * 8 < typical)
    if tiny:
        text = f"{counting(len(tiny), 'picture')} under an eighth of the usual {typical:.0f} pixels a side"
        yield Finding("warning", "tiny", text, tiny)
    small = tuple(item.file for item in good if min(item.height, item.width) < SMALL)
    if small:
        text = f"{counting(len(small), 'picture')} under {SMALL} pixels a side: of these only exact copies are found"
        yield Finding("note", "small", text, small if len(small) < len(good) else ())
    if len(found.modes) > 1:
        yield Finding("note", "modes", "files of several modes: " + tallied(found.modes))


def passed_over(found: Audit, good: Sequence[Seen]) -> Iterator[Finding]:
    if found.ignored:
        yield Finding(
            "note", "ignored", "passed over: " + ", ".join(f"{n} {what}" for what, n in found.ignored.items())
        )


Look = Callable[[Audit, Sequence[Seen]], Iterator[Finding]]
LOOKS: tuple[Look, ...] = (leaks, conflicts, classes, names, broken, duplicates, pictures, passed_over)


def counting(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def enumerated(words: Sequence[str]) -> str:
    """
    >>> enumerated(["train", "test"]), enumerated(["train", "valid", "test"])
    ('train and test', 'train, valid and test')
    """
    return " and ".join([", ".join(words[:-1]), *words[-1:]]) if len(words) > 1 else "".join(words)


def tallied(counts: dict[str, int]) -> str:
    return ", ".join(f"{what} {n:,}" for what, n in counts.items())


def table(found: Audit) -> list[str]:
    """The account: a line a class, a column a split; then sizes, shapes and modes."""
    splits = list(found.counts)
    wide = max([6, *(len(label) for label in found.classes)])
    name = printable(found.name)
    kinds = "1 class" if len(found.classes) == 1 else f"{len(found.classes)} classes"
    lines = [f"{name}: {counting(found.images, 'image')}, {kinds}", ""]
    lines.append(" ".join([" " * (wide + 2), *(f"{split:>8}" for split in splits)]).rstrip())
    for label in found.classes:
        lines.append(
            " ".join([f"  {printable(label):<{wide}}", *(f"{found.counts[split][label]:>8,}" for split in splits)])
        )
    totals = [f"{sum(found.counts[split].values()):>8,}" for split in splits]
    lines += [" ".join([f"  {'in all':<{wide}}", *totals]), ""]
    low, middle, high = found.aspects
    sizes = dict(list(found.sizes.items())[:4])
    lines.append(f"  sizes    {tallied(sizes)}{', …' if len(found.sizes) > 4 else ''}")
    lines.append(f"  aspects  width / height from {low:.2f} to {high:.2f}, median {middle:.2f}")
    lines.append(f"  modes    {tallied(found.modes)}")
    return [*lines, "", *([] if found.findings else ["nothing found"])]


def told(finding: Finding, most: int = 5) -> list[str]:
    """A finding and its first files."""
    more = [f"           … and {len(finding.files) - most} more"] if len(finding.files) > most else []
    return [
        f"{finding.severity:<8} {finding.kind}: {printable(finding.text)}",
        *(f"           {printable(f)}" for f in finding.files[:most]),
        *more,
    ]
