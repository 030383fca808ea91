"""The browser's engine: which function of `engine/` computes each record. Its own test compares the two."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from ..architecture import layers as L
from ..architecture.abilities import JAVASCRIPT
from ..architecture.layers import Layer
from ..architecture.net import Net


def name_function(layer: Layer, function: str) -> str:
    return function


# The records with a function of their own; network.js itself walks through those that hold others.
FUNCTIONS: Mapping[type[Layer], str] = {
    L.Conv: "computeConvolution",
    L.ConvTranspose: "computeConvTranspose",
    L.MaxPool: "computeMaxPool",
    L.AvgPool: "computeAvgPool",
    L.BlurPool: "computeBlurPool",
    L.Upsample: "computeUpsample",
    L.GlobalAvgPool: "computeGlobalAvgPool",
    L.GlobalMaxPool: "computeGlobalMaxPool",
    L.Dense: "computeDense",
    L.ReLU: "computeReLU",
    L.ReLU6: "computeReLU6",
    L.PReLU: "computePReLU",
    L.Softmax: "computeSoftmax",
    L.LayerScale: "computeLayerScale",
    L.PadChannels: "computePadChannels",
    L.SliceChannels: "computeSliceChannels",
    L.ChannelShuffle: "computeChannelShuffle",
    L.ChannelConv: "computeChannelConv",
    L.BatchNorm: "computeBatchNorm",
    L.GroupNorm: "computeGroupNorm",
    L.InstanceNorm: "computeInstanceNorm",
    L.GlobalResponseNorm: "computeGlobalResponseNorm",
    L.LayerNorm: "computeLayerNorm",
    L.LocalResponseNorm: "computeLocalResponseNorm",
    **dict.fromkeys((L.Flatten, L.Identity, L.Dropout, L.StochasticDepth), "computeIdentity"),
    **dict.fromkeys(
        (L.LeakyReLU, L.ELU, L.SELU, L.CELU, L.GELU, L.TanhGELU, L.Mish, L.Softplus, L.SiLU, L.Sigmoid, L.Tanh),
        "computeActivation",
    ),
    **dict.fromkeys((L.HardSigmoid, L.HardSwish), "computeActivation"),
    L.Sequence: "runChain",
    L.SideHead: "runChain",
    L.Parallel: "runParallel",
}
for record, function in FUNCTIONS.items():
    JAVASCRIPT.of(record)(partial(name_function, function=function))


def check_browser_net(net: Net) -> None:
    """Raise NetError, by name, for a layer that the browser's engine does not compute, such as one of one's own."""
    for step in net.steps:
        JAVASCRIPT(step.layer)
