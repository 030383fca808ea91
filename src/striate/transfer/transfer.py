"""Transfer: a published net for a few hundred or thousand photographs, in seconds.

The frozen net sees each image once; a linear head is trained on what it says, its strength chosen by cross-validation.
Where there is time, the net's last stages are fine-tuned on the maps that the first ones gave; the result is what
validation says is better. The test split never comes in here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from ..architecture.net import Net
from ..data.check.label_errors import Doubts, find_doubts
from ..data.images import Dataset
from ..engines.model_file import Preprocess
from ..fitting.probe import ProbeResult
from ..fitting.ranks import ALONE, Ranks
from ..fitting.run import Epoch
from ..fitting.watch import Watch
from ..run_files import RunFiles
from .extraction import FrozenFeatures, TransferJob, Wanted, extract_all, show_together
from .fine_tune_state import TransferState
from .head import TrainedHead, compute_probabilities, fit_head, score_logits
from .result import TransferResult, add_note
from .tuning import explain_no_tuning, tune_tail

# Up to so many training images, the head learns from their mirrored views too, for as much time again.
#
# On clothing, 0.3 % more right from 300 images and 0.2 % from 1,000; from 3,000, nothing.
MIRRORED_IMAGES = 1_000


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
    job.watch.head(made.best)
    if not sight.tuning:
        return add_note(made, f"not fine-tuned: {obstacle}") if obstacle else made
    job.watch.plan(list(made.notes))
    return tune_tail(job, sight, made, may_flip, state, ends)


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
    made = TransferResult(job.wide.net, tensors, (row,), row, settings | {"epochs": 0}, notes, doubts, head.tried)
    return made, said.may_flip


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
