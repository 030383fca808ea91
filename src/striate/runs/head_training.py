"""A training for several labels or a number a picture: a published net, and a head on its features."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np

from .. import __version__, atomic_file
from ..data.images import Dataset, Images
from ..data.reading import Reading, list_unusual
from ..fitting.callables import Callables
from ..language import say
from ..metrics.label_report import LabelReport
from ..metrics.number_report import NumberReport
from ..model.label_model import LabelModel
from ..model.number_model import NumberModel
from ..model.prediction import find_depth
from ..run_files import RunFiles
from ..terminal import make_printable
from .folders import choose_run_folder, claim_folder, name_data
from .options import Options
from .request import check_image_size, refuse_outputs
from .starting import load_backbone

if TYPE_CHECKING:
    from ..engines.model_file import Preprocess
    from ..fitting.watch import Watch

# What of the options has a meaning here.
TAKEN = ("net", "preset", "out", "size", "fit", "weights", "memory")


class TableDoubt(NamedTuple):
    """What the table says of a picture and is likely wrong. `row` counts the pictures that were learnt from.

    label   of several labels the one that is doubtful, else the number's name
    given   what the table says: 1 or 0 of a label, or the number
    unseen  what a head says that had not seen the picture: the label's probability, or a number
    """

    row: int
    file: str
    label: str
    given: float
    unseen: float


@dataclass(frozen=True)
class HeadRun:
    """What came of it: the folder with model.safetensors and report.json, the model, and its report.

    split   what the report was measured on: "test", or where there is none "valid"
    doubts  what in the table is likely wrong, by heads that had not seen the picture, the most likely first
    judged  how many pictures were looked at for that
    """

    folder: Path
    model: LabelModel | NumberModel
    report: LabelReport | NumberReport
    split: str
    doubts: tuple[TableDoubt, ...]
    judged: int

    def __str__(self) -> str:
        files = RunFiles(self.folder)
        doubt = say(
            "labels  {wrong:,} of {judged:,} are likely wrong: see the report",
            wrong=len(self.doubts), judged=self.judged,
        )  # fmt: skip
        return "\n".join([
            str(self.report), "",
            *([doubt] if self.doubts else []),
            say("model   {file}", file=make_printable(str(files.model))),
            say("report  {file}", file=make_printable(str(files.report_page))),
        ])  # fmt: skip


class HeadData(NamedTuple):
    """The images to train a head on, and how they are shown to the net. `names` are those of its outputs."""

    whole: Dataset
    names: tuple[str, ...]
    backbone: str

    @property
    def files(self) -> tuple[str, ...]:
        """Those of the images to learn from."""
        return tuple(file for part in self.learnt for file in part.files)

    def take_picture(self, row: int) -> np.ndarray:
        """An image, uint8 h×w×C, of those to learn from."""
        train = self.whole.train
        return train.x[row] if row < len(train) else self.whole.valid.x[row - len(train)]

    @property
    def learnt(self) -> tuple[Images, ...]:
        """The images that a head learns from: those to validate on too, where they were drawn and others measure."""
        both = self.whole.drawn_valid and self.whole.test is not None
        return (self.whole.train, self.whole.valid) if both else (self.whole.train,)


class SeenImages(NamedTuple):
    """What the frozen net said of the images to learn from: features float32 n×d, and a mark of each image's pixels.

    blocks  how many features each stage of the net gave
    """

    features: np.ndarray
    marks: np.ndarray
    seed: int
    blocks: tuple[int, ...]


class LearntHead(NamedTuple):
    """Weight float32 K×d and bias float32 K, what the model file's header says of it, by field, and the doubts."""

    weight: np.ndarray
    bias: np.ndarray
    header: dict[str, Any]
    doubts: tuple[TableDoubt, ...]


class HeadWay(NamedTuple):
    """How one kind of answer is learnt.

    name     the names of the net's outputs, of the data set. Raises RecipeError where there are none
    prepare  what is to be learnt, of the data to train on, and a note on it. Raises DataError for what cannot be
    learn    the head, of what the net saw and what is to be learnt
    measure  the model in a folder, its report on the images to measure it on
    """

    name: Callable[[Dataset, Reading], tuple[str, ...]]
    prepare: Callable[[HeadData], tuple[np.ndarray, str]]
    learn: Callable[[HeadData, SeenImages, np.ndarray], LearntHead]
    measure: Callable[[Path, Images], tuple[Any, Any]]


