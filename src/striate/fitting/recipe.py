"""The recipe: everything about a training but the net and the data. Plain data, settable by flag or TOML file."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal
from warnings import warn

import msgspec

from ..engines.views import Views
from ..errors import RecipeError, suggest_name
from ..language import join_texts, say
from ..optimizers import OPTIMIZERS, list_optimizers_with
from ..regular_file import need_regular
from ..setting import Setting, describe_settings
from .layer_patterns import parse_rates

ScheduleName = Literal["constant", "triangular", "cosine", "step"]

FROM_SCRATCH = ("fast", "balanced", "best")
PRESETS = (*FROM_SCRATCH, "transfer")

# The optimizers' usual rates are for batches of this size.
REFERENCE_BATCH = 64

DECOUPLING = list_optimizers_with("decoupled")

AUGMENTATIONS = (
    *("flip", "alternating-flip", "vflip", "rot90", "shift", "affine", "crop"),
    *("colour", "trivialaugment", "cutout", "mixup", "cutmix"),
)
# Names of augmentations until 0.1: runs and files have them, and `read_recipe` takes them with a notice.
RENAMED_AUGMENTATIONS = {
    "alternate": "alternating-flip",
    "upend": "vflip",
    "quarter": "rot90",
    "trivial": "trivialaugment",
}


class Recipe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    epochs: Annotated[int, Setting("Epochs: passes over the training images")] = 10
    batch: Annotated[int, Setting("Batch size", "images per optimizer step")] = 64
    optimizer: Annotated[
        str,
        Setting(
            "Optimizer",
            "; ".join(f"{name} is {kind.ABOUT}" for name, kind in OPTIMIZERS.items() if kind.ABOUT),
            choices=tuple(OPTIMIZERS),
        ),
    ] = "adamw"
    lr: Annotated[
        float | None,
        Setting("Peak learning rate", "see `Recipe.peak`", usual="the optimizer's, scaled with the batch", typed=float),
    ] = None
    momentum: Annotated[float, Setting("Momentum coefficient", f"of {', '.join(list_optimizers_with('momentum'))}")] = (
        0.9
    )
    decoupled: Annotated[
        bool,
        Setting(
            "Decouple weight decay; learning rate × (1 − momentum)",
            f"of {', '.join(DECOUPLING)}: the rate is of the whole way that a gradient moves a weight in the end, and "
            "weights shrink by lr·weight_decay beside the gradient, so that rate, momentum and decay can be set one by "
            "one (Loshchilov and Hutter 2019; Jordan 2024)",
        ),
    ] = False
    schedule: Annotated[
        ScheduleName,
        Setting(
            "Learning-rate schedule",
            "triangular falls in a straight line to 0, cosine by half a cosine, step to a tenth after 1/2 and 3/4 of "
            "the steps; each after the warm-up",
        ),
    ] = "triangular"
    warmup: Annotated[float, Setting("Warm-up fraction", "of the steps, over which the rate rises")] = 0.2
    weight_decay: Annotated[
        float,
        Setting(
            "Weight decay",
            f"not of biases and norms; decoupled in {', '.join(n for n, kind in OPTIMIZERS.items() if kind.SHRINKS)}, "
            "added to the gradient otherwise",
        ),
    ] = 0.01
    label_smoothing: Annotated[
        float, Setting("Label smoothing", "the share of the target spread over all classes (Szegedy et al. 2016)")
    ] = 0.0
    distillation: Annotated[
        float,
        Setting(
            "Distillation: the share of the loss that is the teacher's",
            "1 learns from the teacher alone",
            usual="0.9 with --teacher, else 0",
            typed=float,
        ),
    ] = 0.0
    temperature: Annotated[
        float,
        Setting(
            "Temperature of distillation",
            "what the logits of teacher and net are divided by: the higher, the more the small probabilities count",
        ),
    ] = 2.0
    augment: Annotated[
        str,
        Setting(
            "Augmentations, joined by +; none; or auto, by the data",
            "see `fitting.augment`; auto is shift, and for colour images flip+shift",
            choices=AUGMENTATIONS,
        ),
    ] = "auto"
    views: Annotated[
        Views,
        Setting(
            "Test-time augmentation",
            "the finished model averages its outputs over these views: flip is the mirror image too, flip+shift both "
            "also moved by 1/32 of the side each way (Jordan 2024, section 3.5)",
        ),
    ] = "plain"
    balance: Annotated[
        Literal["none", "weights", "sampling"],
        Setting("Class imbalance", "weights in the loss, or sampling that draws each class equally often"),
    ] = "none"
    ema: Annotated[
        float,
        Setting(
            "Exponential moving average of the weights: decay", "such as 0.999; the average is the model; 0 is off"
        ),
    ] = 0.0
    lookahead: Annotated[
        int,
        Setting(
            "Lookahead: steps between updates of the slow weights",
            "such as 5; the slow weights are the model (Zhang et al. 2019; Jordan 2024); 0 is off",
        ),
    ] = 0
    whiten: Annotated[
        bool,
        Setting(
            "Whitening initialisation of the first convolution",
            "it begins as the whitened principal components of the training images' patches and stays frozen, but for "
            "its bias (Page 2019; Jordan 2024)",
            flags="--whiten/--no-whiten",
        ),
    ] = False
    bn_momentum: Annotated[
        float | None,
        Setting(
            "BatchNorm momentum",
            "the share of each batch in the running statistics",
            usual="the net's own",
            typed=float,
        ),
    ] = None
    grow: Annotated[
        float,
        Setting(
            "Progressive resizing: fraction of steps at 3/4 size",
            "the first ones (Howard 2018, fast.ai's DAWNBench entry)",
        ),
    ] = 0.0
    freeze: Annotated[
        str,
        Setting(
            "Layers to freeze, such as 'conv1, stage1.*'",
            "paths as `summary` prints them, * for any text, with all that is in them: weights and BatchNorm's "
            "statistics stay as they are, bit for bit",
            usual="none",
        ),
    ] = ""
    rates: Annotated[
        str,
        Setting(
            "Learning rates of layers, such as 'stage1.*=0.1'",
            "what their rate is multiplied by, layers named as in freeze; of several that name a layer the last holds",
            usual="one for all",
        ),
    ] = ""
    patience: Annotated[
        int,
        Setting(
            "Early stopping: epochs without a better one",
            "by validation accuracy, then loss; the schedule stays that of all epochs; 0 is off",
        ),
    ] = 0
    memorised: Annotated[
        float,
        Setting(
            "Memorisation: end where training errors are this share of the validation errors",
            "such as 0.1: what is left to learn is not in the training images; of their errors while they are "
            "augmented, in an epoch; 0 is off",
        ),
    ] = 0.0
    cooldown: Annotated[
        int,
        Setting(
            "Cooldown: epochs after an early end is decided",
            "by patience or memorised: the learning rate falls in them in a straight line to 0 from where the schedule "
            "has it (as in Hu et al. 2024, MiniCPM); 0 ends at once",
        ),
    ] = 0
    selection: Annotated[
        Literal["best", "last"],
        Setting(
            "Epoch that becomes the model",
            "model selection: the best by validation accuracy, then loss; or the last, when the rate has fallen to 0: "
            "of many epochs on few validation images the best is the luckiest",
        ),
    ] = "best"
    compile: Annotated[
        Literal["auto", "yes", "no"],
        Setting("torch.compile", "auto compiles on GPUs, with CUDA graphs, and not on CPUs"),
    ] = "auto"
    accumulate: Annotated[int, Setting("Gradient accumulation steps", "parts in which a batch is computed")] = 1
    sync_bn: Annotated[bool, Setting("Synchronised BatchNorm", "statistics over all processes' images; GPUs only")] = (
        False
    )
    precision: Annotated[
        Literal["auto", "float32", "bfloat16"],
        Setting("Mixed precision", "auto is bfloat16 on GPUs and float32 on CPUs, where it is the faster one"),
    ] = "auto"
    seed: Annotated[int, Setting("Random seed", "of weights, order, augmentation, dropout and the split")] = 0

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "augment", renew_augment(self.augment))
        if self.optimizer not in OPTIMIZERS:
            hint = suggest_name(self.optimizer, OPTIMIZERS)
            raise RecipeError(
                "recipe.optimizer", say("there is no optimizer '{optimizer}'", optimizer=self.optimizer), hint=hint
            )
        rules = [
            ("epochs", self.epochs >= 1, say("at least {least}", least=1)),
            ("batch", self.batch >= 2, say("at least {least}", least=2)),
            ("lr", self.lr is None or 0 < self.lr < float("inf"), say("above 0")),
            ("momentum", 0 <= self.momentum < 1, say("at least 0 and below 1")),
            (
                "decoupled",
                not self.decoupled or self.optimizer in DECOUPLING,
                say(
                    "left out beside this optimizer: it is for {names}",
                    names=join_texts(say(" and "), list(DECOUPLING)),
                ),
            ),
            ("warmup", 0 <= self.warmup < 1, say("at least 0 and below 1")),
            ("weight_decay", 0 <= self.weight_decay < float("inf"), say("at least {least}", least=0)),
            ("label_smoothing", 0 <= self.label_smoothing < 1, say("at least 0 and below 1")),
            ("distillation", 0 <= self.distillation <= 1, say("at least 0 and at most 1")),
            ("temperature", 0 < self.temperature < float("inf"), say("above 0")),
            ("ema", 0 <= self.ema < 1, say("at least 0 and below 1")),
            ("lookahead", self.lookahead >= 0, say("at least {least}", least=0)),
            (
                "lookahead",
                not (self.lookahead and self.ema),
                say("0 beside ema: each is the model"),
            ),
            ("bn_momentum", self.bn_momentum is None or 0 < self.bn_momentum <= 1, say("above 0 and at most 1")),
            ("grow", 0 <= self.grow < 1, say("at least 0 and below 1")),
            ("patience", self.patience >= 0, say("at least {least}", least=0)),
            ("memorised", 0 <= self.memorised <= 1, say("at least 0 and at most 1")),
            ("cooldown", self.cooldown >= 0, say("at least {least}", least=0)),
            ("accumulate", 1 <= self.accumulate <= self.batch // 2, say("at least 1, and leave two images per part")),
            ("seed", 0 <= self.seed < 2**63, say("at least {least}", least=0)),
        ]
        parse_rates(self.rates)
        for field, holds, rule in rules:
            if not holds:
                raise RecipeError(
                    f"recipe.{field}", say("{field} must be {rule}", field=field, rule=rule), got=getattr(self, field)
                )
        if self.augment not in ("none", "auto"):
            for name in self.augment.split("+"):
                if name not in AUGMENTATIONS:
                    known = [*AUGMENTATIONS, "none", "auto"]
                    raise RecipeError(
                        "recipe.augment", say("there is no '{name}'", name=name), hint=suggest_name(name, known)
                    )

    def half(self, device: str) -> bool:
        """Whether the forward pass runs in bfloat16 on `device`."""
        return self.precision == "bfloat16" or (self.precision == "auto" and device.startswith("cuda"))

    def compiled(self, device: str) -> bool:
        """Whether the training step is compiled on `device`."""
        return self.compile == "yes" or (self.compile == "auto" and device.startswith("cuda"))

    @property
    def optimizer_settings(self) -> dict[str, Any]:
        """What the recipe sets of its optimizer beside rate and decay, such as momentum."""
        own = OPTIMIZERS[self.optimizer].settings()
        return {name: getattr(self, name) for name in self.__struct_fields__ if name in own}

    @property
    def peak(self) -> float:
        """The peak learning rate: `lr`, or the optimizer's usual one for this batch (`Optimizer.GROWTH`).

        Never above four times the rate at 64.
        """
        if self.lr is not None:
            return self.lr
        chosen = OPTIMIZERS[self.optimizer](**self.optimizer_settings)
        return chosen.usual_rate() * min((self.batch / REFERENCE_BATCH) ** chosen.GROWTH, 4.0)


Recipe.__doc__ = f"""How to train: each setting, its default in brackets.

