"""Transfer: a published net for a few hundred or thousand photographs, in seconds.

The frozen net sees each image once; a linear head is trained on what it says, its strength chosen by cross-validation.
Where there is time, the net's last stages are fine-tuned on the maps that the first ones gave; the result is what
validation says is better. The test split never comes in here.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import torch

from ..architecture.net import Net
from ..architecture.text import to_json
from ..data.check.label_errors import Doubts, find_doubts
from ..data.images import Dataset
from ..data.store.allowance import format_bytes, parse_allowance
from ..engines.model_file import Preprocess
from ..engines.torch import Network, build_network, load_tensors
from ..fitting.loop import StopRequested
from ..fitting.probe import ProbeResult
from ..fitting.ranks import ALONE, Ranks
from ..fitting.run import SAVE_EVERY, Epoch
from ..fitting.watch import Watch
from ..run_files import RunFiles
from ..terminal import format_count
from . import fine_tune, frozen_norms
from .backbone import AdaptedNet, adapt_backbone, take_part
from .features import FeatureProgress, FrozenNet, extract_features, extract_features_and_maps
from .fine_tune_state import TransferState
from .head import LinearHead, TrainedHead, compute_probabilities, fit_head, score_logits

# Up to so many training images, the head learns from their mirrored views too, for as much time again.
#
# On clothing, 0.3 % more right from 300 images and 0.2 % from 1,000; from 3,000, nothing.
MIRRORED_IMAGES = 1_000
# Images that tell whether left and right may be exchanged, where there are more.
ASKED_IMAGES = 200
# Epochs of fine-tuning from which on it is worth computing the mirrored images' maps.
FLIP_FROM = 3
# Epochs of fine-tuning at most.
MOST_EPOCHS = 8


@dataclass(frozen=True, eq=False)
class TransferResult:
    """What came of a transfer.

    net, tensors  the classifier, for a model file
    history       a row for the head alone, epoch 0, its loss and accuracy cross-validated; then a row for each epoch of
                  fine-tuning. `tensors` are of the row `best`: by validation accuracy, then loss
    settings      what a model file's recipe says of it, as JSON data
    notes         what was decided on the way, a sentence each
    doubts        what cross-validation's heads say of the labels
    """

    net: Net
    tensors: dict[str, np.ndarray]
    history: tuple[Epoch, ...]
    best: Epoch
    settings: dict[str, Any]
    notes: tuple[str, ...]
    doubts: Doubts


def transfer_net(
    backbone: Net,
    tensors: Mapping[str, np.ndarray],
    preprocess: Preprocess,
    data: Dataset,
    *,
    seed: int = 0,
    seconds: float | None = None,
    folder: Path | None = None,
    resume: bool = False,
    watch: Watch | None = None,
    stop: Callable[[], bool] = lambda: False,
    ranks: Ranks = ALONE,
) -> TransferResult:
    """`backbone`, a net with published weights, for the classes of `data`.

    tensors     the backbone's; preprocess  the size and fit that `data` was loaded with, the backbone's mean and std
    seconds     to take, about, from this call on, with the time to show the images to test on to the finished net
                afterwards: what is left after the head goes into fine-tuning; None: no more than the head. The number
                of epochs is settled once; a resumed transfer keeps to it, or where it was not settled yet, to the
                `seconds` of its beginning
    folder      where its checkpoint goes; None: it cannot be resumed
    stop        asked after every few images and at each step of fine-tuning; where it says yes, loop.Interrupted is
                raised, and `resume` goes on
    watch       told of the progress
    ranks       those whose others `assist_transfer`: each shows the frozen net its share of the images
    The same images, seed and number of epochs give the same tensors, bit for bit on one machine.
    Raises NetError for a backbone that does not end in Dense, RunError where `folder` holds another run.
    """
    began = time.perf_counter()
    job = TransferJob(
        backbone.resized(data.shape), tensors, preprocess, data, seed, folder, watch or Watch(), stop, ranks
    )
    begun = resume and folder is not None and RunFiles(folder).checkpoint.is_file()
    state = TransferState.resumed(folder, job.identity) if begun and folder else TransferState(job.identity, seconds)
    ends = None if state.seconds is None else began + state.seconds
    tune = state.epochs != 0 and ends is not None
    obstacle = explain_no_tuning(job) if tune else ""
    if state.epochs is None and (not tune or obstacle):
        state.epochs = 0
    state.save(folder)
    sight = extract_all(job, bool(tune and not obstacle))
    made, may_flip = train_head(job, sight)
    if not sight.tuning:
        return add_note(made, f"not fine-tuned: {obstacle}") if obstacle else made
    job.watch.plan(list(made.notes))
    return tune_tail(job, sight, made, may_flip, state, ends)


@dataclass(frozen=True, eq=False)
class TransferJob:
    """A transfer's givens: the arguments of `transfer_net`, the backbone at the images' size."""

    backbone: Net
    theirs: Mapping[str, np.ndarray]
    preprocess: Preprocess
    data: Dataset
    seed: int
    folder: Path | None
    watch: Watch
    stop: Callable[[], bool]
    ranks: Ranks = ALONE

    @cached_property
    def wide(self) -> AdaptedNet:
        """The net whose head reads several stages."""
        return adapt_backbone(self.backbone, len(self.data.classes), taps=True)

    @cached_property
    def plain(self) -> AdaptedNet:
        """The net as published, with another head: the one to fine-tune."""
        return adapt_backbone(self.backbone, len(self.data.classes))

    @property
    def tap(self) -> str:
        """The name of the last layer that stays frozen when the others are fine-tuned."""
        return self.plain.net.body.named[self.plain.trunk - 1][0]

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What a resumed transfer must share with its beginning, as JSON data."""
        whole = hashlib.sha256()
        for name in self.backbone.tensors:
            whole.update(np.ascontiguousarray(self.theirs[name], np.float32).data)
        return {
            "net": to_json(self.backbone),
            "weights": whole.hexdigest(),
            "classes": list(self.data.classes),
            "preprocess": json.loads(msgspec.json.encode(self.preprocess)),
            "seed": self.seed,
            "data": self.data.fingerprint,
        }

    def progress(self, what: str) -> Callable[[int, int], None]:
        """Tells the watch how many images are done; raises loop.Interrupted where the run is to stop."""

        def say(done: int, of: int) -> None:
            self.ranks.at(f"{done} of {of} {what}")
            self.watch.loading(what, done, of)
            if self.stop():
                raise StopRequested

        return say


