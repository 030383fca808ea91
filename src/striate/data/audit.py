"""What is wrong with a data set, before anyone trains on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, NamedTuple

from ..errors import nearest
from .images import Skipped
from .inspect import Seen, inspect_arrays, inspect_files
from .likeness import blank, groups, near_pairs
from .listing import class_order, counted
from .reading import Progress
from .sources import Source, Wish, from_arrays, listed

SPLITS = ("all", "train", "valid", "test")
SEVERITIES = ("error", "warning", "note")
UNEVEN = 5.0  # the largest class against the smallest, above which accuracy alone misleads
FEW = 10  # images of a class in train
SMALL = 32  # pixels a side, below which likeness is left to exact copies
LONG = 4.0  # a picture's long side against its short one
MOST = 50_000  # pictures whose every pair is compared: a minute on two cores


class Finding(NamedTuple):
    """One thing found.

    severity  "error" (the result would be wrong), "warning" (look at it) or "note"
    kind      one word or two, the same for all findings of a kind
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
    imbalance   images of the largest class of train to those of the smallest
    sizes       "height×width" of the pictures, by how many have it, the commonest 10
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
    findings: tuple[Finding, ...]

    @property
    def clean(self) -> bool:
        """Whether nothing worse than a note was found."""
        return all(finding.severity == "note" for finding in self.findings)

    def as_dict(self) -> dict[str, Any]:
        data = asdict(self)
        data["findings"] = [finding._asdict() for finding in self.findings]
        data["same"] = [group._asdict() for group in self.same]
        return data

    def __str__(self) -> str:
        return "\n".join(rendered(self))


def audit(source: Source, *, workers: int | None = None, progress: Progress | None = None) -> Audit:
    """Look at every image of a source (as `load` takes them) and say what is wrong with it. Nothing is written.

    Files: every one is read, decoded and hashed. Two files are the same picture if their bytes are equal, or if they
    look the same (`near_pairs` in likeness.py); the second is left out for pictures under 32 pixels a side and for
    more than 50,000 of them. Raises DataError only where the source itself is not there or cannot be listed.
    """
    listing = listed(source)
    if listing is not None:
        seen = inspect_files(listing.entries, workers, progress)
        return account(listing.name, seen, dict(listing.ignored))
    loaded = from_arrays(source, None, Wish(None, None, "pad", 0, workers, progress).progress)
    return account(loaded.name, inspect_arrays(loaded.parts), {})


def account(name: str, seen: Sequence[Seen], ignored: dict[str, int]) -> Audit:
    """The Audit of what was seen."""
    good = [item for item in seen if item.why is None]
    unreadable = tuple(Skipped(item.file, item.why) for item in seen if item.why is not None)
    classes = class_order([item.label for item in seen])
    splits = [split for split in SPLITS if any((item.split or "all") == split for item in seen)]
    tally = Counter((item.split or "all", item.label) for item in good)
    counts = {split: {label: tally[split, label] for label in classes} for split in splits}
    learnt = [n for n in counts.get("train", counts.get("all", {})).values() if n]
    shapes = [item.width / item.height for item in good]
    same, unsearched = alike(good)
    empty = tuple(item.file for item, flat in zip(good, shows_nothing(good), strict=True) if flat)
    sizes = Counter(f"{item.height}×{item.width}" for item in good)
    bare = Audit(
        name=name,
        images=len(good),
        classes=classes,
        counts=counts,
        unreadable=unreadable,
        ignored=ignored,
        same=same,
        imbalance=max(learnt) / min(learnt) if learnt else 1.0,
        sizes=dict(sizes.most_common(10)),
        aspects=(min(shapes), median(shapes), max(shapes)) if shapes else (1.0, 1.0, 1.0),
        modes=dict(Counter(item.mode for item in good).most_common()),
        blank=empty,
        findings=(),
    )
    found = [finding for look in LOOKS for finding in look(bare, good)]
    if unsearched:
        text = f"{unsearched:,} pictures are more than the {MOST:,} whose likeness is searched: only exact copies were"
        found.append(Finding("note", "not searched", text))
    found.sort(key=lambda finding: SEVERITIES.index(finding.severity))
    return Audit(**{**vars(bare), "findings": tuple(found)})


def shows_nothing(good: Sequence[Seen]) -> list[bool]:
    return blank(stacked(good)).tolist()


def stacked(good: Sequence[Seen]):
    import numpy as np

    return np.stack([item.thumb for item in good]) if good else np.zeros((0, 16, 17), np.uint8)


def alike(good: Sequence[Seen]) -> tuple[tuple[Group, ...], int]:
    """The groups of files with the same picture, exact ones first; and how many were too many to compare by look."""
    by_content: dict[str, list[int]] = {}
    for k, item in enumerate(good):
        by_content.setdefault(item.content, []).append(k)
    exact = [members for members in by_content.values() if len(members) > 1]
    kept = [members[0] for members in by_content.values() if min(good[members[0]][3:5]) >= SMALL]
    found = [grouped("exact", good, members) for members in exact]
    if len(kept) > MOST:
        return tuple(found), len(kept)
    for members in groups(near_pairs(stacked([good[k] for k in kept])), len(kept)):
        every = [j for m in members for j in by_content[good[kept[m]].content]]
        found.append(grouped("near", good, sorted(every)))
    return tuple(found), 0


def grouped(kind: str, good: Sequence[Seen], members: Sequence[int]) -> Group:
    items = [good[k] for k in members]
    files = tuple(item.file for item in items)
    return Group(kind, files, tuple(item.label for item in items), tuple(item.split or "all" for item in items))
