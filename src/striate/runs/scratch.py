"""A training from scratch, or on from given weights: how it is planned, and how it is carried out."""

from __future__ import annotations

import threading
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from .. import __version__
from ..architecture.find import find_net, find_usual_input
from ..architecture.net import Net
from ..data.reading import list_unusual
from ..engines.model_file import Preprocess
from ..fitting.callables import format_names
from ..fitting.early_end import explain_early_end
from ..fitting.layer_patterns import list_frozen, list_rate_factors
from ..fitting.recipe import Recipe, read_recipe, read_recipe_file
from ..language import say
from ..model.timm_models import is_named_elsewhere
from ..run_files import RunFiles
from ..summaries.summary import summarise_net
from ..terminal import format_count
from .plan import Plan, keep_whole_recipe
from .request import Request, check_image_size
from .starting import get_run_recipe, list_own_functions, start_from_published, start_from_run
from .teaching import describe_teacher, find_answers, load_teacher, make_taught_feeds, settle_distillation
from .together import begin_together, forecast_together, load_everywhere

if TYPE_CHECKING:
    from ..data.images import Dataset
    from ..fitting.checkpoint import Task
    from ..fitting.run import Run
    from .presets import PresetChoice


class Beginning(NamedTuple):
    """The net, its preprocessing, the tensors that it begins with (None: fresh ones), and sentences about them."""

    net: Net
    preprocess: Preprocess
    tensors: dict[str, Any] | None = None
    notes: tuple[str, ...] = ()


def plan_scratch(request: Request) -> Plan:
    """Everything that can be wrong is found here, before anything is written."""
    from ..model.known import describe_known, read_known
    from .resuming import check_same_images

    options, ranks = request.options, request.ranks
    net, size, fit = name_net(request), options.size, options.fit
    if request.source is not None:
        size, fit = size or request.source.preprocess.size, fit or request.source.preprocess.fit
    fit, preset = fit or "pad", choose_preset_name(request, net)
    own = get_run_recipe(request.source) if preset is None else None
    recipe = read_recipe(options.recipe, under=own, **request.settings)
    data = load_at_size(request, net, check_image_size(size) or choose_side(request, net), fit, recipe.seed)
    if options.resume:
        check_same_images(request.folder, data)
    ranks.at("choosing the recipe")
    reasons: tuple[str, ...] = ()
    if preset is not None:
        net, recipe, reasons = apply_preset(request, preset, net, data)
    if recipe.augment == "auto":
        recipe = msgspec.structs.replace(recipe, augment="flip+shift" if data.shape[0] == 3 else "shift")
    recipe = settle_distillation(request, recipe)
    teacher = load_teacher(request, data) if recipe.distillation and not options.resume else None
    begin = choose_beginning(request, net, recipe, data, fit)
    list_rate_factors(begin.net, recipe)  # which raises where it names no layer, as `describe_scratch` does of freeze
    task = make_task(begin.net, recipe, data, begin.preprocess, request)
    known = (read_known(request.folder) if options.resume else None) or describe_known(data, options.weights)
    task = replace(task, known=known)
    kept = request if options.resume else replace(request, options=msgspec.structs.replace(options, preset=preset))
    return Plan(
        request=kept,
        data=data,
        task=task,
        folder=request.folder,
        net=net if isinstance(net, str) else repr(begin.net),
        recipe=keep_whole_recipe(task),
        start=begin.tensors,
        reasons=(*reasons, *begin.notes),
        steps=(*describe_scratch(task), *([describe_teacher(request, teacher, recipe)] if teacher else [])),
    )


def name_net(request: Request) -> Any:
    """The net as it was given, that of the run whose weights it begins with, or "auto"."""
    net = request.options.net or "auto"
    return request.source.net if net == "auto" and request.source is not None else net


def choose_preset_name(request: Request, net: Any) -> str | None:
    """The preset as given, or where the net or the epochs are to be chosen, the usual one; None: no preset."""
    options = request.options
    if options.resume:
        return None
    if options.preset is None and (net == "auto" or options.minutes is not None):
        return "balanced" if options.minutes is None else "best"
    return options.preset


def choose_beginning(request: Request, net: Any, recipe: Recipe, data: Dataset, fit: str) -> Beginning:
    """What the training begins with: what its checkpoint holds, the weights that were given, or fresh ones."""
    options, size = request.options, data.shape[1:]
    if options.resume and RunFiles(request.folder).checkpoint.is_file():
        from ..fitting.checkpoint import read_task

        saved = read_task(request.folder)
        return Beginning(saved.net, saved.preprocess)
    if options.weights is None and not is_named_elsewhere(net):
        made = find_net(net, classes=len(data.classes), input=data.shape)
        return whiten_beginning(Beginning(made, make_preprocess(request, data, fit, recipe.views)), recipe, data)
    if request.source is None or options.weights is None:
        start = start_from_published(net, options.weights, data.classes, data.shape)
    else:
        start = start_from_run(net, options.weights, request.source, data.classes, data.shape, recipe.seed)
    pre = Preprocess(size, fit, start.mean, start.std, recipe.views, data.depth, request.alpha)
    left = list_own_functions(request.source) if not request.callables.names else []
    notes = (
        (say("its own {functions} are not handed on: give them again to train with them", functions=", ".join(left)),)
        if left
        else ()
    )
    return Beginning(start.net, pre, start.tensors, (start.note, *notes))


