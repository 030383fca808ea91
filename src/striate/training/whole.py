"""The whole way from a data set to a run: what is planned, trained, measured and written."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from .. import __version__, whole_file
from ..arch.find import find, usual_input
from ..arch.net import Net
from ..arch.summary import summarise
from ..engines.model_file import Preprocess
from ..errors import RecipeError
from ..terminal import printable
from ..train.last_step import checkpoint_file
from ..train.recipe import Recipe
from ..train.recipe import recipe as make_recipe
from .folders import began_with, claimed, finished, name_of, run_folder
from .resuming import asked_for, check_asked, check_images, further, keep_beginning
from .starting import recipe_of, run_model, start_from, start_from_run
from .together import begin_together, ends, feeds, follow_orders, forecast_together, load_everywhere

if TYPE_CHECKING:
    from ..data.batches import Feed
    from ..data.images import Dataset
    from ..data.label_errors import Doubts
    from ..evaluate.metrics import Report
    from ..train.preset import Choice
    from ..train.ranks import Ranks
    from ..train.run import Run, Task
    from ..train.watch import Watch


class Interrupted(KeyboardInterrupt):
    """The training was stopped from outside; it is saved, and the message says how to go on."""


@dataclass(frozen=True)
class Plan:
    """What a training is about to do: the data as loaded, the net as made, the folder, the weights to start from.

    reasons  what was chosen for the user and why, a sentence each
    doubts   what is said of the labels, where the training comes with it
    """

    data: Dataset
    task: Task
    folder: Path
    settings: dict[str, Any]
    start: dict[str, Any] | None = None
    reasons: tuple[str, ...] = ()
    doubts: Doubts | None = None


def train(
    data: Any,
    net: str | Net | None = None,
    *,
    preset: str | None = None,
    minutes: float | None = None,
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
    preset    "fast", "balanced" or "best" choose the recipe, and the net where that is "auto", by the data set;
              "transfer" trains a head on a published net. None is the recipe's own settings, or where the net is "auto"
              "transfer" for files larger than 64 pixels if EfficientNet-Lite0 is installed, else "balanced". What is
              given goes over the preset
    minutes   to train in, about: the epochs, and where the net is "auto" the net, are chosen to fit, up to the
              preset's net
    out       the run folder; None: a new one under runs/
    size      pixels of a side, or (height, width); None: the net's own
    fit       how an image gets that size: "pad", "crop" or "squash"
    recipe    a Recipe or a TOML file; `settings` are its fields, by name, and go over it
    weights   to begin with: published ones, as for `load`, whose classifier of other classes is replaced; or a run,
              whose net, size and recipe hold where nothing else is said, and what it knows of each class
    memory    bytes for the images, or such as "500M": what does not fit is kept on disk; None: most of what is free
    devices   processes on this machine that train together, one a GPU; None: one, or those that torchrun started
    nodes     machines, each started with the same command
    save_every  seconds between checkpoints within an epoch; each epoch's end has one too
    resume    go on with the run in `out`, or with the newest unfinished run of this data, as it began: another value
              for an argument that settles what the run is, is refused
    watch     told of the progress; None shows it on stderr
    Raises StriateError for bad input, Interrupted on Ctrl-C, SIGTERM or SIGHUP once the state is saved.

    >>> import tempfile
    >>> run = train("digits", "lenet5", epochs=1, out=tempfile.mkdtemp() + "/run")
    >>> sorted(path.name for path in run.folder.iterdir())[:3]
    ['checkpoint', 'metrics.jsonl', 'model.safetensors']
    """
    from ..train.launch import launch
    from ..train.pages import keep_pages
    from ..train.watch import Terminal, Watch
    from .photographs import default_preset, train_by_transfer

    keep_pages()
    ranks = launch(devices, nodes)
    watch = (watch or Terminal()) if ranks.first else Watch()
    try:
        with ranks.one_end():
            if not ranks.first:
                return follow_orders(data, memory, ranks)
            check_minutes(minutes)
            why_scratch, folder = "", run_folder(name_of(data), out, resume)
            asked = asked_for(
                recipe, settings, net=net, preset=preset, minutes=minutes, size=size, fit=fit, weights=weights
            )
            if resume:
                began = began_with(folder)
                check_asked(folder, began, asked)
                net, size, fit, weights = (began.get(key) for key in ("net", "size", "fit", "weights"))
                preset = "transfer" if began.get("preset") == "transfer" else None
                minutes = began.get("minutes") if preset else None
                recipe, settings = None, began.get("recipe", {})
                if "net" not in began.get("asked", {}) and run_model(weights) is not None:
                    net = None  # it came from those weights, perhaps for other classes
            elif preset is None and net in (None, "auto") and run_model(weights) is None:
                preset, why_scratch = default_preset(data, recipe, settings)
            claim = claimed(name_of(data), folder if out is not None or resume else None, resume)
            if preset == "transfer":
                return train_by_transfer(
                    data, net, folder=folder, claim=claim, size=size, fit=fit, weights=weights, memory=memory,
                    minutes=minutes, resume=resume, settings=settings, asked=asked, watch=watch, ranks=ranks,
                )  # fmt: skip
            plan = prepare(
                data, net, preset, minutes, folder, size, fit, recipe, weights, memory, resume, settings, ranks, watch
            )
            if why_scratch:
                plan = replace(plan, reasons=(why_scratch, *plan.reasons))
            plan.settings["asked"] = asked
            with claim as own:
                return carried_out(replace(plan, folder=own), ranks, watch, resume, save_every)
    finally:
        watch.close()