{describe_settings(Recipe)}

Raises RecipeError for a value outside its range.

>>> Recipe(epochs=5, optimizer="momentum").peak, Recipe(batch=256, optimizer="momentum").peak
(0.05, 0.2)
"""


def renew_augment(names: str) -> str:
    """The augmentations by the names of today.

    >>> renew_augment("alternate+shift")
    'alternating-flip+shift'
    """
    return "+".join(RENAMED_AUGMENTATIONS.get(name, name) for name in names.split("+"))


def read_recipe(file: Path | None = None, under: dict[str, Any] | None = None, **settings: Any) -> Recipe:
    """The recipe of a TOML `file` with `settings` over it; a setting that is None counts as not given.

    under  settings that hold where neither says anything: a preset's

    Raises RecipeError naming the field.
    """
    given = {} if file is None else read_recipe_file(Path(file))
    given = (under or {}) | given | {name: value for name, value in settings.items() if value is not None}
    known = Recipe.__struct_fields__
    for name in given:
        if name not in known:
            raise RecipeError(f"recipe.{name}", say("a recipe has no such setting"), hint=suggest_name(name, known))
    old, new = str(given.get("augment", "")), renew_augment(str(given.get("augment", "")))
    if old != new:
        warn(f"augment={old} is now called {new}; the old name goes with the next version", FutureWarning, stacklevel=2)
    try:
        return msgspec.convert(given, Recipe)
    except msgspec.ValidationError as e:
        raise RecipeError("recipe", str(e)) from None


def read_recipe_file(file: Path) -> dict[str, Any]:
    """The settings in a TOML file. Raises RecipeError where it cannot be read."""
    need_regular(file, RecipeError)
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RecipeError(str(file), say("there is no such recipe file")) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as e:
        raise RecipeError(
            str(file),
            say("this recipe cannot be read: {complaint}", complaint=e),
            hint=say("a line such as: {code}", code="epochs = 10"),
        ) from None
