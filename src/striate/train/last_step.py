"""What a run's optimizer would do next, read from its checkpoint without torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import safetensors

from ..arch.net import Net
from ..arch.text import from_json
from ..engines.plain_optimizers import Adam, AdamW, GradientDescent, Momentum, Nesterov, Optimizer, RMSProp
from ..errors import RunError
from .recipe import Recipe
from .whiten import first_conv

STATES = {"momentum_buffer": "v", "square_avg": "s", "exp_avg": "m", "exp_avg_sq": "v", "step": "t"}
"""torch's name of each part of an optimizer's state -> ours in `engines.plain_optimizers`."""


class Standing(NamedTuple):
    """A run at its checkpoint: weights, and each trainable tensor's optimizer and the state that it has for it.

    step  how many steps were taken; the rate of each optimizer is the recipe's peak
    """

    net: Net
    tensors: dict[str, np.ndarray]
    optimizers: dict[str, Optimizer]
    states: dict[str, dict[str, Any]]
    step: int


def checkpoint_file(folder: Path | str) -> Path:
    """Where a run's last state is, for `resume`."""
    return Path(folder) / "checkpoint" / "last.safetensors"


def standing(folder: Path) -> Standing:
    """The run in `folder` as its checkpoint has it; the rate is the recipe's peak.

    Raises RunError where there is no checkpoint.
    """
    path = checkpoint_file(folder)
    if not path.is_file():
        hint = "a weight's update is traced in a run folder, which keeps the optimizer's state"
        raise RunError(str(path), "there is no checkpoint here", hint=hint)
    with safetensors.safe_open(str(path), framework="np") as file:
        head = json.loads(file.metadata()["striate"])
        found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  no mapping
    net, recipe = from_json(head["net"]), msgspec.convert(head["recipe"], Recipe)
    frozen = f"{first_conv(net)}.weight" if recipe.whiten else None
    trained = [name for name, spec in net.tensors.items() if spec.trainable and name != frozen]
    # The order in which `train.optimizers` hands them to torch: what decays first.
    order = [n for n in trained if len(net.tensors[n].shape) > 1] + [
        n for n in trained if len(net.tensors[n].shape) <= 1
    ]
    optimizers, states = {}, {}
    for index, name in enumerate(order):
        decay = recipe.weight_decay if len(net.tensors[name].shape) > 1 else 0.0
        plain = in_words(recipe, recipe.peak, decay, len(net.tensors[name].shape))
        if plain is None:
            continue
        optimizers[name] = plain
        prefix = f"optimizer/{index}/"
        parts = {key.removeprefix(prefix): value for key, value in found.items() if key.startswith(prefix)}
        known = type(optimizers[name])().step(np.zeros(1), np.zeros(1), {})[1]
        states[name] = {
            STATES[key]: int(value) if key == "step" else value.astype(np.float64)
            for key, value in parts.items()
            if STATES.get(key) in known
        }
    tensors = {name: found[f"network/{name}"] for name in net.tensors}
    return Standing(net, tensors, optimizers, states, head["step"])


def in_words(recipe: Recipe, rate: float, decay: float, axes: int) -> Optimizer | None:
    """The recipe's optimizer as the plain engine writes it out; None for Muon, which moves a filter as a whole, and

    for decoupled momentum.
    """
    if recipe.decoupled:
        return None
    match recipe.optimizer:
        case "sgd":
            return GradientDescent(rate, decay)
        case "momentum":
            return Momentum(rate, recipe.momentum, decay)
        case "nesterov":
            return Nesterov(rate, recipe.momentum, decay)
        case "rmsprop":
            return RMSProp(rate, decay=decay)
        case "adam":
            return Adam(rate, decay=decay)
        case "adamw":
            return AdamW(rate, decay=decay)
        case "muon":
            return None if axes == 4 else AdamW(rate, decay=decay)
