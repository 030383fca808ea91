"""An optimizer in a checkpoint: its states as tensors, and of a user's own also its numbers and its groups."""

from __future__ import annotations

import json
from typing import Any

import torch
from torch import Tensor

from ..errors import RunError
from ..language import say


def pack_states(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The tensors of its states, by "place of the weight/torch's name of the state"."""
    states = optimizer.state_dict()["state"].items()
    return {
        f"{index}/{key}": value for index, state in states for key, value in state.items() if isinstance(value, Tensor)
    }


def pack_numbers(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """What else a user's optimizer has come to know, as JSON data: numbers among its states, and its groups' settings.

    Raises RunError for what a checkpoint cannot keep.
    """
    whole = optimizer.state_dict()
    states = {
        f"{index}/{key}": value
        for index, state in whole["state"].items()
        for key, value in state.items()
        if not isinstance(value, Tensor)
    }
    groups = [{key: value for key, value in group.items() if key != "params"} for group in whole["param_groups"]]
    for name, value in [*states.items(), *(pair for group in groups for pair in group.items())]:
        try:
            json.dumps(value)
        except (TypeError, ValueError):
            what, rule = (
                say("the checkpoint cannot keep its '{name}'", name=name),
                say("tensors a weight; else numbers, texts and lists"),
            )
            raise RunError(type(optimizer).__name__, what, got=type(value).__name__, rule=rule) from None
    return {"states": states, "groups": groups}


def restore_optimizer(
    optimizer: torch.optim.Optimizer, states: dict[str, Tensor], numbers: dict[str, Any] | None = None
) -> None:
    """Have an optimizer stand where it stood; `states` are as `pack_states`, `numbers` as `pack_numbers` gave them.

    They are copied, the step counts too: what the optimizer goes on to change is not what was saved.
    """
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    slots: dict[int, dict[str, Any]] = {}
    for name, tensor in states.items():
        index, key = name.split("/")
        weight = weights[int(index)]
        # In the weight's own memory order: torch's fused optimizers walk both in the order of memory.
        like = torch.empty_like(weight, dtype=tensor.dtype)
        own = like.copy_(tensor) if tensor.shape == weight.shape else tensor.clone()
        slots.setdefault(int(index), {})[key] = own
    for name, value in (numbers or {}).get("states", {}).items():
        index, key = name.split("/")
        slots.setdefault(int(index), {})[key] = value
    groups = optimizer.state_dict()["param_groups"]
    for group, kept in zip(groups, (numbers or {}).get("groups", ()), strict=numbers is not None):
        # JSON knows no tuples, and some optimizers ask for theirs.
        group |= {key: tuple(value) if isinstance(group.get(key), tuple) else value for key, value in kept.items()}
    optimizer.load_state_dict({"state": slots, "param_groups": groups})
    for place, slot in slots.items():  # torch casts all states to the weight's type
        for key, value in slot.items():
            if isinstance(value, Tensor) and value.dtype != optimizer.state[weights[place]][key].dtype:
                optimizer.state[weights[place]][key] = value
