"""Transfer: a published net for a few hundred or thousand photographs, in seconds.

The frozen net sees each image once; a linear head is trained on what it says, its strength chosen by cross-validation.
Where there is time, the net's last stages are fine-tuned on the maps that the first ones gave; the result is what
validation says is better. The test split never comes in here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..architecture.net import Net
from ..data.check.label_errors import Doubts, find_doubts
from ..data.images import Dataset
from ..engines.model_file import Preprocess
from ..fitting.probe import ProbeResult
from ..fitting.ranks import ALONE, Ranks
from ..fitting.run import Epoch
from ..fitting.stopwatch import Stopwatch
from ..fitting.watch import Watch
from ..language import say
from ..run_files import RunFiles
from .extraction import MIRRORED_IMAGES, FrozenFeatures, TransferJob, Wanted, extract_all, show_together
from .fine_tune_state import TransferState
from .head import (
    STRENGTHS,
    LinearHead,
    TrainedHead,
    answer_held,
    compute_probabilities,
    fit_head,
    score_logits,
)
from .result import OutOfFold, TransferResult, add_note
from .tuning import explain_no_tuning, tune_tail

# Images that tell whether left and right may be exchanged, where there are more.
ASKED_IMAGES = 200


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
    stopwatch: Stopwatch | None = None,
    strength: float | None = None,
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
    strength    of the head's L2 norm; None: cross-validation chooses it
    ranks       those whose others `assist_transfer`: each shows the frozen net its share of the images
    The same images, seed and number of epochs give the same tensors, bit for bit on one machine.
    Raises NetError for a backbone that does not end in Dense, RunError where `folder` holds another run.
    """
    began = time.perf_counter()
    job = TransferJob(
        backbone.resized(data.shape), tensors, preprocess, data, seed, folder, watch or Watch(), stop, ranks,
        stopwatch or Stopwatch(), strength,
    )  # fmt: skip
    begun = resume and folder is not None and RunFiles(folder).checkpoint.is_file()
    state = TransferState.resumed(folder, job.identity) if begun and folder else TransferState(job.identity, seconds)
    ends = None if state.seconds is None else began + state.seconds
    tune = state.epochs != 0 and ends is not None
    obstacle = explain_no_tuning(job) if tune else ""
    if state.epochs is None and (not tune or obstacle):
        state.epochs = 0
    state.save(folder)
    sight = extract_all(job, bool(tune and not obstacle))
    made, head, may_flip = train_head(job, sight)
    job.watch.head(made.best)
    if not sight.tuning:
        return add_note(made, say("not fine-tuned: {obstacle}", obstacle=obstacle)) if obstacle else made
    job.watch.plan(list(made.notes))
    return tune_tail(job, sight, made, head, may_flip, state, ends)


class HeadImages(NamedTuple):
    """What a head learns from: features, labels, a mark for each image, and how many of them are to train on.

    The others, behind them, are the images to validate on: where those were drawn and no epoch is to be chosen by them,
    cross-validation measures the head as well, and they are to learn from: then the head learns from `everything`.
    """

    vectors: np.ndarray
    y: np.ndarray
    marks: list[bytes]
    train: int
    everything: bool

    @property
    def groups(self) -> np.ndarray:
        """The same for copies of one picture, which stay in one fold."""
        return np.array(self.marks)


def choose_images(job: TransferJob, sight: FrozenFeatures) -> HeadImages:
    train, valid = sight.train, sight.valid
    if not job.data.drawn_valid or sight.tuning:
        return HeadImages(train.vectors, job.data.train.y, train.marks, len(train.marks), False)
    vectors, y = np.concatenate([train.vectors, valid.vectors]), np.concatenate([job.data.train.y, job.data.valid.y])
    return HeadImages(vectors, y, train.marks + valid.marks, len(train.marks), True)


