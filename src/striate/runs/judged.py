"""A data set's labels judged by cross-validating what a run was."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import atomic_file
from ..data.reading import drop_group_names, restore_reading
from ..errors import RunError
from ..fitting.watch import TerminalWatch, Watch
from ..language import say
from ..run_files import RunFiles
from ..terminal import format_count
from .folders import name_data, read_settings
from .starting import list_own_functions

if TYPE_CHECKING:
    from ..data.check.label_errors import Doubts
    from ..data.images import Images
    from ..model.model import Model


def judge_labels(data: Any, run: str | Path, parts: int, watch: Watch | None) -> Doubts:
    """`striate.label_errors`."""
    from ..data.check.label_errors import find_doubts
    from ..data.images import join_images
    from ..data.sources.load import load_dataset as load_data
    from ..model.opening import load
    from ..model.prediction import find_depth

    began, model, own = read_settings(Path(run)), load(run), watch or TerminalWatch()
    pre, channels = model.preprocess, model.net.input[0]
    try:
        whole = load_data(
            data,
            size=pre.size,
            channels=channels,
            fit=pre.fit,
            reading=drop_group_names(restore_reading(began)),
            progress=own.loading,
            depth=find_depth(pre),
        )
        images = join_images([part for part in (whole.train, whole.valid, whole.test) if part is not None])
        judge = judge_with_heads if began.get("preset") == "transfer" else judge_by_training
        doubts = find_doubts(judge(images, model, began, parts, own), images.y, images.files, images.classes)
        own.plan([str(doubts)])
        kept = {"classes": doubts.classes, "label_errors": doubts.listed()}
        if name_data(data) == began.get("data"):
            atomic_file.write_file(RunFiles(Path(run)).label_errors, json.dumps(kept) + "\n")
    finally:
        if watch is None:
            own.close()
    return doubts


def judge_with_heads(images: Images, model: Model, began: dict[str, Any], parts: int, watch: Watch) -> np.ndarray:
    """The class probabilities of each image by a head on the run's backbone that has not seen it."""
    from ..transfer.judge import judge_by_heads
    from .starting import load_backbone

    frozen, recipe = load_backbone(began.get("net"), began.get("weights")), model.header.recipe
    if "strength" not in recipe:
        what = say("the model file does not record the L2 strength of the head")
        raise RunError(str(model.path), what, hint=say("train it again with --preset transfer"))
    watch.plan(
        [
            say(
                "{parts} heads on {name}, each judging the images that it has not seen",
                parts=parts,
                name=frozen.net.name,
            )
        ]
    )
    return judge_by_heads(
        frozen.net, frozen.tensors, model.preprocess, images,
        strength=recipe["strength"], seed=recipe.get("seed", 0), parts=parts, watch=watch,
    )  # fmt: skip


def judge_by_training(images: Images, model: Model, began: dict[str, Any], parts: int, watch: Watch) -> np.ndarray:
    """The class probabilities of each image by the run's net, trained by its recipe on the other parts."""
    from ..data.check.label_errors import make_folds
    from ..data.images import Dataset
    from ..model.prediction import find_depth
    from .training import train

    if own := list_own_functions(model):
        what = say("this run was trained with functions of its user's own, so it cannot be done afresh from its folder")
        raise RunError(str(model.path), what, got=", ".join(own), hint=say("judge by a run without them"))
    split = make_folds(images.y, parts, groups=images.digests)
    p = np.zeros((len(images), len(images.classes)))
    watch.plan(
        [
            say(
                "{parts} trainings of {name}, each judging the images that it has not seen",
                parts=parts,
                name=model.net.name,
            )
        ]
    )
    for k, (rest, held) in enumerate(split, start=1):
        part = Dataset(
            "part", images.take(rest), images.take(held), None, (), f"part {k}", (), depth=find_depth(model.preprocess)
        )
        told = PartWatch(watch, say("part {k} of {parts}", k=k, parts=parts), began["recipe"]["epochs"])
        with tempfile.TemporaryDirectory() as folder:
            made = train(
                part, model.net, out=folder, fit=model.preprocess.fit, weights=began.get("weights"), watch=told,
                **began["recipe"],
            )  # fmt: skip
            p[held] = made.model.probabilities(part.valid.x)
        agreed = (p[held].argmax(1) == images.y[held]).mean()
        watch.plan(
            [
                say(
                    "part {k} of {parts}: {images} judged, {agreed:.1%} as labelled",
                    k=k,
                    parts=parts,
                    images=format_count(len(held), "image"),
                    agreed=agreed,
                )
            ]
        )
    return p


class PartWatch(Watch):
    """Tells `whole` of one part's training: how far its epochs are, and nothing else."""

    def __init__(self, whole: Watch, name: str, epochs: int) -> None:
        self.whole, self.name, self.epochs, self.done = whole, name, epochs, 0

    def step(self, step: int, steps: int, loss: float, acc: float, seen: int) -> None:
        self.whole.loading(f"steps, {self.name}", self.done * steps + step, self.epochs * steps)

    def epoch(self, row: Any, epochs: int, best: bool) -> None:
        self.done += 1
