"""What a training is asked to do: the options and the recipe's settings as given, or those that a run began with."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from ..data.reading import Reading, make_reading, restore_reading, take_group_names
from ..engines.answers import ANSWERS
from ..errors import RecipeError, suggest_name
from ..extras import explain_missing_extra
from ..fitting.callables import NO_CALLABLES, REPLACED_SETTINGS, Callables, check_replaced, check_same_callables
from ..fitting.recipe import Recipe, read_recipe_file
from ..fitting.stopwatch import Stopwatch
from ..language import say, to_say
from .folders import choose_run_folder, name_data, read_settings
from .options import LOGS, Options
from .resuming import check_arguments, collect_arguments
from .starting import load_run_model

if TYPE_CHECKING:
    from ..data.images import Dataset
    from ..data.sources.folds import CutSource
    from ..fitting.ranks import Ranks
    from ..fitting.watch import Watch
    from ..model.model import Model


# What users of other libraries look for under a name that striate does not have, and what does it here.
ELSEWHERE = {
    "device": (
        to_say("the device is not a setting: a run trains on the GPU that torch sees first, else on the CPU"),
        to_say(
            "CUDA_VISIBLE_DEVICES=1 in the environment chooses another GPU, and an empty one the CPU; "
            "devices=2 takes two"
        ),
    ),
    "valid": (
        to_say("the images to validate on come with the data"),
        to_say('a folder with train/ and valid/, a table with a column of splits, or {"train": data, "valid": images}'),
    ),
    "batch_size": (to_say("the batch size is called batch"), "batch=64"),
    "learning_rate": (to_say("the learning rate is called lr"), "lr=0.01"),
}


@dataclass(frozen=True)
class Fold:
    """A training of a cross-validation: fold `number`, from 1, of `count` is its test split.

    number    data.sources.folds.ALL_FOLDS: the refit, which learns from all of them
    held      where the source stays from one fold's training to the next
    strength  of a refit by transfer: the L2 strength of the head that the folds chose; None: it is chosen anew
    """

    number: int
    count: int
    held: dict[str, CutSource] = field(default_factory=dict, repr=False)
    strength: float | None = None

    @property
    def told(self) -> tuple[int, int]:
        """What recipe.json keeps of it."""
        return self.number, self.count

    @property
    def left_out(self) -> tuple[int, int] | None:
        """What the model file keeps: the fold that it has not seen, and of how many; None: it has seen all."""
        return self.told if self.number else None


@dataclass(frozen=True)
class Request:
    """A training as it is asked for.

    reading    how the data set is to be read
    settings   of the recipe, by name; what was not given is not there
    arguments  all that was given, as JSON data, to be kept: a resumed run must not contradict it
    folder     where a run that is resumed stands, or a named one goes; a new one gets its number when it is claimed
    source     the model of a run whose weights it begins with; None: there is no such run
    reasons    why the preset is what it is, where that was chosen
    callables  the user's own functions
    fold       which one of a cross-validation it is; None: it is not of one
    loaded     where the data set stays for others that read it the same way; None: nowhere
    began      when it was asked for, by time.perf_counter
    stopwatch  what its parts take
    """

    data: Any
    options: Options
    reading: Reading
    settings: dict[str, Any]
    arguments: dict[str, Any]
    folder: Path
    ranks: Ranks
    watch: Watch
    source: Model | None = None
    reasons: tuple[str, ...] = ()
    callables: Callables = NO_CALLABLES
    fold: Fold | None = None
    loaded: dict[str, Dataset] | None = None
    began: float = field(default_factory=time.perf_counter)
    stopwatch: Stopwatch = field(default_factory=Stopwatch)

    @property
    def name(self) -> str:
        """What the data set is called."""
        return name_data(self.data)

    @property
    def alpha(self) -> bool:
        """Whether the images' transparency is a channel."""
        return self.reading.alpha == "channel"

    @property
    def transfers(self) -> bool:
        return self.options.preset == "transfer"


def make_request(
    data: Any,
    options: Options,
    reading: Reading,
    settings: dict[str, Any],
    ranks: Ranks,
    watch: Watch,
    callables: Callables = NO_CALLABLES,
    fold: Fold | None = None,
) -> Request:
    """The request of what was given, or with `resume` of what that run began with. Nothing is written.

    Raises RecipeError for minutes or a size that make no sense, RunError for what contradicts the run to resume.
    """
    if reading.outputs != "softmax":
        raise refuse_outputs("labels" if reading.several else "number", reading)
    check_minutes(options.minutes)
    check_image_size(options.size)
    folder = choose_run_folder(name_data(data), options.out, options.resume)
    arguments = collect_arguments(options, reading, settings)
    reasons: tuple[str, ...] = ()
    check_log(options.log)
    if options.resume:
        check_same_callables(str(folder), callables.names, read_settings(folder).get("own", {}))
        options, kept, settings, source = restore_request(folder, options, arguments)
        reading = take_group_names(kept, reading)
        fold = fold or restore_fold(folder)
    else:
        source = load_run_model(options.weights)
        if isinstance(options.recipe, Recipe):
            settings = msgspec.to_builtins(options.recipe) | settings
            options = msgspec.structs.replace(options, recipe=None)
        if options.preset is None and options.net in (None, "auto") and source is None and options.teacher is None:
            from .asking import choose_default_preset

            preset, why = choose_default_preset(
                data, reading, options.recipe, settings | callables.names, options.memory
            )
            options, reasons = msgspec.structs.replace(options, preset=preset), (why,) if why else ()
        settings = settle_replaced(callables, settings, options.recipe)
    return Request(data, options, reading, settings, arguments, folder, ranks, watch, source, reasons, callables, fold)


