"""A training for several labels a picture: a published net, and one head for each label on its features."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from .. import __version__, atomic_file
from ..data.images import Dataset, Images
from ..data.label_sets import check_learnable, list_labels, make_targets
from ..data.reading import Reading, list_label_columns, list_unusual
from ..errors import RecipeError
from ..fitting.callables import Callables
from ..language import say
from ..metrics.label_report import LabelReport, choose_threshold, score_labels
from ..model.label_model import LabelModel, load_labels
from ..model.prediction import find_depth
from ..run_files import RunFiles
from ..terminal import make_printable
from .folders import choose_run_folder, claim_folder, name_data
from .options import Options
from .request import check_image_size, refuse_several
from .starting import load_backbone

if TYPE_CHECKING:
    from ..fitting.watch import Watch

# Pictures with a label, and without it, that a head needs: cross-validation wants each in two folds.
LEAST_PICTURES = 4
# What of the options has a meaning here.
TAKEN = ("net", "preset", "out", "size", "fit", "weights", "memory")


@dataclass(frozen=True)
class LabelRun:
    """What came of it: the folder with model.safetensors and report.json, the model, and its report.

    split  what the report was measured on: "test", or where there is none "valid"
    """

    folder: Path
    model: LabelModel
    report: LabelReport
    split: str

    def __str__(self) -> str:
        files = RunFiles(self.folder)
        return "\n".join([
            str(self.report), "",
            say("model   {file}", file=make_printable(str(files.model))),
            say("report  {file}", file=make_printable(str(files.report))),
        ])  # fmt: skip


def train_labels(
    data: Any, options: Options, reading: Reading, settings: dict[str, Any], callables: Callables, watch: Watch | None
) -> LabelRun:
    """Learn several labels a picture by transfer. Raises RecipeError for what this way cannot go by.

    Each label has a regularised logistic regression of its own on the frozen net's features, its strength
    cross-validated, and a threshold of best F1 on pictures that the head had not seen. Rare labels are not weighted:
    the probabilities stay those of the data, and the threshold does what weights would.
    """
    from ..fitting.watch import TerminalWatch

    check_taken(options, settings, callables)
    choose_run_folder(name_data(data), options.out, False)  # refused before the training and not after it
    watch = watch or TerminalWatch()
    try:
        return learn_labels(data, options, reading, int(settings.get("seed") or 0), watch)
    finally:
        watch.close()


def check_taken(options: Options, settings: dict[str, Any], callables: Callables) -> None:
    """Raise RecipeError for an option or a setting that has no meaning here."""
    usual = msgspec.structs.asdict(Options())
    given = [name for name, value in msgspec.structs.asdict(options).items() if value != usual[name]]
    given = [name for name in given if name not in TAKEN] + [name for name in settings if name != "seed"]
    if options.preset not in (None, "transfer"):
        given.append("preset")
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        given.append("devices")
    if others := [*given, *callables.names]:
        raise refuse_several(others[0])


def learn_labels(data: Any, options: Options, reading: Reading, seed: int, watch: Watch) -> LabelRun:
    from ..data.sources.load import load_dataset
    from ..data.sources.pairs import collect_source
    from ..engines.model_file import LABELS_FORMAT, ModelHeader, Preprocess, save_model
    from ..model.known import describe_known
    from ..transfer.extraction import TransferJob, extract_all

    fit, model = options.fit or "pad", load_backbone(options.net, options.weights)
    h, w = check_image_size(options.size) or model.preprocess.size
    whole = load_dataset(
        collect_source(data, reading, watch.loading), size=(h, w), channels=model.net.input[0], fit=fit, seed=seed,
        reading=reading, progress=watch.loading, memory=options.memory, depth=find_depth(model.preprocess),
    )  # fmt: skip
    labels = list_label_columns(reading) or list_labels(whole.classes)
    if not labels:
        raise RecipeError(say("labels"), say("no picture has a label"))
    learnt = learn_from(whole)
    truth = np.concatenate([make_targets(part, labels) for part in learnt])
    check_learnable(truth, labels, LEAST_PICTURES)
    watch.plan([*whole.notes, describe_labels(whole, labels, model.net.name)])
    pre = Preprocess(whole.shape[1:], fit, model.preprocess.mean, model.preprocess.std, depth=whole.depth)
    job = TransferJob(
        model.net.resized(whole.shape), model.tensors, pre, name_outputs_labels(whole, labels), seed, None, watch,
        lambda: False,
    )  # fmt: skip
    sight = extract_all(job, False)
    parts = [sight.train, sight.valid][: len(learnt)]
    x, marks = np.concatenate([part.vectors for part in parts]), np.array([m for part in parts for m in part.marks])
    weight, bias, thresholds, strengths = fit_label_heads(x, truth, marks, seed, job.wide.blocks)
    header = ModelHeader(
        net=job.wide.net,
        classes=labels,
        preprocess=pre,
        recipe={"preset": "transfer", "backbone": model.net.name, "seed": seed},
        metrics={f"strength of {label}": strength for label, strength in zip(labels, strengths, strict=True)},
        fingerprint=whole.fingerprint,
        reading=list_unusual(reading),
        known=describe_known(whole, options.weights),
        outputs="sigmoid",
        thresholds=thresholds,
        version=__version__,
        format=LABELS_FORMAT,
    )
    with claim_folder(name_data(data), options.out, False) as folder:
        save_model(RunFiles(folder).model, header, job.wide.tensors(model.tensors, weight, bias))
        return measure_label_run(folder, whole)


def learn_from(data: Dataset) -> tuple[Images, ...]:
    """The images that the heads learn from: those to validate on too, where they were drawn and others measure."""
    return (data.train, data.valid) if data.drawn_valid and data.test is not None else (data.train,)


def name_outputs_labels(data: Dataset, labels: tuple[str, ...]) -> Dataset:
    """The data set for a net with an output a label; its images are told by their pixels alone."""
    return replace(data, train=replace(data.train, classes=labels), valid=replace(data.valid, classes=labels))


def describe_labels(data: Dataset, labels: tuple[str, ...], backbone: str) -> str:
    told = ", ".join(labels[:8]) + (", …" if len(labels) > 8 else "")
    return say(
        "several labels a picture, {count}: {labels}; a head each on {backbone}, its threshold chosen by F1",
        count=len(labels), labels=told, backbone=backbone,
    )  # fmt: skip


def fit_label_heads(
    x: np.ndarray, truth: np.ndarray, marks: np.ndarray, seed: int, blocks: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray, tuple[float, ...], list[float]]:
    """Weight float32 K×d and bias K of the log odds, the labels' thresholds, and their heads' strengths.

    The log odds of a label are the difference of the two logits of a head for "has it" and "has it not".
    """
    from ..transfer.head import answer_held, fit_head

    weights, biases, thresholds, strengths = [], [], [], []
    for own in truth.T:
        head = fit_head(x, own.astype(np.int64), 2, seed, marks, blocks)
        rows, p = answer_held(head, x)
        weights.append(head.linear.weight[1] - head.linear.weight[0])
        biases.append(head.linear.bias[1] - head.linear.bias[0])
        thresholds.append(choose_threshold(p[:, 1], own[rows]))
        strengths.append(float(head.strength))
    return np.array(weights, np.float32), np.array(biases, np.float32), tuple(thresholds), strengths


def measure_label_run(folder: Path, data: Dataset) -> LabelRun:
    """The run with its report, measured on pictures that its heads have not learnt from."""
    model, split = load_labels(folder), "valid" if data.test is None else "test"
    truth = make_targets(data.measured, model.labels)
    report = score_labels(model.probabilities(data.measured.x), truth, model.labels, model.thresholds)
    atomic_file.write_file(RunFiles(folder).report, json.dumps(report.as_dict() | {"split": split}) + "\n")
    return LabelRun(folder, model, report, split)
