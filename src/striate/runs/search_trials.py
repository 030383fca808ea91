"""The trials of a sweep, one after another: suggested by Optuna, trained, ended early where others are better."""

from __future__ import annotations

import json
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from ..errors import StriateError
from ..fitting.recipe import read_recipe
from ..fitting.watch import Watch
from ..language import render_text, say, to_say
from ..run_files import RunFiles
from .folders import claim_folder
from .presets import PRESET_LEVELS
from .request import make_request
from .search_base import Sweep, find_own_ranks
from .search_space import SEARCHED_OPTIONS, ChoiceOf, draw_params
from .strategy import carry_out, choose_strategy
from .sweep_result import SweepTrial, format_params

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial, Trial

    from ..fitting.run import Epoch
    from .plan import Plan

# The first few trials are drawn at random, and none is pruned before so many have come to their end.
RANDOM_TRIALS, UNPRUNED_TRIALS = 5, 4


class TrialEnded(Exception):
    """A trial ends with an epoch that is saved; `state` says why."""

    def __init__(self, state: str) -> None:
        super().__init__(state)
        self.state = state


class TrialWatch(Watch):
    """Reports each epoch to the study, and ends the trial where going on is no use or the time is over."""

    def __init__(self, other: Watch, trial: Trial, ends: float | None) -> None:
        self.other, self.trial, self.ends = other, trial, ends

    def loading(self, what: str, done: int, total: int) -> None:
        self.other.loading(what, done, total)

    def step(self, step: int, steps: int, loss: float, acc: float, seen: int) -> None:
        self.other.step(step, steps, loss, acc, seen)

    def epoch(self, row: Epoch, epochs: int, best: bool) -> None:
        known = self.trial.study.get_trials(deepcopy=False)[self.trial.number].intermediate_values
        if row.epoch not in known:  # a kill came between this and the checkpoint
            self.trial.report(row.valid_acc, row.epoch)
        if row.epoch < epochs and self.trial.should_prune():
            raise TrialEnded(to_say("pruned"))
        if row.epoch < epochs and self.ends is not None and time.perf_counter() > self.ends:
            raise TrialEnded(to_say("out of time"))


def open_study(made: Sweep) -> Study:
    """Optuna's study in the folder's journal; the first trial of a new one has the preset's own values."""
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = JournalStorage(JournalFileBackend(str(made.folder / "trials.log")))
    pruner = optuna.pruners.MedianPruner(n_startup_trials=UNPRUNED_TRIALS, n_warmup_steps=1)
    study = optuna.create_study(
        storage=storage, study_name="sweep", load_if_exists=True, direction="maximize", pruner=pruner
    )
    begun = len(study.get_trials(deepcopy=False))
    # Another seed where it goes on: the draws are not repeated.
    study.sampler = optuna.samplers.TPESampler(n_startup_trials=RANDOM_TRIALS, seed=made.seed + begun)
    if not begun:
        study.enqueue_trial(find_usual_params(made))
    return study


def find_usual_params(made: Sweep) -> dict[str, Any]:
    """The preset's own values of what is searched, where the space holds them, as the study keeps them."""
    usual = made.base | {"net": PRESET_LEVELS["balanced"].net, "lr": read_recipe(under=made.base, **made.settings).peak}
    found: dict[str, Any] = {}
    for name, part in made.space.items():
        value = usual.get(name)
        if isinstance(part, ChoiceOf):
            found[name] = part.values.index(value) if value in part.values else 0
        elif isinstance(value, int | float) and part.low <= value <= part.high:
            found[name] = float(value)
    return found


def run_trials(made: Sweep, study: Study) -> None:
    """Trials until the time is over or there are enough; one that was broken off goes on first."""
    from optuna.trial import Trial, TrialState

    spent = sum(map(count_seconds, study.get_trials(deepcopy=False)))
    ends = None if made.minutes is None else time.perf_counter() + made.minutes * 60 - spent
    while True:
        trials = study.get_trials(deepcopy=False)
        broken = next((t for t in trials if t.state is TrialState.RUNNING), None)
        if broken is not None:
            run_trial(made, study, Trial(study, broken._trial_id), ends)
        elif has_room(made, trials, ends):
            run_trial(made, study, study.ask(), ends)
        else:
            return