def carried_out(plan: Plan, ranks: Ranks, watch: Watch, resume: bool, save_every: float) -> Run:
    """The plan's run, trained from its beginning or from where it was saved, and measured."""
    from ..train.run import Run

    going_on = resume and checkpoint_file(plan.folder).is_file()  # a kill may have come before the first one
    if going_on:
        run = Run.resume(plan.folder, plan.task, ranks.device)
    else:
        run = Run.start(plan.folder, plan.task, ranks.device, plan.start)
        run.expected = forecast_together(plan.task, plan.data, ranks)
    run.save_every = save_every
    watch.plan(plan_lines(plan, run, ranks.world))
    if not going_on:
        keep_beginning(plan.folder, plan.settings, plan.data, resume)
    begin_together(run, ranks)
    follow(run, plan, *feeds(plan.task, plan.data, ranks), ranks, watch)
    return reported(run, plan)


def reported(run: Run, plan: Plan) -> Run:
    """The run with its model, which is measured, and its report on disk."""
    from ..ship.opening import load

    run.model, run.tested, run.doubts = load(run.folder), plan.data.test is not None, plan.doubts
    run.report = write_report(run, plan)
    return run


def prepare(
    data, net, preset, minutes, folder, size, fit, recipe, weights, memory, resume, settings, ranks: Ranks, watch: Watch
) -> Plan:
    """Everything that can be wrong is found here, before anything is written."""
    from ..ship.known import known_of, known_to

    source = run_model(weights)
    net = net or "auto"
    if source is not None:
        net = source.net if net == "auto" else net
        size, fit = size or source.preprocess.size, fit or source.preprocess.fit
    fit = fit or "pad"
    if isinstance(recipe, Recipe):
        settings = msgspec.to_builtins(recipe) | settings
        recipe = None
    settings = {k: v for k, v in settings.items() if v is not None}
    if preset is None and (net == "auto" or minutes is not None):
        preset = "balanced" if minutes is None else "best"
    given = make_recipe(recipe, under=recipe_of(source) if preset is None else None, **settings)
    side = checked_size(size) or side_for(data, net)
    dataset = loaded(data, net, side, fit, given.seed, memory, ranks, watch)
    if resume:
        check_images(folder, dataset)
    ranks.at("choosing the recipe")
    reasons: tuple[str, ...] = ()
    if preset is not None:
        net, given, reasons = by_preset(preset, minutes, net, dataset, recipe, settings, ranks)
    if given.augment == "auto":
        given = msgspec.structs.replace(given, augment="flip+shift" if dataset.shape[0] == 3 else "shift")
    start = None
    if resume and checkpoint_file(folder).is_file():
        from ..train.run import task_of

        saved = task_of(folder)
        made, pre = saved.net, saved.preprocess
    elif weights is not None:
        begun = (
            start_from(net, weights, dataset.classes, dataset.shape)
            if source is None
            else start_from_run(net, weights, source, dataset.classes, dataset.shape, given.seed)
        )
        pre = Preprocess(dataset.shape[1:], fit, begun.mean, begun.std, given.views)
        made, start = begun.net, begun.tensors
        reasons = (*reasons, begun.note)
    else:
        made = find(net, classes=len(dataset.classes), input=dataset.shape)
        pre = preprocess(dataset, fit, given.views)
    if given.whiten and start is None:
        start = whitened_start(made, dataset, pre, given.seed)
    kept = {
        "data": name_of(data),
        "preset": preset,
        "minutes": minutes,
        "net": net if isinstance(net, str) else repr(made),
        "size": list(dataset.shape[1:]),
        "fit": fit,
        "weights": None if weights is None else str(weights),
        "recipe": msgspec.to_builtins(given),
        "version": __version__,
    }
    known = (known_to(folder) if resume else None) or known_of(dataset, weights)
    task = replace(task_for(made, given, dataset, pre), known=known)
    return Plan(dataset, task, folder, kept, start, reasons)


