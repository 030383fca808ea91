"""How each normalisation makes one value: mean and variance, what is divided by them, scale and shift."""

from __future__ import annotations

from math import sqrt

import numpy as np

from ..architecture import layers as L
from ..architecture.abilities import EXPLAIN
from ..engines.plain.norms import Scaled, find_neighbours
from ..language import say, to_say
from .trace_format import format_short
from .trace_place import ValuePlace
from .trace_record import (
    Term,
    TermGroup,
    TraceStep,
    ValueAccount,
    make_addition,
    make_constant,
    make_step,
    make_term_group,
)


@EXPLAIN.of(L.BatchNorm)
def explain_batch_norm(layer: L.BatchNorm, at: ValuePlace) -> ValueAccount:
    """Less the running mean, over the deviation, times the scale, plus the shift: line by line."""
    c = at.index[0]
    middle, variance = (float(at.tensor_row(name, c)) for name in ("running_mean", "running_var"))
    steps, y, scale = explain_normalisation(
        at.input(*at.index),
        make_constant(middle, at.weight_at("running_mean", c), say("mean")),
        make_constant(variance, at.weight_at("running_var", c), say("variance")),
        layer.eps,
        make_affine_terms(at, layer, c),
    )
    term = at.input(*at.index)
    rule = add_affine(say("(x − mean) / √(variance + eps)"), layer.affine)
    return ValueAccount(rule, "same", [make_term_group(say("input"), [term])], steps, y, scale, term.at)


def add_affine(rule: str, affine: bool) -> str:
    return say("{rule}·scale + shift", rule=rule) if affine else rule


def make_affine_terms(at: ValuePlace, layer: Scaled, c: int) -> tuple[Term, Term] | None:
    if not layer.affine:
        return None
    scale, shift = (float(at.tensor_row(name, c)) for name in ("weight", "bias"))
    return make_constant(scale, at.weight_at("weight", c), say("scale")), make_constant(
        shift, at.weight_at("bias", c), say("shift")
    )


def explain_normalisation(
    x: Term, middle: Term, variance: Term, eps: float, learned: tuple[Term, Term] | None
) -> tuple[list[TraceStep], float, float]:
    """The lines of a normalisation, its result, and the size of what cancels in it."""
    less = middle._replace(value=-middle.value)
    deviation = sqrt(variance.x + eps)
    steps = [make_addition(say("minus the mean"), x, less)]
    y = steps[0].value / deviation
    scale = (abs(x.x) + abs(middle.x)) / deviation
    steps.append(
        make_step(
            say("divided by the standard deviation"),
            f"{{0}} / √({{1}} + {format_short(eps)})",
            y,
            make_constant(steps[0].value),
            variance,
        )
    )
    if learned:
        weight, shift = learned
        product = y * weight.x
        steps.append(make_step(say("times the scale"), "{0} · {1}", product, make_constant(y), weight))
        steps.append(make_addition(say("plus the shift"), make_constant(product), shift))
        y, scale = steps[-1].value, scale * abs(weight.x) + abs(shift.x)
    return steps, y, scale


@EXPLAIN.of(L.LayerNorm)
def explain_layer_norm(layer: L.LayerNorm, at: ValuePlace) -> ValueAccount:
    """All channels at this position give the mean and the variance; then as in any normalisation."""
    c, rest = at.index[0], at.index[1:]
    terms = [at.input(k, *rest) for k in range(len(at.x))]
    rule = say("(x − mean) / √(variance + eps) over the channels here")
    return explain_own_statistics(layer, at, [make_term_group(say("channels"), terms)], terms[c], rule)


def explain_own_statistics(
    layer: L.LayerNorm | L.GroupNorm | L.InstanceNorm, at: ValuePlace, groups: list[TermGroup], own: Term, rule: str
) -> ValueAccount:
    """The value `own` less the mean of all terms, over their deviation, times the scale, plus the shift."""
    xs = np.array([term.x for group in groups for term in group.terms])
    middle, variance = float(xs.mean()), float(xs.var())
    steps = [
        make_step(say("mean"), f"{{0}} / {len(xs)}", middle, make_constant(float(xs.sum()))),
        make_step(say("variance"), to_say("mean of (x − {0})²"), variance, make_constant(middle)),
    ]
    more, y, scale = explain_normalisation(
        own, make_constant(middle), make_constant(variance), layer.eps, make_affine_terms(at, layer, at.index[0])
    )
    scale *= max(1.0, float(np.abs(xs).max()) / max(abs(own.x) + abs(middle), 1e-12))
    return ValueAccount(add_affine(rule, layer.affine), "sum", groups, [*steps, *more], y, scale, own.at)


