"""From maps to probabilities: global pooling, dense layers, softmax, and the loss."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ...arch import layers as L

Array = np.ndarray


def global_avg_pool(layer: L.GlobalAvgPool, x: Array) -> Array:
    return x.mean(axis=(2, 3), keepdims=layer.keepdims)


def global_avg_pool_backward(layer: L.GlobalAvgPool, x: Array, dy: Array) -> Array:
    """Each of the H·W values moved the mean by 1/(H·W)."""
    height, width = x.shape[2:]
    return np.broadcast_to(dy.reshape(*x.shape[:2], 1, 1) / (height * width), x.shape)


def dense(layer: L.Dense, x: Array, w: Mapping[str, Array]) -> Array:
    """y[n, u] = Σ over i of weight[u, i]·x[n, i], plus bias[u]."""
    y = x @ w["weight"].T
    return y + w["bias"] if layer.bias else y


def dense_backward(layer: L.Dense, x: Array, dy: Array, w: Mapping[str, Array]) -> tuple[Array, dict[str, Array]]:
    """dx[n, i] = Σ over u of dy[n, u]·weight[u, i]; d_weight[u, i] = Σ over the images n of dy[n, u]·x[n, i]."""
    grads = {"weight": dy.T @ x} | ({"bias": dy.sum(axis=0)} if layer.bias else {})
    return dy @ w["weight"], grads


def softmax(x: Array) -> Array:
    """e^x over their sum, along the channels or classes; the largest is taken away first so that nothing overflows."""
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def softmax_backward(y: Array, dy: Array) -> Array:
    """A logit raises its own share and lowers the others': dx = y·(dy − Σ dy·y)."""
    return y * (dy - (dy * y).sum(axis=1, keepdims=True))


def cross_entropy(logits: Array, labels: Array) -> tuple[float, Array]:
    """The mean over the images of −log of the right class's probability, in nats, and the gradient of the logits.

    Softmax and logarithm together have the plainest gradient of all: (probability − 1 for the right class, else
    probability − 0) / N.
    """
    n = len(logits)
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    right = np.zeros_like(logits)
    right[np.arange(n), labels] = 1
    return float(-(log_p * right).sum() / n), (np.exp(log_p) - right) / n
