"""What a sweep searches: values to choose from and ranges of numbers, by the names of the settings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from ..errors import RecipeError, suggest_name
from ..fitting.recipe import Recipe
from ..language import say
from .presets import PRESET_LEVELS, DataFacts

if TYPE_CHECKING:
    from optuna.trial import Trial

# Of the options a sweep can search these; of the recipe all settings but the seed, which the split hangs on, and the
# length, which all trials share.
SEARCHED_OPTIONS = ("net", "size", "fit")
HELD_SETTINGS = ("seed", "epochs")
# The learning rate is searched from a fifth of the recipe's own to three times as much.
RATE_BELOW, RATE_ABOVE = 5, 3
# From this side on half and three quarters of it are tried too, where images are made smaller anyway.
SMALLER_FROM = 48


class ChoiceOf(NamedTuple):
    """One of these values."""

    values: tuple[Any, ...]


class NumberRange(NamedTuple):
    """A number from `low` to `high`, drawn by its logarithm where that is ten times as much or more."""

    low: float
    high: float


Space = dict[str, ChoiceOf | NumberRange]


def parse_space(given: Mapping[str, Any]) -> Space:
    """{"lr": {"low": 1e-3, "high": 0.1}, "net": ["striate_s", "resnet18"]} as a space. Raises RecipeError."""
    known = [*SEARCHED_OPTIONS, *(name for name in Recipe.__struct_fields__ if name not in HELD_SETTINGS)]
    found: Space = {}
    for name, value in given.items():
        where = f"space.{name}"
        if name not in known:
            raise RecipeError(where, say("a sweep cannot search this"), hint=suggest_name(name, known))
        if isinstance(value, Mapping):
            found[name] = parse_range(where, value)
        elif isinstance(value, list | tuple) and value:
            found[name] = ChoiceOf(tuple(tuple(v) if isinstance(v, list) else v for v in value))
        else:
            hint = say('{{"{name}": [first, second]}} or {{"{name}": {{"low": 0.001, "high": 0.1}}}}', name=name)
            raise RecipeError(where, say("this is no list of values and no range"), got=repr(value), hint=hint)
    if not found:
        raise RecipeError("space", say("there is nothing to search"), hint='{"lr": {"low": 0.001, "high": 0.1}}')
    return found


def parse_range(where: str, value: Mapping[str, Any]) -> NumberRange:
    ends = [value.get(name) for name in ("low", "high")]
    numbers = [float(n) for n in ends if isinstance(n, int | float) and not isinstance(n, bool)]
    if set(value) != {"low", "high"} or len(numbers) != 2 or not numbers[0] < numbers[1]:
        rule, hint = say("low and high, low below high"), '{"low": 0.001, "high": 0.1}'
        raise RecipeError(where, say("this is no range of numbers"), got=repr(dict(value)), rule=rule, hint=hint)
    return NumberRange(*numbers)


def read_space(file: Path) -> Space:
    """The space in a TOML file: `net = ["striate_s", "striate_m"]`, `lr = {low = 0.001, high = 0.1}`."""
    try:
        return parse_space(msgspec.toml.decode(file.read_bytes()))
    except (OSError, msgspec.DecodeError) as e:
        raise RecipeError(str(file), say("cannot read this space: {complaint}", complaint=e)) from None


def write_space(space: Space) -> dict[str, Any]:
    """The space as JSON data, which `parse_space` reads."""
    return {n: part._asdict() if isinstance(part, NumberRange) else list(part.values) for n, part in space.items()}


def choose_space(facts: DataFacts, rate: float, augment: str, files: bool) -> Space:
    """What is searched where nobody said it.

    rate, augment  the preset's own; files  whether images are read at a size, and a smaller one saves time
    """
    side = min(facts.shape[1:])
    sizes = (side, side * 3 // 32 * 8, side // 16 * 8) if files and side >= SMALLER_FROM else (side,)
    mixed = f"{augment}+cutmix" if facts.probed.may_mix and "cutmix" not in augment else None
    shifted = f"{augment}+shift" if "shift" not in augment and augment != "none" else "shift"
    augments = tuple(dict.fromkeys(a.removeprefix("none+") for a in (augment, "none", shifted, mixed) if a))
    space: Space = {
        "net": ChoiceOf(tuple(level.net for level in PRESET_LEVELS.values())),
        "lr": NumberRange(rate / RATE_BELOW, rate * RATE_ABOVE),
        "augment": ChoiceOf(augments),
    }
    return space | ({"size": ChoiceOf(sizes)} if len(sizes) > 1 else {})


def draw_params(trial: Trial, space: Space) -> dict[str, Any]:
    """A trial's value for each setting, as Optuna suggests it."""
    made: dict[str, Any] = {}
    for name, part in space.items():
        if isinstance(part, NumberRange):
            wide = part.low > 0 and part.high >= 10 * part.low
            made[name] = trial.suggest_float(name, part.low, part.high, log=wide)
        else:
            # By its place: Optuna's storage keeps numbers and texts alone.
            made[name] = part.values[trial.suggest_categorical(name, range(len(part.values)))]
    return made
