"""What a training starts from where it is given weights: published ones, or those of a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np
import safetensors

from ..architecture.find import find_net
from ..architecture.layers import Shape
from ..architecture.net import Net
from ..errors import ModelError
from ..language import say
from ..model.timm_models import is_named_elsewhere
from ..run_files import RunFiles
from .presets import DEFAULT_BACKBONE

if TYPE_CHECKING:
    from ..model.model import Model


class Start(NamedTuple):
    """A net and its weights as a training begins with them, the mean and deviation they expect, and a sentence."""

    net: Net
    tensors: dict[str, np.ndarray]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    note: str


def load_run_model(weights: str | Path | None) -> Model | None:
    """The model of a run, where `weights` is a run folder or a model file that striate wrote; else None."""
    if weights is None:
        return None
    path = Path(weights).expanduser()
    file = RunFiles(path).model if path.is_dir() else path
    if file.suffix != ".safetensors" or not file.is_file():
        return None
    try:
        with safetensors.safe_open(str(file), framework="np") as opened:
            if "striate" not in (opened.metadata() or {}):
                return None
    except safetensors.SafetensorError:
        return None  # which whoever reads the weights will say
    from ..model.opening import load

    return load(file)


def get_run_recipe(model: Model | None) -> dict[str, Any]:
    """The recipe that a run from scratch went by; {} for a transfer, which has none of that kind.

    A function of the user's own is not in a file: `list_own_functions` names those that stay behind.
    """
    found = {} if model is None else model.header.recipe
    return {name: value for name, value in found.items() if not name.startswith("own_")} if "schedule" in found else {}


def list_own_functions(model: Model | None) -> list[str]:
    """The functions of the user's own that a run was trained with: "loss __main__:focal"."""
    found = {} if model is None else model.header.recipe
    return [f"{name.removeprefix('own_')} {told}" for name, told in found.items() if name.startswith("own_")]


def start_from_published(net: str | Net, weights: str | Path | None, classes: Sequence[str], shape: Shape) -> Start:
    """The `net` for images of `shape` with published `weights`; a classifier of other classes is a fresh one."""
    from ..model.opening import load_net

    model, replaced = load_net(net, weights, len(classes), shape)
    note = (
        say("starts from the weights of {source}, with a new classifier", source=weights or net)
        if replaced
        else say("starts from the weights of {source}, including its classifier", source=weights or net)
    )
    pre = model.preprocess
    return Start(model.net, model.tensors, pre.mean, pre.std, note)


def start_from_run(
    net: str | Net, weights: str | Path, model: Model, classes: Sequence[str], shape: Shape, seed: int
) -> Start:
    """The `net` with the weights of a run, whose `model` this is; its classifier keeps what it knows of each class."""
    from ..model.opening import load_weights

    own = net is model.net
    fitting = find_net(net, classes=model.net.classes, input=shape)
    tensors = model.tensors if own else load_weights(fitting, weights)[0].tensors
    note = say("starts from the weights of {source}", source=weights)
    if tuple(classes) != tuple(model.classes):
        fitting, tensors = replace_classes(fitting, tensors, model.classes, classes, seed)
        new = [name for name in classes if name not in model.classes]
        note = (
            say("{note}, its classifier new for {classes}", note=note, classes=", ".join(new))
            if new
            else say("{note}, its classifier reduced to these classes", note=note)
        )
    return Start(fitting, tensors, model.preprocess.mean, model.preprocess.std, note)


def replace_classes(
    net: Net, tensors: dict[str, np.ndarray], before: Sequence[str], classes: Sequence[str], seed: int
) -> tuple[Net, dict[str, np.ndarray]]:
    """The net for other classes: those of `before` that are still there keep their weights, the others are fresh."""
    from ..engines import plain
    from ..transfer.backbone import adapt_backbone

    made = adapt_backbone(net, len(classes))
    fresh = plain.draw_tensors(made.net, seed)
    weight, bias = (fresh[f"{made.head}.{part}"].astype(np.float32) for part in ("weight", "bias"))
    old_weight = tensors[f"{made.head}.weight"]
    old_bias = tensors.get(f"{made.head}.bias", np.zeros(len(before), np.float32))
    for row, name in enumerate(classes):
        if name in before:
            weight[row], bias[row] = old_weight[before.index(name)], old_bias[before.index(name)]
    return made.net, made.tensors(tensors, weight, bias)


def load_backbone(net: str | Net | None, weights: str | Path | None) -> Model:
    """The published net to begin with: Lite0 by default, or a zoo net with its weights. Raises ModelError."""
    from ..model.model import Model
    from ..model.opening import load, load_net, load_weights
    from ..model.published import PACKAGED

    if weights is None and net in (None, "auto", *PACKAGED):
        return load(DEFAULT_BACKBONE if net in (None, "auto") else str(net))
    run = load_run_model(weights)
    if run is not None and net in (None, "auto"):
        return run
    if is_named_elsewhere(net) and run is None:
        return load_net(str(net), weights, headless=2)[0]  # any classifier: the run puts its own there
    if weights is None:
        hint = say("--weights FILE or a name on the Hub; or leave --net out for efficientnet_lite0")
        raise ModelError(str(net), say("transfer begins with published weights"), hint=hint)
    if net in (None, "auto"):
        raise ModelError(str(weights), say("which net are these weights of?"), hint="--net resnet18")
    found = load_weights(find_net(net), weights)[0]  # type: ignore[arg-type]  # it is a name or a Net here
    if run is None:
        return found
    own = msgspec.structs.replace(found.preprocess, mean=run.preprocess.mean, std=run.preprocess.std)
    return Model(msgspec.structs.replace(found.header, preprocess=own), found.tensors, found.path)
