"""One real step of a run in torch, in float64: what the arithmetic of a weight's update is checked against."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from ..engines.torch import build_network, load_tensors
from ..engines.torch_layers import StochasticDepthModule
from .gradient import sum_loss
from .last_step import LastStep
from .weight_groups import make_optimizer


class Stepped(NamedTuple):
    """What the step was for each tensor that is trained: its gradient, and what it became."""

    gradients: dict[str, np.ndarray]
    tensors: dict[str, np.ndarray]


def compute_torch_step(last: LastStep, x: np.ndarray, labels: np.ndarray) -> Stepped:
    """The run's own loss and optimizer, with the state that it has, on the batch x, in training, nothing dropped."""
    network = load_tensors(build_network(last.net).double(), last.tensors).train()
    for module in network.modules():
        if isinstance(module, nn.Dropout | StochasticDepthModule):
            module.eval()
    trained = {name: weight for name, weight in network.named_parameters() if name in last.optimizers}
    for name, weight in network.named_parameters():
        weight.requires_grad_(name in trained)
    optimizer = make_optimizer(network, last.recipe)
    for name, weight in trained.items():
        optimizer.state[weight] = convert_to_torch_state(last, name)
    logits, sides = network.with_sides(torch.as_tensor(x))
    weights = None if last.class_weights is None else torch.as_tensor(last.class_weights).double()
    targets = torch.as_tensor(labels)
    loss = sum_loss(logits, targets, last.recipe, weights)
    (sum((w * sum_loss(side, targets, last.recipe, weights) for w, side in sides), loss) / len(x)).backward()
    gradients = {name: copy_array(weight.grad) for name, weight in trained.items()}
    optimizer.step()
    return Stepped(gradients, {name: copy_array(weight) for name, weight in trained.items()})


def convert_to_torch_state(last: LastStep, name: str) -> dict[str, torch.Tensor]:
    """A tensor's state under torch's names."""
    state, chosen = last.states[name], last.optimizers[name]
    names = chosen.states(last.tensors[name].ndim)
    made = {torchs: torch.as_tensor(state[ours]) for torchs, ours in names.items() if ours in state}
    return {key: value.float() if key == "step" else value.clone() for key, value in made.items()}


def copy_array(tensor: torch.Tensor | None) -> np.ndarray:
    assert tensor is not None
    return tensor.detach().numpy().copy()
