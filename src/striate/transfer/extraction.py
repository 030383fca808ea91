"""What the frozen net says of all images, each process showing it its share; and the transfer that this is for."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from ..architecture.net import Net
from ..architecture.text import to_json
from ..data.images import Dataset
from ..engines.model_file import Preprocess
from ..fitting.loop import StopRequested
from ..fitting.ranks import ALONE, Ranks
from ..fitting.stopwatch import Stopwatch
from ..fitting.watch import Watch
from ..language import say
from .backbone import AdaptedNet, adapt_backbone, take_part
from .features import FeatureProgress, FrozenNet, extract_features, extract_features_and_maps

# Up to so many training images, the head learns from their mirrored views too, for as much time again.
#
# On clothing, 0.3 % more right from 300 images and 0.2 % from 1,000; from 3,000, nothing.
MIRRORED_IMAGES = 1_000


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
    stopwatch: Stopwatch = field(default_factory=Stopwatch)
    strength: float | None = None

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

        def tell(done: int, of: int) -> None:
            self.ranks.at(f"{done} of {of} {what}")
            self.watch.loading(what, done, of)
            if self.stop():
                raise StopRequested

        return tell


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
    marks, tell = images.digests, job.progress(say("images seen by {name}", name=job.backbone.name))
    wanted = Wanted(split, False, frozen.tap is not None)
    return SplitFeatures(*show_together(job, frozen, wanted, np.arange(len(images)), marks, tell), marks)


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
    with job.stopwatch.time_part("features"):
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
        found = show_images(job, nets[tuning], wanted, own, marks, job.progress(say("images through the net")))
        gather_features(ranks, found, len(rows))
