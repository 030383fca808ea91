"""A sweep: many short trainings, what they are of suggested by Optuna, and the run of the best one.

Each trial is a run folder of its own, saved after each epoch; which trials there are stands in Optuna's journal. So a
sweep that was stopped or killed goes on with the trial that was under way, from where that was saved.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import msgspec

from .. import atomic_file
from ..data.reading import Reading, take_group_names
from ..errors import RecipeError, RunError
from ..extras import explain_missing_extra
from ..fitting.recipe import Recipe
from ..language import say
from ..setting import sign_with
from ..terminal import make_printable
from .folders import RUNS, check_writable, claim_folder, lock_folder, make_stem, name_data
from .options import LEFT_OUT_OF_SWEEPS, Options
from .request import check_minutes, split_given
from .resuming import collect_arguments
from .search_base import Sweep, settle_sweep
from .search_space import parse_space, read_space, write_space
from .strategy import TrainingInterrupted, choose_strategy, explain_stop, open_log, report_run
from .sweep_result import SweepResult

if TYPE_CHECKING:
    from optuna.study import Study

    from ..fitting.watch import Watch


@sign_with(Options, Reading, Recipe, leave_out=LEFT_OUT_OF_SWEEPS)
def sweep(
    data: Any,
    *,
    minutes: float | None = None,
    trials: int | None = None,
    space: Mapping[str, Any] | str | Path | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    watch: Watch | None = None,
    **given: Any,
) -> SweepResult:
    """Search net, size, learning rate and augmentation by many short trainings from scratch, with Optuna.

    data     as for `striate.train`
    minutes  to take in all, about; trials  at most so many; one of the two, or both
    space    what is searched, instead of net, learning rate, augmentations and, for photographs, size: {"net":
             ["striate_m", "resnet18"], "lr": {"low": 1e-3, "high": 0.1}}, any option of net, size and fit and any
             setting of the recipe but seed and epochs; or a TOML file of such
    out      a folder; by default a new one under runs/. resume  go on with the sweep there, or with the newest of this
             data; minutes and trials then count what was done before
    watch    told of the progress; None shows it on stderr
    What is given by name holds for all trials and is not searched. All trials have the same epochs and the same split;
    the first has the preset's own values. One that is behind half of the others at the same epoch ends there. The best
    is chosen by validation; only its run is measured on the test split, and it is an ordinary run. Raises StriateError,
    and TrainingInterrupted on Ctrl-C once all is saved.

    >>> import tempfile
    >>> found = sweep("digits", trials=2, epochs=1, net="lenet5", out=tempfile.mkdtemp() + "/sweep")
    >>> len(found.trials), found.run.folder.name == f"trial-{found.best.number}"
    (2, True)
    """
    from ..fitting.watch import TerminalWatch
    from .search_trials import open_study, run_trials

    check_sweep(minutes, trials, given)
    options, reading, settings = split_given(given)
    searched = None if space is None else parse_space(space) if isinstance(space, Mapping) else read_space(Path(space))
    folder = choose_sweep_folder(data, out, resume)
    own = watch or TerminalWatch()
    made = Sweep(data, options, reading, settings, {}, searched or {}, folder, minutes, trials, {}, own)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = lock_folder(folder)
        try:
            made = restore_sweep(made) if resume else begin_sweep(made)
            study = open_study(made)
            try:
                run_trials(made, study)
            except TrainingInterrupted:
                raise TrainingInterrupted(explain_stop(write_command(made))) from None
            return finish_sweep(made, study)
        finally:
            if lock is not None:
                os.close(lock)
    finally:
        if watch is None:
            own.close()


def check_sweep(minutes: float | None, trials: int | None, given: Mapping[str, Any]) -> None:
    """Raise RecipeError for what makes no sweep, StriateError where Optuna is missing."""
    if find_spec("optuna") is None and (error := explain_missing_extra("optuna", "sweep")):
        raise error
    check_minutes(minutes)
    if minutes is None and trials is None:
        raise RecipeError("minutes", say("a sweep needs an end"), hint="--minutes 20, or --trials 16")
    if trials is not None and trials < 1:
        raise RecipeError("trials", say("there must be one trial at least"), got=trials, hint="--trials 16")
    for name in LEFT_OUT_OF_SWEEPS:
        if given.get(name) is not None:
            rule = say("its trials are trainings from scratch of one length, in folders of their own")
            raise RecipeError(name, say("this has no meaning in a sweep"), rule=rule, hint=say("leave it out"))


def choose_sweep_folder(data: Any, out: str | Path | None, resume: bool) -> Path:
    """Where the sweep goes, or stands. Raises RunError."""
    stem = f"{make_stem(name_data(data))}-sweep"
    numbered = [path for path in RUNS.glob(f"{stem}-*") if path.name.removeprefix(f"{stem}-").isdigit()]
    if out is not None:
        folder = Path(out)
    elif resume:
        begun = [path for path in numbered if (path / "sweep.json").exists()]
        folder = max(begun, key=lambda path: path.stat().st_mtime, default=RUNS / f"{stem}-1")
    else:
        taken = {path.name for path in numbered}
        folder = RUNS / next(f"{stem}-{k}" for k in range(1, len(taken) + 2) if f"{stem}-{k}" not in taken)
    there = (folder / "sweep.json").exists()
    if resume and not there:
        raise RunError(str(folder), say("there is no sweep here to resume"), hint=say("start it without --resume"))
    if there and not resume:
        hint = say("--resume resumes it; or choose another folder with --out")
        raise RunError(str(folder), say("this folder holds a sweep already"), hint=hint)
    check_writable(next(path for path in [folder, *folder.absolute().parents] if path.exists()), folder)
    return folder


def begin_sweep(made: Sweep) -> Sweep:
    """The sweep with what its trials share, written down before the first one begins."""
    made = settle_sweep(made)
    asked = collect_arguments(made.options, made.reading, made.settings)
    kept = {"data": name_data(made.data), "asked": asked, "base": made.base, "space": write_space(made.space)}
    atomic_file.write_file(made.file, json.dumps(kept, indent=1) + "\n")
    return made


def restore_sweep(made: Sweep) -> Sweep:
    """The sweep as it began. Raises RunError for arguments that are others."""
    try:
        began = json.loads(made.file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise RunError(str(made.file), say("this sweep cannot be read: {complaint}", complaint=e)) from None
    asked = collect_arguments(made.options, made.reading, made.settings)
    asked |= {"space": write_space(made.space)} if made.space else {}
    for name, value in asked.items():
        own = began["space"] if name == "space" else began["asked"].get(name)
        if json.loads(json.dumps(value)) != own:
            what, hint = say("a sweep is resumed with what it began with"), say("leave it out to resume as it began")
            value = say("none") if own is None else own
            rule = say("{folder} began with {value}", folder=made.folder, value=value)
            raise RunError(f"--{name.replace('_', '-')}", what, got=value, rule=rule, hint=hint)
    options, kept, settings = split_given(began["asked"])
    free = {name: getattr(made.options, name) for name in ("memory", "save_every", "log")}
    return replace(
        made,
        options=msgspec.structs.replace(options, **free),
        reading=take_group_names(kept, made.reading),
        settings=settings,
        base=began["base"],
        space=parse_space(began["space"]),
    )


def write_command(made: Sweep) -> str:
    """What goes on with a sweep that was stopped; data of Python's own are handed over there alone."""
    limits = {name: n for name, n in (("minutes", made.minutes), ("trials", made.trials)) if n is not None}
    if not isinstance(made.data, str | Path):
        given = "".join(f", {name}={n:g}" for name, n in limits.items())
        return f'striate.sweep(data, out="{made.folder}", resume=True{given})'
    given = "".join(f" --{name} {n:g}" for name, n in limits.items())
    return f"striate sweep {quote(str(made.data))} --out {quote(str(made.folder))} --resume{given}"


