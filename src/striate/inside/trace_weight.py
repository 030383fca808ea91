"""The trace of a weight's update: its gradient as a sum over images and positions, then the optimizer's arithmetic."""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt
from typing import Any

import numpy as np

from ..arch import layers as L
from ..arch.net import Net
from ..engines import plain
from ..engines.plain import norms, windows
from ..engines.plain.network import Pass, gradients
from ..engines.plain_optimizers import Adam, AdamW, GradientDescent, Momentum, Nesterov, Optimizer, RMSProp
from ..errors import nearest
from .trace import finished
from .trace_layers import Account, Index, adds, constant, feed, gives, group, largest
from .trace_record import Group, Step, Term, Trace, TraceError, address

Array = np.ndarray


def trace_weight(
    net: Net,
    tensors: Mapping[str, Array],
    x: Array,
    labels: Array,
    path: str,
    *index: int,
    optimizer: Optimizer | None = None,
    state: Mapping[str, Any] | None = None,
    train: bool = True,
    masks: Mapping[str, Array] | None = None,
) -> Trace:
    """Why one weight becomes what it does in the next step on the batch x (N×C×H×W) with `labels`.

    path       "conv1" or "conv1.weight", "conv1.bias", "bn1.weight", …; `index` the place in that tensor
    optimizer  one of `engines.plain_optimizers`; None is plain gradient descent
    state      the optimizer's for this whole tensor, as its `step` gave it; None before the first step
    The gradient's groups are the images, its terms what the weight saw at each position times the gradient there.
    All is computed by the plain engine, so a large net on large images takes its time.
    Raises TraceError for an unknown tensor or index, or where sum and gradient disagree.
    """
    name = tensor_name(net, path, index)
    chosen, state = optimizer or GradientDescent(), dict(state or {})
    way, batch = plain.start_pass(net, tensors, x, train, masks)
    grads = gradients(net, way, batch, np.asarray(labels)).tensors
    where = address(name, index)
    if name not in grads:
        raise TraceError(where, "this tensor has no gradient", hint="train=True where it is a side head's")
    groups = parts(net, way, name, index)
    total, gradient = sum(g.value for g in groups), float(grads[name][index])
    size = sum(abs(t.value) for g in groups for t in g.terms)
    if abs(total - gradient) > 1e-9 * max(size, 1e-3):
        raise TraceError(where, "the terms do not come to the gradient", got=f"{total!r} and {gradient!r}")

    weights = way.tensors[name]
    after, _ = chosen.step(weights, grads[name], state)
    steps = arithmetic(chosen, float(weights[index]), gradient, {k: at(v, index) for k, v in state.items()}, where)
    rule = f"Σ what it saw · ∂loss/∂output = ∂loss/∂weight; then one step of {type(chosen).__name__}"
    terms = [t for g in groups for t in g.terms]
    account = Account(rule, "sum", groups, steps, steps[-1].value, abs(float(weights[index])) + size, largest(terms))
    return finished(where, repr(chosen), account, float(after[index]), 1e-9, "plain engine, float64, whole tensor")


