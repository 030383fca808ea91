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

from .. import __version__, atomic_file
from ..architecture.find import find_net, find_usual_input
from ..architecture.net import Net
from ..engines.model_file import Preprocess
from ..errors import RecipeError
from ..fitting.last_step import find_checkpoint
from ..fitting.recipe import Recipe
from ..fitting.recipe import read_recipe as make_recipe
from ..summaries.summary import summarise_net
from ..terminal import make_printable
from .folders import choose_run_folder, claimed, finished, name_data, read_settings
from .resuming import asked_for, check_asked, check_images, further, keep_beginning
from .starting import recipe_of, run_model, start_from, start_from_run
from .together import begin_together, ends, follow_orders, forecast_together, load_everywhere, make_feeds

if TYPE_CHECKING:
    from ..data.check.label_errors import Doubts
    from ..data.images import Dataset
    from ..fitting.batches import Feed
    from ..fitting.checkpoint import Task
    from ..fitting.ranks import Ranks
    from ..fitting.run import Run
    from ..fitting.watch import Watch
    from ..metrics.classification import Report
    from .presets import PresetChoice


class TrainingInterrupted(KeyboardInterrupt):
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
    from ..fitting.launch import launch_ranks
    from ..fitting.ranks import keep_pages
    from ..fitting.watch import TerminalWatch, Watch
    from .photographs import choose_default_preset, train_by_transfer

    keep_pages()
    ranks = launch_ranks(devices, nodes)
    watch = (watch or TerminalWatch()) if ranks.first else Watch()
    try:
        with ranks.one_end():
            if not ranks.first:
                return follow_orders(data, memory, ranks)
            check_minutes(minutes)
            why_scratch, folder = "", choose_run_folder(name_data(data), out, resume)
            asked = asked_for(
                recipe, settings, net=net, preset=preset, minutes=minutes, size=size, fit=fit, weights=weights
            )
            if resume:
                began = read_settings(folder)
                check_asked(folder, began, asked)
                net, size, fit, weights = (began.get(key) for key in ("net", "size", "fit", "weights"))
                preset = "transfer" if began.get("preset") == "transfer" else None
                minutes = began.get("minutes") if preset else None
                recipe, settings = None, began.get("recipe", {})
                if "net" not in began.get("asked", {}) and run_model(weights) is not None:
                    net = None  # it came from those weights, perhaps for other classes
            elif preset is None and net in (None, "auto") and run_model(weights) is None:
                preset, why_scratch = choose_default_preset(data, recipe, settings)
            claim = claimed(name_data(data), folder if out is not None or resume else None, resume)
            if preset == "transfer":
                return train_by_transfer(
                    data, net, folder=folder, claim=claim, size=size, fit=fit, weights=weights, memory=memory,
                    minutes=minutes, resume=resume, settings=settings, asked=asked, watch=watch, ranks=ranks,
                )  # fmt: skip
            plan = prepare_plan(
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
    from ..fitting.run import Run

    going_on = resume and find_checkpoint(plan.folder).is_file()  # a kill may have come before the first one
    if going_on:
        run = Run.resume(plan.folder, plan.task, ranks.device)
    else:
        run = Run.start(plan.folder, plan.task, ranks.device, plan.start)
        run.expected = forecast_together(plan.task, plan.data, ranks)
    run.save_every = save_every
    watch.plan(format_plan(plan, run, ranks.world))
    if not going_on:
        keep_beginning(plan.folder, plan.settings, plan.data, resume)
    begin_together(run, ranks)
    follow_training(run, plan, *make_feeds(plan.task, plan.data, ranks), ranks, watch)
    return report_run(run, plan)


def report_run(run: Run, plan: Plan) -> Run:
    """The run with its model, which is measured, and its report on disk."""
    from ..model.opening import load

    run.model, run.tested, run.doubts = load(run.folder), plan.data.test is not None, plan.doubts
    run.report = write_report(run, plan)
    return run


def prepare_plan(
    data, net, preset, minutes, folder, size, fit, recipe, weights, memory, resume, settings, ranks: Ranks, watch: Watch
) -> Plan:
    """Everything that can be wrong is found here, before anything is written."""
    from ..model.known import describe_known, read_known

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
    side = check_image_size(size) or choose_side(data, net)
    dataset = load_at_size(data, net, side, fit, given.seed, memory, ranks, watch)
    if resume:
        check_images(folder, dataset)
    ranks.at("choosing the recipe")
    reasons: tuple[str, ...] = ()
    if preset is not None:
        net, given, reasons = apply_preset(preset, minutes, net, dataset, recipe, settings, ranks)
    if given.augment == "auto":
        given = msgspec.structs.replace(given, augment="flip+shift" if dataset.shape[0] == 3 else "shift")
    start = None
    if resume and find_checkpoint(folder).is_file():
        from ..fitting.checkpoint import read_task

        saved = read_task(folder)
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
        made = find_net(net, classes=len(dataset.classes), input=dataset.shape)
        pre = make_preprocess(dataset, fit, given.views)
    if given.whiten and start is None:
        start = draw_whitened_start(made, dataset, pre, given.seed)
    kept = {
        "data": name_data(data),
        "preset": preset,
        "minutes": minutes,
        "net": net if isinstance(net, str) else repr(made),
        "size": list(dataset.shape[1:]),
        "fit": fit,
        "weights": None if weights is None else str(weights),
        "recipe": msgspec.to_builtins(given),
        "version": __version__,
    }
    known = (read_known(folder) if resume else None) or describe_known(dataset, weights)
    task = replace(make_task(made, given, dataset, pre), known=known)
    return Plan(dataset, task, folder, kept, start, reasons)


def make_task(net: Net, given: Recipe, data: Dataset, pre: Preprocess) -> Task:
    from ..fitting.checkpoint import Task

    return Task(net, given, data.classes, pre, data.fingerprint, __version__)


def make_preprocess(data: Dataset, fit: str, views: str = "plain") -> Preprocess:
    """From an image to the net's input, standardised by the training images' own mean and deviation."""
    from ..data.images import measure_channels

    return Preprocess(data.shape[1:], fit, *measure_channels(data.train.x), views)


def load_at_size(
    data: Any, net: Any, side: Any, fit: str, seed: int, memory: Any, ranks: Ranks, watch: Watch
) -> Dataset:
    """The data set, its images decoded at their size, in all processes."""
    from ..data.images import Dataset

    known = isinstance(data, Dataset) or net == "auto" or (isinstance(net, str) and find_usual_input(net))
    channels = None if known else find_net(net).input[0]
    return load_everywhere(data, {"size": side, "channels": channels, "fit": fit, "seed": seed}, memory, ranks, watch)


def choose_side(data: Any, net: Any) -> tuple[int, int] | None:
    """The size of the images where nobody gave one: the net's; None leaves them as they are."""
    if net != "auto":
        _, h, w = (find_usual_input(net) if isinstance(net, str) else None) or find_net(net).input
        return h, w
    from ..data.images import Dataset
    from ..data.sources.load import find_usual_size
    from .presets import choose_size

    found = None if isinstance(data, Dataset) else find_usual_size(data)
    return None if found is None else choose_size(found)


def apply_preset(
    preset: str, minutes: float | None, net: Any, data: Dataset, recipe: Any, settings: dict[str, Any], ranks: Ranks
) -> tuple[Any, Recipe, tuple[str, ...]]:
    """The net and the recipe that a preset chooses for a data set, the user's own settings over it; and why."""
    from ..fitting.probe import probe_data
    from .presets import DataFacts, choose_preset, choose_within

    seed = make_recipe(recipe, **settings).seed
    facts = DataFacts(len(data.train), data.shape, len(data.classes), probe_data(data.train, seed))
    pre = make_preprocess(data, "pad")

    def settled(choice: PresetChoice) -> tuple[Any, Recipe]:
        if net == "auto":
            return choice.net, make_recipe(recipe, under=choice.settings, **settings)
        kept = {name: value for name, value in choice.settings.items() if name != "whiten"}  # it is for our own nets
        return net, make_recipe(recipe, under=kept, **settings)

    def seconds(choice: PresetChoice) -> float:
        name, given = settled(choice)
        made = find_net(name, classes=len(data.classes), input=data.shape)
        return forecast_together(make_task(made, given, data, pre), data, ranks).epoch

    choice = choose_preset(preset, facts) if minutes is None else choose_within(minutes * 60, preset, facts, seconds)
    return *settled(choice), tuple(choice.reasons)


def draw_whitened_start(net: Net, data: Dataset, pre: Preprocess, seed: int) -> dict[str, Any]:
    """Fresh weights, those of the first convolution from the training images."""
    from ..engines.torch import build_network, copy_tensors
    from ..fitting.whiten import find_first_convolution, whiten_filters

    tensors, first = copy_tensors(build_network(net, seed)), f"{find_first_convolution(net)}.weight"
    return tensors | {first: whiten_filters(net, tensors[first], data.train.x, pre.mean, pre.std, seed)}


def check_minutes(minutes: float | None) -> None:
    if minutes is not None and not 0 < minutes < float("inf"):
        raise RecipeError("minutes", "minutes must be above 0", got=minutes, hint="--minutes 5")


def check_image_size(size: Any) -> tuple[int, int] | None:
    """(height, width) of a side or of both. Raises RecipeError."""
    if size is None:
        return None
    both = (size, size) if isinstance(size, int) else tuple(size)
    if len(both) != 2 or not all(isinstance(n, int) and n >= 1 for n in both):
        raise RecipeError("size", "size is a side in pixels, or (height, width)", got=size, hint="size=64")
    return both


def format_plan(plan: Plan, run: Run, world: int) -> list[str]:
    """What the training is about to do, for the user to read."""
    data, task = plan.data, plan.task
    s = summarise_net(task.net)
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


def follow_training(run: Run, plan: Plan, train: Feed, valid: Feed, ranks: Ranks, watch: Watch) -> None:
    """Train to the end, or until Ctrl-C or SIGTERM. Raises Interrupted."""
    from ..fitting import loop
    from ..fitting.forecast import measure_held_memory

    began = time.perf_counter()
    with catch_stop(f"striate train {plan.settings['data']} --out {run.folder} --resume") as stop:
        try:
            for row in loop.fit(run, train, valid, ranks=ranks, tick=watch.step, stop=stop.is_set):
                watch.epoch(row, run.recipe.epochs, best=run.best is row)
        except loop.StopRequested:
            ranks.done()
            raise
    ranks.done()
    run.took, run.held = time.perf_counter() - began, measure_held_memory(ranks.device)


@contextmanager
def catch_stop(command: str) -> Iterator[threading.Event]:
    """An event that Ctrl-C, SIGTERM and a closed terminal set instead of breaking off; a second one breaks off.

    Where the training then ends with loop.Interrupted, that becomes Interrupted, which tells the `command` to go on by.
    """
    from ..fitting.loop import StopRequested as Stopped

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
        raise TrainingInterrupted(f"stopped, and saved; to go on:\n  {command}") from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def write_report(run: Run, plan: Plan) -> Report:
    """Measure the best epoch on the test split, or where there is none on validation, and write report.html."""
    from ..report.run_page import render_report
    from .report_content import gather_report

    given = gather_report(run.model, plan.data, run.folder.name, [row.__dict__ for row in run.history], plan.doubts)
    atomic_file.write_file(run.folder / "report.html", render_report(given))
    measured = given.report.as_dict() | {
        "split": given.report_split,
        "labels_judged": None if plan.doubts is None else plan.doubts.judged,
        "label_errors": None if plan.doubts is None else plan.doubts.listed(),
    }
    atomic_file.write_file(run.folder / "report.json", json.dumps(measured) + "\n")
    return given.report


def format_outcome(run: Run) -> str:
    """What came of a run, in a few lines for the terminal."""
    from ..metrics.tables import format_few

    r, best = run.report, run.best.epoch if run.best else 0
    low, high = r.accuracy_interval
    measured = f"{'test' if run.tested else 'validation'} accuracy {r.accuracy:.2%} ({low:.2%} to {high:.2%}"
    return "\n".join(
        [
            f"{measured}, {r.images:,} images)" + (f", best epoch {best}" if best else ""),
            *([f"not measured, for lack of images: {format_few(r.unmeasured)}"] if r.unmeasured else []),
            *([run.expected.beside(run.took, run.held)] if run.expected else []),
            *([f"labels  {len(run.doubts.errors):,} are likely wrong, of {run.doubts.judged:,} images: see the report"]
              if run.doubts is not None and run.doubts.errors else []),
            f"model   {make_printable(str(run.folder / 'model.safetensors'))}",
            f"report  {make_printable(str(run.folder / 'report.html'))}",
        ]
    )  # fmt: skip
