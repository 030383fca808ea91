"""The walk through a whole net: every layer's map on the way forward, every gradient on the way back."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...architecture import layers as L
from ...architecture.abilities import BACKWARD, FORWARD
from ...architecture.init import make_initialiser
from ...architecture.layers import Layer
from ...architecture.net import LayerStep, Net
from ...errors import NetError
from ...language import say
from . import growing, head, norms, pointwise, windows  # noqa: F401  each fills its rows of the table
from .one_pass import ForwardPass, PassPlace

# The gradient of a layer's input, and those of its tensors by their names in it.
Backward = tuple[NDArray, dict[str, NDArray]]


def forward_layer(layer: Layer, path: str, x: NDArray, way: ForwardPass) -> NDArray:
    """The output of `layer`, N×…; its input and output are kept in `way`, as are those of all layers within it."""
    y = FORWARD(layer, x, PassPlace(path, way))
    way.inputs[path], way.maps[path] = x, y
    return y


def backward_layer(layer: Layer, path: str, dy: NDArray, way: ForwardPass) -> Backward:
    """The gradient of the layer's input, given dy, that of its output, and those of its tensors by their names in it.

    The one of its output stays in `way`, as do those of all layers within it.
    """
    way.slopes[path] = dy
    return BACKWARD(layer, way.inputs[path], way.maps[path], dy, PassPlace(path, way))


# Layers that hold others --------------------------------------------------------------------------


@FORWARD.of(L.Sequence)
def forward_chain(layer: L.Sequence | L.SideHead, x: NDArray, here: PassPlace) -> NDArray:
    for name, child in layer.named:
        x = forward_layer(child, here.inside(name), x, here.way)
    return x


@BACKWARD.of(L.Sequence)
def backward_chain(layer: L.Sequence | L.SideHead, x: NDArray, y: NDArray, dy: NDArray, here: PassPlace) -> Backward:
    grads: dict[str, NDArray] = {}
    for name, child in reversed(layer.named):
        dy, own = backward_layer(child, here.inside(name), dy, here.way)
        grads |= prefix_names(name, own)
    return dy, grads


def prefix_names(name: str, grads: dict[str, NDArray]) -> dict[str, NDArray]:
    return {f"{name}.{tensor}": gradient for tensor, gradient in grads.items()}


@FORWARD.of(L.SideHead)
def side_head_forward(layer: L.SideHead, x: NDArray, here: PassPlace) -> NDArray:
    """x goes on; in training the logits wait in the pass."""
    if here.way.train:
        here.way.sides[here.path] = forward_chain(layer, x, here)
    return x


@BACKWARD.of(L.SideHead)
def side_head_backward(layer: L.SideHead, x: NDArray, y: NDArray, dy: NDArray, here: PassPlace) -> Backward:
    side = here.way.sides.get(here.path)
    if side is None:
        return dy, {}
    dx, grads = backward_chain(layer, x, y, side, here)
    return dy + dx, grads


@FORWARD.of(L.Parallel)
def parallel_forward(layer: L.Parallel, x: NDArray, here: PassPlace) -> NDArray:
    return forward_join(layer, [forward_layer(branch, here.inside(name), x, here.way) for name, branch in layer.named])


@BACKWARD.of(L.Parallel)
def parallel_backward(layer: L.Parallel, x: NDArray, y: NDArray, dy: NDArray, here: PassPlace) -> Backward:
    """All branches read the same x, so its gradient is the sum of theirs."""
    outputs = [here.way.maps[here.inside(name)] for name, _ in layer.named]
    dx, grads = np.zeros_like(x), dict[str, NDArray]()
    for (name, branch), d in zip(layer.named, backward_join(layer, outputs, dy), strict=True):
        d, own = backward_layer(branch, here.inside(name), d, here.way)
        dx = dx + d
        grads |= prefix_names(name, own)
    return dx, grads


def forward_join(layer: L.Parallel, outputs: list[NDArray]) -> NDArray:
    """Branches joined: along the channels, or value by value, where C×1×1 stretches over C×H×W."""
    if layer.join == "concat":
        return np.concatenate(outputs, axis=1)
    y = outputs[0]
    for other in outputs[1:]:
        y = y + other if layer.join == "add" else y * other
    return y


def backward_join(layer: L.Parallel, outputs: list[NDArray], dy: NDArray) -> list[NDArray]:
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
    tensors: dict[str, NDArray]
    x: NDArray
    running: dict[str, NDArray]
    maps: dict[str, NDArray]


def compute_gradients(
    net: Net, way: ForwardPass, x: NDArray, labels: NDArray, loss: head.Loss = head.PLAIN
) -> Gradients:
    """The loss of a batch and its gradients. A final Softmax and the loss are taken together, on the logits."""
    body = L.Sequence(*net.layers[:-1]) if ends_in_softmax(net) else net.body
    here = PassPlace("", way)
    y = forward_chain(body, x, here)
    total, dy = head.compute_cross_entropy(y, labels, loss)
    for step in net.steps:
        if isinstance(step.layer, L.SideHead) and way.train:
            side, d_side = head.compute_cross_entropy(way.sides[step.path], labels, loss)
            total += step.layer.weight * side
            way.sides[step.path] = step.layer.weight * d_side
    dx, grads = backward_chain(body, x, y, dy, here)
    ran = {name: value for step in net.steps if way.train for name, value in move_statistics(step, way).items()}
    return Gradients(
        total, grads, dx, ran, {step.path: way.maps[step.path] for step in net.steps if step.path in way.maps}
    )


def move_statistics(step: LayerStep, way: ForwardPass) -> dict[str, NDArray]:
    """A layer's running statistics after this batch."""
    if step.path not in way.inputs or not step.layer.buffers(step.x):
        return {}
    if not isinstance(step.layer, L.BatchNorm):
        raise NetError(
            step.path, say("the plain engine does not know how its running statistics move"), got=repr(step.layer)
        )
    x = way.inputs[step.path]
    return {
        f"{step.path}.{n}": v for n, v in norms.update_running(step.layer, x, way.of(step.path, step.layer, x)).items()
    }