def refuse_outputs(where: str, reading: Reading) -> RecipeError:
    """The error of what does not learn several labels, or a number, a picture."""
    what = say(
        "{answer}: that is learnt by transfer alone, and not in this way", answer=say(ANSWERS[reading.outputs].told)
    )
    option = "--labels …" if reading.several else "--number …"
    return RecipeError(where, what, hint=say("striate train DATA {option}, without other settings of the training",
                                             option=option))  # fmt: skip


def settle_replaced(callables: Callables, settings: dict[str, Any], file: str | Path | None = None) -> dict[str, Any]:
    """The settings, those that a function takes the place of as they are without effect, whatever a preset says.

    Raises RecipeError for one that was given, by name or in the `file` of the recipe, beside its function.
    """
    names = [name for kind in callables.names for name in REPLACED_SETTINGS.get(kind, ())]
    if not names:
        return settings
    usual = {field.name: field.default for field in msgspec.structs.fields(Recipe)}
    check_replaced(callables, (read_recipe_file(Path(file)) if file is not None else {}) | settings, usual)
    without = usual | {"augment": "none"}
    return settings | {name: without[name] for name in names if without[name] is not None}


def restore_fold(folder: Path) -> Fold | None:
    """Which fold of a cross-validation the run in `folder` is; None where it is not of one."""
    told = read_settings(folder).get("fold")
    return None if told is None else Fold(*told)


def restore_request(
    folder: Path, options: Options, arguments: dict[str, Any]
) -> tuple[Options, Reading, dict[str, Any], Model | None]:
    """The options, the reading and the settings that the run in `folder` began with, and the run that lent it weights.

    Raises RunError for arguments that are others.
    """
    began = read_settings(folder)
    check_arguments(folder, began, arguments)
    transfers = began.get("preset") == "transfer"
    net, source = began.get("net"), load_run_model(began.get("weights"))
    if not transfers and "net" not in began.get("asked", {}) and source is not None:
        net = None  # it came from those weights, perhaps for other classes
    size = began.get("size")
    restored = msgspec.structs.replace(
        options,
        net=net,
        preset="transfer" if transfers else None,
        minutes=began.get("minutes") if transfers else None,
        size=None if size is None else tuple(size),
        fit=began.get("fit"),
        weights=began.get("weights"),
        teacher=began.get("teacher"),
        recipe=None,
        log=options.log or began.get("log"),
    )
    return restored, restore_reading(began), began.get("recipe", {}), source


def split_given(given: dict[str, Any]) -> tuple[Options, Reading, dict[str, Any]]:
    """The Options, the Reading and the recipe's settings of what was given by name; None counts as not given.

    Raises RecipeError, and DataError for a reading that makes no sense.
    """
    told = {name: value for name, value in given.items() if value is not None}
    known = (*Options.__struct_fields__, *Reading.__struct_fields__, *Recipe.__struct_fields__)
    for name in told:
        if name in ELSEWHERE:
            what, hint = ELSEWHERE[name]
            raise RecipeError(name, say(what), hint=say(hint))
        if name not in known:
            raise RecipeError(f"recipe.{name}", say("a recipe has no such setting"), hint=suggest_name(name, known))
    options = {name: told.pop(name) for name in Options.__struct_fields__ if name in told}
    reading = {name: told.pop(name) for name in Reading.__struct_fields__ if name in told}
    return Options(**options), make_reading(reading), told


def check_log(name: str | None) -> None:
    """Raise RecipeError for a log that there is not, StriateError where its package is missing."""
    if name is not None and name not in LOGS:
        raise RecipeError("log", say("there is no such log"), got=name, hint=suggest_name(name, LOGS))
    if name is not None and find_spec(name) is None and (error := explain_missing_extra(name, f"--log {name}")):
        raise error


def check_minutes(minutes: float | None) -> None:
    if minutes is not None and not 0 < minutes < float("inf"):
        raise RecipeError("minutes", say("minutes must be above 0"), got=minutes, hint="--minutes 5")


def check_image_size(size: Any) -> tuple[int, int] | None:
    """(height, width) of a side or of both. Raises RecipeError."""
    if size is None:
        return None
    both = (size, size) if isinstance(size, int) else tuple(size)
    if len(both) != 2 or not all(isinstance(n, int) and n >= 1 for n in both):
        raise RecipeError("size", say("size is a side in pixels, or (height, width)"), got=size, hint="size=64")
    return both
