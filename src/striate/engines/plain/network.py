"""The walk through a whole net: every layer's map on the way forward, every gradient on the way back."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ...arch import layers as L
from ...arch.abilities import BACKWARD, FORWARD
from ...arch.layers import Layer
from ...arch.net import Net, Step
from ...errors import NetError
from . import activations, head, norms, pointwise, windows  # noqa: F401  each fills its rows of the table
from .one_pass import Here, Pass

Array = np.ndarray
Backward = tuple[Array, dict[str, Array]]
"""The gradient of a layer's input, and those of its tensors by their names in it."""


def forward(layer: Layer, path: str, x: Array, way: Pass) -> Array:
    """The output of `layer`, N×…; its input and output are kept in `way`, as are those of all layers within it."""
    y = FORWARD(layer, x, Here(path, way))
    way.inputs[path], way.maps[path] = x, y
    return y


def backward(layer: Layer, path: str, dy: Array, way: Pass) -> Backward:
    """The gradient of the layer's input, given dy, that of its output, and those of its tensors by their names in it.

    The one of its output stays in `way`, as do those of all layers within it.
    """
    way.slopes[path] = dy
    return BACKWARD(layer, way.inputs[path], way.maps[path], dy, Here(path, way))


# Layers that hold others --------------------------------------------------------------------------


@FORWARD.of(L.Sequence)
def chain(layer: L.Sequence | L.SideHead, x: Array, here: Here) -> Array:
    for name, child in layer.named:
        x = forward(child, here.inside(name), x, here.way)
    return x


@BACKWARD.of(L.Sequence)
def chain_backward(layer: L.Sequence | L.SideHead, x: Array, y: Array, dy: Array, here: Here) -> Backward:
    grads: dict[str, Array] = {}
    for name, child in reversed(layer.named):
        dy, own = backward(child, here.inside(name), dy, here.way)
        grads |= within(name, own)
    return dy, grads


def within(name: str, grads: dict[str, Array]) -> dict[str, Array]:
    return {f"{name}.{tensor}": gradient for tensor, gradient in grads.items()}


@FORWARD.of(L.SideHead)
def side_head(layer: L.SideHead, x: Array, here: Here) -> Array:
    """x goes on; in training the logits wait in the pass."""
    if here.way.train:
        here.way.sides[here.path] = chain(layer, x, here)
    return x


@BACKWARD.of(L.SideHead)
def side_head_backward(layer: L.SideHead, x: Array, y: Array, dy: Array, here: Here) -> Backward:
    side = here.way.sides.get(here.path)
    if side is None:
        return dy, {}
    dx, grads = chain_backward(layer, x, y, side, here)
    return dy + dx, grads


@FORWARD.of(L.Parallel)
def parallel(layer: L.Parallel, x: Array, here: Here) -> Array:
    return join(layer, [forward(branch, here.inside(name), x, here.way) for name, branch in layer.named])


@BACKWARD.of(L.Parallel)
def parallel_backward(layer: L.Parallel, x: Array, y: Array, dy: Array, here: Here) -> Backward:
    """All branches read the same x, so its gradient is the sum of theirs."""
    outputs = [here.way.maps[here.inside(name)] for name, _ in layer.named]
    dx, grads = np.zeros_like(x), dict[str, Array]()
    for (name, branch), d in zip(layer.named, join_backward(layer, outputs, dy), strict=True):
        d, own = backward(branch, here.inside(name), d, here.way)
        dx = dx + d
        grads |= within(name, own)
    return dx, grads


def join(layer: L.Parallel, outputs: list[Array]) -> Array:
    """Branches joined: along the channels, or value by value, where C×1×1 stretches over C×H×W."""
    if layer.join == "concat":
        return np.concatenate(outputs, axis=1)
    y = outputs[0]
    for other in outputs[1:]:
        y = y + other if layer.join == "add" else y * other
    return y


def join_backward(layer: L.Parallel, outputs: list[Array], dy: Array) -> list[Array]:
    """Each branch's gradient: its own channels of dy, all of dy, or dy times what the other branches gave."""
    if layer.join == "concat":
        return np.split(dy, np.cumsum([len(o[0]) for o in outputs])[:-1], axis=1)
    if layer.join == "add":
        return [dy for _ in outputs]
    made = []
    for i, own in enumerate(outputs):
        d = dy
        for j, other in enumerate(outputs):
            d = d if i == j else d * other
        stretched = tuple(axis for axis in range(d.ndim) if own.shape[axis] != d.shape[axis])
        made.append(d.sum(axis=stretched, keepdims=True))  # a 1×1 value served every position
    return made


# The loss ------------------------------------------------------------------------------------------


class Gradients(NamedTuple):
    """What one batch says about a net.

    loss     mean cross-entropy in nats, side heads added with their weights
    tensors  the gradient of every trainable tensor, by its name
    x        that of the input
    running  BatchNorm's running statistics after this batch; empty in evaluation
    maps     every layer's output by its path
    """

    loss: float
    tensors: dict[str, Array]
    x: Array
    running: dict[str, Array]
    maps: dict[str, Array]


def gradients(net: Net, way: Pass, x: Array, labels: Array, loss: head.Loss = head.PLAIN) -> Gradients:
    """The loss of a batch and its gradients. A final Softmax and the loss are taken together, on the logits."""
    body = L.Sequence(*net.layers[:-1]) if ends_in_softmax(net) else net.body
    here = Here("", way)
    y = chain(body, x, here)
    total, dy = head.cross_entropy(y, labels, loss)
    for step in net.steps:
        if isinstance(step.layer, L.SideHead) and way.train:
            side, d_side = head.cross_entropy(way.sides[step.path], labels, loss)
            total += step.layer.weight * side
            way.sides[step.path] = step.layer.weight * d_side
    dx, grads = chain_backward(body, x, y, dy, here)
    ran = {name: value for step in net.steps if way.train for name, value in moved(step, way).items()}
    return Gradients(
        total, grads, dx, ran, {step.path: way.maps[step.path] for step in net.steps if step.path in way.maps}
    )


def moved(step: Step, way: Pass) -> dict[str, Array]:
    """A layer's running statistics after this batch."""
    if step.path not in way.inputs or not step.layer.buffers(step.x):
        return {}
    if not isinstance(step.layer, L.BatchNorm):
        raise NetError(
            step.path, "the plain engine does not know how its running statistics move", got=repr(step.layer)
        )
    x = way.inputs[step.path]
    return {f"{step.path}.{n}": v for n, v in norms.running(step.layer, x, way.of(step.path, step.layer, x)).items()}


def ends_in_softmax(net: Net) -> bool:
    return bool(net.layers) and isinstance(net.layers[-1], L.Softmax)


def route(net: Net, path: str) -> list[tuple[str, Layer, tuple[int, ...]]]:
    """The layers that the data goes through from the image to the output of `path`, each with the shape it gets.

    A container on the way is whole; one that holds `path` is entered. Raises NetError for an unknown path.
    """
    net.at(path)
    found: list[Any] = []
    layer: Layer = net.body
    before, shape = "", net.input
    while before != path:
        inside = [(f"{before}.{name}" if before else name, child) for name, child in layer.named]  # type: ignore
        for name, child in inside:
            if path == name or path.startswith(f"{name}."):
                before, layer = name, child
                break
            if not isinstance(layer if before else net.body, L.Parallel):
                found.append((name, child, shape))
                shape = child.out(shape)
    return [*found, (path, layer, shape)]
