"""The recipe: everything about a training but the net and the data. Plain data, settable by flag or TOML file."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Literal

import msgspec

from ..engines.views import Views
from ..errors import RecipeError, nearest

Optimizer = Literal["sgd", "momentum", "nesterov", "rmsprop", "adam", "adamw", "muon"]
Schedule = Literal["constant", "triangular", "cosine", "step"]

RATES: dict[str, float] = {
    "sgd": 0.1,
    "momentum": 0.05,
    "nesterov": 0.05,
    "rmsprop": 0.001,
    "adam": 0.003,
    "adamw": 0.003,
    "muon": 0.02,
}
"""The peak learning rate for each optimizer at a batch of 64, where the recipe gives none (see `Recipe.peak`)."""

USUAL_MOMENTUM = 0.9
"""RATES of momentum and nesterov go with it."""

REFERENCE_BATCH = 64
"""RATES are for batches of this size."""

AUGMENTATIONS = (
    "flip", "alternate", "upend", "quarter", "shift", "affine", "crop", "colour", "trivial", "cutout", "mixup", "cutmix"
)  # fmt: skip


class Recipe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to train.

    epochs           passes over the training images
    batch            images a step
    optimizer        sgd, momentum, nesterov, rmsprop, adam, adamw, or muon (Muon for convolutions, AdamW for the rest)
    lr               peak learning rate; None: the optimizer's own, scaled with the batch (see `peak`)
    momentum         of momentum, nesterov and muon
    decoupled        of momentum and nesterov: the rate is of the whole way that a gradient moves a weight in the end,
                     lr·(1 − momentum) a step, and weights shrink by lr·weight_decay beside the gradient, so that rate,
                     momentum and decay can be set one by one (Loshchilov and Hutter 2019; Jordan 2024)
    schedule         of the learning rate: constant, triangular (up for `warmup` of the steps, then down to 0),
                     cosine (up, then down by half a cosine) or step (a tenth after 1/2 and 3/4 of the steps)
    warmup           share of the steps in which the rate rises
    weight_decay     pull of the weights to 0, not of biases and norms; decoupled in adamw, added to the gradient else
    label_smoothing  share of the target spread evenly over the classes (Szegedy et al. 2016, section 7)
    augment          any of flip, alternate, upend, quarter, shift, affine, crop, colour, trivial, cutout, mixup, cutmix
                     joined by "+" (see `data.augment`), or "none"; "auto" lets the data decide
    views            what of an image the finished model looks at, its answers being averaged: plain, flip (the mirror
                     image too), flip+shift (both also moved by 1/32 of the side each way; Jordan 2024, section 3.5)
    balance          for classes of unequal size: "weights" in the loss, "sampling" of the batches, or "none"
    ema              decay of a running mean of the weights, which is then the model, such as 0.999; 0: no mean
    lookahead        every so many steps slow weights follow the fast ones, which start again from them (Zhang et al.
                     2019), ever closer as in Jordan (2024); the slow ones are the model; 0: none
    whiten           the first convolution, as it starts, is the whitened principal parts of the training images'
                     patches, and stays so (Page 2019, Jordan 2024); its bias and all else is trained
    bn_momentum      share of each batch's statistics in BatchNorm's running ones while training; None: the net's own
    grow             progressive resizing: for this share of the steps, images at three quarters of their side
                     (Howard 2018, fast.ai's DAWNBench entry)
    compile          torch.compile for the training step: yes, no, or auto: on GPUs (there with CUDA graphs), and on a
                     CPU only where the run is expected to be long enough to pay for its start
    accumulate       parts in which a batch is computed, its gradients added up, where memory is short
    sync_bn          BatchNorm over all processes' images (GPUs only)
    precision        float32, bfloat16, or auto: bfloat16 on GPUs and float32 on CPUs, where it is the faster one
    seed             settles weights, order, augmentation, dropout and the split
    """

    epochs: int = 10
    batch: int = 64
    optimizer: Optimizer = "adamw"
    lr: float | None = None
    momentum: float = 0.9
    decoupled: bool = False
    schedule: Schedule = "triangular"
    warmup: float = 0.2
    weight_decay: float = 0.01
    label_smoothing: float = 0.0
    augment: str = "auto"
    views: Views = "plain"
    balance: Literal["none", "weights", "sampling"] = "none"
    ema: float = 0.0
    lookahead: int = 0
    whiten: bool = False
    bn_momentum: float | None = None
    grow: float = 0.0
    compile: Literal["auto", "yes", "no"] = "auto"
    accumulate: int = 1
    sync_bn: bool = False
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        rules = [
            ("epochs", self.epochs >= 1, "at least 1"),
            ("batch", self.batch >= 2, "at least 2"),
            ("lr", self.lr is None or 0 < self.lr < float("inf"), "above 0"),
            ("momentum", 0 <= self.momentum < 1, "at least 0 and below 1"),
            (
                "decoupled",
                not self.decoupled or self.optimizer in ("momentum", "nesterov"),
                "left out beside this optimizer: it is for momentum and nesterov",
            ),
            ("warmup", 0 <= self.warmup < 1, "at least 0 and below 1"),
            ("weight_decay", 0 <= self.weight_decay < float("inf"), "at least 0"),
            ("label_smoothing", 0 <= self.label_smoothing < 1, "at least 0 and below 1"),
            ("ema", 0 <= self.ema < 1, "at least 0 and below 1"),
            ("lookahead", self.lookahead >= 0, "at least 0"),
            (
                "lookahead",
                not (self.lookahead and self.ema),
                "0 beside ema: each is the model",
            ),
            ("bn_momentum", self.bn_momentum is None or 0 < self.bn_momentum <= 1, "above 0 and at most 1"),
            ("grow", 0 <= self.grow < 1, "at least 0 and below 1"),
            ("accumulate", 1 <= self.accumulate <= self.batch // 2, "at least 1, and leave two images a part"),
            ("seed", 0 <= self.seed < 2**63, "at least 0"),
        ]
        for field, holds, rule in rules:
            if not holds:
                raise RecipeError(f"recipe.{field}", f"{field} must be {rule}", got=getattr(self, field))
        if self.augment not in ("none", "auto"):
            for name in self.augment.split("+"):
                if name not in AUGMENTATIONS:
                    known = [*AUGMENTATIONS, "none", "auto"]
                    raise RecipeError("recipe.augment", f"there is no '{name}'", hint=nearest(name, known))

    def half(self, device: str) -> bool:
        """Whether the forward pass runs in bfloat16 on `device`."""
        return self.precision == "bfloat16" or (self.precision == "auto" and device.startswith("cuda"))

    def compiled(self, device: str) -> bool:
        """Whether the training step is compiled on `device`."""
        return self.compile == "yes" or (self.compile == "auto" and device.startswith("cuda"))

    @property
    def peak(self) -> float:
        """The peak learning rate: `lr`, or the optimizer's own times (batch / 64), or its root for adaptive ones.

        Linear for gradient descent (Goyal et al. 2017), the square root for RMSProp, Adam and Muon, whose steps do not
        grow with the gradient (Malladi et al. 2022); never above four times the rate at 64.
        """
        if self.lr is not None:
            return self.lr
        share = self.batch / REFERENCE_BATCH
        usual = RATES[self.optimizer] / (1 - USUAL_MOMENTUM) if self.decoupled else RATES[self.optimizer]
        grown = share if self.optimizer in ("sgd", "momentum", "nesterov") else share**0.5
        return usual * min(grown, 4.0)


def recipe(file: Path | None = None, under: dict[str, Any] | None = None, **settings: Any) -> Recipe:
    """The recipe of a TOML `file` with `settings` over it; a setting that is None counts as not given.

    under  settings that hold where neither says anything: a preset's

    Raises RecipeError naming the field.
    """
    given: dict[str, Any] = {}
    if file is not None:
        try:
            given = tomllib.loads(Path(file).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise RecipeError(str(file), "there is no such recipe file") from None
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as e:
            raise RecipeError(
                str(file), f"this recipe cannot be read: {e}", hint="a line such as: epochs = 10"
            ) from None
    given = (under or {}) | given | {name: value for name, value in settings.items() if value is not None}
    known = Recipe.__struct_fields__
    for name in given:
        if name not in known:
            raise RecipeError(f"recipe.{name}", "a recipe has no such setting", hint=nearest(name, known))
    try:
        return msgspec.convert(given, Recipe)
    except msgspec.ValidationError as e:
        raise RecipeError("recipe", str(e)) from None