def whiten_beginning(begin: Beginning, recipe: Recipe, data: Dataset) -> Beginning:
    """With fresh weights whose first convolution comes from the training images, where the recipe asks for it."""
    if not recipe.whiten:
        return begin
    from ..engines.torch import build_network, copy_tensors
    from ..fitting.whiten import find_first_convolution, whiten_filters

    net, pre = begin.net, begin.preprocess
    tensors, first = copy_tensors(build_network(net, recipe.seed)), f"{find_first_convolution(net)}.weight"
    filters = whiten_filters(net, tensors[first], data.train.x, pre.mean, pre.std, recipe.seed)
    return begin._replace(tensors=tensors | {first: filters})


def make_task(net: Net, recipe: Recipe, data: Dataset, pre: Preprocess, request: Request) -> Task:
    from ..fitting.checkpoint import Task

    reading, own = list_unusual(request.reading), request.callables
    fold = request.fold.left_out if request.fold else None
    return Task(
        net, recipe, data.classes, pre, data.fingerprint, __version__, reading=reading, callables=own, fold=fold
    )


def make_preprocess(request: Request, data: Dataset, fit: str, views: str = "plain") -> Preprocess:
    """From an image to the net's input, standardised by the training images' own mean and deviation."""
    from ..data.images import measure_channels

    return Preprocess(data.shape[1:], fit, *measure_channels(data.train.x), views, data.depth, request.alpha)


def load_at_size(request: Request, net: Any, side: Any, fit: str, seed: int) -> Dataset:
    """The data set, its images decoded at their size, in all processes."""
    from ..data.images import Dataset

    known = isinstance(request.data, Dataset) or net == "auto" or (isinstance(net, str) and find_usual_input(net))
    channels = None if known else find_net(net).input[0]
    depth = None if request.source is None else request.source.preprocess.depth  # its weights know this scale
    return load_everywhere(request, {"size": side, "channels": channels, "fit": fit, "seed": seed, "depth": depth})


def choose_side(request: Request, net: Any) -> tuple[int, int] | None:
    """The size of the images where nobody gave one: the net's; None leaves them as they are."""
    if net != "auto":
        _, h, w = (find_usual_input(net) if isinstance(net, str) else None) or find_net(net).input
        return h, w
    from ..data.images import Dataset
    from ..data.sources.load import find_usual_size
    from .presets import choose_size

    data = request.data
    found = None if isinstance(data, Dataset) else find_usual_size(data, request.reading)
    return None if found is None else choose_size(found)


def apply_preset(request: Request, preset: str, net: Any, data: Dataset) -> tuple[Any, Recipe, tuple[str, ...]]:
    """The net and the recipe that a preset chooses for a data set, the user's own settings over it; and why."""
    from ..fitting.probe import probe_data
    from .presets import EARLY_ENDS, DataFacts, choose_preset, choose_within

    file, settings, minutes = request.options.recipe, request.settings, request.options.minutes
    seed = read_recipe(file, **settings).seed
    told = settings | ({} if file is None else read_recipe_file(Path(file)))
    exactly = told.get("epochs") is not None  # then it trains for so many
    facts = DataFacts(len(data.train), data.shape, len(data.classes), probe_data(data.train, seed))
    pre = make_preprocess(request, data, "pad")

    def settle(choice: PresetChoice) -> tuple[Any, Recipe]:
        name = choice.net if net == "auto" else net
        left = {*(EARLY_ENDS if exactly else ()), *(() if net == "auto" else ("whiten",))}  # that is for our own nets
        kept = {setting: value for setting, value in choice.settings.items() if setting not in left}
        return name, read_recipe(file, under=kept, **settings)

    def measure_epoch(choice: PresetChoice) -> float:
        name, recipe = settle(choice)
        made = find_net(name, classes=len(data.classes), input=data.shape)
        return forecast_together(make_task(made, recipe, data, pre, request), data, request.ranks).epoch

    if minutes is None:
        choice = choose_preset(preset, facts)
    else:
        choice = choose_within(minutes * 60, preset, facts, measure_epoch)
    return *settle(choice), tuple(choice.reasons)