@EXPLAIN.of(L.GroupNorm, L.InstanceNorm)
def explain_group_norm(layer: L.GroupNorm | L.InstanceNorm, at: ValuePlace) -> ValueAccount:
    """All values of this channel's group give the mean and the variance; then as in any normalisation."""
    wide = len(at.x) // layer.count_groups(at.x.shape)
    first = at.index[0] // wide * wide
    places = [(first + k, *rest) for k in range(wide) for rest in np.ndindex(at.x.shape[1:])]
    terms = [at.input(*place) for place in places]
    groups = [
        make_term_group(
            say("channel {channel}", channel=first + k),
            terms[k * len(terms) // wide : (k + 1) * len(terms) // wide],
            at.x.shape[1:],
        )
        for k in range(wide)
    ]
    rule = (
        say("(x − mean) / √(variance + eps) over the channel")
        if wide == 1
        else say("(x − mean) / √(variance + eps) over its group of channels")
    )
    return explain_own_statistics(layer, at, groups, terms[places.index(tuple(at.index))], rule)


@EXPLAIN.of(L.GlobalResponseNorm)
def explain_global_response_norm(layer: L.GlobalResponseNorm, at: ValuePlace) -> ValueAccount:
    """The length of its map beside the mean length of all; then x times that and the weight is added to x."""
    c = at.index[0]
    terms = [at.input(c, *place) for place in np.ndindex(at.x.shape[1:])]
    squares = make_term_group(
        say("squares of channel {channel}", channel=c),
        [t._replace(value=t.x**2, note=say("squared")) for t in terms],
        at.x.shape[1:],
    )
    lengths = np.sqrt((at.x.astype(np.float64) ** 2).sum(axis=(1, 2)))
    length, mean, own = sqrt(squares.value), float(lengths.mean()), at.input(*at.index)
    response = length / (mean + layer.eps)
    weight, bias = (
        make_constant(float(at.tensor_row(name, c)), at.weight_at(name, c), say(name))
        for name in (to_say("weight"), to_say("bias"))
    )
    product = own.x * response * weight.x
    steps = [
        make_step(say("length"), "√{0}", length, make_constant(squares.value)),
        make_step(say("mean length"), f"{{0}} / {len(lengths)}", mean, make_constant(float(lengths.sum()))),
        make_step(
            say("response"),
            f"{{0}} / ({{1}} + {format_short(layer.eps)})",
            response,
            make_constant(length),
            make_constant(mean),
        ),
        make_step(say("times x and the weight"), "{0} · {1} · {2}", product, make_constant(response), own, weight),
        make_addition(say("added to x, and the bias"), own, make_constant(product), bias),
    ]
    scale = abs(own.x) + abs(product) + abs(bias.x)
    rule = say("x + weight·x·(length / (mean length + eps)) + bias")
    return ValueAccount(rule, "sum", [squares], steps, steps[-1].value, scale, own.at)


@EXPLAIN.of(L.LocalResponseNorm)
def explain_local_response_norm(layer: L.LocalResponseNorm, at: ValuePlace) -> ValueAccount:
    c, rest = at.index[0], at.index[1:]
    near = np.flatnonzero(find_neighbours(layer.size, len(at.x))[c])
    terms = [t._replace(value=t.x**2, note=say("squared")) for t in (at.input(int(k), *rest) for k in near)]
    squares, own = make_term_group(say("squares of the neighbours"), terms), at.input(*at.index)
    s = layer.k + layer.alpha / layer.size * squares.value
    y = own.x / s**layer.beta
    form = f"{layer.k:g} + {layer.alpha:g} / {layer.size} · {{0}}"
    steps = [
        make_step(say("response"), form, s, make_constant(squares.value)),
        make_step(say("x divided by it"), f"{{0}} / {{1}}^{layer.beta:g}", y, own, make_constant(s)),
    ]
    return ValueAccount(say("x / (k + alpha/size · Σ x²)^beta"), "sum", [squares], steps, y, abs(y), own.at)