class SplitFeatures(NamedTuple):
    """What the frozen net said of a split: vectors float32 N×d, maps float16 N×h×w×C or None; the images' digests."""

    vectors: np.ndarray
    maps: np.ndarray | None
    marks: list[bytes]


class FrozenFeatures(NamedTuple):
    """What the frozen net said of both splits, and the seconds that it took an image."""

    frozen: FrozenNet
    train: SplitFeatures
    valid: SplitFeatures
    seconds: float

    @property
    def tuning(self) -> bool:
        return self.train.maps is not None

    @property
    def groups(self) -> np.ndarray:
        """A mark for each training image, the same for copies of one picture."""
        return np.array(self.train.marks)


def explain_no_tuning(job: TransferJob) -> str:
    """Why this net cannot be fine-tuned on these data; "" where it can be."""
    if not job.plain.trunk:
        return f"{job.backbone.name} has no stage after which to cut it"
    count = prod(job.backbone.at(job.tap).y) * 2 * (2 * len(job.data.train) + len(job.data.valid))
    if count > parse_allowance():
        return f"the maps of {len(job.data.train):,} images take {format_bytes(count)}, more than memory allows"
    return ""


def extract_all(job: TransferJob, tuning: bool) -> FrozenFeatures:
    """Show the frozen net all images to train and to validate on, once; its maps are kept where it is `tuning`."""
    frozen = make_frozen_net(job, tuning)
    began = time.perf_counter()
    train, valid = (extract_split(job, frozen, split) for split in ("train", "valid"))
    seconds = (time.perf_counter() - began) / (len(train.marks) + len(valid.marks))
    return FrozenFeatures(frozen, train, valid, seconds * job.ranks.world / job.ranks.local)  # of one machine


def make_frozen_net(job: TransferJob, tuning: bool) -> FrozenNet:
    net, weights = take_part(job.wide.net, job.wide.kept(job.theirs), 0, -1)
    tap = job.tap if tuning else None
    return FrozenNet(net, weights, job.preprocess.mean, job.preprocess.std, tap, job.ranks.threads)


