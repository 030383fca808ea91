"""Activations, value by value: each with its slope, by which the gradient of its output is multiplied."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import erf, pi, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...architecture import layers as L
from ...architecture.abilities import BACKWARD, FORWARD
from ...errors import ModelError
from ...language import say
from .boxes import register_same_place
from .norms import stretch_channels
from .one_pass import PassPlace


def compute_sigmoid(x: NDArray) -> NDArray:
    """1 / (1 + e^−x), written with tanh so that a large −x does not overflow."""
    return 0.5 * (1 + np.tanh(x / 2))


def compute_normal_cdf(x: NDArray) -> NDArray:
    """Φ(x): how much of the normal distribution lies below x."""
    return 0.5 * (1 + np.vectorize(erf, otypes=[float])(x / sqrt(2)))


def compute_normal_density(x: NDArray) -> NDArray:
    """The density of the normal distribution, the slope of Φ."""
    return np.exp(-(x**2) / 2) / sqrt(2 * pi)


def compute_ramp(x: NDArray) -> NDArray:
    """min(max(0, x + 3), 6) / 6."""
    return np.clip(x + 3, 0, 6) / 6


def compute_leaky_relu(layer: Any, x: NDArray) -> NDArray:
    return np.where(x > 0, x, layer.slope * x)


def compute_elu(layer: Any, x: NDArray) -> NDArray:
    return np.where(x > 0, x, layer.alpha * np.expm1(np.minimum(x, 0)))


def compute_celu(layer: Any, x: NDArray) -> NDArray:
    return np.where(x > 0, x, layer.alpha * np.expm1(np.minimum(x, 0) / layer.alpha))


def compute_selu(layer: Any, x: NDArray) -> NDArray:
    return layer.SCALE * np.where(x > 0, x, layer.ALPHA * np.expm1(np.minimum(x, 0)))


def compute_selu_slope(layer: Any, x: NDArray) -> NDArray:
    return layer.SCALE * np.where(x > 0, 1.0, layer.ALPHA * np.exp(np.minimum(x, 0)))


def compute_softplus(x: NDArray) -> NDArray:
    """ln(1 + e^x), such that a large x does not overflow."""
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def compute_mish_slope(layer: Any, x: NDArray) -> NDArray:
    share = np.tanh(compute_softplus(x))
    return share + x * (1 - share**2) * compute_sigmoid(x)


def compute_bend(x: NDArray) -> NDArray:
    """tanh(√(2/π)·(x + 0.044715·x³)), about 2·Φ(x) − 1."""
    return np.tanh(sqrt(2 / pi) * (x + 0.044715 * x**3))


def compute_tanh_gelu_slope(layer: Any, x: NDArray) -> NDArray:
    bend = compute_bend(x)
    return 0.5 * (1 + bend) + 0.5 * x * (1 - bend**2) * sqrt(2 / pi) * (1 + 3 * 0.044715 * x**2)


def compute_hard_swish_slope(layer: Any, x: NDArray) -> NDArray:
    return np.where(x <= -3, 0.0, np.where(x < 3, x / 3 + 0.5, 1.0))


# Record -> (its function, the slope of it). At a kink the slope is torch's: 0 for ReLU at 0.
ACTIVATIONS: dict[type, tuple[Callable[[Any, NDArray], NDArray], Callable[[Any, NDArray], NDArray]]] = {
    L.Identity: (lambda _, x: x, lambda _, x: np.ones_like(x)),
    L.ReLU: (lambda _, x: np.maximum(x, 0), lambda _, x: (x > 0) * 1.0),
    L.ReLU6: (lambda _, x: np.clip(x, 0, 6), lambda _, x: ((x > 0) & (x < 6)) * 1.0),
    L.LeakyReLU: (compute_leaky_relu, lambda layer, x: np.where(x > 0, 1.0, layer.slope)),
    L.ELU: (compute_elu, lambda layer, x: np.where(x > 0, 1.0, layer.alpha * np.exp(np.minimum(x, 0)))),
    L.GELU: (
        lambda _, x: x * compute_normal_cdf(x),
        lambda _, x: compute_normal_cdf(x) + x * compute_normal_density(x),
    ),
    L.SELU: (compute_selu, compute_selu_slope),
    L.CELU: (compute_celu, lambda layer, x: np.where(x > 0, 1.0, np.exp(np.minimum(x, 0) / layer.alpha))),
    L.TanhGELU: (lambda _, x: 0.5 * x * (1 + compute_bend(x)), compute_tanh_gelu_slope),
    L.Mish: (lambda _, x: x * np.tanh(compute_softplus(x)), compute_mish_slope),
    L.Softplus: (lambda _, x: compute_softplus(x), lambda _, x: compute_sigmoid(x)),
    L.SiLU: (lambda _, x: x * compute_sigmoid(x), lambda _, x: compute_sigmoid(x) * (1 + x * (1 - compute_sigmoid(x)))),
    L.Sigmoid: (lambda _, x: compute_sigmoid(x), lambda _, x: compute_sigmoid(x) * (1 - compute_sigmoid(x))),
    L.Tanh: (lambda _, x: np.tanh(x), lambda _, x: 1 - np.tanh(x) ** 2),
    L.HardSigmoid: (lambda _, x: compute_ramp(x), lambda _, x: ((x > -3) & (x < 3)) / 6),
    L.HardSwish: (lambda _, x: x * compute_ramp(x), compute_hard_swish_slope),
}


def activation_forward(layer: Any, x: NDArray, here: PassPlace, function: Callable[[Any, NDArray], NDArray]) -> NDArray:
    return function(layer, x)


def activation_backward(
    layer: Any, x: NDArray, y: NDArray, dy: NDArray, here: PassPlace, slope: Callable[[Any, NDArray], NDArray]
):
    return dy * slope(layer, x), {}


for record, (function, slope) in ACTIVATIONS.items():
    FORWARD.of(record)(partial(activation_forward, function=function))
    BACKWARD.of(record)(partial(activation_backward, slope=slope))


register_same_place(*ACTIVATIONS)


@FORWARD.of(L.LayerScale)
def layer_scale_forward(layer: L.LayerScale, x: NDArray, here: PassPlace) -> NDArray:
    return x * stretch_channels(here.tensors(layer, x)["weight"], x)


@BACKWARD.of(L.LayerScale)
def layer_scale_backward(layer: L.LayerScale, x: NDArray, y: NDArray, dy: NDArray, here: PassPlace):
    w = here.tensors(layer, x)["weight"]
    return dy * stretch_channels(w, x), {"weight": (dy * x).sum(axis=(0, *range(2, x.ndim)))}


@FORWARD.of(L.PReLU)
def prelu_forward(layer: L.PReLU, x: NDArray, here: PassPlace) -> NDArray:
    return np.where(x > 0, x, x * stretch_channels(here.tensors(layer, x)["weight"], x))


@BACKWARD.of(L.PReLU)
def prelu_backward(layer: L.PReLU, x: NDArray, y: NDArray, dy: NDArray, here: PassPlace):
    """A slope moves what is not positive; the one slope of all channels all of it."""
    w = stretch_channels(here.tensors(layer, x)["weight"], x)
    slope = (dy * np.minimum(x, 0)).sum(axis=(0, *range(2, x.ndim)))
    return np.where(x > 0, dy, dy * w), {"weight": slope if layer.per_channel else slope.sum(keepdims=True)}


@FORWARD.of(L.ChannelConv)
def channel_conv_forward(layer: L.ChannelConv, x: NDArray, here: PassPlace) -> NDArray:
    """y[c] = Σ over t of weight[t]·x[c + t − half]: one table of weights, C×C, from channels to channels."""
    return np.einsum("cd,nd...->nc...", spread_filter(here.tensors(layer, x)["weight"], x.shape[1]), x)


@BACKWARD.of(L.ChannelConv)
def channel_conv_backward(layer: L.ChannelConv, x: NDArray, y: NDArray, dy: NDArray, here: PassPlace):
    weight, half = here.tensors(layer, x)["weight"], layer.kernel // 2
    around = [(0, 0), (half, half), *[(0, 0)] * (x.ndim - 2)]
    padded, channels = np.pad(x, around), x.shape[1]
    d_weight = [(padded[:, t : t + channels] * dy).sum() for t in range(layer.kernel)]
    table = spread_filter(weight, channels)
    return np.einsum("cd,nc...->nd...", table, dy), {"weight": np.reshape(d_weight, weight.shape)}


def spread_filter(weight: NDArray, channels: int) -> NDArray:
    """C×C: what channel d adds to channel c, the weight at d − c + half."""
    taps, half = weight.ravel(), weight.size // 2
    place = np.arange(channels)[None, :] - np.arange(channels)[:, None] + half
    return np.where((place >= 0) & (place < taps.size), taps[np.clip(place, 0, taps.size - 1)], 0.0)


@FORWARD.of(L.PadChannels)
def pad_channels_forward(layer: L.PadChannels, x: NDArray, here: PassPlace) -> NDArray:
    return np.pad(x, [(0, 0), (layer.before, layer.after), (0, 0), (0, 0)])


@BACKWARD.of(L.PadChannels)
def pad_channels_backward(layer: L.PadChannels, x: NDArray, y: NDArray, dy: NDArray, here: PassPlace):
    return dy[:, layer.before : layer.before + x.shape[1]], {}


@FORWARD.of(L.SliceChannels)
def slice_channels_forward(layer: L.SliceChannels, x: NDArray, here: PassPlace) -> NDArray:
    return x[:, layer.start : layer.start + layer.length]


@BACKWARD.of(L.SliceChannels)
def slice_channels_backward(layer: L.SliceChannels, x: NDArray, y: NDArray, dy: NDArray, here: PassPlace):
    dx = np.zeros_like(x)
    dx[:, layer.start : layer.start + layer.length] = dy
    return dx, {}


@FORWARD.of(L.ChannelShuffle)
def channel_shuffle_forward(layer: L.ChannelShuffle, x: NDArray, here: PassPlace) -> NDArray:
    return shuffle_channels(x, layer.groups)


@BACKWARD.of(L.ChannelShuffle)
def channel_shuffle_backward(layer: L.ChannelShuffle, x: NDArray, y: NDArray, dy: NDArray, here: PassPlace):
    return shuffle_channels(dy, x.shape[1] // layer.groups), {}


def shuffle_channels(x: NDArray, groups: int) -> NDArray:
    """N×C×H×W, its channels written in `groups` rows and read by columns."""
    n, c, *rest = x.shape
    return x.reshape(n, groups, c // groups, *rest).swapaxes(1, 2).reshape(x.shape)


@FORWARD.of(L.Dropout, L.StochasticDepth)
def drop_forward(layer: L.Dropout | L.StochasticDepth, x: NDArray, here: PassPlace) -> NDArray:
    return x * find_drop_mask(layer, here)


@BACKWARD.of(L.Dropout, L.StochasticDepth)
def drop_backward(layer: L.Dropout | L.StochasticDepth, x: NDArray, y: NDArray, dy: NDArray, here: PassPlace):
    return dy * find_drop_mask(layer, here), {}


def find_drop_mask(layer: L.Dropout | L.StochasticDepth, here: PassPlace) -> NDArray | float:
    """What x is multiplied by: 1 in evaluation; in training 0 for what is dropped, 1/(1 − rate) for the rest."""
    if not here.way.train or layer.rate == 0:
        return 1.0
    if here.path not in here.way.masks:
        raise ModelError(
            here.path,
            say("in training this layer drops at random"),
            hint="masks=striate.engines.plain.draw_masks(net, n, seed)",
        )
    return here.way.masks[here.path] / (1 - layer.rate)


register_same_place(
    L.LayerScale, L.PReLU, L.ChannelConv, L.PadChannels, L.SliceChannels, L.ChannelShuffle, L.Dropout, L.StochasticDepth
)
