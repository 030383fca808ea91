"""How several labels, and how a number a picture are learnt: heads on a published net's features."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..data.check.label_errors import find_doubts
from ..data.images import Dataset, Images
from ..data.label_sets import check_learnable, list_labels, make_targets
from ..data.number_labels import check_numbers, make_numbers
from ..data.reading import Reading, list_label_columns
from ..engines.answers import NumberScale
from ..errors import DataError, RecipeError
from ..language import say
from ..metrics.label_report import LabelReport, choose_threshold, score_labels
from ..metrics.number_report import NumberReport, format_quantity, score_numbers
from ..model.label_model import LabelModel, load_labels
from ..model.number_model import NumberModel, load_number
from .head_training import HeadData, HeadWay, LearntHead, SeenImages, TableDoubt

# Pictures with a label, and without it, that a head needs: cross-validation wants each in two folds.
LEAST_PICTURES = 4


def name_labels(whole: Dataset, reading: Reading) -> tuple[str, ...]:
    labels = list_label_columns(reading) or list_labels(whole.classes)
    if not labels:
        raise RecipeError(say("labels"), say("no picture has a label"))
    return labels


def prepare_labels(given: HeadData) -> tuple[np.ndarray, str]:
    """bool n×K: which labels the images to learn from have."""
    truth = np.concatenate([make_targets(part, given.names) for part in given.learnt])
    check_learnable(truth, given.names, LEAST_PICTURES)
    told = ", ".join(given.names[:8]) + (", …" if len(given.names) > 8 else "")
    return truth, say(
        "several labels a picture, {count}: {labels}; a head each on {backbone}, its threshold chosen by F1",
        count=len(given.names), labels=told, backbone=given.backbone,
    )  # fmt: skip


def learn_labels(given: HeadData, seen: SeenImages, truth: np.ndarray) -> LearntHead:
    heads = fit_label_heads(seen.features, truth, seen.marks, seen.seed, seen.blocks)
    pulls = {f"strength of {label}": strength for label, strength in zip(given.names, heads.strengths, strict=True)}
    doubts = [doubt for k in range(len(given.names)) for doubt in doubt_label(given, k, heads.unseen[k], truth[:, k])]
    doubts.sort(key=lambda doubt: 1 - abs(doubt.given - doubt.unseen))
    return LearntHead(heads.weight, heads.bias, {"thresholds": heads.thresholds, "metrics": pulls}, tuple(doubts))


def doubt_label(given: HeadData, k: int, unseen: Unseen, truth: np.ndarray) -> list[TableDoubt]:
    """What of a label is likely wrong in the table, as `find_label_errors` has it of "has it" and "has it not"."""
    found = find_doubts(unseen.p, truth[unseen.rows].astype(np.int64), given.files, ("0", "1"))
    rows = [int(unseen.rows[error.row]) for error in found.errors]
    return [
        TableDoubt(row, given.files[row], given.names[k], float(error.given),
                   error.confidence if error.given else error.other)
        for row, error in zip(rows, found.errors, strict=True)
    ]  # fmt: skip


class Unseen(NamedTuple):
    """Rows in order, and float64 N×2 what heads say that had not seen them: has it not, has it."""

    rows: np.ndarray
    p: np.ndarray


class LabelHeads(NamedTuple):
    """Weight float32 K×d and bias K of the log odds; the labels' thresholds, strengths, and what unseen heads say."""

    weight: np.ndarray
    bias: np.ndarray
    thresholds: tuple[float, ...]
    strengths: list[float]
    unseen: list[Unseen]


def fit_label_heads(
    x: np.ndarray, truth: np.ndarray, marks: np.ndarray, seed: int, blocks: tuple[int, ...]
) -> LabelHeads:
    """The heads for features float32 n×d and truth bool n×K; marks and blocks as for `head.fit_head`.

    Each label has a regularised logistic regression of its own, its strength cross-validated, and a threshold of best
    F1 on pictures that the head had not seen. Rare labels are not weighted: the probabilities stay those of the data,
    and the threshold does what weights would. The log odds of a label are the difference of the two logits of a head
    for "has it" and "has it not".
    """
    from ..transfer.head import answer_held, fit_head

    weights, biases, thresholds, strengths, unseen = [], [], [], [], []
    for own in truth.T:
        head = fit_head(x, own.astype(np.int64), 2, seed, marks, blocks)
        rows, p = answer_held(head, x)
        weights.append(head.linear.weight[1] - head.linear.weight[0])
        biases.append(head.linear.bias[1] - head.linear.bias[0])
        thresholds.append(choose_threshold(p[:, 1], own[rows]))
        strengths.append(float(head.strength))
        unseen.append(Unseen(rows, p))
    weight, bias = np.array(weights, np.float32), np.array(biases, np.float32)
    return LabelHeads(weight, bias, tuple(thresholds), strengths, unseen)


