"""How each layer's block is drawn: its colour, and a text of few characters, as the shape stands below it."""

from __future__ import annotations

from typing import NamedTuple

from ..architecture import layers as L
from ..architecture.abilities import DRAW
from ..architecture.layers import Layer
from ..architecture.layers.layer import format_pair
from ..language import to_say


class Face(NamedTuple):
    """kind  a name of WORDS, or "none" where the layer has no block of its own"""

    kind: str
    text: str


# The kinds that have a colour, in the order of the key.
KIND_WORDS = {
    "conv": to_say("convolution"),
    "pool": to_say("pooling"),
    "dense": to_say("dense"),
    "flat": to_say("flatten"),
    "norm": to_say("normalisation"),
    "act": to_say("activation"),
    "drop": to_say("dropout"),
    "other": to_say("other"),
}

# What is drawn as a strip on the block before it.
STRIP_KINDS = ("norm", "act", "drop")


@DRAW.of(L.Sequence, L.Parallel, L.SideHead, L.Identity)
def draw_nothing(layer: Layer) -> Face:
    return Face("none", "")


@DRAW.of(L.Conv)
def draw_conv(layer: L.Conv) -> Face:
    """The filters are in the shape below."""
    parts = layer.label.split(" ")[1:]
    kernel = parts[0].split("@")[1]
    stride = [part for part in parts[1:] if part.startswith("/")]
    return Face("conv", " ".join([kernel, *stride, *(["dw"] if layer.groups > 1 else [])]))


@DRAW.of(L.ConvTranspose)
def draw_conv_transpose(layer: L.ConvTranspose) -> Face:
    step = "" if layer.stride == 1 else f" /{layer.stride}"
    return Face("conv", f"up {format_pair(layer.kernel)}{step}")


@DRAW.of(L.ChannelConv)
def draw_channel_conv(layer: L.ChannelConv) -> Face:
    return Face("conv", f"channels {layer.kernel}")


@DRAW.of(L.Upsample)
def draw_upsample(layer: L.Upsample) -> Face:
    return Face("pool", layer.label.split(" ")[1])


@DRAW.of(L.MaxPool)
def draw_max_pool(layer: L.MaxPool) -> Face:
    return Face("pool", f"max {format_window(layer)}")


@DRAW.of(L.AvgPool)
def draw_avg_pool(layer: L.AvgPool) -> Face:
    return Face("pool", f"avg {format_window(layer)}")


def format_window(layer: L.MaxPool | L.AvgPool) -> str:
    return format_pair(layer.kernel) + ("" if layer.stride is None else f" /{layer.stride}")


@DRAW.of(L.BlurPool)
def draw_blur_pool(layer: L.BlurPool) -> Face:
    return Face("pool", layer.label.replace("BlurPool", "blur"))


@DRAW.of(L.GlobalAvgPool)
def draw_global_avg_pool(layer: L.GlobalAvgPool) -> Face:
    return Face("pool", "mean")


@DRAW.of(L.GlobalMaxPool)
def draw_global_max_pool(layer: L.GlobalMaxPool) -> Face:
    return Face("pool", "largest")


@DRAW.of(L.Dense)
def draw_dense(layer: L.Dense) -> Face:
    return Face("dense", "dense")


@DRAW.of(L.Flatten)
def draw_flatten(layer: L.Flatten) -> Face:
    return Face("flat", "flatten")


@DRAW.of(L.BatchNorm, L.LayerNorm, L.GroupNorm, L.InstanceNorm, L.GlobalResponseNorm, L.LocalResponseNorm)
def draw_norm(layer: Layer) -> Face:
    return Face("norm", layer.label)


@DRAW.of(L.ReLU, L.ReLU6, L.LeakyReLU, L.PReLU, L.ELU, L.SELU, L.CELU, L.GELU, L.TanhGELU, L.Mish, L.Softplus)
@DRAW.of(L.SiLU, L.Sigmoid, L.Tanh, L.HardSigmoid, L.HardSwish, L.Softmax)
def draw_activation(layer: Layer) -> Face:
    return Face("act", layer.label)


@DRAW.of(L.Dropout, L.StochasticDepth)
def draw_dropout(layer: Layer) -> Face:
    return Face("drop", layer.label)


@DRAW.of(L.LayerScale, L.PadChannels, L.SliceChannels, L.ChannelShuffle)
def draw_other(layer: Layer) -> Face:
    return Face("other", layer.label)
