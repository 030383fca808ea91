"""The recipe's optimizer over a network's parameters."""

from __future__ import annotations

from torch import nn, optim

from .muon import Muon
from .recipe import Recipe


def optimizer(network: nn.Module, recipe: Recipe) -> optim.Optimizer:
    """torch's optimizer of that name; weights of two and more axes decay, biases, norms and scales do not."""
    weights = [p for p in network.parameters() if p.requires_grad and p.ndim > 1]
    others = [p for p in network.parameters() if p.requires_grad and p.ndim <= 1]
    groups = [{"params": weights, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
    groups = [group for group in groups if group["params"]]
    rate, momentum = recipe.peak, recipe.momentum
    match recipe.optimizer:
        case "sgd":
            return optim.SGD(groups, rate, fused=True)
        case "momentum":
            return optim.SGD(groups, rate, momentum=momentum, fused=True)
        case "nesterov":
            return optim.SGD(groups, rate, momentum=momentum, nesterov=True, fused=True)
        case "rmsprop":
            return optim.RMSprop(groups, rate)
        case "adam":
            return optim.Adam(groups, rate, fused=True)
        case "adamw":
            return optim.AdamW(groups, rate, fused=True)
        case "muon":
            return Muon(groups, rate, momentum)