def describe_scratch(task: Task) -> tuple[str, ...]:
    """The net and the recipe, a sentence each."""
    s, recipe, own = summarise_net(task.net), task.recipe, task.callables.names
    epochs = format_count(recipe.epochs, "epoch")
    usual = say("{optimizer} at a peak learning rate of {peak:g}", optimizer=recipe.optimizer, peak=recipe.peak)
    told = [f"{kind} {format_names(named)}" for kind, named in own.items() if kind not in ("augment", "optimizer")]
    return (
        say("{net}: {params:,} parameters, {macs:,} MACs per image", net=task.net.name, params=s.params, macs=s.macs),
        say(
            "{epochs}, batch size {batch}, {optimizer}, {schedule} schedule, augmentation: {augment}, seed {seed}",
            epochs=epochs,
            batch=recipe.batch,
            optimizer=own.get("optimizer", usual),
            schedule=recipe.schedule,
            augment=own.get("augment", recipe.augment),
            seed=recipe.seed,
        ),  # fmt: skip
        *([say("your own {functions}", functions="; ".join(told))] if told else []),
        *describe_layers(task),
    )


def describe_layers(task: Task) -> list[str]:
    """What is frozen, which layers learn at other rates, and when the training ends early, a sentence each."""
    net, recipe = task.net, task.recipe
    frozen = list_frozen(net, recipe)
    held = sum(prod(net.tensors[name].shape) for name in frozen if net.tensors[name].trainable)
    whole = sum(prod(spec.shape) for spec in net.tensors.values() if spec.trainable)
    return [
        *(
            [say("frozen: {layers} ({held:,} of {whole:,} parameters)", layers=recipe.freeze, held=held, whole=whole)]
            if frozen
            else []
        ),
        *([say("learning rates of layers: {rates}", rates=recipe.rates)] if recipe.rates else []),
        *describe_early_end(recipe),
    ]


def describe_early_end(recipe: Recipe) -> list[str]:
    """When the training ends before its last epoch, and how, a sentence each."""
    told = []
    if recipe.patience:
        told.append(
            say("early stopping after {epochs} without a better one", epochs=format_count(recipe.patience, "epoch"))
        )
    if recipe.memorised:
        told.append(
            say("early stopping where training errors are {share:.0%} of the validation errors", share=recipe.memorised)
        )
    if told and recipe.cooldown:
        cooldown = format_count(recipe.cooldown, "epoch")
        told[-1] = say(
            "{told}; first a cooldown of {cooldown}, in which the learning rate falls to 0",
            told=told[-1],
            cooldown=cooldown,
        )
    return told


def begin_scratch(plan: Plan) -> Run:
    """The run at its beginning, with its forecast and what its teacher says, or where it was saved."""
    run = open_run(plan)
    if plan.task.recipe.distillation:
        find_answers(plan)
    if not is_going_on(plan) and plan.request.loaded is None:  # of the many trials of a sweep none is timed first
        run.expected = forecast_together(plan.task, plan.data, plan.request.ranks)
    return run


def open_run(plan: Plan) -> Run:
    """The run at its beginning, or where it was saved."""
    from ..fitting.run import Run

    folder, task, device = plan.folder, plan.task, plan.request.ranks.device
    run = Run.resume(folder, task, device) if is_going_on(plan) else Run.start(folder, task, device, plan.start)
    run.save_every = plan.request.options.save_every
    return run


def is_going_on(plan: Plan) -> bool:
    """Whether the run goes on from a checkpoint; a kill may have come before the first one."""
    return plan.request.options.resume and RunFiles(plan.folder).checkpoint.is_file()


def follow_scratch(plan: Plan, run: Run, stop: threading.Event) -> Plan:
    """Train to the end. Raises StopRequested, once all is saved, where `stop` is set."""
    from ..fitting.forecast import measure_held_memory
    from ..fitting.loop import StopRequested, fit

    ranks, watch = plan.request.ranks, plan.request.watch
    begin_together(run, ranks)
    train, valid = make_taught_feeds(plan)
    try:
        for row in fit(run, train, valid, ranks=ranks, tick=watch.step, stop=stop.is_set):
            watch.epoch(row, run.epochs, best=run.recipe.selection == "best" and run.best is row)
            end = run.early_end
            if end is not None and end.after == row.epoch < run.epochs:
                watch.notice(announce_cooldown(run))
    except StopRequested:
        ranks.done()
        raise
    ranks.done()
    if len(run.history) < run.recipe.epochs:
        watch.plan([explain_end(run)])
    run.held = measure_held_memory(ranks.device)
    return plan


def explain_end(run: Run) -> str:
    """Why a training has fewer epochs than its recipe."""
    early = explain_early_end([row.as_dict() for row in run.history], msgspec.to_builtins(run.recipe))
    done = format_count(len(run.history), "epoch")
    return early or say("ended by a callback after {done} of {most}", done=done, most=run.recipe.epochs)


def announce_cooldown(run: Run) -> str:
    """What begins where an early end was just decided, and the learning rate is to fall to 0."""
    return say(
        "{why}: a cooldown begins, {left} in which the learning rate falls to 0; {epochs} of {most} in all",
        why=run.early_end, left=format_count(run.epochs - len(run.history), "epoch"),
        epochs=format_count(run.epochs, "epoch"), most=run.recipe.epochs,
    )  # fmt: skip
