"""How each layer's block is drawn: its colour, and a text of few characters, as the shape stands below it."""

from __future__ import annotations

from typing import NamedTuple

from . import layers as L
from .abilities import DRAW
from .layers import Layer
from .layers.layer import ways


class Face(NamedTuple):
    """kind  a name of WORDS, or "none" where the layer has no block of its own"""

    kind: str
    text: str


WORDS = {
    "conv": "convolution",
    "pool": "pooling",
    "dense": "dense",
    "flat": "flatten",
    "norm": "normalisation",
    "act": "activation",
    "drop": "dropout",
    "other": "other",
}
"""The kinds that have a colour, in the order of the key."""

STRIPS = ("norm", "act", "drop")
"""What is drawn as a strip on the block before it."""


@DRAW.of(L.Sequence, L.Parallel, L.SideHead, L.Identity)
def none(layer: Layer) -> Face:
    return Face("none", "")


@DRAW.of(L.Conv)
def conv(layer: L.Conv) -> Face:
    """The filters are in the shape below."""
    parts = layer.label.split(" ")[1:]
    kernel = parts[0].split("@")[1]
    stride = [part for part in parts[1:] if part.startswith("/")]
    return Face("conv", " ".join([kernel, *stride, *(["dw"] if layer.groups > 1 else [])]))


@DRAW.of(L.MaxPool)
def max_pool(layer: L.MaxPool) -> Face:
    return Face("pool", f"max {window(layer)}")


@DRAW.of(L.AvgPool)
def avg_pool(layer: L.AvgPool) -> Face:
    return Face("pool", f"avg {window(layer)}")


def window(layer: L.MaxPool | L.AvgPool) -> str:
    return ways(layer.kernel) + ("" if layer.stride is None else f" /{layer.stride}")


@DRAW.of(L.BlurPool)
def blur_pool(layer: L.BlurPool) -> Face:
    return Face("pool", layer.label.replace("BlurPool", "blur"))


@DRAW.of(L.GlobalAvgPool)
def global_avg_pool(layer: L.GlobalAvgPool) -> Face:
    return Face("pool", "mean")


@DRAW.of(L.GlobalMaxPool)
def global_max_pool(layer: L.GlobalMaxPool) -> Face:
    return Face("pool", "largest")


@DRAW.of(L.Dense)
def dense(layer: L.Dense) -> Face:
    return Face("dense", "dense")


@DRAW.of(L.Flatten)
def flatten(layer: L.Flatten) -> Face:
    return Face("flat", "flatten")


@DRAW.of(L.BatchNorm, L.LayerNorm, L.LocalResponseNorm)
def norm(layer: Layer) -> Face:
    return Face("norm", layer.label)


@DRAW.of(L.ReLU, L.ReLU6, L.LeakyReLU, L.ELU, L.GELU, L.SiLU, L.Sigmoid, L.Tanh, L.HardSigmoid, L.HardSwish, L.Softmax)
def activation(layer: Layer) -> Face:
    return Face("act", layer.label)


@DRAW.of(L.Dropout, L.StochasticDepth)
def dropout(layer: Layer) -> Face:
    return Face("drop", layer.label)


@DRAW.of(L.LayerScale, L.PadChannels)
def other(layer: Layer) -> Face:
    return Face("other", layer.label)