def task_for(net: Net, given: Recipe, data: Dataset, pre: Preprocess) -> Task:
    from ..train.run import Task

    return Task(net, given, data.classes, pre, data.fingerprint, __version__)


def preprocess(data: Dataset, fit: str, views: str = "plain") -> Preprocess:
    """From an image to the net's input, standardised by the training images' own mean and deviation."""
    from ..data.images import statistics

    return Preprocess(data.shape[1:], fit, *statistics(data.train.x), views)


def loaded(data: Any, net: Any, side: Any, fit: str, seed: int, memory: Any, ranks: Ranks, watch: Watch) -> Dataset:
    """The data set, its images decoded at their size, in all processes."""
    from ..data.images import Dataset

    known = isinstance(data, Dataset) or net == "auto" or (isinstance(net, str) and usual_input(net))
    channels = None if known else find(net).input[0]
    return load_everywhere(data, {"size": side, "channels": channels, "fit": fit, "seed": seed}, memory, ranks, watch)


def side_for(data: Any, net: Any) -> tuple[int, int] | None:
    """The size of the images where nobody gave one: the net's; None leaves them as they are."""
    if net != "auto":
        _, h, w = (usual_input(net) if isinstance(net, str) else None) or find(net).input
        return h, w
    from ..data.images import Dataset
    from ..data.peek import usual_size
    from ..train.preset import working_size

    found = None if isinstance(data, Dataset) else usual_size(data)
    return None if found is None else working_size(found)


def by_preset(
    preset: str, minutes: float | None, net: Any, data: Dataset, recipe: Any, settings: dict[str, Any], ranks: Ranks
) -> tuple[Any, Recipe, tuple[str, ...]]:
    """The net and the recipe that a preset chooses for a data set, the user's own settings over it; and why."""
    from ..train.preset import Facts, chosen, within
    from ..train.probe import ask

    seed = make_recipe(recipe, **settings).seed
    facts = Facts(len(data.train), data.shape, len(data.classes), ask(data.train, seed))
    pre = preprocess(data, "pad")

    def settled(choice: Choice) -> tuple[Any, Recipe]:
        if net == "auto":
            return choice.net, make_recipe(recipe, under=choice.settings, **settings)
        kept = {name: value for name, value in choice.settings.items() if name != "whiten"}  # it is for our own nets
        return net, make_recipe(recipe, under=kept, **settings)

    def seconds(choice: Choice) -> float:
        name, given = settled(choice)
        made = find(name, classes=len(data.classes), input=data.shape)
        return forecast_together(task_for(made, given, data, pre), data, ranks).epoch

    choice = chosen(preset, facts) if minutes is None else within(minutes * 60, preset, facts, seconds)
    return *settled(choice), tuple(choice.reasons)


def whitened_start(net: Net, data: Dataset, pre: Preprocess, seed: int) -> dict[str, Any]:
    """Fresh weights, those of the first convolution from the training images."""
    from ..engines.torch import arrays, build
    from ..train.whiten import first_conv, whitened

    tensors, first = arrays(build(net, seed)), f"{first_conv(net)}.weight"
    return tensors | {first: whitened(net, tensors[first], data.train.x, pre.mean, pre.std, seed)}


def check_minutes(minutes: float | None) -> None:
    if minutes is not None and not 0 < minutes < float("inf"):
        raise RecipeError("minutes", "minutes must be above 0", got=minutes, hint="--minutes 5")


