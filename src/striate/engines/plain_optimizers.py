"""One step of each optimizer, for one tensor: its few lines of arithmetic, in torch's conventions.

Each setting is a record; `step(w, g, state)` gives the new weights and the new state from the weights, the gradient
and the state of the step before ({} at first). Nothing is changed in place. `decay` pulls the weights towards zero:
it adds decay·w to the gradient (the gradient of decay/2·|w|²), in AdamW it shrinks the weights themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray
State = Mapping[str, Any]


@dataclass(frozen=True)
class GradientDescent:
    """w − rate·g (Cauchy 1847; Robbins and Monro 1951 for batches)."""

    rate: float = 0.01
    decay: float = 0.0

    def step(self, w: Array, g: Array, state: State) -> tuple[Array, dict[str, Any]]:
        g = g + self.decay * w
        return w - self.rate * g, {}


@dataclass(frozen=True)
class Momentum:
    """The velocity v = momentum·v + g, and w − rate·v (Polyak 1964, the heavy ball). v starts as the first g."""

    rate: float = 0.01
    momentum: float = 0.9
    decay: float = 0.0

    def step(self, w: Array, g: Array, state: State) -> tuple[Array, dict[str, Any]]:
        g = g + self.decay * w
        v = self.momentum * state["v"] + g if state else g
        return w - self.rate * v, {"v": v}


@dataclass(frozen=True)
class Nesterov:
    """As momentum, but the step is g + momentum·v: the gradient as if already further on (Sutskever et al. 2013)."""

    rate: float = 0.01
    momentum: float = 0.9
    decay: float = 0.0

    def step(self, w: Array, g: Array, state: State) -> tuple[Array, dict[str, Any]]:
        g = g + self.decay * w
        v = self.momentum * state["v"] + g if state else g
        return w - self.rate * (g + self.momentum * v), {"v": v}


@dataclass(frozen=True)
class RMSProp:
    """A running mean s of g², and w − rate·g / (√s + eps) (Hinton 2012, lecture 6e). s starts at 0."""

    rate: float = 0.01
    keep: float = 0.99
    eps: float = 1e-8
    decay: float = 0.0

    def step(self, w: Array, g: Array, state: State) -> tuple[Array, dict[str, Any]]:
        g = g + self.decay * w
        s = self.keep * state.get("s", 0.0) + (1 - self.keep) * g**2
        return w - self.rate * g / (np.sqrt(s) + self.eps), {"s": s}


@dataclass(frozen=True)
class Adam:
    """Running means m of g and v of g², each freed of its start at 0, and w − rate·m̂ / (√v̂ + eps).

    (Kingma and Ba 2014, algorithm 1.) t counts the steps from 1.
    """

    rate: float = 0.001
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    decay: float = 0.0

    def step(self, w: Array, g: Array, state: State) -> tuple[Array, dict[str, Any]]:
        g = g + self.decay * w
        t = state.get("t", 0) + 1
        m = self.beta1 * state.get("m", 0.0) + (1 - self.beta1) * g
        v = self.beta2 * state.get("v", 0.0) + (1 - self.beta2) * g**2
        m_hat = m / (1 - self.beta1**t)
        v_hat = v / (1 - self.beta2**t)
        return w - self.rate * m_hat / (np.sqrt(v_hat) + self.eps), {"m": m, "v": v, "t": t}


@dataclass(frozen=True)
class AdamW:
    """Adam whose decay shrinks the weights by rate·decay apart from the gradient (Loshchilov and Hutter 2017)."""

    rate: float = 0.001
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    decay: float = 0.01

    def step(self, w: Array, g: Array, state: State) -> tuple[Array, dict[str, Any]]:
        shrunk = w * (1 - self.rate * self.decay)
        return Adam(self.rate, self.beta1, self.beta2, self.eps).step(shrunk, g, state)


Optimizer = GradientDescent | Momentum | Nesterov | RMSProp | Adam | AdamW

OPTIMIZERS: dict[str, type[Optimizer]] = {
    kind.__name__: kind for kind in (GradientDescent, Momentum, Nesterov, RMSProp, Adam, AdamW)
}