def extract_split(job: TransferJob, frozen: FrozenNet, split: str) -> SplitFeatures:
    images = getattr(job.data, split)
    marks, say = images.digests, job.progress(f"images seen by {job.backbone.name}")
    wanted = Wanted(split, False, frozen.tap is not None)
    return SplitFeatures(*show_together(job, frozen, wanted, np.arange(len(images)), marks, say), marks)


class Wanted(NamedTuple):
    """What the frozen net is to be shown: of which split, mirrored or not; and whether its `maps` are wanted too."""

    split: str
    mirrored: bool
    maps: bool


# The vectors of some images, and their maps where they are wanted.
Found = tuple[np.ndarray, np.ndarray | None]


def show_together(
    job: TransferJob, frozen: FrozenNet, wanted: Wanted, rows: np.ndarray, marks: list[bytes], say: FeatureProgress
) -> Found:
    """What the frozen net says of the images at some rows, each rank showing it its share."""
    if job.ranks.world > 1:
        tuning = frozen.tap is not None
        job.ranks.tell(do="show images", wanted=wanted._asdict(), rows=rows.tolist(), tuning=tuning)
    own = job.ranks.share(len(rows))
    found = show_images(job, frozen, wanted, rows[own], [marks[k] for k in own], say)
    return gather_features(job.ranks, found, len(rows))


def show_images(
    job: TransferJob, frozen: FrozenNet, wanted: Wanted, rows: np.ndarray, marks: list[bytes], say: FeatureProgress
) -> Found:
    images = getattr(job.data, wanted.split)
    x = images.x if len(rows) == len(images) else images.take(rows).x
    if wanted.maps:
        return extract_features_and_maps(frozen, x, marks, mirrored=wanted.mirrored, progress=say)
    return extract_features(frozen, x, marks, mirrored=wanted.mirrored, progress=say), None


def gather_features(ranks: Ranks, found: Found, count: int) -> Found:
    """On the first rank what all ranks' shares of `count` images gave."""
    vectors, maps = found
    return ranks.gathered(vectors, count), None if maps is None else ranks.gathered(maps, count)


def assist_transfer(
    backbone: Net, tensors: Mapping[str, np.ndarray], preprocess: Preprocess, data: Dataset, seed: int, ranks: Ranks
) -> None:
    """The part of a rank that is not the first in its `transfer_net`: its share of the images, as often as it is
    told.
    """
    job = TransferJob(
        backbone.resized(data.shape), tensors, preprocess, data, seed, None, Watch(), lambda: False, ranks
    )
    nets: dict[bool, FrozenNet] = {}
    while (order := ranks.told())["do"] == "show images":
        wanted, rows, tuning = Wanted(**order["wanted"]), np.array(order["rows"], int), order["tuning"]
        if tuning not in nets:
            nets[tuning] = make_frozen_net(job, tuning)
        own = rows[ranks.share(len(rows))]
        marks = getattr(data, wanted.split).take(own).digests
        found = show_images(job, nets[tuning], wanted, own, marks, job.progress("images through the net"))
        gather_features(ranks, found, len(rows))


