"""The walk through a whole net: every layer's map on the way forward, every gradient on the way back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from ...arch import layers as L
from ...arch.layers import Layer
from ...arch.net import Net, Step
from ...errors import ModelError
from . import head, norms, windows
from .activations import ACTIVATIONS

Array = np.ndarray


@dataclass(frozen=True)
class Pass:
    """One pass through a net.

    tensors  all tensors by their full names, float64
    train    whether BatchNorm normalises by the batch, dropout drops and side heads are computed
    masks    for each dropping layer, by its path, what it keeps: 1 or 0, shaped like its input or like N×1×1×1
    inputs   filled on the way forward: each layer's input by its path
    maps     likewise each layer's output
    sides    in training each side head's logits, on the way back their gradient
    slopes   filled on the way back: the gradient of the loss by each layer's output
    """

    tensors: Mapping[str, Array]
    train: bool = False
    masks: Mapping[str, Array] = field(default_factory=dict)
    inputs: dict[str, Array] = field(default_factory=dict)
    maps: dict[str, Array] = field(default_factory=dict)
    sides: dict[str, Array] = field(default_factory=dict)
    slopes: dict[str, Array] = field(default_factory=dict)

    def of(self, path: str, layer: Layer, x: Array) -> dict[str, Array]:
        """The layer's own tensors by their short names."""
        return {t.name: self.tensors[f"{path}.{t.name}"] for t in layer.tensors(x.shape[1:])}


def forward(layer: Layer, path: str, x: Array, way: Pass) -> Array:
    """The output of `layer`, N×…; its input and output are kept in `way`, as are those of all layers within it."""
    match layer:
        case L.Sequence():
            y = chain(layer, path, x, way)
        case L.SideHead():
            y = x
            if way.train:
                way.sides[path] = chain(layer, path, x, way)
        case L.Parallel():
            y = join(layer, [forward(branch, f"{path}.{name}", x, way) for name, branch in layer.named])
        case _:
            y = leaf(layer, path, x, way)
    way.inputs[path], way.maps[path] = x, y
    return y


def chain(layer: L.Sequence | L.SideHead, path: str, x: Array, way: Pass) -> Array:
    for name, child in layer.named:
        x = forward(child, f"{path}.{name}" if path else name, x, way)
    return x


def join(layer: L.Parallel, outputs: list[Array]) -> Array:
    """Branches joined: along the channels, or value by value, where C×1×1 stretches over C×H×W."""
    if layer.join == "concat":
        return np.concatenate(outputs, axis=1)
    y = outputs[0]
    for other in outputs[1:]:
        y = y + other if layer.join == "add" else y * other
    return y


def leaf(layer: Layer, path: str, x: Array, way: Pass) -> Array:
    """The output of a layer that holds no others."""
    if type(layer) in ACTIVATIONS:
        return ACTIVATIONS[type(layer)][0](layer, x)
    match layer:
        case L.Conv() | L.MaxPool() | L.AvgPool() | L.BlurPool():
            return windows.forward(layer, x, way.of(path, layer, x))
        case L.BatchNorm():
            return norms.batch_norm(layer, x, way.of(path, layer, x), way.train)
        case L.LayerNorm():
            return norms.layer_norm(layer, x, way.of(path, layer, x))
        case L.LocalResponseNorm():
            return norms.local_response_norm(layer, x)
        case L.Dense():
            return head.dense(layer, x, way.of(path, layer, x))
        case L.Flatten():
            return x.reshape(len(x), -1)
        case L.GlobalAvgPool():
            return head.global_avg_pool(layer, x)
        case L.Softmax():
            return head.softmax(x)
        case L.LayerScale():
            return x * norms.along(way.of(path, layer, x)["weight"], x)
        case L.PadChannels():
            return np.pad(x, [(0, 0), (layer.before, layer.after), (0, 0), (0, 0)])
        case L.Dropout() | L.StochasticDepth():
            return x * kept(layer, path, way)
    raise TypeError(f"the plain engine has no {type(layer).__name__}")


def kept(layer: L.Dropout | L.StochasticDepth, path: str, way: Pass) -> Array | float:
    """What x is multiplied by: 1 in evaluation; in training 0 for what is dropped, 1/(1 − rate) for the rest."""
    if not way.train or layer.rate == 0:
        return 1.0
    if path not in way.masks:
        raise ModelError(
            path, "in training this layer drops at random", hint="masks=striate.engines.plain.draw_masks(net, n, seed)"
        )
    return way.masks[path] / (1 - layer.rate)


