"""The engine that explains: every layer forward and backward in NumPy, float64, written to be read.

Read `windows` first (convolution and pooling), then `head` (dense layers, softmax and the loss), `norms`,
`activations`, and `network`, the walk through all of them. `cone` computes one value alone.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ...arch.net import Net
from ...errors import DataError
from . import cone, network
from .head import PLAIN, Loss
from .network import Gradients
from .one_pass import Here, Pass
from .start import draw_masks, initial, keep_all

__all__ = [
    "PLAIN",
    "Gradients",
    "Loss",
    "draw_masks",
    "forward",
    "initial",
    "keep_all",
    "loss_and_gradients",
    "maps",
    "value",
]

Array = np.ndarray


def forward(
    net: Net,
    tensors: Mapping[str, Array],
    x: Array,
    *,
    train: bool = False,
    upto: str | None = None,
    masks: Mapping[str, Array] | None = None,
) -> Array:
    """N×C×H×W -> the net's output as its record says, a final Softmax included, or the output of the layer `upto`.

    train  BatchNorm normalises by the batch and dropout drops what `masks` (see `draw_masks`) says
    """
    way, x = start_pass(net, tensors, x, train, masks)
    if upto is None:
        return network.chain(net.body, x, Here("", way))
    for path, layer, _ in network.route(net, upto):
        x = network.forward(layer, path, x, way)
    return x


def maps(
    net: Net,
    tensors: Mapping[str, Array],
    x: Array,
    *,
    train: bool = False,
    masks: Mapping[str, Array] | None = None,
) -> dict[str, Array]:
    """Every layer's output by its path, containers too; side heads in training alone."""
    way, x = start_pass(net, tensors, x, train, masks)
    network.chain(net.body, x, Here("", way))
    return {step.path: way.maps[step.path] for step in net.steps if step.path in way.maps}


def loss_and_gradients(
    net: Net,
    tensors: Mapping[str, Array],
    x: Array,
    labels: Array,
    *,
    train: bool = True,
    masks: Mapping[str, Array] | None = None,
    loss: Loss = PLAIN,
) -> Gradients:
    """Mean softmax cross-entropy of a batch, and the gradient of every trainable tensor and of x.

    labels  each image's class, or N×K the share of each class in it
    In training, side heads add their weight times their own loss.
    """
    way, x = start_pass(net, tensors, x, train, masks)
    return network.gradients(net, way, x, np.asarray(labels), loss)


def value(net: Net, tensors: Mapping[str, Array], x: Array, path: str, *index: int) -> float:
    """One value of the layer `path` for one image x (C×H×W): channel, row, column, or the place in a vector.

    Only the part of the image and of the maps that it depends on is read, its receptive field.
    """
    way, batch = start_pass(net, tensors, x[None], False, None)
    return cone.value(net, way.tensors, batch[0], path, index)


def start_pass(net: Net, tensors: Mapping[str, Array], x: Array, train: bool, masks: Mapping[str, Array] | None):
    """A Pass in float64 and the input likewise. Raises DataError for an input of another shape than the net's."""
    x = np.asarray(x, dtype=np.float64)
    if x.ndim != 4 or x.shape[1:] != net.input:
        got, wanted = "×".join(map(str, x.shape)), "×".join(map(str, net.input))
        raise DataError("x", f"{net.name} takes a batch N×{wanted}", got=got)
    return Pass({name: np.asarray(t, dtype=np.float64) for name, t in tensors.items()}, train, masks or {}), x
