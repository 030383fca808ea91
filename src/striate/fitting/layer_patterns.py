"""Layers named by patterns: which weights a recipe freezes, and which learn at a rate of their own."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from ..errors import RecipeError, suggest_name
from ..language import render_text, say

if TYPE_CHECKING:
    from ..architecture.net import Net
    from .recipe import Recipe


def split_patterns(text: str) -> tuple[str, ...]:
    """
    >>> split_patterns("conv1, stage1.*")
    ('conv1', 'stage1.*')
    """
    return tuple(part.strip() for part in text.split(",") if part.strip())


def parse_rates(text: str) -> dict[str, float]:
    """Each pattern with what it multiplies the rate by. Raises RecipeError.

    >>> parse_rates("stage1.*=0.1, head=2")
    {'stage1.*': 0.1, 'head': 2.0}
    """
    found = {}
    for part in split_patterns(text):
        pattern, equals, factor = part.rpartition("=")
        try:
            found[pattern.strip()] = float(factor)
        except ValueError:
            equals = ""
        if not equals or not 0 < found[pattern.strip()] < float("inf"):
            rule = say("layer=factor with a factor above 0, joined by commas; freeze holds layers still")
            raise RecipeError(
                "recipe.rates", say("this is not a rate for layers"), got=part, rule=rule, hint="conv1=0.1"
            )
    return found


def matches_layer(path: str, pattern: str) -> bool:
    """Whether a layer, or what contains it, is named by the pattern, in which * stands for any text.

    >>> [matches_layer("stage1.0.conv1", pattern) for pattern in ("stage1", "stage1.*", "*.conv1", "stage", "conv1")]
    [True, True, True, False, False]
    """
    parts = path.split(".")
    return any(fnmatchcase(".".join(parts[:count]), pattern) for count in range(1, len(parts) + 1))


def list_frozen(net: Net, recipe: Recipe) -> frozenset[str]:
    """The names of the tensors that `freeze` holds still, BatchNorm's statistics too. Raises RecipeError."""
    patterns = split_patterns(recipe.freeze)
    need_matches(net, patterns, "freeze")
    frozen = frozenset(name for name in net.tensors if any(matches_layer(layer_of(name), p) for p in patterns))
    if patterns and all(name in frozen for name, spec in net.tensors.items() if spec.trainable):
        raise RecipeError(
            "recipe.freeze", say("every layer is frozen, so there is nothing to train"), got=recipe.freeze
        )
    return frozen


def list_rate_factors(net: Net, recipe: Recipe) -> dict[str, float]:
    """What each tensor's rate is multiplied by; of several patterns that name its layer the last one says it.

    Raises RecipeError.
    """
    rates = parse_rates(recipe.rates)
    need_matches(net, tuple(rates), "rates")
    factors = dict.fromkeys(net.tensors, 1.0)
    for pattern, factor in rates.items():
        factors |= {name: factor for name in factors if matches_layer(layer_of(name), pattern)}
    return factors


def layer_of(tensor: str) -> str:
    """The path of the layer that a tensor belongs to: "conv1" for "conv1.weight"."""
    return tensor.rpartition(".")[0]


def need_matches(net: Net, patterns: tuple[str, ...], setting: str) -> None:
    """Raise RecipeError for a pattern that names no layer with weights, listing those there are."""
    layers = list(dict.fromkeys(map(layer_of, net.tensors)))
    for pattern in patterns:
        if not any(matches_layer(layer, pattern) for layer in layers):
            tops = list(dict.fromkeys(layer.split(".")[0] for layer in layers))
            known = tops if len(layers) > 40 else layers
            rule = say("{name} has {names}", name=net.name, names=", ".join(known))
            near = suggest_name(pattern, known)
            hint = (
                near
                if render_text(near, "en").startswith("did")
                else f"{setting}='{known[0]}{'=0.1' if setting == 'rates' else ''}'"
            )
            raise RecipeError(
                f"recipe.{setting}",
                say("no layer with weights is called '{pattern}'", pattern=pattern),
                rule=rule,
                hint=hint,
            )
