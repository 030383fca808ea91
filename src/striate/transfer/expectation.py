"""What a transfer of a head will take, before it begins: a few images through the net and parts of the head, timed."""

from __future__ import annotations

import os
from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from ..data.images import Images
from ..fitting.stopwatch import Spent, read_clocks
from ..language import say
from ..terminal import format_clock
from .extraction import MIRRORED_IMAGES, TransferJob, make_frozen_net
from .features import FrozenNet, choose_feature_folder, extract_features, fill_kept
from .head import ENOUGH_IMAGES, FOLDS, FeatureAxes, solve_head

# Images that are timed, after as many to warm up; their features are kept.
TIMED_IMAGES = 24
# Strengths that cross-validation usually tries before the cost rises, and steps of L-BFGS for each.
USUAL_STRENGTHS, USUAL_STEPS, TIMED_STEPS = 6, 15, 4
# Eigenvectors are timed of matrices of at most so many rows, and taken to grow with the third power from there on.
TIMED_ROWS = 400
# Reading the model file again, three images' maps and the page; and for each image measured how hard it is to see.
REPORT_SECONDS, MEASURED_SECONDS = 1.1, 0.001


class TransferForecast(NamedTuple):
    """A transfer before it begins, from the plan on.

    images   to be shown to the frozen net, or to it and mirrored
    kept     images whose features are kept from before
    whole    seconds of the processor, and by the clock as busy as the machine is now
    """

    images: int
    kept: int
    whole: Spent

    def __str__(self) -> str:
        return say(
            "expected: {cpu:.0f} s of processor time, {clock} by the clock at the load now; {images:,} images to be "
            "seen, the features of {kept:,} are kept from before",
            cpu=self.whole.cpu, clock=format_clock(self.whole.clock), images=self.images, kept=self.kept,
        )  # fmt: skip

    def repeated(self, times: int, left: int) -> str:
        """Those `left` of so many such trainings at most, one after another, in a sentence."""
        time = format_clock(left * self.whole.clock)
        return say("expected for the {left} trainings left: {time} at most, less what is kept", left=left, time=time)

    def compare_with(self, took: Spent) -> str:
        """What was expected beside what it took, in a sentence."""
        return say(
            "processor time {took:.1f} s, expected {expected:.1f} s (off by {off:.0%})",
            took=took.cpu, expected=self.whole.cpu, off=abs(took.cpu / self.whole.cpu - 1),
        )  # fmt: skip


def forecast_transfer(job: TransferJob) -> TransferForecast:
    """What a head on the images of `job` will take, with the report.

    So few that their mirrored views are learnt from are taken to be seen twice, though the head may be against it.
    """
    frozen = make_frozen_net(job, False)
    parts = [job.data.train, job.data.valid, *([] if job.data.test is None else [job.data.test])]
    left = []
    for images in parts:
        out = np.empty((len(images), *frozen.net.output), np.float32)
        left.append(fill_kept(out, images.digests, choose_feature_folder(frozen, False)))
    missing, every = sum(map(len, left)), sum(map(len, parts))
    each = Spent()
    if missing:
        most = int(np.argmax(list(map(len, left))))
        rows = left[most][: 2 * TIMED_IMAGES]
        for some in np.array_split(rows, 2) if len(rows) > 1 else [rows]:
            each = time_images(job, frozen, parts[most].take(some))
    learnt = len(job.data.train) + (len(job.data.valid) if job.data.drawn_valid else 0)
    mirrored = learnt if learnt <= MIRRORED_IMAGES else 0
    seen = missing + (mirrored if missing else 0)
    report = REPORT_SECONDS + MEASURED_SECONDS * len(job.data.measured)
    head = forecast_head(learnt + mirrored, frozen.net.output[0], len(job.data.classes))
    whole = scale_spent(each, seen) + head + Spent(report, report)
    return TransferForecast(seen, every - missing, whole)


def time_images(job: TransferJob, frozen: FrozenNet, images: Images) -> Spent:
    """What an image takes; `images` are shown to the frozen net, and what it says is kept."""
    before = read_clocks()
    with job.stopwatch.time_part("features"):
        extract_features(frozen, images.x, images.digests)
    return scale_spent(read_clocks() - before, 1 / len(images))


def forecast_head(images: int, features: int, classes: int) -> Spent:
    """What `fit_head` takes, by what an eigendecomposition, a product and a step of its size or less take."""
    draw = np.random.default_rng(0)
    rank, cores = min(images, features), os.cpu_count() or 1
    size = min(rank, TIMED_ROWS)
    with threadpool_limits(1, "blas"):
        half = draw.normal(size=(size, max(size, 1)))
        before = read_clocks()
        np.linalg.eigh(half @ half.T)
        axes = scale_spent(read_clocks() - before, (rank / size) ** 3)
        some = draw.normal(size=(min(images, 1000), features)).astype(np.float32)
        before = read_clocks()
        some @ some[:size].T
        axes += scale_spent(read_clocks() - before, 2 * images / len(some) * rank / size)
        rows = min(images, ENOUGH_IMAGES)
        few = draw.normal(size=(min(rows, 1000), rank)).astype(np.float32)
        before = read_clocks()
        timed = FeatureAxes(few, np.ones(rank), few[:0], few[0])
        solve_head(timed, draw.integers(0, classes, len(few)), classes, 1.0, steps=TIMED_STEPS)
        step = scale_spent(read_clocks() - before, rows / len(few) / TIMED_STEPS)
    folds = next(count for most, count in FOLDS if most is None or rows <= most)
    solved = scale_spent(step, USUAL_STRENGTHS * USUAL_STEPS * (folds - 1))
    return axes + Spent(solved.cpu, solved.clock / min(cores, folds))


def scale_spent(spent: Spent, factor: float) -> Spent:
    return Spent(spent.cpu * factor, spent.clock * factor)