def train_head(job: TransferJob, sight: FrozenFeatures) -> tuple[TransferResult, bool]:
    """The frozen net with its head, and whether left and right may be exchanged."""
    began, y, classes = time.perf_counter(), job.data.train.y, len(job.data.classes)
    head = fit_head(sight.train.vectors, y, classes, job.seed, sight.groups)
    few, learnt = len(y) <= MIRRORED_IMAGES, ""
    rows = np.arange(0, len(y), 1 if few else len(y) // ASKED_IMAGES) if few or sight.tuning else np.arange(0)
    vectors = extract_mirrored(job, sight, rows)
    said = judge_mirroring(head, sight.train.vectors, y, rows, vectors, classes)
    if few and said.may_flip:
        both = np.concatenate([sight.train.vectors, vectors])
        head = fit_head(both, np.tile(y, 2), classes, job.seed, np.tile(sight.groups, 2))
        learnt = " and of its mirrored view"
    acc, loss = score_logits(head.linear(sight.valid.vectors), job.data.valid.y)
    row = Epoch(0, head.loss, head.accuracy, loss, acc, time.perf_counter() - began)
    stages = f" (the last vector, and the mean map after {', '.join(job.wide.taps)})" if job.wide.taps else ""
    notes = (
        f"{job.backbone.name} as published: {head.linear.weight.shape[1]:,} features of each image{learnt}{stages}",
        f"linear head, L2 strength {head.strength:g}: cross-validation {head.accuracy:.2%}, validation {acc:.2%}",
    )
    settings = {"preset": "transfer", "backbone": job.backbone.name, "seed": job.seed, "strength": head.strength}
    tensors = job.wide.tensors(job.theirs, *head.linear)
    doubts = find_label_doubts(job, sight, head)
    return TransferResult(job.wide.net, tensors, (row,), row, settings | {"epochs": 0}, notes, doubts), said.may_flip


def find_label_doubts(job: TransferJob, sight: FrozenFeatures, head: TrainedHead) -> Doubts:
    """The likely label errors among the images to train and to validate on, at no more cost than the head's own folds.

    What a fold held out is judged by that fold's head, what is there to validate on by the head itself. The errors'
    rows count the images to train on first, then those to validate on.
    """
    train, valid = job.data.train, job.data.valid
    own = [(rows[rows < len(train)], linear) for rows, linear in head.held]  # the rows behind are mirrored views
    said = [compute_probabilities(linear(sight.train.vectors[rows])) for rows, linear in own]
    rows = np.concatenate([*(rows for rows, _ in own), np.arange(len(valid)) + len(train)])
    y, files = np.concatenate([train.y, valid.y]), train.files + valid.files
    p = np.concatenate([*said, compute_probabilities(head.linear(sight.valid.vectors))])
    return find_doubts(p, y[rows], [files[row] for row in rows], train.classes).moved(rows)


def extract_mirrored(job: TransferJob, sight: FrozenFeatures, rows: np.ndarray) -> np.ndarray:
    """What the frozen net says of the training images at `rows`, left and right exchanged."""
    marks, say = [sight.train.marks[row] for row in rows], job.progress("mirrored images seen")
    return show_together(job, sight.frozen, Wanted("train", True, False), rows, marks, say)[0]


def judge_mirroring(
    head: TrainedHead, vectors: np.ndarray, y: np.ndarray, rows: np.ndarray, mirrored: np.ndarray, classes: int
) -> ProbeResult:
    """The accuracy of cross-validation's heads on images that they have not seen: as they are, and mirrored."""
    right, seen = np.zeros(2), 0
    for out, linear in head.held:
        own = np.flatnonzero(np.isin(rows, out))
        for k, x in enumerate((vectors[rows[own]], mirrored[own])):
            right[k] += (linear(x).argmax(1) == y[rows[own]]).sum()
        seen += len(own)
    plain, turned = (right / max(1, seen)).tolist()
    return ProbeResult(plain, turned, classes)


def tune_tail(
    job: TransferJob,
    sight: FrozenFeatures,
    made: TransferResult,
    may_flip: bool,
    state: TransferState,
    ends: float | None,
) -> TransferResult:
    """Fine-tune the last stages; `made` again where no epoch is better on validation.

    It begins with the head on the last vector alone: after fine-tuning the earlier stages' maps gain nothing any more.
    """
    assert sight.train.maps is not None and sight.valid.maps is not None
    if job.ranks.world > 1:
        torch.set_num_threads(job.ranks.cores)  # the others wait
    head = take_plain_head(job, sight)
    weights = job.plain.tensors(job.theirs, *head)
    whole, own = take_part(job.plain.net, weights, job.plain.trunk)
    bare, folded = frozen_norms.fold_norms(whole, own)
    network = load_tensors(build_network(bare), folded).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    train, valid = (
        fine_tune.LabelledMaps(sight.train.maps, job.data.train.y),
        fine_tune.LabelledMaps(sight.valid.maps, job.data.valid.y),
    )
    if state.epochs is None:
        shown = job.data.valid if job.data.test is None else job.data.test
        left = (ends or 0.0) - time.perf_counter() - len(shown) * sight.seconds
        state.epochs, state.mirrored = count_affordable(
            left, network, train, valid, len(train) * sight.seconds, may_flip
        )
        state.save(job.folder)
    if not state.epochs:
        return add_note(made, "not fine-tuned: no time is left for an epoch")
    if state.mirrored:
        say = job.progress("mirrored images seen")
        every = np.arange(len(job.data.train))
        _, other = show_together(job, sight.frozen, Wanted("train", True, True), every, sight.train.marks, say)
        train = replace(train, mirrored=other)
    rows = run_epochs(job, network, train, valid, made.best, state)
    best = max((made.best, *rows), key=rank_epoch)
    note = f"fine-tuned after {job.tap}: {format_count(state.epochs, 'epoch')}" + (
        ", half mirrored" if state.mirrored else ""
    )
    history = (made.best, *rows)
    if best is made.best:
        return add_note(replace(made, history=history), f"{note}; on validation the head alone is better, so it stays")
    found = {name: tensor.contiguous().numpy() for name, tensor in state.part("best").items()}
    tensors = weights | frozen_norms.unfold_norms(whole, found)
    settings = made.settings | {"epochs": state.epochs, "mirrored": state.mirrored}
    note += f", best epoch {best.epoch}, validation {best.valid_acc:.2%}"
    return TransferResult(job.plain.net, tensors, history, best, settings, (*made.notes, note), made.doubts)


def take_plain_head(job: TransferJob, sight: FrozenFeatures) -> LinearHead:
    """The head on the last vector alone."""
    [width] = job.plain.net.steps[-1].x
    vectors = np.ascontiguousarray(sight.train.vectors[:, :width])
    return fit_head(vectors, job.data.train.y, len(job.data.classes), job.seed, sight.groups).linear


def count_affordable(
    left: float,
    network: Network,
    train: fine_tune.LabelledMaps,
    valid: fine_tune.LabelledMaps,
    mirroring: float,
    may_flip: bool,
) -> tuple[int, bool]:
    """How many epochs fit into the seconds that are `left`, and whether images are mirrored in them.

    mirroring  seconds that the mirrored images' maps take
    """
    began = time.perf_counter()
    step = fine_tune.time_tail_step(network, train)
    epoch = step * (fine_tune.count_tail_steps(len(train)) + len(valid) / fine_tune.TAIL_BATCH / 3)
    left -= time.perf_counter() - began
    more = int((left - mirroring) / epoch)
    if may_flip and more >= FLIP_FROM:
        return min(MOST_EPOCHS, more), True
    return max(0, min(MOST_EPOCHS, int(left / epoch))), False


def run_epochs(
    job: TransferJob,
    network: Network,
    train: fine_tune.LabelledMaps,
    valid: fine_tune.LabelledMaps,
    best: Epoch,
    state: TransferState,
) -> list[Epoch]:
    """The epochs of fine-tuning, those done before and the others, each entered into `state`."""
    optimizer, saved, count = fine_tune.make_tail_optimizer(network), time.perf_counter(), state.epochs or 0
    if state.history:
        state.put(network, optimizer)
    best = max((best, *state.history), key=rank_epoch)

    def tick(step: int, steps: int, loss: float, acc: float, seen: int) -> None:
        job.ranks.at(f"fine-tuning, step {step} of {steps}")
        job.watch.step(step, steps, loss, acc, seen)

    done = len(state.history)
    try:
        for row in fine_tune.fine_tune(
            network, optimizer, train, valid,
            epochs=count, done=done, seed=job.seed, tick=tick, stop=job.stop,
        ):  # fmt: skip
            best = max((best, row), key=rank_epoch)
            state.keep(network, optimizer, row, best is row)
            job.watch.epoch(row, count, best is row)
            if time.perf_counter() - saved > SAVE_EVERY or row.epoch == count:
                state.save(job.folder)
                saved = time.perf_counter()
    except StopRequested:
        state.save(job.folder)
        raise
    return state.history


def rank_epoch(row: Epoch) -> tuple[float, float, int]:
    """The best row is the largest by this."""
    return row.valid_acc, -row.valid_loss, -row.epoch


def add_note(made: TransferResult, note: str) -> TransferResult:
    return replace(made, notes=(*made.notes, note))