def tensor_name(net: Net, path: str, index: Index) -> str:
    """The tensor that `path` names, "conv1" being its weight. Raises TraceError for none, or for an index outside."""
    name = path if path in net.tensors else f"{path}.weight"
    trainable = {key: t for key, t in net.tensors.items() if t.trainable}
    if name not in trainable:
        raise TraceError(path, f"{net.name} has no weight of this name", hint=nearest(name, trainable))
    shape = trainable[name].shape
    if len(index) != len(shape) or not all(0 <= i < n for i, n in zip(index, shape, strict=True)):
        raise TraceError(
            address(name, index),
            f"the tensor is {L.show(shape)}, counted from 0",
            got=", ".join(map(str, index)),
            hint=address(name, (n // 2 for n in shape)),
        )
    return name


def at(value: Any, index: Index) -> Any:
    return float(value[index]) if isinstance(value, np.ndarray) and value.ndim else value


def parts(net: Net, way: Pass, name: str, index: Index) -> list[Group]:
    """One group an image: at each position what the weight was multiplied by, times the gradient of what came out."""
    path, _, tensor = name.rpartition(".")
    layer = net.at(path).layer
    x, dy = way.inputs[path], way.slopes[path][:, index[0]]
    source = feed(net, path)
    seen, places = met(layer, x, way, path, tensor, index)
    groups = []
    for n in range(len(dy)):
        terms = []
        for spot in np.ndindex(dy.shape[1:]):
            factor, slope = float(seen[(n, *spot)]), float(dy[(n, *spot)])
            place = places(spot)
            own = None if place is None else address(source, place)
            here = f"∂loss/∂{address(path, (index[0], *spot))}"
            note = "padding" if place is None else f"image {n}"
            terms.append(Term(factor * slope, factor, own, slope, here, note))
        groups.append(group(f"image {n}", terms, dy.shape[1:]))
    return groups


def met(layer: L.Layer, x: Array, way: Pass, path: str, tensor: str, index: Index):
    """What the weight is multiplied by, N×H'×W' or N, and the place in the layer's input that it comes from.

    For a bias, which is multiplied by nothing, it is 1, at the output's own place.
    """
    if tensor == "bias":
        return np.ones_like(way.slopes[path][:, index[0]]), lambda spot: (index[0], *spot)
    if isinstance(layer, L.Conv):
        f, c, a, b = index
        channel = f // (layer.filters // layer.groups) * (x.shape[1] // layer.groups) + c
        rows, columns = windows.taps(layer, x.shape[1:])
        seen = windows.look(layer, x[:, channel : channel + 1], rows, columns)[:, 0, :, :, a, b]

        def place(spot: Index) -> Index | None:
            r, k = int(rows[spot[0], a]), int(columns[spot[1], b])
            return (channel, r, k) if 0 <= r < x.shape[2] and 0 <= k < x.shape[3] else None

        return seen, place
    if isinstance(layer, L.Dense):
        return x[:, index[1]], lambda spot: (index[1],)
    if isinstance(layer, L.BatchNorm):
        over = norms.batch_statistics(layer, x, way.of(path, layer, x), way.train)
        x = norms.normalised(x, over, layer.eps)
    elif isinstance(layer, L.LayerNorm):
        x = norms.normalised(x, norms.statistics(x, (1,)), layer.eps)
    return x[:, index[0]], lambda spot: (index[0], *spot)


def arithmetic(chosen: Optimizer, w: float, g: float, state: Mapping[str, Any], where: str) -> list[Step]:
    """The optimizer's lines for one weight, in the order and with the meaning of its `step`."""
    old, steps = Term(w, w, None, weight=w, weight_at=where, note="weight"), []
    if chosen.decay and not isinstance(chosen, AdamW):
        pull = gives("decay", "{0} · {1}", chosen.decay * w, constant(chosen.decay), old)
        steps += [pull, adds("gradient with decay", constant(g), constant(pull.value))]
        g = steps[-1].value
    if isinstance(chosen, AdamW):
        shrink = chosen.rate * chosen.decay
        steps.append(
            gives(
                "weight, shrunk",
                "{0} · (1 − {1} · {2})",
                w * (1 - shrink),
                old,
                *map(constant, (chosen.rate, chosen.decay)),
            )
        )
        old = constant(steps[-1].value)
    match chosen:
        case Momentum() | Nesterov():
            step, more = momentum(chosen, g, state)
        case RMSProp():
            step, more = rms_prop(chosen, g, state)
        case Adam() | AdamW():
            step, more = adam(chosen, g, state)
        case _:
            step = chosen.rate * g
            more = [gives("step", "{0} · {1}", step, constant(chosen.rate), constant(g))]
    less = Term(-step, step, None, note="step")
    return [*steps, *more, adds("new weight", old, less)]


def momentum(chosen: Momentum | Nesterov, g: float, state: Mapping[str, Any]) -> tuple[float, list[Step]]:
    steps, v = [], g
    if state:
        kept = chosen.momentum * state["v"]
        steps = [gives("velocity kept", "{0} · {1}", kept, constant(chosen.momentum), constant(state["v"]))]
        steps.append(adds("velocity", constant(kept), constant(g)))
        v = steps[-1].value
    ahead = v
    if isinstance(chosen, Nesterov):
        steps.append(gives("velocity ahead", "{0} · {1}", chosen.momentum * v, constant(chosen.momentum), constant(v)))
        steps.append(adds("gradient ahead", constant(g), constant(steps[-1].value)))
        ahead = steps[-1].value
    steps.append(gives("step", "{0} · {1}", chosen.rate * ahead, constant(chosen.rate), constant(ahead)))
    return chosen.rate * ahead, steps


def averaged(name: str, keep: float, before: float, new: float) -> list[Step]:
    """A running mean moved on: keep·before + (1 − keep)·new."""
    old, fresh = keep * before, (1 - keep) * new
    return [
        gives(f"{name} kept", "{0} · {1}", old, constant(keep), constant(before)),
        gives(f"{name} new", "(1 − {0}) · {1}", fresh, constant(keep), constant(new)),
        adds(name, constant(old), constant(fresh)),
    ]


def rms_prop(chosen: RMSProp, g: float, state: Mapping[str, Any]) -> tuple[float, list[Step]]:
    steps = averaged("mean square s", chosen.keep, state.get("s", 0.0), g**2)
    s = steps[-1].value
    y = chosen.rate * g / (sqrt(s) + chosen.eps)
    form = "{0} · {1} / (√{2} + {3})"
    return y, [*steps, gives("step", form, y, *map(constant, (chosen.rate, g, s, chosen.eps)))]


def adam(chosen: Adam | AdamW, g: float, state: Mapping[str, Any]) -> tuple[float, list[Step]]:
    t = state.get("t", 0) + 1
    first = averaged("mean m", chosen.beta1, state.get("m", 0.0), g)
    second = averaged("mean square v", chosen.beta2, state.get("v", 0.0), g**2)
    m, v = first[-1].value / (1 - chosen.beta1**t), second[-1].value / (1 - chosen.beta2**t)
    y = chosen.rate * m / (sqrt(v) + chosen.eps)
    form = f"{{0}} / (1 − {{1}}^{t})"
    return y, [
        *first,
        *second,
        gives("m, freed of its start", form, m, constant(first[-1].value), constant(chosen.beta1)),
        gives("v, freed of its start", form, v, constant(second[-1].value), constant(chosen.beta2)),
        gives("step", "{0} · {1} / (√{2} + {3})", y, *map(constant, (chosen.rate, m, v, chosen.eps))),
    ]
