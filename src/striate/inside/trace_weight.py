"""The trace of a weight's update: its gradient as a sum over images and positions, then the optimizer's arithmetic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..architecture import layers as L
from ..architecture.net import Net
from ..engines import plain
from ..engines.plain import norms, windows
from ..engines.plain.network import ForwardPass, compute_gradients
from ..errors import suggest_name
from ..language import join_texts, say
from ..optimizers import OPTIMIZERS, Optimizer, StepLine
from ..terminal import format_count
from .trace import finish_trace
from .trace_format import PADDING
from .trace_place import Index, find_feed
from .trace_record import (
    Term,
    TermGroup,
    Trace,
    TraceError,
    TraceStep,
    ValueAccount,
    find_largest,
    format_address,
    make_addition,
    make_constant,
    make_step,
    make_term_group,
)


def trace_weight(
    net: Net,
    tensors: Mapping[str, NDArray],
    x: NDArray,
    labels: NDArray,
    path: str,
    *index: int,
    optimizer: Optimizer | None = None,
    state: Mapping[str, Any] | None = None,
    train: bool = True,
    masks: Mapping[str, NDArray] | None = None,
    loss: plain.Loss = plain.PLAIN,
) -> Trace:
    """Why one weight becomes what it does in the next step on the batch x (N×C×H×W) with `labels`.

    labels     each image's class, or N×K the share of each class in it
    path       "conv1" or "conv1.weight", "conv1.bias", "bn1.weight", …; `index` the place in that tensor
    optimizer  one of `optimizers.OPTIMIZERS` with its settings; None is plain gradient descent
    state      the optimizer's for this whole tensor, as its `step` gave it; None before the first step
    The gradient's groups are the images, its terms what the weight saw at each position times the gradient there.
    All is computed by the plain engine, so a large net on large images takes its time.
    Raises TraceError for an unknown tensor or index, where BatchNorm has a single value to normalise by, or where sum
    and gradient disagree.
    """
    name = find_tensor_name(net, path, index)
    check_statistics(net, len(x), train)
    chosen, state = optimizer or OPTIMIZERS["sgd"](), dict(state or {})
    way, batch = plain.start_pass(net, tensors, x, train, masks)
    grads = compute_gradients(net, way, batch, np.asarray(labels), loss).tensors
    where = format_address(name, index)
    if name not in grads:
        raise TraceError(where, say("this tensor has no gradient"), hint=say("train=True where it is a side head's"))
    groups = make_image_groups(net, way, name, index)
    total, gradient = sum(g.value for g in groups), float(grads[name][index])
    size = sum(abs(t.value) for g in groups for t in g.terms)
    if abs(total - gradient) > 1e-9 * max(size, 1e-3):
        raise TraceError(
            where,
            say("the terms do not add up to the gradient"),
            got=say("{total!r} and {gradient!r}", total=total, gradient=gradient),
        )

    weights = way.tensors[name]
    update = chosen.update(weights, grads[name], state)
    steps = [make_update_step(line, weights, index, where) for line in update.lines]
    terms = [t for g in groups for t in g.terms]
    rule = say("{rule}; then one step of {optimizer}", rule=describe_rule(name), optimizer=type(chosen).__name__)
    account = ValueAccount(
        rule, "sum", groups, steps, steps[-1].value, abs(float(weights[index])) + size, find_largest(terms),
    )  # fmt: skip
    after, by = float(update.weights[index]), say("plain engine, float64, whole tensor")
    found = finish_trace(where, repr(chosen), account, after, 1e-9, by)
    return replace(found, loss=describe_loss(net, loss, len(x), train))


def trace_steps(
    net: Net,
    tensors: Mapping[str, NDArray],
    x: NDArray,
    labels: NDArray,
    path: str,
    *index: int,
    optimizer: Optimizer,
    steps: int = 3,
) -> tuple[Trace, ...]:
    """The traces of one weight over `steps` steps of an optimizer on one batch, in which every tensor moves.

    The loss is the mean cross-entropy in training, with nothing dropped; see `trace_weight`. It begins without a state.
    """
    name, masks = find_tensor_name(net, path, index), plain.keep_all(net)
    own = {key: np.asarray(tensor, np.float64) for key, tensor in tensors.items()}
    states: dict[str, dict[str, Any]] = {}
    made = []
    for _ in range(steps):
        given = {"optimizer": optimizer, "state": states.get(name), "masks": masks}
        made.append(trace_weight(net, own, x, labels, path, *index, **given))  # type: ignore[arg-type]
        way, batch = plain.start_pass(net, own, x, True, masks)
        for key, gradient in compute_gradients(net, way, batch, np.asarray(labels), plain.PLAIN).tensors.items():
            update = optimizer.update(own[key], gradient, states.get(key, {}))
            own[key], states[key] = update.weights, update.state
    return tuple(made)


def describe_rule(name: str) -> str:
    if name.endswith("bias"):
        return say("Σ ∂loss/∂output = ∂loss/∂bias, for a bias is multiplied by 1 everywhere")
    return say("Σ input · ∂loss/∂output = ∂loss/∂weight")


def check_statistics(net: Net, images: int, train: bool) -> None:
    """Refuse, as torch does, to normalise a channel by its only value. Raises TraceError."""
    for step in net.steps:
        if train and isinstance(step.layer, L.BatchNorm) and images * prod(step.x[1:]) == 1:
            what = say("in training BatchNorm normalises by the batch, and here each channel has one value in it")
            raise TraceError(step.path, what, hint=say("name two images or more"))


def describe_loss(net: Net, loss: plain.Loss, images: int, train: bool) -> str:
    """What is differentiated, in a line."""
    parts = [say("cross-entropy, mean of {images}", images=format_count(images, "image"))]
    if loss.label_smoothing:
        parts.append(say("label smoothing {amount:g}", amount=loss.label_smoothing))
    if loss.class_weights is not None:
        parts.append(say("class weights"))
    if train:
        heads = [step for step in net.steps if isinstance(step.layer, L.SideHead)]
        parts += [
            say("{weight:g} times that of {path} added", weight=step.layer.weight, path=step.path)  # type: ignore
            for step in heads
        ]
    if any(isinstance(step.layer, L.BatchNorm) for step in net.steps):
        parts.append(say("BatchNorm by this batch") if train else say("BatchNorm by the running statistics"))
    return join_texts("; ", parts)


def find_tensor_name(net: Net, path: str, index: Index) -> str:
    """The tensor that `path` names, "conv1" being its weight. Raises TraceError for none, or for an index outside."""
    name = path if path in net.tensors else f"{path}.weight"
    trainable = {key: t for key, t in net.tensors.items() if t.trainable}
    if name not in trainable:
        raise TraceError(
            path, say("{net} has no weight of this name", net=net.name), hint=suggest_name(name, trainable)
        )
    shape = trainable[name].shape
    if len(index) != len(shape) or not all(0 <= i < n for i, n in zip(index, shape, strict=True)):
        raise TraceError(
            format_address(name, index),
            say("the tensor is {shape}, counted from 0", shape=L.format_shape(shape)),
            got=", ".join(map(str, index)),
            hint=format_address(name, (n // 2 for n in shape)),
        )
    return name


def make_image_groups(net: Net, way: ForwardPass, name: str, index: Index) -> list[TermGroup]:
    """One group an image: at each position what the weight was multiplied by, times the gradient of what came out."""
    path, _, tensor = name.rpartition(".")
    layer = net.at(path).layer
    shared = isinstance(layer, L.PReLU) and not layer.per_channel  # one weight for all channels
    x, dy = way.inputs[path], way.slopes[path] if shared else way.slopes[path][:, index[0]]
    source = find_feed(net, path)
    seen, places = find_operands(layer, x, way, path, tensor, index)
    normalised = isinstance(layer, norms.Scaled) and places
    groups = []
    for n in range(len(dy)):
        terms, image = [], say("image {n}, normalised", n=n) if normalised else say("image {n}", n=n)
        for spot in np.ndindex(dy.shape[1:]):
            factor, slope = float(seen[(n, *spot)]), float(dy[(n, *spot)])
            place = None if places is None else places(spot)
            own = None if place is None else format_address(source, place)
            here = f"∂loss/∂{format_address(path, spot if shared else (index[0], *spot))}"
            note = PADDING if places and place is None else image
            terms.append(Term(factor * slope, factor, own, slope, here, note))
        groups.append(make_term_group(say("image {n}", n=n), terms, () if shared else dy.shape[1:]))
    return groups


def find_operands(layer: L.Layer, x: NDArray, way: ForwardPass, path: str, tensor: str, index: Index):
    """What the weight is multiplied by, N×H'×W' or N, and the place in the layer's input that it comes from.

    A bias sees no input: it is 1, and comes from no place, None. Raises TraceError for a layer that is not known.
    """
    if tensor == "bias":
        return np.ones_like(way.slopes[path][:, index[0]]), None
    if isinstance(layer, L.Conv):
        f, c, a, b = index
        channel = f // (layer.filters // layer.groups) * (x.shape[1] // layer.groups) + c
        rows, columns = windows.find_taps(layer, x.shape[1:])
        seen = windows.read_windows(layer, x[:, channel : channel + 1], rows, columns)[:, 0, :, :, a, b]

        def place(spot: Index) -> Index | None:
            r, k = int(rows[spot[0], a]), int(columns[spot[1], b])
            return (channel, r, k) if 0 <= r < x.shape[2] and 0 <= k < x.shape[3] else None

        return seen, place
    if isinstance(layer, L.Dense):
        return x[:, index[1]], lambda spot: (index[1],)
    if isinstance(layer, L.BatchNorm):
        over = norms.choose_statistics(layer, x, way.of(path, layer, x), way.train)
        x = norms.normalise_values(x, over, layer.eps)
    elif isinstance(layer, L.LayerNorm):
        x = norms.normalise_values(x, norms.compute_statistics(x, (1,)), layer.eps)
    elif isinstance(layer, L.GroupNorm | L.InstanceNorm):
        x = norms.normalise_groups(layer, x)
    elif isinstance(layer, L.PReLU):
        x = np.minimum(x, 0)
        if not layer.per_channel:
            return x, lambda spot: spot
    elif not isinstance(layer, L.LayerScale):
        raise TraceError(path, say("what a weight of {kind} is multiplied by is not known", kind=type(layer).__name__))
    return x[:, index[0]], lambda spot: (index[0], *spot)


def make_update_step(line: StepLine, weights: NDArray, index: Index, where: str) -> TraceStep:
    """One line of the optimizer's arithmetic as it is for one weight."""

    def part(value: Any) -> Term:
        number = float(value[index]) if np.ndim(value) else float(value)
        if value is weights:
            return Term(number, number, None, weight=number, weight_at=where, note=say("weight"))
        return make_constant(number)

    value = float(line.value[index]) if np.ndim(line.value) else float(line.value)
    parts = [part(value) for value in line.parts]
    return make_step(line.name, line.form, value, *parts) if line.form else make_addition(line.name, *parts)
