"""Layers that scale, drop or add channels."""

from __future__ import annotations

import numpy as np

from ...arch import layers as L
from ...arch.abilities import BACKWARD, FORWARD
from ...errors import ModelError
from .boxes import at_its_place
from .norms import along
from .one_pass import Here

Array = np.ndarray


@FORWARD.of(L.LayerScale)
def layer_scale(layer: L.LayerScale, x: Array, here: Here) -> Array:
    return x * along(here.tensors(layer, x)["weight"], x)


@BACKWARD.of(L.LayerScale)
def layer_scale_backward(layer: L.LayerScale, x: Array, y: Array, dy: Array, here: Here):
    w = here.tensors(layer, x)["weight"]
    return dy * along(w, x), {"weight": (dy * x).sum(axis=(0, *range(2, x.ndim)))}


@FORWARD.of(L.PadChannels)
def pad_channels(layer: L.PadChannels, x: Array, here: Here) -> Array:
    return np.pad(x, [(0, 0), (layer.before, layer.after), (0, 0), (0, 0)])


@BACKWARD.of(L.PadChannels)
def pad_channels_backward(layer: L.PadChannels, x: Array, y: Array, dy: Array, here: Here):
    return dy[:, layer.before : layer.before + x.shape[1]], {}


@FORWARD.of(L.Dropout, L.StochasticDepth)
def drop(layer: L.Dropout | L.StochasticDepth, x: Array, here: Here) -> Array:
    return x * kept(layer, here)


@BACKWARD.of(L.Dropout, L.StochasticDepth)
def drop_backward(layer: L.Dropout | L.StochasticDepth, x: Array, y: Array, dy: Array, here: Here):
    return dy * kept(layer, here), {}


def kept(layer: L.Dropout | L.StochasticDepth, here: Here) -> Array | float:
    """What x is multiplied by: 1 in evaluation; in training 0 for what is dropped, 1/(1 − rate) for the rest."""
    if not here.way.train or layer.rate == 0:
        return 1.0
    if here.path not in here.way.masks:
        raise ModelError(
            here.path,
            "in training this layer drops at random",
            hint="masks=striate.engines.plain.draw_masks(net, n, seed)",
        )
    return here.way.masks[here.path] / (1 - layer.rate)


at_its_place(L.LayerScale, L.PadChannels, L.Dropout, L.StochasticDepth)
