"""How much a value inside a net changes with the maps before it: gradients, by torch or by the plain engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..architecture.net import Net
from ..errors import NetError
from ..language import say

# The input's name, beside the layers' paths.
INPUT_PATH = "image"


class Slopes(NamedTuple):
    """What was differentiated, for each image, and the map by which: N, then N×… twice."""

    values: NDArray
    map: NDArray
    slope: NDArray


# (x, of, weights, by) -> Slopes of Σ weights·(map at `of`) by the map at `by`, a path before it or IMAGE.
#
# x is N×C×H×W; `weights` has, or stretches to, the shape N×… of the map at `of`.
Differentiate = Callable[[NDArray, str, NDArray, str], Slopes]


def make_differentiable(net: Net, tensors: Mapping[str, NDArray], engine: str | None = None) -> Differentiate:
    """The net, built once, as a function of which gradients can be asked for, in evaluation.

    engine  "torch" (float32), "plain" (float64; small nets) or None: torch where it is installed
    """
    if (engine or ("torch" if find_spec("torch") else "plain")) == "plain":
        return differentiate_by_plain(net, tensors)
    return differentiate_by_torch(net, tensors)


def differentiate_by_torch(net: Net, tensors: Mapping[str, NDArray]) -> Differentiate:
    import torch

    from ..engines.torch import build_network, load_tensors

    network = load_tensors(build_network(net), tensors).eval().requires_grad_(False)

    def differentiate(x: NDArray, of: str, weights: NDArray, by: str) -> Slopes:
        image = torch.tensor(np.asarray(x, np.float32), requires_grad=True)
        maps = network.maps(image) | {INPUT_PATH: image}
        y = maps[of]
        values = (y * torch.as_tensor(np.asarray(weights, np.float32))).flatten(1).sum(1)
        (slope,) = torch.autograd.grad(values.sum(), maps[by], materialize_grads=True)
        return Slopes(values.detach().numpy(), maps[by].detach().numpy(), slope.numpy())

    return differentiate


def differentiate_by_plain(net: Net, tensors: Mapping[str, NDArray]) -> Differentiate:
    from ..engines.plain import network, start_pass

    def differentiate(x: NDArray, of: str, weights: NDArray, by: str) -> Slopes:
        way, y = start_pass(net, tensors, x, False, None)
        image = y
        steps = network.find_route(net, of)
        for path, layer, _ in steps:
            y = network.forward_layer(layer, path, y, way)
        weights = np.broadcast_to(weights, y.shape).astype(np.float64)
        dy = weights
        for path, layer, _ in reversed(steps):
            dy, _ = network.backward_layer(layer, path, dy, way)
        values = (y * weights).reshape(len(y), -1).sum(1)
        if by == INPUT_PATH:
            return Slopes(values, image, dy)
        return Slopes(values, way.maps[by], way.slopes.get(by, np.zeros_like(way.maps[by])))

    return differentiate


def find_logits(net: Net) -> str:
    """The path of the layer that gives the logits: the last, or the one before a final Softmax. Raises NetError."""
    top = [step.path for step in net.steps if step.depth == 0 and not step.side]
    top = top[:-1] if net.gives_probabilities else top
    if not top or len(net.at(top[-1]).y) != 1:
        raise NetError(net.name, say("a classifier ends in a vector of logits"), hint=say("end it with Dense"))
    return top[-1]


def encode_one_hot(classes: int, targets: NDArray) -> NDArray:
    """N×K: 1 at each image's target, else 0."""
    made = np.zeros((len(targets), classes))
    made[np.arange(len(targets)), targets] = 1
    return made
