"""Normalisation, forward and backward."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from ...arch import layers as L
from ...arch.abilities import BACKWARD, FORWARD
from .boxes import at_its_place
from .one_pass import Here

Array = np.ndarray


class Statistics(NamedTuple):
    mean: Array
    variance: Array


def along(values: Array, x: Array) -> Array:
    """One value a channel, shaped so that it stretches over N×C×H×W, or over N×C."""
    return values.reshape(1, -1, *(1,) * (x.ndim - 2))


def statistics(x: Array, axes: tuple[int, ...]) -> Statistics:
    """Mean and variance over `axes`; the variance is the mean of squares, divided by n and not by n − 1."""
    return Statistics(x.mean(axis=axes, keepdims=True), x.var(axis=axes, keepdims=True))


def scaled(layer: L.BatchNorm | L.LayerNorm, x_hat: Array, w: Mapping[str, Array]) -> Array:
    """The learned scale and shift of each channel."""
    return x_hat * along(w["weight"], x_hat) + along(w["bias"], x_hat) if layer.affine else x_hat


def scaled_backward(layer: L.BatchNorm | L.LayerNorm, x_hat: Array, dy: Array, w: Mapping[str, Array]):
    """The gradients of x̂, and of the scale and the shift: over everything but the channels, dy·x̂ and dy."""
    if not layer.affine:
        return dy, {}
    others = (0, *range(2, dy.ndim))
    return dy * along(w["weight"], dy), {"weight": (dy * x_hat).sum(axis=others), "bias": dy.sum(axis=others)}


def normalised(x: Array, over: Statistics, eps: float) -> Array:
    """x̂ = (x − mean) / √(variance + eps)."""
    return (x - over.mean) / np.sqrt(over.variance + eps)


def normalised_backward(x_hat: Array, d_hat: Array, over: Statistics, eps: float, axes: tuple[int, ...]) -> Array:
    """The gradient of x where mean and variance were those of x itself, over `axes`.

    Moving one x moves x̂ directly, and all of them through the mean and through the variance: what d_hat has of a
    constant and of x̂ itself is taken away (Ioffe and Szegedy 2015, section 3, simplified).
    """
    constant = d_hat.mean(axis=axes, keepdims=True)
    spread = (d_hat * x_hat).mean(axis=axes, keepdims=True)
    return (d_hat - constant - x_hat * spread) / np.sqrt(over.variance + eps)


# Batch normalisation: a channel over the whole batch ----------------------------------------------


def batch_axes(x: Array) -> tuple[int, ...]:
    return (0, *range(2, x.ndim))


def batch_statistics(layer: L.BatchNorm, x: Array, w: Mapping[str, Array], train: bool) -> Statistics:
    """The batch's own in training, else the running ones."""
    if train:
        return statistics(x, batch_axes(x))
    return Statistics(along(w["running_mean"], x), along(w["running_var"], x))


@FORWARD.of(L.BatchNorm)
def batch_norm(layer: L.BatchNorm, x: Array, here: Here) -> Array:
    w = here.tensors(layer, x)
    return scaled(layer, normalised(x, batch_statistics(layer, x, w, here.way.train), layer.eps), w)


@BACKWARD.of(L.BatchNorm)
def batch_norm_backward(layer: L.BatchNorm, x: Array, y: Array, dy: Array, here: Here):
    w, train = here.tensors(layer, x), here.way.train
    over = batch_statistics(layer, x, w, train)
    x_hat = normalised(x, over, layer.eps)
    d_hat, grads = scaled_backward(layer, x_hat, dy, w)
    if train:
        return normalised_backward(x_hat, d_hat, over, layer.eps, batch_axes(x)), grads
    return d_hat / np.sqrt(over.variance + layer.eps), grads


def running(layer: L.BatchNorm, x: Array, w: Mapping[str, Array]) -> dict[str, Array]:
    """The running statistics after a batch: (1 − momentum)·old + momentum·batch.

    The variance that is kept is divided by n − 1, that of a sample, while the batch itself is normalised by the one
    divided by n (the paper's algorithm 2, and torch).
    """
    axes = batch_axes(x)
    n = x.size // x.shape[1]
    batch = {"running_mean": x.mean(axis=axes), "running_var": x.var(axis=axes) * n / max(1, n - 1)}
    return {name: (1 - layer.momentum) * w[name] + layer.momentum * value for name, value in batch.items()}


# Layer normalisation: all channels of one position ------------------------------------------------


@FORWARD.of(L.LayerNorm)
def layer_norm(layer: L.LayerNorm, x: Array, here: Here) -> Array:
    return scaled(layer, normalised(x, statistics(x, (1,)), layer.eps), here.tensors(layer, x))


@BACKWARD.of(L.LayerNorm)
def layer_norm_backward(layer: L.LayerNorm, x: Array, y: Array, dy: Array, here: Here):
    over = statistics(x, (1,))
    x_hat = normalised(x, over, layer.eps)
    d_hat, grads = scaled_backward(layer, x_hat, dy, here.tensors(layer, x))
    return normalised_backward(x_hat, d_hat, over, layer.eps, (1,)), grads


# Local response normalisation: neighbouring channels ----------------------------------------------


def neighbours(size: int, channels: int) -> Array:
    """C×C of 0 and 1: whether channel d counts in the sum of channel c, from c − ⌊size/2⌋ on, `size` of them."""
    apart = np.arange(channels)[None, :] - np.arange(channels)[:, None]
    return ((apart >= -(size // 2)) & (apart <= (size - 1) // 2)) * 1.0


def response(layer: L.LocalResponseNorm, x: Array) -> Array:
    """s[c] = k + alpha/size · Σ over the neighbours d of x[d]²."""
    near = neighbours(layer.size, x.shape[1])
    return layer.k + layer.alpha / layer.size * np.einsum("cd,ndhw->nchw", near, x**2)


@FORWARD.of(L.LocalResponseNorm)
def local_response_norm(layer: L.LocalResponseNorm, x: Array, here: Here) -> Array:
    return x / response(layer, x) ** layer.beta


@BACKWARD.of(L.LocalResponseNorm)
def local_response_norm_backward(layer: L.LocalResponseNorm, x: Array, y: Array, dy: Array, here: Here):
    """x moves its own output, and through the sum of squares that of every channel that counts it."""
    near = neighbours(layer.size, x.shape[1])
    s = response(layer, x)
    of_sum = -layer.beta * dy * x * s ** (-layer.beta - 1)
    through = np.einsum("cd,nchw->ndhw", near, of_sum) * 2 * x * layer.alpha / layer.size
    return dy * s**-layer.beta + through, {}


at_its_place(L.BatchNorm, L.LayerNorm, L.LocalResponseNorm)
