"""Normalisation, forward and backward."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...architecture import layers as L
from ...architecture.abilities import BACKWARD, FORWARD
from .boxes import register_from_whole_map, register_same_place
from .one_pass import PassPlace

# What may have a learned scale and shift for each channel.
Scaled = L.BatchNorm | L.LayerNorm | L.GroupNorm | L.InstanceNorm


class Statistics(NamedTuple):
    mean: NDArray
    variance: NDArray


def stretch_channels(values: NDArray, x: NDArray) -> NDArray:
    """One value a channel, shaped so that it stretches over N×C×H×W, or over N×C."""
    return values.reshape(1, -1, *(1,) * (x.ndim - 2))


def compute_statistics(x: NDArray, axes: tuple[int, ...]) -> Statistics:
    """Mean and variance over `axes`; the variance is the mean of squares, divided by n and not by n − 1."""
    return Statistics(x.mean(axis=axes, keepdims=True), x.var(axis=axes, keepdims=True))


def scale_and_shift(layer: Scaled, x_hat: NDArray, w: Mapping[str, NDArray]) -> NDArray:
    """The learned scale and shift of each channel."""
    return x_hat * stretch_channels(w["weight"], x_hat) + stretch_channels(w["bias"], x_hat) if layer.affine else x_hat


def scale_and_shift_backward(layer: Scaled, x_hat: NDArray, dy: NDArray, w: Mapping[str, NDArray]):
    """The gradients of x̂, and of the scale and the shift: over everything but the channels, dy·x̂ and dy."""
    if not layer.affine:
        return dy, {}
    others = (0, *range(2, dy.ndim))
    return dy * stretch_channels(w["weight"], dy), {
        "weight": (dy * x_hat).sum(axis=others),
        "bias": dy.sum(axis=others),
    }


def normalise_values(x: NDArray, over: Statistics, eps: float) -> NDArray:
    """x̂ = (x − mean) / √(variance + eps)."""
    return (x - over.mean) / np.sqrt(over.variance + eps)


def normalise_backward(x_hat: NDArray, d_hat: NDArray, over: Statistics, eps: float, axes: tuple[int, ...]) -> NDArray:
    """The gradient of x where mean and variance were those of x itself, over `axes`.

    Moving one x moves x̂ directly, and all of them through the mean and through the variance: what d_hat has of a
    constant and of x̂ itself is taken away (Ioffe and Szegedy 2015, section 3, simplified).
    """
    constant = d_hat.mean(axis=axes, keepdims=True)
    spread = (d_hat * x_hat).mean(axis=axes, keepdims=True)
    return (d_hat - constant - x_hat * spread) / np.sqrt(over.variance + eps)


# Batch normalisation: a channel over the whole batch ----------------------------------------------


def find_batch_axes(x: NDArray) -> tuple[int, ...]:
    return (0, *range(2, x.ndim))


def choose_statistics(layer: L.BatchNorm, x: NDArray, w: Mapping[str, NDArray], train: bool) -> Statistics:
    """The batch's own in training, else the running ones."""
    if train:
        return compute_statistics(x, find_batch_axes(x))
    return Statistics(stretch_channels(w["running_mean"], x), stretch_channels(w["running_var"], x))


@FORWARD.of(L.BatchNorm)
def batch_norm_forward(layer: L.BatchNorm, x: NDArray, here: PassPlace) -> NDArray:
    w = here.tensors(layer, x)
    return scale_and_shift(layer, normalise_values(x, choose_statistics(layer, x, w, here.way.train), layer.eps), w)


@BACKWARD.of(L.BatchNorm)
def batch_norm_backward(layer: L.BatchNorm, x: NDArray, y: NDArray, dy: NDArray, here: PassPlace):
    w, train = here.tensors(layer, x), here.way.train
    over = choose_statistics(layer, x, w, train)
    x_hat = normalise_values(x, over, layer.eps)
    d_hat, grads = scale_and_shift_backward(layer, x_hat, dy, w)
    if train:
        return normalise_backward(x_hat, d_hat, over, layer.eps, find_batch_axes(x)), grads
    return d_hat / np.sqrt(over.variance + layer.eps), grads


def update_running(layer: L.BatchNorm, x: NDArray, w: Mapping[str, NDArray]) -> dict[str, NDArray]:
    """The running statistics after a batch: (1 − momentum)·old + momentum·batch.

    The variance that is kept is divided by n − 1, that of a sample, while the batch itself is normalised by the one
    divided by n (the paper's algorithm 2, and torch).
    """
    axes = find_batch_axes(x)
    n = x.size // x.shape[1]
    batch = {"running_mean": x.mean(axis=axes), "running_var": x.var(axis=axes) * n / max(1, n - 1)}
    return {name: (1 - layer.momentum) * w[name] + layer.momentum * value for name, value in batch.items()}


# Layer normalisation: all channels of one position ------------------------------------------------


@FORWARD.of(L.LayerNorm)
def layer_norm_forward(layer: L.LayerNorm, x: NDArray, here: PassPlace) -> NDArray:
    return scale_and_shift(layer, normalise_values(x, compute_statistics(x, (1,)), layer.eps), here.tensors(layer, x))