def ends_in_softmax(net: Net) -> bool:
    return bool(net.layers) and isinstance(net.layers[-1], L.Softmax)


def find_route(net: Net, path: str) -> list[tuple[str, Layer, tuple[int, ...]]]:
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


def draw_tensors(net: Net, seed: int = 0) -> dict[str, NDArray]:
    """Fresh float64 tensors for `net`, drawn as its records say. The numbers are not torch's, the distributions are."""
    draw = np.random.default_rng(seed)
    made = {}
    for name, tensor in net.tensors.items():
        kind, scale = make_initialiser(tensor.init, tensor.fan_in, tensor.fan_out)
        if kind == "uniform":
            value = draw.uniform(-scale, scale, tensor.shape)
        elif kind == "normal":
            value = draw.normal(0, scale, tensor.shape)
        elif kind == "dirac":
            value = make_dirac(tensor.shape)
        else:
            value = np.full(tensor.shape, scale)
        made[name] = value
    return made


def make_dirac(shape: tuple[int, ...]) -> NDArray:
    """A convolution that passes its channels on: 1 in the middle of filter i's channel i, else 0."""
    weight = np.zeros(shape)
    for i in range(min(shape[:2])):
        weight[(i, i, *(side // 2 for side in shape[2:]))] = 1
    return weight


def draw_masks(net: Net, n: int, seed: int = 0) -> dict[str, NDArray]:
    """For each layer that drops at random, what it keeps of `n` images: 1 with probability 1 − rate, else 0."""
    draw = np.random.default_rng(seed)
    masks = {}
    for step in net.steps:
        match step.layer:
            case L.Dropout(rate=rate):
                masks[step.path] = (draw.random((n, *step.x)) >= rate) * 1.0
            case L.StochasticDepth(rate=rate):
                masks[step.path] = (draw.random((n, *(1,) * len(step.x))) >= rate) * 1.0
    return masks


def keep_all(net: Net) -> dict[str, NDArray]:
    """Masks under which nothing is dropped in training: what is kept is divided by 1 − rate, and so is this."""
    dropping = [step for step in net.steps if isinstance(step.layer, L.Dropout | L.StochasticDepth)]
    return {step.path: np.array(1 - step.layer.rate) for step in dropping}  # type: ignore[attr-defined]