def finish_sweep(made: Sweep, study: Study) -> SweepResult:
    """The best trial's run, measured; the table and the picture on disk. Raises RunError where no epoch was done."""
    from ..fitting.watch import Watch
    from ..report.sweep_plot import draw_sweep
    from .search_trials import list_trials, plan_trial

    trials = list_trials(made, study)
    best = next((trial for trial in trials if trial.valid_acc is not None), None)
    if best is None:
        why = trials[0].why if trials else say("there was no time for one")
        raise RunError(str(made.folder), say("no trial came to the end of an epoch"), got=why)
    plan = plan_trial(made, best.params, best.number, Watch())
    with claim_folder(plan.request.name, plan.folder, True) as own:
        run = choose_strategy(plan.request).begin(plan := replace(plan, folder=own))
        with open_log(plan, run) as plan:
            run = report_run(run, plan)
    result = SweepResult(made.folder, made.space, trials, run)
    atomic_file.write_file(made.folder / "sweep.svg", draw_sweep(trials, "lr" in made.space))
    atomic_file.write_file(made.folder / "trials.json", json.dumps(result.as_dict(), indent=1) + "\n")
    return result


def format_sweep_outcome(found: SweepResult) -> str:
    """Where the best run is and how good, for the terminal."""
    from .training import format_outcome

    picture = make_printable(str(found.folder / "sweep.svg"))
    return say("{outcome}\npicture {picture}", outcome=format_outcome(found.run), picture=picture)