def train_head(job: TransferJob, sight: FrozenFeatures) -> tuple[TransferResult, LinearHead, bool]:
    """The frozen net with its head, the head, and whether left and right may be exchanged."""
    began, images, classes = time.perf_counter(), choose_images(job, sight), len(job.data.classes)
    strengths = STRENGTHS if job.strength is None else (job.strength,)
    fit = partial(fit_head, classes=classes, seed=job.seed, blocks=job.wide.blocks, strengths=strengths)
    head, count, mirrored = fit(images.vectors, images.y, groups=images.groups), len(images.y), False
    few = count <= MIRRORED_IMAGES
    rows = np.arange(0, count, 1 if few else count // ASKED_IMAGES) if few or sight.tuning else np.arange(0)
    vectors = extract_mirrored(job, sight, images, rows)
    said = judge_mirroring(head, images.vectors, images.y, rows, vectors, classes)
    if few and said.may_flip:
        both = np.concatenate([images.vectors, vectors])
        head = fit(both, np.tile(images.y, 2), groups=np.tile(images.groups, 2))
        mirrored = True
    unseen = ask_held(head, images)
    if images.everything:
        acc, loss = score_logits(np.log(np.maximum(unseen.probabilities, 1e-300)), images.y[unseen.rows])
        row = Epoch(0, loss, acc, loss, acc, time.perf_counter() - began)
        told = say(
            "linear head, L2 strength {strength:g}: cross-validation {acc:.2%}, trained on all {images:,} images",
            strength=head.strength,
            acc=acc,
            images=count,
        )
    else:
        acc, loss = score_logits(head.linear(sight.valid.vectors), job.data.valid.y)
        row = Epoch(0, head.loss, head.accuracy, loss, acc, time.perf_counter() - began)
        told = say(
            "linear head, L2 strength {strength:g}: cross-validation {accuracy:.2%}, validation {acc:.2%}",
            strength=head.strength,
            accuracy=head.accuracy,
            acc=acc,
        )
    notes = (describe_features(job, head, mirrored), told)
    settings = {"preset": "transfer", "backbone": job.backbone.name, "seed": job.seed, "strength": head.strength}
    tensors = job.wide.tensors(job.theirs, *head.linear)
    made = TransferResult(
        job.wide.net, tensors, (row,), row, settings | {"epochs": 0}, notes,
        find_label_doubts(job, sight, head, images, unseen), unseen if images.everything else None, head.tried,
    )  # fmt: skip
    return made, head.linear, said.may_flip


def ask_held(head: TrainedHead, images: HeadImages) -> OutOfFold:
    """What the heads of cross-validation say of the images, as they are, that each has not seen."""
    return OutOfFold(*answer_held(head, images.vectors))  # the rows behind are mirrored views


def find_label_doubts(
    job: TransferJob, sight: FrozenFeatures, head: TrainedHead, images: HeadImages, unseen: OutOfFold
) -> Doubts:
    """The likely label errors among the images to train and to validate on, at no more cost than the head's own folds.

    What a fold held out is judged by that fold's head; what is there to validate on, and no fold held out, by the head
    itself. The errors' rows count the images to train on first, then those to validate on.
    """
    train, valid = job.data.train, job.data.valid
    rows, p = unseen
    if not images.everything:
        rows = np.concatenate([rows, np.arange(len(valid)) + len(train)])
        p = np.concatenate([p, compute_probabilities(head.linear(sight.valid.vectors))])
    y, files = np.concatenate([train.y, valid.y]), train.files + valid.files
    return find_doubts(p, y[rows], [files[row] for row in rows], train.classes).moved(rows)


def describe_features(job: TransferJob, head: TrainedHead, mirrored: bool) -> str:
    """What the head reads of each image, in a sentence."""
    features = {"name": job.backbone.name, "features": head.linear.weight.shape[1]}
    seen = say("{name} as published: {features:,} features of each image", **features)
    if mirrored:
        seen = say("{name} as published: {features:,} features of each image and of its mirrored view", **features)
    if job.wide.taps:
        taps = ", ".join(job.wide.taps)
        seen = say("{seen} (the last vector, and the mean map after {taps})", seen=seen, taps=taps)
    return seen


def extract_mirrored(job: TransferJob, sight: FrozenFeatures, images: HeadImages, rows: np.ndarray) -> np.ndarray:
    """What the frozen net says of the images at `rows`, left and right exchanged."""
    tell, parts = job.progress(say("mirrored images seen")), []
    first, behind = rows[rows < images.train], rows[rows >= images.train]
    for split, own, low in (("train", first, 0), ("valid", behind, images.train)):
        if split == "train" or len(own):
            marks, places = [images.marks[row] for row in own], own - low
            parts.append(show_together(job, sight.frozen, Wanted(split, True, False), places, marks, tell)[0])
    return np.concatenate(parts)


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
