"""The way from a data set to a cross-validation: a run for each fold, one after another, and what they say together."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from .. import atomic_file
from ..data.reading import Reading, take_group_names
from ..errors import RecipeError, RunError, suggest_name
from ..language import say
from ..metrics.cross_validation import CrossValidation, pool_folds
from ..metrics.numbers import format_percent
from ..run_files import RunFiles
from ..terminal import format_count
from .folders import choose_run_folder, claim_folder, find_begun_run, name_data, read_settings
from .kept_model import keep_ensemble, refit_folds
from .options import KEEPS, Options
from .plan import Plan
from .request import Fold, make_request, split_given
from .resuming import check_arguments, collect_arguments
from .strategy import TrainingInterrupted, carry_out, choose_strategy, explain_stop

if TYPE_CHECKING:
    from ..data.sources.folds import CutSource
    from ..fitting.callables import Callables
    from ..fitting.ranks import Ranks
    from ..fitting.watch import Watch


# What makes the model to keep, into the cross-validation's own folder.
KEEPING = {"refit": refit_folds, "ensemble": keep_ensemble}


@dataclass(frozen=True)
class Asked:
    """What all folds are asked to do; `count` of them, in folders of their own below `folder`."""

    data: Any
    options: Options
    reading: Reading
    settings: dict[str, Any]
    ranks: Ranks
    watch: Watch
    callables: Callables
    count: int
    folder: Path
    held: dict[str, CutSource]


def check_folds(options: Options) -> None:
    """Raise RecipeError for fewer than two folds, for several processes, and for no such model to keep.

    No folder is looked at.
    """
    count, keep = options.folds, options.keep
    if keep is not None and keep not in KEEPS:
        raise RecipeError("keep", say("there is no such model to keep"), got=keep, hint=suggest_name(keep, KEEPS))
    if keep is not None and count is None and not options.resume:
        raise refuse_keep(keep)
    if count is not None and count < 2:
        rule = say("2 or more: each is tested by a net that was trained on the others")
        raise RecipeError(
            "folds", say("cross-validation needs two folds or more"), got=count, rule=rule, hint="--folds 5"
        )
    processes = (options.devices or 1) * (options.nodes or 1) * int(os.environ.get("WORLD_SIZE", "1"))
    if count is not None and processes > 1:
        raise refuse_processes()


def refuse_keep(keep: str) -> RecipeError:
    what = say("a model is kept of a cross-validation")
    return RecipeError("keep", what, got=keep, hint=f"--folds 5 --keep {keep}")


def refuse_processes() -> RecipeError:
    return RecipeError(
        "folds", say("cross-validation trains in one process"), hint=say("leave out --devices and --nodes")
    )


def find_fold_count(data: Any, options: Options, ranks: Ranks) -> int | None:
    """How many folds are asked for, or those of the cross-validation to resume; None: one training.

    Raises RunError for what the run to resume is not, RecipeError for several processes.
    """
    if not options.resume:
        return options.folds
    folder = find_begun_run(name_data(data), options.out)
    count = read_fold_count(folder)
    if options.folds not in (None, count):
        value = say("one training") if count is None else f"--folds {count}"
        rule = say("{folder} began with {value}", folder=folder, value=value)
        what, hint = say("a run is resumed with what it began with"), say("leave it out to resume as it began")
        raise RunError("--folds", what, got=options.folds, rule=rule, hint=hint)
    if count is not None and ranks.world > 1:
        raise refuse_processes()
    if count is None and options.keep is not None:
        raise refuse_keep(options.keep)
    return count


def read_fold_count(folder: Path) -> int | None:
    """How many folds the cross-validation in `folder` has; None where a run is there that is none."""
    first = RunFiles(folder).fold(1)
    if not first.settings.exists():
        return None
    return int(read_settings(first.folder)["fold"][1])


def cross_validate(
    data: Any,
    options: Options,
    reading: Reading,
    settings: dict[str, Any],
    ranks: Ranks,
    watch: Watch,
    callables: Callables,
    count: int,
) -> CrossValidation:
    """Train and measure each fold that is not done yet, the one under way from where it was saved; then the model to
    keep, and the summary.

    All that can be wrong with the first one is found before anything is written. Raises TrainingInterrupted.
    """
    from ..fitting.own_functions import pack_callbacks, restore_callbacks

    name, resume = name_data(data), options.resume
    fresh = pack_callbacks(callables.callbacks)
    folder = choose_run_folder(name, options.out, resume)
    asked = Asked(data, options, reading, settings, ranks, watch, callables, count, folder, {})
    if resume:
        asked = restore_asked(asked)
    plan: Plan | None = plan_fold(asked, 1)  # of one that goes on too: are these the images that it began with?
    named = folder if resume or options.out is not None else None
    with claim_folder(name, named, resume) as folder:
        asked = replace(asked, folder=folder)
        for number in range(1, count + 1):
            files = RunFiles(folder).fold(number)
            if not files.report.exists():
                restore_callbacks(callables.callbacks, fresh)  # what they knew of the fold before
                run_fold(asked, number, plan or plan_fold(asked, number))
            plan = None
        keep = asked.options.keep or KEEPS[0]
        if keep != "none" and not RunFiles(folder).report.exists():
            restore_callbacks(callables.callbacks, fresh)
            KEEPING[keep](asked)
        reports = [read_report(RunFiles(folder).fold(number)) for number in range(1, count + 1)]
        made = pool_folds(folder, reports, keep)
        atomic_file.write_file(RunFiles(folder).folds, json.dumps(made.as_dict() | {"data": name}, indent=1) + "\n")
    return made


def restore_asked(asked: Asked) -> Asked:
    """What the first fold was asked to do, for those that have not begun. Raises RunError for what contradicts it."""
    first = RunFiles(asked.folder).fold(1).folder
    began = read_settings(first)
    check_arguments(first, began, collect_arguments(asked.options, asked.reading, asked.settings))
    options, kept, settings = split_given(began.get("asked", {}))
    reading = take_group_names(kept, asked.reading)
    free = ("memory", "save_every")  # they change no bit of a run
    again = {name: getattr(asked.options, name) for name in free} | {"log": asked.options.log or began.get("log")}
    options = msgspec.structs.replace(options, **again, keep=restore_keep(asked.folder, options, asked.options))
    return replace(asked, options=options, reading=reading, settings=settings)


def restore_keep(folder: Path, began: Options, asked: Options) -> str | None:
    """What is kept of the one that goes on: the model that is there or under way, else what is asked for now, or was

    in the beginning.
    """
    there = read_settings(folder)["asked"]["keep"] if RunFiles(folder).settings.exists() else None
    if there is not None and asked.keep not in (None, there):
        rule = say("{folder} began with {value}", folder=folder, value=f"--keep {there}")
        raise RunError("--keep", say("a run is resumed with what it began with"), got=asked.keep, rule=rule)
    return there or asked.keep or began.keep


def plan_fold(asked: Asked, number: int) -> Plan:
    """The plan of a fold's run: a new one, or, where it has begun, that one."""
    files = RunFiles(asked.folder).fold(number)
    options = msgspec.structs.replace(asked.options, out=files.folder, resume=files.settings.exists(), folds=None)
    fold = Fold(number, asked.count, asked.held)
    given = (options, asked.reading, asked.settings, asked.ranks, asked.watch, asked.callables)
    request = make_request(asked.data, *given, fold)
    return choose_strategy(request).plan(request)


def run_fold(asked: Asked, number: int, plan: Plan) -> None:
    """Carry the plan out in the fold's own folder. Raises TrainingInterrupted, which says how all folds go on."""
    target, request = RunFiles(asked.folder).fold(number).folder, plan.request
    with claim_folder(request.name, target, request.options.resume) as own:
        try:
            run = carry_out(replace(plan, folder=own), choose_strategy(request))
        except TrainingInterrupted:
            raise TrainingInterrupted(explain_stop(replace(plan, folder=asked.folder).command)) from None
    told = say(
        "{accuracy} of {images}",
        accuracy=format_percent(run.report.accuracy),
        images=format_count(run.report.images, "image"),
    )
    asked.watch.plan([say("fold {number} of {count} is done: {told}", number=number, count=asked.count, told=told)])


def read_report(files: RunFiles) -> dict[str, Any]:
    """What was measured of a fold's run. Raises RunError."""
    try:
        return json.loads(files.report.read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise RunError(str(files.report), say("this report cannot be read: {complaint}", complaint=e)) from None
