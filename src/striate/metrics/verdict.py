"""What a report comes to, in words before figures: how good, how surely, where weakest, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import ceil, floor, log10
from statistics import median
from typing import Any

import msgspec

from ..data.check.label_errors import Doubts
from ..language import say, to_say
from ..terminal import make_printable
from .classification import Report, compute_wilson
from .hard_images import HardGroup

# A test is large enough where its interval reaches so far to either side.
ENOUGH_WITHIN = 0.02

# A class has few images to train on with less than this share of the median class.
FEW_SHARE = 0.5

# So many pieces of advice are given, those of most worth.
MOST_ADVICE = 5

ADVICE = {
    "labels": to_say("Look at {count:,} labels of {of:,} that are likely wrong: the report shows them."),
    "pair": to_say("Add pictures of {name} and {other}: {count:,} of one were taken for the other."),
    "few": to_say(
        "Add pictures of {name}: it has {count:,} to train on, the median class {of:,}, and {wrong:,} of its "
        "{images:,} here are wrong."
    ),
    "copies": to_say(
        "Take out {count:,} of these {of:,} pictures: the network has learned from the same ones, so the figure may be "
        "too good."
    ),
    "dark": to_say("Add dark pictures: of the darkest {count:,} {wrong:,} are wrong, of the other {of:,} {rest:,}."),
    "bright": to_say(
        "Add bright pictures: of the brightest {count:,} {wrong:,} are wrong, of the other {of:,} {rest:,}."
    ),
    "blurred": to_say(
        "Add blurred pictures, or sharper ones in their place: of the most blurred {count:,} {wrong:,} are wrong, of "
        "the other {of:,} {rest:,}."
    ),
    "blank": to_say(
        "Look at the pictures that are nearly blank: of the {count:,} of least contrast {wrong:,} are wrong, of the "
        "other {of:,} {rest:,}."
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Weakness:
    """The weakest class: `right` of its `images`, and `taken` of the others were predicted as `taken_for`."""

    truth: str
    right: int
    images: int
    taken_for: str
    taken: int


@dataclass(frozen=True)
class Advice:
    """Something to do. `worth` is the share of all answers, 0 to 1, that it can change at most.

    kind    one of ADVICE; values  what its sentence takes
    """

    kind: str
    worth: float
    values: dict[str, str | int | float]


@dataclass(frozen=True)
class Verdict:
    """How good a classifier is, as plain data; `tell` and `tell_advice` say it.

    low, high  Wilson's interval of 95 %
    more       images to test on beyond these, until that interval reaches 2 points to either side; 0: it does
    split      "test"; "valid" where these images have chosen the epoch too; "cross-validation" where the model has
               learnt from them, and each was judged by one that had not seen it
    weakest    None where every answer is right
    advice     what is worth most first
    """

    right: int
    images: int
    low: float
    high: float
    more: int
    split: str
    weakest: Weakness | None
    advice: tuple[Advice, ...]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def tell(self) -> list[str]:
        """The sentences, in the language of the moment."""
        low, high = format_points(self.low, self.high)
        values = {"right": self.right, "images": self.images, "low": low, "high": high}
        if self.split == "test":
            first = say(
                "Right on {right:,} of {images:,} new pictures like these (95 % sure: {low} to {high} %).", **values
            )
        elif self.split == "cross-validation":
            first = say(
                "Right on {right:,} of {images:,} pictures, each judged by a network that had not seen it (95 % sure: "
                "{low} to {high} %).", **values
            )  # fmt: skip
        else:
            first = say(
                "Right on {right:,} of {images:,} validation pictures (95 % sure: {low} to {high} %); there is no test "
                "split, and these have chosen the epoch too: new pictures may fare worse.",
                **values,
            )  # fmt: skip
        told = [first]
        if self.more:
            told.append(say("To know it within ±2 points, test about {more:,} more.", more=round_up(self.more)))
        if self.weakest:
            told.append(
                say("Weakest: {truth} ({right:,} of {images:,} right), taken for {taken_for}.", **asdict(self.weakest))
            )
        return told

    def tell_advice(self) -> list[str]:
        """What to do, a sentence each, in the language of the moment."""
        return [
            say(
                "{advice} Worth {points} at most.",
                advice=say(ADVICE[item.kind], **item.values),
                points=say("{points:.1f} points", points=100 * item.worth),
            )
            for item in self.advice
        ]


def judge_report(
    report: Report,
    split: str,
    *,
    trained: Mapping[str, int] | None = None,
    doubts: Doubts | None = None,
    hard: Sequence[HardGroup] = (),
) -> Verdict:
    """The Verdict of a report.

    trained  how many images of each class there were to train on
    doubts   what is said of the labels; hard  the kinds of images that are more often wrong than the others
    """
    right = sum(row[k] for k, row in enumerate(report.confusion))
    low, high = report.accuracy_interval
    advice = [
        *advise_labels(doubts),
        *advise_copies(report),
        *advise_pair(report),
        *advise_classes(report, trained or {}),
        *(advise_hard(group, report.images) for group in hard),
    ]
    ranked = tuple(sorted(advice, key=lambda item: -item.worth)[:MOST_ADVICE])
    more = count_more_images(right, report.images)
    return Verdict(right, report.images, low, high, more, split, find_weakest(report), ranked)


def restore_verdict(data: Any) -> Verdict:
    """A Verdict from what `as_dict` gave."""
    return msgspec.convert(data, Verdict)


def count_more_images(right: int, images: int, within: float = ENOUGH_WITHIN) -> int:
    """How many more images narrow the interval of 95 % to `within` on either side; 0 where it is so narrow.

    The interval is Wilson's, half of its width counts, and the share that is right is taken to stay as it is here:
    where more errors turn up, more images are needed.

    >>> count_more_images(19, 20), count_more_images(9_500, 10_000)
    (449, 0)
    """
    share = right / images

    def reach(n: int) -> float:
        low, high = compute_wilson(n if right == images else share * n, n)  # type: ignore[arg-type]
        return (high - low) / 2

    few, many = images, images
    if reach(images) <= within:
        return 0
    while reach(many) > within:
        few, many = many, 2 * many
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (middle, many) if reach(middle) > within else (few, middle)
    return many - images


def find_weakest(report: Report) -> Weakness | None:
    """The class whose recall is surely the lowest: the upper end of its Wilson interval is; None without an error."""
    found = [
        (compute_wilson(row[k], sum(row))[1], -sum(row), k)
        for k, row in enumerate(report.confusion)
        if sum(row) > row[k]
    ]
    if not found:
        return None
    k = min(found)[2]
    row = report.confusion[k]
    taken, _, other = max((n, -j, j) for j, n in enumerate(row) if j != k)
    return Weakness(report.classes[k], row[k], sum(row), report.classes[other], taken)


def advise_labels(doubts: Doubts | None) -> list[Advice]:
    if doubts is None or not doubts.errors:
        return []
    count = len(doubts.errors)
    return [Advice("labels", count / doubts.judged, {"count": count, "of": doubts.judged})]


def advise_copies(report: Report) -> list[Advice]:
    """Copies of images that were learned from, among those that were measured on."""
    if not report.known or report.left_out:
        return []
    return [Advice("copies", report.known / report.images, {"count": report.known, "of": report.images})]


def advise_pair(report: Report) -> list[Advice]:
    """The two classes that are most often confused, either way; from two such images on."""
    table, count = report.confusion, len(report.classes)
    pairs = ((table[a][b] + table[b][a], -a, -b) for a in range(count) for b in range(a + 1, count))
    most, a, b = max(pairs, default=(0, 0, 0))
    if most < 2:
        return []
    names = {"name": report.classes[-a], "other": report.classes[-b]}
    return [Advice("pair", most / report.images, names | {"count": most})]


def advise_classes(report: Report, trained: Mapping[str, int]) -> list[Advice]:
    """The classes that have few images to train on, and a recall below the mean one."""
    if not trained:
        return []
    usual = floor(median(trained.values()))
    return [
        Advice("few", (item.support - right) / report.images,
               {"name": item.name, "count": trained[item.name], "of": usual, "wrong": item.support - right,
                "images": item.support})
        for k, item in enumerate(report.per_class)
        for right in [report.confusion[k][k]]
        if item.recall is not None and item.recall < report.balanced_accuracy
        and trained.get(item.name, usual) < FEW_SHARE * usual
    ]  # fmt: skip


def advise_hard(group: HardGroup, images: int) -> Advice:
    """Worth what would be gained if these images were as often right as the others."""
    excess = group.wrong / group.images - group.other_wrong / group.others
    share = group.images / (group.images + group.others)
    values = {"count": group.images, "wrong": group.wrong, "of": group.others, "rest": group.other_wrong}
    return Advice(group.kind, excess * share, values)  # type: ignore[arg-type]


def format_verdict(verdict: Verdict) -> list[str]:
    """The lines for the terminal: a sentence each, and under them what to do."""
    advice = [f"  {number}. {line}" for number, line in enumerate(verdict.tell_advice(), start=1)]
    return [make_printable(line) for line in (*verdict.tell(), *advice)]


def format_points(low: float, high: float) -> tuple[str, str]:
    """Both ends of an interval in percent, in whole points where they are far enough apart.

    >>> format_points(0.7639, 0.9911), format_points(0.9971, 0.9987)
    (('76', '99'), ('99.71', '99.87'))
    """
    digits = 0 if high - low >= 0.03 else 1 if high - low >= 0.002 else 2
    return f"{100 * low:.{digits}f}", f"{100 * high:.{digits}f}"


def round_up(count: int) -> int:
    """A count to two digits, upwards.

    >>> round_up(448), round_up(72), round_up(12_010)
    (450, 72, 13000)
    """
    step = 10 ** max(0, floor(log10(count)) - 1)
    return ceil(count / step) * step