def measure_labels(folder: Path, images: Images) -> tuple[LabelModel, LabelReport]:
    model = load_labels(folder)
    truth = make_targets(images, model.labels)
    return model, score_labels(model.probabilities(images.x), truth, model.labels, model.thresholds)


# Pictures that a head needs: cross-validation fits it without a fold.
LEAST_NUMBERS = 20
# Of so many answers out of ten the margin says how near they were.
COVERED = 0.9
# A number is doubtful where a head that had not seen the picture is further from it than so many margins.
FAR_MARGINS = 3


def name_number(whole: Dataset, reading: Reading) -> tuple[str, ...]:
    return (str(reading.number),)


def prepare_numbers(given: HeadData) -> tuple[np.ndarray, str]:
    """float64 n: the numbers of the images to learn from."""
    values = np.concatenate([make_numbers(part) for part in given.learnt])
    [name] = given.names
    check_numbers(values, name)
    if len(values) < LEAST_NUMBERS:
        what = say("there are too few pictures to learn a number from")
        rule = say("{least} or more to train on", least=LEAST_NUMBERS)
        raise DataError(say("number {name}", name=name), what, got=f"{len(values)}", rule=rule)
    ends = [format_quantity(float(end)) for end in (values.min(), values.max())]
    return values, say(
        "a number a picture: {name}, from {low} to {high}; ridge regression on {backbone}",
        name=name, low=ends[0], high=ends[1], backbone=given.backbone,
    )  # fmt: skip


def learn_number(given: HeadData, seen: SeenImages, values: np.ndarray) -> LearntHead:
    from ..transfer.ridge import fit_ridge

    deviation = float(values.std())
    head = fit_ridge(seen.features, values / deviation, seen.seed, seen.marks, seen.blocks)
    off = np.abs(head.held * deviation - values)
    scale = NumberScale(
        mean=float(values.mean()), deviation=deviation, low=float(values.min()), high=float(values.max()),
        margin=find_margin(off),
    )  # fmt: skip
    weight, bias = ((part * deviation).astype(np.float32) for part in head.linear)
    tried = {f"error at strength {strength:.4g}": error * deviation for strength, error in head.tried}
    answers, [name] = head.held * deviation, given.names
    far = np.flatnonzero(off > FAR_MARGINS * scale.margin)
    doubts = [
        TableDoubt(int(row), given.files[row], name, float(values[row]), float(answers[row]))
        for row in far[np.argsort(-off[far], kind="stable")]
    ]
    told = {"number": scale, "metrics": {"strength": head.strength} | tried}
    return LearntHead(weight, bias, told, tuple(doubts))


def find_margin(off: np.ndarray) -> float:
    """Within what nine in ten errors are, and the next one too: the ⌈0.9·(n + 1)⌉-th of n sorted ones, or the largest.

    Split conformal prediction's rule (Lei et al. 2018), on answers of heads that had not seen the picture.

    >>> find_margin(np.arange(1.0, 20.0))
    18.0
    """
    place = int(np.ceil(COVERED * (len(off) + 1)))
    return float(np.sort(off)[min(place, len(off)) - 1])


def measure_number(folder: Path, images: Images) -> tuple[NumberModel, NumberReport]:
    model = load_number(folder)
    return model, score_numbers(
        model.numbers(images.x), make_numbers(images), images.files, name=model.name, mean=model.number.mean,
        margin=model.number.margin,
    )  # fmt: skip


# By what the reading says that is learnt.
HEAD_WAYS = {
    "sigmoid": HeadWay(name_labels, prepare_labels, learn_labels, measure_labels),
    "identity": HeadWay(name_number, prepare_numbers, learn_number, measure_number),
}
