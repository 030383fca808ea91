"""Activations, value by value: each with its slope, by which the gradient of its output is multiplied."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import erf, pi, sqrt
from typing import Any

import numpy as np

from ...arch import layers as L
from ...arch.abilities import BACKWARD, FORWARD
from .boxes import at_its_place
from .one_pass import Here

Array = np.ndarray


def sigmoid(x: Array) -> Array:
    """1 / (1 + e^−x), written with tanh so that a large −x does not overflow."""
    return 0.5 * (1 + np.tanh(x / 2))


def below(x: Array) -> Array:
    """Φ(x): how much of the normal distribution lies below x."""
    return 0.5 * (1 + np.vectorize(erf, otypes=[float])(x / sqrt(2)))


def bell(x: Array) -> Array:
    """The density of the normal distribution, the slope of Φ."""
    return np.exp(-(x**2) / 2) / sqrt(2 * pi)


def ramp(x: Array) -> Array:
    """min(max(0, x + 3), 6) / 6."""
    return np.clip(x + 3, 0, 6) / 6


def leaky(layer: Any, x: Array) -> Array:
    return np.where(x > 0, x, layer.slope * x)


def elu(layer: Any, x: Array) -> Array:
    return np.where(x > 0, x, layer.alpha * np.expm1(np.minimum(x, 0)))


def hard_swish_slope(layer: Any, x: Array) -> Array:
    return np.where(x <= -3, 0.0, np.where(x < 3, x / 3 + 0.5, 1.0))


ACTIVATIONS: dict[type, tuple[Callable[[Any, Array], Array], Callable[[Any, Array], Array]]] = {
    L.Identity: (lambda _, x: x, lambda _, x: np.ones_like(x)),
    L.ReLU: (lambda _, x: np.maximum(x, 0), lambda _, x: (x > 0) * 1.0),
    L.ReLU6: (lambda _, x: np.clip(x, 0, 6), lambda _, x: ((x > 0) & (x < 6)) * 1.0),
    L.LeakyReLU: (leaky, lambda layer, x: np.where(x > 0, 1.0, layer.slope)),
    L.ELU: (elu, lambda layer, x: np.where(x > 0, 1.0, layer.alpha * np.exp(np.minimum(x, 0)))),
    L.GELU: (lambda _, x: x * below(x), lambda _, x: below(x) + x * bell(x)),
    L.SiLU: (lambda _, x: x * sigmoid(x), lambda _, x: sigmoid(x) * (1 + x * (1 - sigmoid(x)))),
    L.Sigmoid: (lambda _, x: sigmoid(x), lambda _, x: sigmoid(x) * (1 - sigmoid(x))),
    L.Tanh: (lambda _, x: np.tanh(x), lambda _, x: 1 - np.tanh(x) ** 2),
    L.HardSigmoid: (lambda _, x: ramp(x), lambda _, x: ((x > -3) & (x < 3)) / 6),
    L.HardSwish: (lambda _, x: x * ramp(x), hard_swish_slope),
}
"""Record -> (its function, the slope of it). At a kink the slope is torch's: 0 for ReLU at 0."""


def forward(layer: Any, x: Array, here: Here, function: Callable[[Any, Array], Array]) -> Array:
    return function(layer, x)


def backward(layer: Any, x: Array, y: Array, dy: Array, here: Here, slope: Callable[[Any, Array], Array]):
    return dy * slope(layer, x), {}


for record, (function, slope) in ACTIVATIONS.items():
    FORWARD.of(record)(partial(forward, function=function))
    BACKWARD.of(record)(partial(backward, slope=slope))


at_its_place(*ACTIVATIONS)