def has_room(made: Sweep, trials: list[FrozenTrial], ends: float | None) -> bool:
    """Whether another trial may begin: there are not enough yet, and there is time for half of a usual one."""
    begun = [t for t in trials if t.state.name != "WAITING"]
    if made.trials is not None and len(begun) >= made.trials:
        return False
    took = [count_seconds(t) for t in begun if t.state.name == "COMPLETE"]
    return ends is None or ends - time.perf_counter() > (statistics.median(took) / 2 if took else 0.0)


def count_seconds(trial: FrozenTrial) -> float:
    return float(trial.user_attrs.get("seconds", 0.0))


def run_trial(made: Sweep, study: Study, trial: Trial, ends: float | None) -> None:
    """Train it, and tell the study how it went."""
    from optuna.trial import TrialState

    params, number, began = draw_params(trial, made.space), trial.number + 1, time.perf_counter()
    made.watch.plan([say("trial {number}: {params}", number=number, params=format_params(params))])
    state, why = to_say("done"), ""
    try:
        plan = plan_trial(made, params, number, TrialWatch(made.watch, trial, ends))
        with claim_folder(plan.request.name, plan.folder, plan.request.options.resume) as own:
            carry_out(replace(plan, folder=own), choose_strategy(plan.request), measured=False)
    except TrialEnded as e:
        state = e.state
    except StriateError as e:
        state, why = to_say("failed"), say("{where}: {what}", where=e.where, what=e.what)
    rows, best = read_rows(find_trial_folder(made, number)), None
    told: dict[str, Any] = {
        "state": state,
        "why": str(render_text(why, "en")),
        "epochs": len(rows),
        "seconds": time.perf_counter() - began,
    }
    if rows:
        best = max(rows, key=lambda r: (r["valid_acc"], -r["valid_loss"], -r["epoch"]))
        told |= {"valid_acc": best["valid_acc"], "valid_loss": best["valid_loss"]}
    for name, value in told.items():
        trial.set_user_attr(name, value)
    ended = {"done": TrialState.COMPLETE, "failed": TrialState.FAIL}.get(state, TrialState.PRUNED)
    study.tell(trial, best["valid_acc"] if best and ended is TrialState.COMPLETE else None, state=ended)
    reached = say("validation {accuracy:.2%}", accuracy=best["valid_acc"]) if best else say("no epoch")
    seconds, ending = told["seconds"], say("{state}: {why}", state=say(state), why=why) if why else say(state)
    made.watch.plan(
        [
            say(
                "trial {number}: {reached}, {seconds:.1f} s, {ending}",
                number=number,
                reached=reached,
                seconds=seconds,
                ending=ending,
            )
        ]
    )


def find_trial_folder(made: Sweep, number: int) -> Path:
    return made.folder / f"trial-{number}"


def plan_trial(made: Sweep, params: dict[str, Any], number: int, watch: Watch) -> Plan:
    """The plan of a trial's run: a new one, or where it has begun that one."""
    folder = find_trial_folder(made, number)
    if RunFiles(folder).settings.exists():
        free = {name: None for name in (*SEARCHED_OPTIONS, "preset")}
        options, settings = msgspec.structs.replace(made.options, out=folder, resume=True, **free), {}
    else:
        chosen = {name: params[name] for name in SEARCHED_OPTIONS if name in params}
        usual = made.options.net or PRESET_LEVELS["balanced"].net
        options = msgspec.structs.replace(made.options, out=folder, **{"net": usual} | chosen)
        own = options.net in [level.net for level in PRESET_LEVELS.values()]
        # Whitened filters are for our own nets.
        base = {name: value for name, value in made.base.items() if own or name != "whiten"}
        settings = base | made.settings | {name: value for name, value in params.items() if name not in chosen}
    request = make_request(made.data, options, made.reading, settings, find_own_ranks(), watch)
    return choose_strategy(request).plan(replace(request, loaded=made.loaded))


def read_rows(folder: Path) -> list[dict[str, Any]]:
    """The epochs that a trial's run has saved."""
    file = RunFiles(folder).metrics
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []


def list_trials(made: Sweep, study: Study) -> tuple[SweepTrial, ...]:
    """The trials that are over, the best first."""
    found = []
    for t in study.get_trials(deepcopy=False):
        if "state" in t.user_attrs:
            params = {
                name: part.values[t.params[name]] if isinstance(part, ChoiceOf) else t.params[name]
                for name, part in made.space.items()
            }
            found.append(SweepTrial(t.number + 1, params, **t.user_attrs))
    return tuple(sorted(found, key=lambda trial: trial.rank, reverse=True))
