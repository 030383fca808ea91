"""The recipe's optimizer over a network's parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from ..optimizers import OPTIMIZERS, Optimizer
from .layer_patterns import list_rate_factors
from .recipe import Recipe

if TYPE_CHECKING:
    from torch import optim

    from ..architecture.net import Net
    from ..engines.torch import Network


class WeightGroup(NamedTuple):
    """The names of the tensors that learn at `factor` times the rate; those with two axes and more decay."""

    names: tuple[str, ...]
    factor: float
    decays: bool


def list_weight_groups(net: Net, recipe: Recipe, trained: Mapping[str, int]) -> list[WeightGroup]:
    """The groups of the tensors that are `trained`, each name with its axes, in the order in which they are handed on:

    what decays first, and in it the rates in the order in which they occur. Raises RecipeError for the recipe's rates.
    """
    factors = list_rate_factors(net, recipe)
    groups = []
    for decays in (True, False):
        names = [name for name, axes in trained.items() if (axes > 1) == decays]
        for factor in dict.fromkeys(factors[name] for name in names):
            groups.append(WeightGroup(tuple(name for name in names if factors[name] == factor), factor, decays))
    return groups


def choose_optimizer(recipe: Recipe, axes: int, factor: float = 1.0) -> Optimizer:
    """The recipe's optimizer for a tensor of so many axes: with two and more it decays; biases, norms, scales do not.

    Its rate is the recipe's peak, times the layer's factor.
    """
    kind = OPTIMIZERS[recipe.optimizer]
    decay = recipe.weight_decay if axes > 1 else 0.0
    return kind(rate=recipe.peak * factor, decay=decay, **recipe.optimizer_settings)


def make_optimizer(network: Network, recipe: Recipe) -> optim.Optimizer:
    """torch's optimizer of that name, over what of `network` is trained."""
    weights = {name: weight for name, weight in network.named_parameters() if weight.requires_grad}
    groups = []
    for group in list_weight_groups(network.net, recipe, {name: weight.ndim for name, weight in weights.items()}):
        decay = recipe.weight_decay if group.decays else 0.0
        made = {"params": [weights[name] for name in group.names], "weight_decay": decay}
        groups.append(made | ({"lr": recipe.peak * group.factor} if group.factor != 1 else {}))
    return choose_optimizer(recipe, axes=2).in_torch(groups)