def checked_size(size: Any) -> tuple[int, int] | None:
    """(height, width) of a side or of both. Raises RecipeError."""
    if size is None:
        return None
    both = (size, size) if isinstance(size, int) else tuple(size)
    if len(both) != 2 or not all(isinstance(n, int) and n >= 1 for n in both):
        raise RecipeError("size", "size is a side in pixels, or (height, width)", got=size, hint="size=64")
    return both


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
        *plan.reasons,
        *([f"{len(data.skipped)} files skipped, the first: {data.skipped[0].file}: {data.skipped[0].why}"]
          if data.skipped else []),
        f"{task.net.name}: {s.params:,} parameters, {s.macs:,} MACs an image",
        f"{recipe.epochs} epochs, batch {recipe.batch}, {recipe.optimizer} at {recipe.peak:g}, {recipe.schedule}, "
        f"augmentation: {recipe.augment}, seed {recipe.seed}"
        + (f"; the model looks at each image as in views: {recipe.views}" if recipe.views != "plain" else ""),
        *([f"{world} processes train together, each on its part of every batch"] if world > 1 else []),
        *([str(run.expected)] if run.expected else []),
        f"into {plan.folder}" + (f", going on after step {run.step}" if run.step else ""),
        *([further(plan.folder)] if run.done and finished(plan.folder) else []),
    ]  # fmt: skip
    return lines


def follow(run: Run, plan: Plan, train: Feed, valid: Feed, ranks: Ranks, watch: Watch) -> None:
    """Train to the end, or until Ctrl-C or SIGTERM. Raises Interrupted."""
    from ..train import loop
    from ..train.forecast import held

    began = time.perf_counter()
    with stopping(f"striate train {plan.settings['data']} --out {run.folder} --resume") as stop:
        try:
            for row in loop.fit(run, train, valid, ranks=ranks, tick=watch.step, stop=stop.is_set):
                watch.epoch(row, run.recipe.epochs, best=run.best is row)
        except loop.Interrupted:
            ranks.done()
            raise
    ranks.done()
    run.took, run.held = time.perf_counter() - began, held(ranks.device)


@contextmanager
def stopping(command: str) -> Iterator[threading.Event]:
    """An event that Ctrl-C, SIGTERM and a closed terminal set instead of breaking off; a second one breaks off.

    Where the training then ends with loop.Interrupted, that becomes Interrupted, which tells the `command` to go on by.
    """
    from ..train.loop import Interrupted as Stopped

    stop, before = threading.Event(), {}

    def ask(number, frame) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    if threading.current_thread() is threading.main_thread():
        before = {number: signal.signal(number, ask) for number in ends()}
    try:
        yield stop
    except Stopped:
        raise Interrupted(f"stopped, and saved; to go on:\n  {command}") from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def write_report(run: Run, plan: Plan) -> Report:
    """Measure the best epoch on the test split, or where there is none on validation, and write report.html."""
    from ..evaluate.page import page
    from ..ship.report import gathered

    given = gathered(run.model, plan.data, run.folder.name, [row.__dict__ for row in run.history], plan.doubts)
    whole_file.write(run.folder / "report.html", page(given))
    measured = given.report.as_dict() | {
        "split": given.report_split,
        "labels_judged": None if plan.doubts is None else plan.doubts.judged,
        "label_errors": None if plan.doubts is None else plan.doubts.listed(),
    }
    whole_file.write(run.folder / "report.json", json.dumps(measured) + "\n")
    return given.report


def outcome(run: Run) -> str:
    """What came of a run, in a few lines for the terminal."""
    from ..evaluate.tables import few

    r, best = run.report, run.best.epoch if run.best else 0
    low, high = r.accuracy_interval
    measured = f"{'test' if run.tested else 'validation'} accuracy {r.accuracy:.2%} ({low:.2%} to {high:.2%}"
    return "\n".join(
        [
            f"{measured}, {r.images:,} images)" + (f", best epoch {best}" if best else ""),
            *([f"not measured, for lack of images: {few(r.unmeasured)}"] if r.unmeasured else []),
            *([run.expected.beside(run.took, run.held)] if run.expected else []),
            *([f"labels  {len(run.doubts.errors):,} are likely wrong, of {run.doubts.judged:,} images: see the report"]
              if run.doubts is not None and run.doubts.errors else []),
            f"model   {printable(str(run.folder / 'model.safetensors'))}",
            f"report  {printable(str(run.folder / 'report.html'))}",
        ]
    )  # fmt: skip
