"""The scores of a cross-validation's folds, and what they say together."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from ..language import say
from ..run_files import RunFiles
from ..terminal import format_count, make_printable, pad_left
from .classification import ClassScore, compute_wilson, score_classes
from .numbers import format_number, format_percent


@dataclass(frozen=True)
class FoldScore:
    """A fold, scored by the net that was trained on the others: `number` from 1, and its `run` folder's name.

    known    how many of its images that net knows from elsewhere: a copy in another fold, the weights it began with
    metrics  the user's own, by name
    """

    number: int
    run: str
    images: int
    accuracy: float
    accuracy_interval: tuple[float, float]
    macro_f1: float
    loss: float
    known: int | None = None
    metrics: Mapping[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True)
class CrossValidation:
    """The folds of a cross-validation and their mean, and all their images scored together.

    folder    holds the folds' runs, this record as folds.json, and the model that is kept, a run too
    mean      of the folds' accuracies, each fold weighing the same
    deviation their standard deviation over the folds, of a sample: divided by the number of folds − 1
    accuracy  of all images, each by the net that has not seen it; its interval is Wilson's, 95 %. macro_f1,
              balanced_accuracy, per_class and confusion are of all images too, as in a Report
    kept      "refit", a net trained once more on all images, or "ensemble", the mean of the folds' nets, which
              `striate.load(folder)` gives; or "none"
    """

    folder: Path
    folds: tuple[FoldScore, ...]
    mean: float
    deviation: float
    images: int
    accuracy: float
    accuracy_interval: tuple[float, float]
    macro_f1: float
    balanced_accuracy: float
    confusion: tuple[tuple[int, ...], ...]
    classes: tuple[str, ...]
    per_class: tuple[ClassScore, ...]
    kept: str = "none"

    def as_dict(self) -> dict[str, Any]:
        """All of it but its own place as plain JSON data."""
        plain = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "folder"}
        return plain | {
            "folds": [asdict(score) | {"accuracy_interval": list(score.accuracy_interval)} for score in self.folds],
            "accuracy_interval": list(self.accuracy_interval),
            "confusion": [list(row) for row in self.confusion],
            "classes": list(self.classes),
            "per_class": [score._asdict() for score in self.per_class],
        }

    def __str__(self) -> str:
        rows = [(say("fold"), say("images"), say("accuracy"), say("95 % interval"), say("macro F1"))]
        for score in self.folds:
            low, high = map(format_percent, score.accuracy_interval)
            share, f1 = format_percent(score.accuracy), format_number(score.macro_f1)
            rows.append((str(score.number), f"{score.images:,}", share, say("{low} to {high}", low=low, high=high), f1))
        wide = [4, max(len(row[1]) for row in rows), 8, 20, 8]  # of 100.00 % and two of them
        low, high = map(format_percent, self.accuracy_interval)
        known = sum(score.known or 0 for score in self.folds)
        spread = f"{format_percent(self.mean)} ± {100 * self.deviation:.2f} %"
        lines = [
            *("  ".join(pad_left(cell, w) for cell, w in zip(row, wide, strict=True)) for row in rows),
            say(
                "mean of {count} folds {spread} (sample standard deviation, ddof 1)",
                count=len(self.folds),
                spread=spread,
            ),
            say(
                "all folds {accuracy} ({low} to {high}, {images}), macro F1 {macro_f1}",
                accuracy=format_percent(self.accuracy),
                low=low,
                high=high,
                images=format_count(self.images, "image"),
                macro_f1=format_number(self.macro_f1),
            ),
            *(
                say("mean of {name} {value}", name=name, value=describe_metric(self.folds, name))
                for name in self.folds[0].metrics
            ),
            *(
                [say("of these, {images} were known to the net that judged them", images=format_count(known, "image"))]
                if known
                else []
            ),
            *describe_kept(self),
            say("summary  {file}", file=make_printable(str(RunFiles(self.folder).folds))),
        ]
        return "\n".join(lines)


def describe_kept(made: CrossValidation) -> list[str]:
    """Where the model is that was kept, in a line."""
    if made.kept == "none":
        return []
    images, file = format_count(made.images, "image"), make_printable(str(RunFiles(made.folder).model))
    if made.kept == "ensemble":
        return [say("ensemble {file}, the mean of {count} nets", file=file, count=len(made.folds))]
    return [say("refit    {file}, trained on all {images}", file=file, images=images)]


def describe_metric(folds: Sequence[FoldScore], name: str) -> str:
    """A metric's mean and sample standard deviation over the folds; – where it is not finite in one of them."""
    values = [value for fold in folds if (value := fold.metrics.get(name)) is not None]
    if len(values) < len(folds):
        return format_number(None)
    return f"{statistics.fmean(values):.4g} ± {statistics.stdev(values):.2g}"


def pool_folds(folder: Path, reports: Sequence[Mapping[str, Any]], kept: str = "none") -> CrossValidation:
    """The CrossValidation in `folder` of its folds' reports, as `Report.as_dict` has them, fold 1 first."""
    confusion = np.sum([report["confusion"] for report in reports], axis=0)
    images, right = int(confusion.sum()), int(confusion.trace())
    classes = tuple(reports[0]["classes"])
    per_class = tuple(score_classes(confusion, classes))
    present = [score for score in per_class if score.support]
    shares = [float(report["accuracy"]) for report in reports]
    return CrossValidation(
        folder=folder,
        folds=tuple(score_fold(number, report) for number, report in enumerate(reports, 1)),
        mean=statistics.fmean(shares),
        deviation=statistics.stdev(shares),
        images=images,
        accuracy=right / images,
        accuracy_interval=compute_wilson(right, images),
        macro_f1=float(np.mean([score.f1 for score in present])),
        balanced_accuracy=float(np.mean([score.recall for score in present])),
        confusion=tuple(tuple(map(int, row)) for row in confusion),
        classes=classes,
        per_class=per_class,
        kept=kept,
    )


def score_fold(number: int, report: Mapping[str, Any]) -> FoldScore:
    low, high = report["accuracy_interval"]
    plain = {name: report[name] for name in ("images", "accuracy", "macro_f1", "loss", "known")}
    plain["metrics"] = report.get("metrics", {})
    return FoldScore(
        number=number, run=RunFiles(Path()).fold(number).folder.name, accuracy_interval=(low, high), **plain
    )
