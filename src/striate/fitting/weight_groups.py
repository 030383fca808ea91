"""The recipe's optimizer over a network's parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..optimizers import OPTIMIZERS, Optimizer
from .recipe import Recipe

if TYPE_CHECKING:
    from torch import nn, optim


def choose_optimizer(recipe: Recipe, axes: int) -> Optimizer:
    """The recipe's optimizer for a tensor of so many axes: with two and more it decays; biases, norms, scales do not.

    Its rate is the recipe's peak.
    """
    kind = OPTIMIZERS[recipe.optimizer]
    decay = recipe.weight_decay if axes > 1 else 0.0
    return kind(rate=recipe.peak, decay=decay, **recipe.optimizer_settings)


def make_optimizer(network: nn.Module, recipe: Recipe) -> optim.Optimizer:
    """torch's optimizer of that name, over what of `network` is trained."""
    weights = [p for p in network.parameters() if p.requires_grad and p.ndim > 1]
    others = [p for p in network.parameters() if p.requires_grad and p.ndim <= 1]
    groups = [{"params": weights, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return choose_optimizer(recipe, axes=2).in_torch([group for group in groups if group["params"]])
