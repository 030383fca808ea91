"""The whole way from a data set to a run: what is planned, trained, measured and written."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from . import __version__, whole_file
from .arch.find import find, usual_input
from .arch.net import Net
from .arch.summary import summarise
from .errors import RecipeError, RunError
from .train.recipe import Recipe
from .train.recipe import recipe as make_recipe

if TYPE_CHECKING:
    from .data.images import Dataset
    from .evaluate.metrics import Report
    from .train.ranks import Ranks
    from .train.run import Run, Task
    from .train.watch import Watch

AUTO = "striate_m"
"""The net that `auto` means."""


class Interrupted(KeyboardInterrupt):
    """The training was stopped from outside; it is saved, and the message says how to go on."""


@dataclass(frozen=True)
class Plan:
    """What a training is about to do: the data as loaded, the net as made, the folder, the weights to start from."""

    data: Dataset
    task: Task
    folder: Path
    settings: dict[str, Any]
    start: dict[str, Any] | None = None


def train(
    data: Any,
    net: str | Net | None = None,
    *,
    out: str | Path | None = None,
    size: int | tuple[int, int] | None = None,
    fit: str | None = None,
    recipe: str | Path | Recipe | None = None,
    weights: str | Path | None = None,
    memory: int | str | None = None,
    devices: int | None = None,
    nodes: int | None = None,
    save_every: float = 30.0,
    resume: bool = False,
    watch: Watch | None = None,
    **settings: Any,
) -> Run:
    """Train a net on a data set, from the files to the report; the Run's folder holds all that came of it.

    data      a folder of class folders, "digits", "mnist", "fashion-mnist", "cifar10", a CSV or .npz file, arrays
              `(x, y)`, or a Dataset
    net       a Net, a zoo name, a file, the text `Net(…)`; None or "auto" lets striate choose
    out       the run folder; None: a new one under runs/
    size      pixels of a side, or (height, width); None: the net's own
    fit       how an image gets that size: "pad", "crop" or "squash"
    recipe    a Recipe or a TOML file; `settings` are its fields, by name, and go over it
    weights   published weights to begin with, as for `load`; a classifier of other classes is replaced
    memory    bytes for the images, or such as "500M": what does not fit is kept on disk; None: most of what is free
    devices   processes on this machine that train together, one a GPU; None: one, or those that torchrun started
    nodes     machines, each started with the same command
    save_every  seconds between checkpoints within an epoch; each epoch's end has one too
    resume    go on with the run in `out`, or with the newest unfinished run of this data
    watch     told of the progress; None shows it on stderr
    Raises StriateError for bad input, Interrupted on Ctrl-C or SIGTERM once the state is saved.
    """
    from .train.ranks import launch
    from .train.run import Run
    from .train.watch import Terminal, Watch

    ranks = launch(devices, nodes)
    watch = (watch or Terminal()) if ranks.first else Watch()
    try:
        if ranks.world > 1:
            out = ranks.agreed(str(run_folder(name_of(data), out, resume)))
        if not ranks.first:
            ranks.wait()  # for the first rank to load, so that what it keeps on disk is decoded once
        plan = prepare(data, net, out, size, fit, recipe, weights, memory, resume, settings, watch)
        if ranks.first:
            ranks.wait()
        if resume:
            run = Run.resume(plan.folder, plan.task, ranks.device)
        else:
            run = Run.start(plan.folder, plan.task, ranks.device, plan.start)
        run.writes, run.save_every = ranks.first, save_every
        watch.plan(plan_lines(plan, run, ranks.world))
        ranks.wait()
        if ranks.first:
            whole_file.write(plan.folder / "recipe.json", json.dumps(plan.settings, indent=1) + "\n")
        follow(run, plan, ranks, watch)
        ranks.wait()
        from .ship.opening import load

        run.model, run.tested = load(run.folder), plan.data.test is not None
        if ranks.first:
            run.report = write_report(run, plan)
    finally:
        watch.close()
    return run


def prepare(data, net, out, size, fit, recipe, weights, memory, resume, settings, watch: Watch) -> Plan:
    """Everything that can be wrong is found here, before the first step."""
    from .data.images import Dataset, statistics
    from .data.sources import load as load_data
    from .train.run import Task

    name = name_of(data)
    folder = run_folder(name, out, resume)
    stored = began_with(folder) if resume else {}
    net = net or stored.get("net") or "auto"
    weights = weights or stored.get("weights")
    size = size or stored.get("size")
    fit = fit or stored.get("fit") or "pad"
    if isinstance(recipe, Recipe):
        settings = msgspec.to_builtins(recipe) | settings
        recipe = None
    given = make_recipe(recipe, **(stored.get("recipe", {}) | {k: v for k, v in settings.items() if v is not None}))
    if net == "auto":
        net = AUTO
    fixed = None if isinstance(net, str) and usual_input(net) else find(net)
    usual = fixed.input if fixed else usual_input(str(net))
    side = checked_size(size) or ((usual[1], usual[2]) if usual else None)
    if isinstance(data, Dataset):
        dataset = data
    else:
        dataset = load_data(
            data,
            size=side,
            channels=fixed.input[0] if fixed else None,
            fit=fit,
            seed=given.seed,
            memory=memory,
            progress=watch.loading,
        )
    made = find(fixed or net, classes=len(dataset.classes), input=dataset.shape)
    if given.augment == "auto":
        given = msgspec.structs.replace(given, augment="flip+shift" if dataset.shape[0] == 3 else "shift")
    mean, std = statistics(dataset.train.x)
    start = None
    if weights is not None:
        from .ship.opening import with_weights

        model, replaced = with_weights(made, weights)
        made, start, mean, std = model.net, model.tensors, model.preprocess.mean, model.preprocess.std
        head = "its classifier replaced by a fresh one" if replaced else "its classifier too"
        dataset = replace(dataset, notes=(*dataset.notes, f"begins with the weights of {weights}, {head}"))
    from .engines.model_file import Preprocess

    task = Task(
        net=made,
        recipe=given,
        classes=dataset.classes,
        preprocess=Preprocess(dataset.shape[1:], fit, mean, std),
        fingerprint=dataset.fingerprint,
        version=__version__,
    )
    kept = {
        "data": name,
        "net": net if isinstance(net, str) else repr(made),
        "size": list(dataset.shape[1:]),
        "fit": fit,
        "weights": None if weights is None else str(weights),
        "recipe": msgspec.to_builtins(given),
        "version": __version__,
    }
    return Plan(dataset, task, folder, kept, start)


def checked_size(size: Any) -> tuple[int, int] | None:
    """(height, width) of a side or of both. Raises RecipeError."""
    if size is None:
        return None
    both = (size, size) if isinstance(size, int) else tuple(size)
    if len(both) != 2 or not all(isinstance(n, int) and n >= 1 for n in both):
        raise RecipeError("size", "size is a side in pixels, or (height, width)", got=size, hint="size=64")
    return both


def run_folder(data: str, out: str | Path | None, resume: bool) -> Path:
    """Where the run goes, or, to resume, where it stands. Raises RunError."""
    stem = Path(data).resolve().name if Path(data).exists() else data
    stem = "".join(c if c.isalnum() or c in "-_" else "-" for c in stem.rsplit(".", 1)[0]) or "run"
    if out is not None:
        folder = Path(out)
        if not resume and (folder / "checkpoint").exists():
            raise RunError(
                str(folder),
                "this folder holds a run already",
                hint="--resume goes on with it; or choose another folder with --out",
            )
    elif resume:
        began = [path.parent.parent for path in Path("runs").glob(f"{stem}-*/checkpoint/last.safetensors")]
        if not began:
            raise RunError(
                "runs", f"no run of {data} has begun here", hint="start without --resume, or name it by --out"
            )
        folder = max(began, key=lambda path: (path / "checkpoint" / "last.safetensors").stat().st_mtime)
    else:
        taken = {path.name for path in Path("runs").glob(f"{stem}-*")}
        number = next(k for k in range(1, len(taken) + 2) if f"{stem}-{k}" not in taken)
        folder = Path("runs") / f"{stem}-{number}"
    ground = next(path for path in [folder, *folder.absolute().parents] if path.exists())
    if not ground.is_dir() or not os.access(ground, os.W_OK):
        raise RunError(str(folder), f"cannot write into {ground}", hint="choose another folder with --out")
    return folder


def began_with(folder: Path) -> dict[str, Any]:
    """The settings that a run began with."""
    try:
        return json.loads((folder / "recipe.json").read_text())
    except (OSError, ValueError) as e:
        raise RunError(str(folder / "recipe.json"), f"cannot read what this run began with: {e}") from None


def name_of(data: Any) -> str:
    """What a data set is called: its folder or name, or "arrays"."""
    return str(data) if isinstance(data, str | Path) else getattr(data, "name", "arrays")


def plan_lines(plan: Plan, run: Run, world: int) -> list[str]:
    """What the training is about to do, for the user to read."""
    data, task = plan.data, plan.task
    s = summarise(task.net)
    c, h, w = data.shape
    sizes = f"{len(data.train):,} to train, {len(data.valid):,} to validate"
    sizes += f", {len(data.test):,} to test" if data.test is not None else ""
    recipe = task.recipe
    lines = [
        f"{data.name}: {sizes}; {len(data.classes)} classes, {c}×{h}×{w}, {data.level}",
        *data.notes,
        *([f"{len(data.skipped)} files skipped, the first: {data.skipped[0].file}: {data.skipped[0].why}"]
          if data.skipped else []),
        f"{task.net.name}: {s.params:,} parameters, {s.macs:,} MACs an image",
        f"{recipe.epochs} epochs, batch {recipe.batch}, {recipe.optimizer} at {recipe.peak:g}, {recipe.schedule}, "
        f"augmentation: {recipe.augment}, seed {recipe.seed}",
        *([f"{world} processes train together, each on its part of every batch"] if world > 1 else []),
        f"into {plan.folder}" + (f", going on after step {run.step}" if run.step else ""),
    ]  # fmt: skip
    return lines


def follow(run: Run, plan: Plan, ranks: Ranks, watch: Watch) -> None:
    """Train to the end, or until Ctrl-C or SIGTERM. Raises Interrupted."""
    from .data.batches import Feed
    from .train import loop

    pre = plan.task.preprocess
    train, valid = (Feed(part, pre.mean, pre.std, ranks.device) for part in (plan.data.train, plan.data.valid))
    with stopping() as stop:
        try:
            for row in loop.fit(run, train, valid, ranks=ranks, tick=watch.step, stop=stop.is_set):
                watch.epoch(row, run.recipe.epochs, best=run.best is row)
        except loop.Interrupted:
            command = f"striate train {plan.settings['data']} --out {run.folder} --resume"
            raise Interrupted(f"stopped after {run.step} steps, and saved; to go on:\n  {command}") from None


@contextmanager
def stopping() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set instead of breaking off; a second Ctrl-C breaks off all the same."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def ask(number, frame) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def write_report(run: Run, plan: Plan) -> Report:
    """Measure the best epoch on the test split, or where there is none on validation, and write report.html."""
    from .evaluate.page import page
    from .ship.report import gathered

    given = gathered(run.model, plan.data, run.folder.name, [row.__dict__ for row in run.history])
    whole_file.write(run.folder / "report.html", page(given))
    whole_file.write(run.folder / "report.json", json.dumps(given.report.as_dict()) + "\n")
    return given.report


def outcome(run: Run) -> str:
    """What came of a run, in a few lines for the terminal."""
    r, best = run.report, run.history.index(run.best) + 1 if run.best else 0
    low, high = r.accuracy_interval
    measured = f"{'test' if run.tested else 'validation'} accuracy {r.accuracy:.2%} ({low:.2%} to {high:.2%}"
    return "\n".join(
        [
            f"{measured}, {r.images:,} images), best epoch {best}",
            f"model   {run.folder / 'model.safetensors'}",
            f"report  {run.folder / 'report.html'}",
        ]
    )
