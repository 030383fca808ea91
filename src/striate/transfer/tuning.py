"""The last stages of a transferred net, fine-tuned for as many epochs as there is time for."""

from __future__ import annotations

import time
from dataclasses import replace
from math import prod
from typing import NamedTuple

import numpy as np
import torch

from ..data.store.allowance import format_bytes, parse_allowance
from ..engines.torch import Network, build_network, load_tensors
from ..fitting.loop import StopRequested
from ..fitting.run import SAVE_EVERY, Epoch
from ..language import say
from ..terminal import format_count
from . import fine_tune, frozen_norms
from .backbone import take_part
from .extraction import FrozenFeatures, TransferJob, Wanted, show_together
from .fine_tune_state import TransferState
from .head import LinearHead, fit_head
from .result import TransferResult, add_note

# Epochs of fine-tuning from which on it is worth computing the mirrored images' maps.
FLIP_FROM = 3


# Epochs of fine-tuning at most.
MOST_EPOCHS = 8


def tune_tail(
    job: TransferJob,
    sight: FrozenFeatures,
    made: TransferResult,
    alone: LinearHead,
    may_flip: bool,
    state: TransferState,
    ends: float | None,
) -> TransferResult:
    """Fine-tune the last stages; `made` again where the best epoch is not better on validation by more than its error.

    It begins with the head on the last vector alone: after fine-tuning the earlier stages' maps gain nothing any more.
    alone  the head that `made` has
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
        left = (ends or 0.0) - time.perf_counter() - len(job.data.measured) * sight.seconds
        state.epochs, state.mirrored = count_affordable(
            left, network, train, valid, len(train) * sight.seconds, may_flip
        )
        state.save(job.folder)
    if not state.epochs:
        return add_note(made, say("not fine-tuned: no time is left for an epoch"))
    if state.mirrored:
        tell = job.progress(say("mirrored images seen"))
        every = np.arange(len(job.data.train))
        _, other = show_together(job, sight.frozen, Wanted("train", True, True), every, sight.train.marks, tell)
        train = replace(train, mirrored=other)
    rows = run_epochs(job, network, train, valid, state)
    history, best = (made.best, *rows), max(rows, key=rank_epoch)
    note = say("fine-tuned after {tap}: {epochs}", tap=job.tap, epochs=format_count(state.epochs, "epoch"))
    if state.mirrored:
        note = say("{note}, half mirrored", note=note)
    state.put_best(network)
    tuned = fine_tune.answer_tail(network, valid).numpy()
    gained = compare_right(alone(sight.valid.vectors), tuned, job.data.valid.y)
    if not gained.clear:
        return add_note(
            replace(made, history=history),
            say(
                "{note}; validation {gain:+.2%}, where {error:.2%} is its error: the head alone stays",
                note=note,
                gain=gained.gain,
                error=gained.error,
            ),
        )
    found = {name: tensor.contiguous().numpy() for name, tensor in state.part("best").items()}
    tensors = weights | frozen_norms.unfold_norms(whole, found)
    settings = made.settings | {"epochs": state.epochs, "mirrored": state.mirrored}
    note = say(
        "{note}, best epoch {epoch}, validation {accuracy:.2%}, {gain:+.2%} ± {error:.2%} beside the head alone",
        note=note,
        epoch=best.epoch,
        accuracy=best.valid_acc,
        gain=gained.gain,
        error=gained.error,
    )
    notes = (*made.notes, note)
    return TransferResult(job.plain.net, tensors, history, best, settings, notes, made.doubts, tried=made.tried)


class Gained(NamedTuple):
    """What one classifier has right more than another of the same images, 0 to 1, and its standard error."""

    gain: float
    error: float

    @property
    def clear(self) -> bool:
        return self.gain > self.error


def compare_right(before: np.ndarray, after: np.ndarray, y: np.ndarray) -> Gained:
    """Of logits N×K of the same images with labels `y`: how much more often the second ones are right, image by image.

    >>> compare_right(np.eye(2)[[0, 0, 0, 0]], np.eye(2)[[0, 1, 1, 0]], np.array([0, 1, 1, 1]))
    Gained(gain=0.5, error=0.28867513459481287)
    """
    change = (after.argmax(1) == y).astype(float) - (before.argmax(1) == y)
    return Gained(float(change.mean()), float(change.std(ddof=1) / len(y) ** 0.5) if len(y) > 1 else float("inf"))


def explain_no_tuning(job: TransferJob) -> str:
    """Why this net cannot be fine-tuned on these data; "" where it can be."""
    if not job.plain.trunk:
        return say("{name} has no stage after which to cut it", name=job.backbone.name)
    count = prod(job.backbone.at(job.tap).y) * 2 * (2 * len(job.data.train) + len(job.data.valid))
    if count > parse_allowance():
        return say(
            "the maps of {images:,} images take {size}, more than memory allows",
            images=len(job.data.train),
            size=format_bytes(count),
        )
    return ""


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
    state: TransferState,
) -> list[Epoch]:
    """The epochs of fine-tuning, those done before and the others, each entered into `state`."""
    optimizer, saved, count = fine_tune.make_tail_optimizer(network), time.perf_counter(), state.epochs or 0
    if state.history:
        state.put(network, optimizer)
    best = max(state.history, key=rank_epoch, default=None)

    def tick(step: int, steps: int, loss: float, acc: float, seen: int) -> None:
        job.ranks.at(f"fine-tuning, step {step} of {steps}")
        job.watch.step(step, steps, loss, acc, seen)

    done = len(state.history)
    try:
        for row in fine_tune.fine_tune(
            network, optimizer, train, valid,
            epochs=count, done=done, seed=job.seed, tick=tick, stop=job.stop,
        ):  # fmt: skip
            best = row if best is None else max((best, row), key=rank_epoch)
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
