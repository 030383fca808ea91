"""The engine that explains: every layer forward and backward in NumPy, float64, written to be read.

Read `windows` first (convolution and pooling), then `head` (dense layers, softmax and the loss), `norms`,
`activations`, and `network`, the walk through all of them. `cone` computes one value alone.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ...architecture.net import Net
from ...errors import DataError
from ...language import say
from . import cone, network
from .head import PLAIN, Loss
from .network import Gradients, draw_masks, draw_tensors, keep_all
from .one_pass import ForwardPass, PassPlace

__all__ = [
    "PLAIN",
    "Gradients",
    "Loss",
    "draw_masks",
    "run_forward",
    "draw_tensors",
    "keep_all",
    "loss_and_gradients",
    "compute_maps",
    "compute_value",
]


def run_forward(
    net: Net,
    tensors: Mapping[str, NDArray],
    x: NDArray,
    *,
    train: bool = False,
    upto: str | None = None,
    masks: Mapping[str, NDArray] | None = None,
) -> NDArray:
    """N×C×H×W -> the net's output as its record says, a final Softmax included, or the output of the layer `upto`.

    train  BatchNorm normalises by the batch and dropout drops what `masks` (see `draw_masks`) says
    """
    way, x = start_pass(net, tensors, x, train, masks)
    if upto is None:
        return network.forward_chain(net.body, x, PassPlace("", way))
    for path, layer, _ in network.find_route(net, upto):
        x = network.forward_layer(layer, path, x, way)
    return x


def compute_maps(
    net: Net,
    tensors: Mapping[str, NDArray],
    x: NDArray,
    *,
    train: bool = False,
    masks: Mapping[str, NDArray] | None = None,
) -> dict[str, NDArray]:
    """Every layer's output by its path, containers too; side heads in training alone."""
    way, x = start_pass(net, tensors, x, train, masks)
    network.forward_chain(net.body, x, PassPlace("", way))
    return {step.path: way.maps[step.path] for step in net.steps if step.path in way.maps}


def loss_and_gradients(
    net: Net,
    tensors: Mapping[str, NDArray],
    x: NDArray,
    labels: NDArray,
    *,
    train: bool = True,
    masks: Mapping[str, NDArray] | None = None,
    loss: Loss = PLAIN,
) -> Gradients:
    """Mean softmax cross-entropy of a batch, and the gradient of every trainable tensor and of x.

    labels  each image's class, or N×K the share of each class in it
    In training, side heads add their weight times their own loss.
    """
    way, x = start_pass(net, tensors, x, train, masks)
    return network.compute_gradients(net, way, x, np.asarray(labels), loss)


def compute_value(net: Net, tensors: Mapping[str, NDArray], x: NDArray, path: str, *index: int) -> float:
    """One value of the layer `path` for one image x (C×H×W): channel, row, column, or the place in a vector.

    Only the part of the image and of the maps that it depends on is read, its receptive field.
    """
    way, batch = start_pass(net, tensors, x[None], False, None)
    return cone.compute_cone_value(net, way.tensors, batch[0], path, index)


def start_pass(net: Net, tensors: Mapping[str, NDArray], x: NDArray, train: bool, masks: Mapping[str, NDArray] | None):
    """A Pass in float64 and the input likewise. Raises DataError for an input of another shape than the net's."""
    x = np.asarray(x, dtype=np.float64)
    if x.ndim != 4 or x.shape[1:] != net.input:
        got, wanted = "×".join(map(str, x.shape)), "×".join(map(str, net.input))
        raise DataError("x", say("{name} takes a batch N×{wanted}", name=net.name, wanted=wanted), got=got)
    return ForwardPass({name: np.asarray(t, dtype=np.float64) for name, t in tensors.items()}, train, masks or {}), x