@BACKWARD.of(L.LayerNorm)
def layer_norm_backward(layer: L.LayerNorm, x: NDArray, y: NDArray, dy: NDArray, here: PassPlace):
    over = compute_statistics(x, (1,))
    x_hat = normalise_values(x, over, layer.eps)
    d_hat, grads = scale_and_shift_backward(layer, x_hat, dy, here.tensors(layer, x))
    return normalise_backward(x_hat, d_hat, over, layer.eps, (1,)), grads


# Group and instance normalisation: a part of the channels at all positions ------------------------

Grouped = L.GroupNorm | L.InstanceNorm


def part_channels(layer: Grouped, x: NDArray) -> NDArray:
    """N×C×… as N×groups×values."""
    return x.reshape(len(x), layer.count_groups(x.shape[1:]), -1)


def normalise_groups(layer: Grouped, x: NDArray) -> NDArray:
    """x̂ of each group's own mean and variance."""
    parts = part_channels(layer, x)
    return normalise_values(parts, compute_statistics(parts, (2,)), layer.eps).reshape(x.shape)


@FORWARD.of(L.GroupNorm, L.InstanceNorm)
def group_norm_forward(layer: Grouped, x: NDArray, here: PassPlace) -> NDArray:
    return scale_and_shift(layer, normalise_groups(layer, x), here.tensors(layer, x))


@BACKWARD.of(L.GroupNorm, L.InstanceNorm)
def group_norm_backward(layer: Grouped, x: NDArray, y: NDArray, dy: NDArray, here: PassPlace):
    parts = part_channels(layer, x)
    over = compute_statistics(parts, (2,))
    x_hat = normalise_values(parts, over, layer.eps)
    d_hat, grads = scale_and_shift_backward(layer, x_hat.reshape(x.shape), dy, here.tensors(layer, x))
    return normalise_backward(x_hat, part_channels(layer, d_hat), over, layer.eps, (2,)).reshape(x.shape), grads


# Global response normalisation: the length of each channel beside the others' ----------------------


def measure_lengths(x: NDArray) -> NDArray:
    """N×C×1×1: √Σx² over each map."""
    return np.sqrt((x**2).sum(axis=(2, 3), keepdims=True))


@FORWARD.of(L.GlobalResponseNorm)
def global_response_norm_forward(layer: L.GlobalResponseNorm, x: NDArray, here: PassPlace) -> NDArray:
    w, length = here.tensors(layer, x), measure_lengths(x)
    response = length / (length.mean(axis=1, keepdims=True) + layer.eps)
    return x + stretch_channels(w["weight"], x) * x * response + stretch_channels(w["bias"], x)


@BACKWARD.of(L.GlobalResponseNorm)
def global_response_norm_backward(layer: L.GlobalResponseNorm, x: NDArray, y: NDArray, dy: NDArray, here: PassPlace):
    """x moves its own output, and through its channel's length that channel's response and, by the mean, all others'.

    A channel of zeros has length 0, where the slope of the length is taken as 0, as torch does.
    """
    weight, length = stretch_channels(here.tensors(layer, x)["weight"], x), measure_lengths(x)
    base = length.mean(axis=1, keepdims=True) + layer.eps
    response = length / base
    d_response = (dy * weight * x).sum(axis=(2, 3), keepdims=True)
    d_length = d_response / base - (d_response * length).sum(axis=1, keepdims=True) / base**2 / x.shape[1]
    slope = np.divide(x, length, out=np.zeros_like(x), where=length > 0)
    grads = {"weight": (dy * x * response).sum(axis=(0, 2, 3)), "bias": dy.sum(axis=(0, 2, 3))}
    return dy * (1 + weight * response) + d_length * slope, grads


# Local response normalisation: neighbouring channels ----------------------------------------------


def find_neighbours(size: int, channels: int) -> NDArray:
    """C×C of 0 and 1: whether channel d counts in the sum of channel c, from c − ⌊size/2⌋ on, `size` of them."""
    apart = np.arange(channels)[None, :] - np.arange(channels)[:, None]
    return ((apart >= -(size // 2)) & (apart <= (size - 1) // 2)) * 1.0


def compute_response(layer: L.LocalResponseNorm, x: NDArray) -> NDArray:
    """s[c] = k + alpha/size · Σ over the neighbours d of x[d]²."""
    near = find_neighbours(layer.size, x.shape[1])
    return layer.k + layer.alpha / layer.size * np.einsum("cd,ndhw->nchw", near, x**2)


@FORWARD.of(L.LocalResponseNorm)
def local_response_norm_forward(layer: L.LocalResponseNorm, x: NDArray, here: PassPlace) -> NDArray:
    return x / compute_response(layer, x) ** layer.beta


@BACKWARD.of(L.LocalResponseNorm)
def local_response_norm_backward(layer: L.LocalResponseNorm, x: NDArray, y: NDArray, dy: NDArray, here: PassPlace):
    """x moves its own output, and through the sum of squares that of every channel that counts it."""
    near = find_neighbours(layer.size, x.shape[1])
    s = compute_response(layer, x)
    of_sum = -layer.beta * dy * x * s ** (-layer.beta - 1)
    through = np.einsum("cd,nchw->ndhw", near, of_sum) * 2 * x * layer.alpha / layer.size
    return dy * s**-layer.beta + through, {}


register_same_place(L.BatchNorm, L.LayerNorm, L.LocalResponseNorm)
register_from_whole_map(L.GroupNorm, L.InstanceNorm, L.GlobalResponseNorm)