def train_head(
    data: Any,
    options: Options,
    reading: Reading,
    settings: dict[str, Any],
    callables: Callables,
    watch: Watch | None,
    way: HeadWay,
) -> HeadRun:
    """Learn what the reading says by transfer. Raises RecipeError for what this way cannot go by."""
    from ..fitting.watch import TerminalWatch

    check_taken(options, reading, settings, callables)
    choose_run_folder(name_data(data), options.out, False)  # refused before the training and not after it
    watch = watch or TerminalWatch()
    try:
        return learn_head(data, options, reading, int(settings.get("seed") or 0), watch, way)
    finally:
        watch.close()


def check_taken(options: Options, reading: Reading, settings: dict[str, Any], callables: Callables) -> None:
    """Raise RecipeError for an option or a setting that has no meaning here."""
    usual = msgspec.structs.asdict(Options())
    given = [name for name, value in msgspec.structs.asdict(options).items() if value != usual[name]]
    given = [name for name in given if name not in TAKEN] + [name for name in settings if name != "seed"]
    if options.preset not in (None, "transfer"):
        given.append("preset")
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        given.append("devices")
    if others := [*given, *callables.names]:
        raise refuse_outputs(others[0], reading)


def learn_head(data: Any, options: Options, reading: Reading, seed: int, watch: Watch, way: HeadWay) -> HeadRun:
    from ..data.sources.load import load_dataset
    from ..data.sources.pairs import collect_source
    from ..engines.answers import ANSWERS
    from ..engines.model_file import ModelHeader, Preprocess, save_model
    from ..model.known import describe_known

    fit, model = options.fit or "pad", load_backbone(options.net, options.weights)
    h, w = check_image_size(options.size) or model.preprocess.size
    whole = load_dataset(
        collect_source(data, reading, watch.loading), size=(h, w), channels=model.net.input[0], fit=fit, seed=seed,
        reading=reading, progress=watch.loading, memory=options.memory, depth=find_depth(model.preprocess),
    )  # fmt: skip
    given = HeadData(whole, way.name(whole, reading), model.net.name)
    truth, note = way.prepare(given)
    watch.plan([*whole.notes, note])
    pre = Preprocess(whole.shape[1:], fit, model.preprocess.mean, model.preprocess.std, depth=whole.depth)
    seen, wide = see_images(model, pre, given, seed, watch)
    head = way.learn(given, seen, truth)
    header = ModelHeader(
        net=wide.net,
        classes=given.names,
        preprocess=pre,
        recipe={"preset": "transfer", "backbone": model.net.name, "seed": seed},
        fingerprint=whole.fingerprint,
        reading=list_unusual(reading),
        known=describe_known(whole, options.weights),
        outputs=reading.outputs,
        version=__version__,
        format=ANSWERS[reading.outputs].format,
        **head.header,
    )
    with claim_folder(name_data(data), options.out, False) as folder:
        save_model(RunFiles(folder).model, header, wide.tensors(model.tensors, head.weight, head.bias))
        return measure_head_run(folder, given, head.doubts, way)


def see_images(model: Any, pre: Preprocess, given: HeadData, seed: int, watch: Watch) -> tuple[SeenImages, Any]:
    """What the frozen net says of the images to learn from, and the net with its new head, `AdaptedNet`."""
    from ..transfer.extraction import TransferJob, extract_all

    whole = given.whole
    job = TransferJob(
        model.net.resized(whole.shape), model.tensors, pre, name_outputs(whole, given.names), seed, None, watch,
        lambda: False,
    )  # fmt: skip
    sight = extract_all(job, False)
    parts = [sight.train, sight.valid][: len(given.learnt)]
    x, marks = np.concatenate([part.vectors for part in parts]), np.array([m for part in parts for m in part.marks])
    return SeenImages(x, marks, seed, job.wide.blocks), job.wide


def name_outputs(data: Dataset, names: tuple[str, ...]) -> Dataset:
    """The data set for a net with outputs of these names; its images are told by their pixels alone."""
    return replace(data, train=replace(data.train, classes=names), valid=replace(data.valid, classes=names))


def measure_head_run(folder: Path, given: HeadData, doubts: tuple[TableDoubt, ...], way: HeadWay) -> HeadRun:
    """The run with its report and the page of it, measured on pictures that its head has not learnt from."""
    from ..report.answer_page import render_answer_page
    from .answer_content import gather_answer_page

    whole, files = given.whole, RunFiles(folder)
    split, judged = "valid" if whole.test is None else "test", sum(map(len, given.learnt))
    model, report = way.measure(folder, whole.measured)
    run = HeadRun(folder, model, report, split, doubts, judged)
    atomic_file.write_file(files.report_page, render_answer_page(gather_answer_page(run, given)))
    told = {"split": split, "judged": judged, "doubts": [doubt._asdict() for doubt in doubts]}
    atomic_file.write_file(files.report, json.dumps(report.as_dict() | told) + "\n")
    return run