def backward(layer: Layer, path: str, dy: Array, way: Pass, grads: dict[str, Array]) -> Array:
    """The gradient of the layer's input, given dy, that of its output; those of its tensors are put into `grads`."""
    x, y = way.inputs[path], way.maps[path]
    way.slopes[path] = dy
    match layer:
        case L.Sequence():
            return chain_backward(layer, path, dy, way, grads)
        case L.SideHead():
            side = way.sides.get(path)
            return dy if side is None else dy + chain_backward(layer, path, side, way, grads)
        case L.Parallel():
            outputs = [way.maps[f"{path}.{name}"] for name, _ in layer.named]
            dx = np.zeros_like(x)
            for (name, branch), d in zip(layer.named, join_backward(layer, outputs, dy), strict=True):
                dx = dx + backward(branch, f"{path}.{name}", d, way, grads)  # all branches read the same x
            return dx
    dx, own = leaf_backward(layer, path, x, y, dy, way)
    grads.update({f"{path}.{name}": g for name, g in own.items()})
    return dx


def chain_backward(layer: L.Sequence | L.SideHead, path: str, dy: Array, way: Pass, grads: dict[str, Array]) -> Array:
    for name, child in reversed(layer.named):
        dy = backward(child, f"{path}.{name}" if path else name, dy, way, grads)
    return dy


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


def leaf_backward(layer: Layer, path: str, x: Array, y: Array, dy: Array, way: Pass) -> tuple[Array, dict[str, Array]]:
    if type(layer) in ACTIVATIONS:
        return dy * ACTIVATIONS[type(layer)][1](layer, x), {}
    match layer:
        case L.Conv() | L.MaxPool() | L.AvgPool() | L.BlurPool():
            return windows.backward(layer, x, dy, way.of(path, layer, x))
        case L.BatchNorm():
            return norms.batch_norm_backward(layer, x, dy, way.of(path, layer, x), way.train)
        case L.LayerNorm():
            return norms.layer_norm_backward(layer, x, dy, way.of(path, layer, x))
        case L.LocalResponseNorm():
            return norms.local_response_norm_backward(layer, x, dy), {}
        case L.Dense():
            return head.dense_backward(layer, x, dy, way.of(path, layer, x))
        case L.Flatten():
            return dy.reshape(x.shape), {}
        case L.GlobalAvgPool():
            return head.global_avg_pool_backward(layer, x, dy), {}
        case L.Softmax():
            return head.softmax_backward(y, dy), {}
        case L.LayerScale():
            w = way.of(path, layer, x)["weight"]
            return dy * norms.along(w, x), {"weight": (dy * x).sum(axis=(0, *range(2, x.ndim)))}
        case L.PadChannels():
            return dy[:, layer.before : layer.before + x.shape[1]], {}
        case L.Dropout() | L.StochasticDepth():
            return dy * kept(layer, path, way), {}
    raise TypeError(f"the plain engine has no {type(layer).__name__}")


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


def gradients(net: Net, way: Pass, x: Array, labels: Array) -> Gradients:
    """The loss of a batch and its gradients. A final Softmax and the loss are taken together, on the logits."""
    body = L.Sequence(*net.layers[:-1]) if ends_in_softmax(net) else net.body
    loss, dy = head.cross_entropy(chain(body, "", x, way), labels)
    for step in net.steps:
        if isinstance(step.layer, L.SideHead) and way.train:
            side, d_side = head.cross_entropy(way.sides[step.path], labels)
            loss += step.layer.weight * side
            way.sides[step.path] = step.layer.weight * d_side
    grads: dict[str, Array] = {}
    dx = chain_backward(body, "", dy, way, grads)
    ran = {name: value for step in net.steps if way.train for name, value in moved(step, way).items()}
    return Gradients(
        loss, grads, dx, ran, {step.path: way.maps[step.path] for step in net.steps if step.path in way.maps}
    )


def moved(step: Step, way: Pass) -> dict[str, Array]:
    if not isinstance(step.layer, L.BatchNorm) or step.path not in way.inputs:
        return {}
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
