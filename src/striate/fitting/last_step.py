"""What a run's optimizer would do next, read from its checkpoint without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import safetensors

from ..architecture.net import Net, check_tensors
from ..architecture.text import from_json
from ..errors import ModelError, RunError
from ..language import say
from ..optimizers import Optimizer
from ..run_files import RunFiles
from .began import NEW, name_file_errors, need_head, parse_checkpoint_head
from .layer_patterns import list_frozen
from .recipe import Recipe
from .weight_groups import choose_optimizer, list_weight_groups
from .whiten import find_first_convolution


class LastStep(NamedTuple):
    """A run at its checkpoint: weights, and each trainable tensor's optimizer and the state that it has for it.

    optimizers     of each tensor that is trained; the rate is the recipe's peak, times its layer's factor
    step           how many steps were taken
    class_weights  by which each class's loss counts, where the recipe has them and the checkpoint holds them
    half           whether the run computes in bfloat16
    own_augment    the name of the user's augmentation, where there is one
    """

    net: Net
    recipe: Recipe
    tensors: dict[str, np.ndarray]
    optimizers: dict[str, Optimizer]
    states: dict[str, dict[str, Any]]
    step: int
    class_weights: np.ndarray | None
    half: bool
    own_augment: str | None = None


def read_checkpoint_head(folder: Path) -> dict[str, Any] | None:
    """What a run's checkpoint says beside its tensors; None where there is none. Raises ModelError."""
    path = RunFiles(folder).checkpoint
    if not path.is_file():
        return None
    try:
        with safetensors.safe_open(str(path), framework="np") as file:
            return parse_checkpoint_head(file.metadata())
    except (safetensors.SafetensorError, KeyError, ValueError) as e:
        hint = say("start a new run, in another folder with --out")
        raise ModelError(
            str(path), say("this checkpoint cannot be read: {complaint}", complaint=e), hint=hint
        ) from None


def read_last_step(folder: Path) -> LastStep:
    """The run in `folder` as its checkpoint has it; the rate is the recipe's peak.

    Raises RunError where there is no checkpoint or it is a transfer's, ModelError for one that cannot be read.
    """
    path = RunFiles(folder).checkpoint
    if not path.is_file():
        hint = say("a weight's update is traced in a run folder, which keeps the optimizer's state")
        raise RunError(str(path), say("there is no checkpoint here"), hint=hint)
    try:
        with safetensors.safe_open(str(path), framework="np") as file, name_file_errors(path):
            head = parse_checkpoint_head(file.metadata())
            found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  no mapping
    except safetensors.SafetensorError as e:
        raise ModelError(
            str(path), say("this checkpoint cannot be read: {complaint}", complaint=e), hint=say(NEW)
        ) from None
    if "transfer" in head:
        what = say("this run is a transfer: its head was fitted to kept features, and no step of a recipe comes next")
        raise RunError(
            str(path), what, hint=say("trace an activation with --at, or a run that was trained from scratch")
        )
    need_head(head, path)
    refuse_own_step(path, head)
    net, recipe = from_json(head["net"]), msgspec.convert(head["recipe"], Recipe)
    refuse_teacher(path, recipe)
    with name_file_errors(path):
        networks = {name: tensor for name, tensor in found.items() if name.startswith("network/")}
        check_tensors(net, {name.removeprefix("network/"): tensor.shape for name, tensor in networks.items()})
        if recipe.whiten:
            find_first_convolution(net)
        frozen = list_frozen(net, recipe) | ({f"{find_first_convolution(net)}.weight"} if recipe.whiten else set())
        axes_of = {n: len(spec.shape) for n, spec in net.tensors.items() if spec.trainable and n not in frozen}
        # The order in which `make_optimizer` hands them to torch.
        groups = list_weight_groups(net, recipe, axes_of)
    optimizers, states = {}, {}
    for index, (name, factor) in enumerate((name, group.factor) for group in groups for name in group.names):
        axes = axes_of[name]
        optimizers[name] = choose_optimizer(recipe, axes, factor)
        states[name] = {
            ours: convert_state(found[f"optimizer/{index}/{torchs}"])
            for torchs, ours in optimizers[name].states(axes).items()
            if f"optimizer/{index}/{torchs}" in found
        }
    tensors = {name: found[f"network/{name}"] for name in net.tensors}
    half = head.get("half", recipe.precision == "bfloat16")
    weights, own = found.get("loss/class_weights"), head.get("own", {}).get("augment")
    return LastStep(net, recipe, tensors, optimizers, states, head["step"], weights, half, own)


def refuse_own_step(path: Path, head: dict[str, Any]) -> None:
    """Raise RunError where a function of the user's own makes the step, whose arithmetic nobody here knows."""
    for kind in ("loss", "optimizer"):
        if named := head.get("own", {}).get(kind):
            what = say("this run's {kind} is a function of its user's own, which can be called and not read", kind=kind)
            hint = say("trace an activation with --at")
            raise RunError(str(path), what, got=named, rule=say("an update is traced of striate's own"), hint=hint)


def refuse_teacher(path: Path, recipe: Recipe) -> None:
    """Raise RunError where a teacher's answers are a part of the loss: an image that is given has none."""
    if recipe.distillation:
        what = say("this run's loss has a teacher's answers in it, which an image that is given does not have")
        raise RunError(
            str(path), what, got=f"distillation {recipe.distillation:g}", hint=say("trace an activation with --at")
        )


def convert_state(value: np.ndarray) -> Any:
    """An optimizer's state as the plain engine has it: a count as a whole number, all else in float64."""
    return value.astype(np.float64) if value.ndim else int(value)
