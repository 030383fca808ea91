"""From maps to probabilities: global pooling, dense layers, softmax, and the loss."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...architecture import layers as L
from ...architecture.abilities import BACKWARD, FORWARD
from ..answers import compute_softmax
from .boxes import register_same_place, register_whole_map
from .one_pass import PassPlace


@FORWARD.of(L.GlobalAvgPool)
def global_avg_pool_forward(layer: L.GlobalAvgPool, x: NDArray, here: PassPlace) -> NDArray:
    return x.mean(axis=(2, 3), keepdims=layer.keepdims)


@BACKWARD.of(L.GlobalAvgPool)
def global_avg_pool_backward(layer: L.GlobalAvgPool, x: NDArray, y: NDArray, dy: NDArray, here: PassPlace):
    """Each of the H·W values moved the mean by 1/(H·W)."""
    height, width = x.shape[2:]
    return np.broadcast_to(dy.reshape(*x.shape[:2], 1, 1) / (height * width), x.shape), {}


@FORWARD.of(L.GlobalMaxPool)
def global_max_pool_forward(layer: L.GlobalMaxPool, x: NDArray, here: PassPlace) -> NDArray:
    return x.max(axis=(2, 3), keepdims=layer.keepdims)


@BACKWARD.of(L.GlobalMaxPool)
def global_max_pool_backward(layer: L.GlobalMaxPool, x: NDArray, y: NDArray, dy: NDArray, here: PassPlace):
    """The whole gradient goes to the value that won, to the first of them where several are equal."""
    flat = x.reshape(*x.shape[:2], -1)
    dx = np.zeros(flat.shape)
    np.put_along_axis(dx, flat.argmax(axis=2)[..., None], dy.reshape(*x.shape[:2], 1), axis=2)
    return dx.reshape(x.shape), {}


@FORWARD.of(L.Flatten)
def flatten_forward(layer: L.Flatten, x: NDArray, here: PassPlace) -> NDArray:
    return x.reshape(len(x), -1)


@BACKWARD.of(L.Flatten)
def flatten_backward(layer: L.Flatten, x: NDArray, y: NDArray, dy: NDArray, here: PassPlace):
    return dy.reshape(x.shape), {}


@FORWARD.of(L.Dense)
def dense_forward(layer: L.Dense, x: NDArray, here: PassPlace) -> NDArray:
    """y[n, u] = Σ over i of weight[u, i]·x[n, i], plus bias[u]."""
    w = here.tensors(layer, x)
    y = x @ w["weight"].T
    return y + w["bias"] if layer.bias else y


@BACKWARD.of(L.Dense)
def dense_backward(
    layer: L.Dense, x: NDArray, y: NDArray, dy: NDArray, here: PassPlace
) -> tuple[NDArray, dict[str, NDArray]]:
    """dx[n, i] = Σ over u of dy[n, u]·weight[u, i]; d_weight[u, i] = Σ over the images n of dy[n, u]·x[n, i]."""
    grads = {"weight": dy.T @ x} | ({"bias": dy.sum(axis=0)} if layer.bias else {})
    return dy @ here.tensors(layer, x)["weight"], grads


@FORWARD.of(L.Softmax)
def softmax_forward(layer: L.Softmax, x: NDArray, here: PassPlace) -> NDArray:
    return compute_softmax(x)


@BACKWARD.of(L.Softmax)
def softmax_backward(layer: L.Softmax, x: NDArray, y: NDArray, dy: NDArray, here: PassPlace):
    """A logit raises its own share and lowers the others': dx = y·(dy − Σ dy·y)."""
    return y * (dy - (dy * y).sum(axis=1, keepdims=True)), {}


class Loss(NamedTuple):
    """How the cross-entropy of a batch is computed, in torch's words.

    label_smoothing  the share of each target that is spread evenly over all classes (Szegedy et al. 2016, section 7)
    class_weights    by which each class's part of it counts, K; None: 1. The mean is over the images all the same
    """

    label_smoothing: float = 0.0
    class_weights: NDArray | None = None


PLAIN = Loss()


def compute_cross_entropy(logits: NDArray, labels: NDArray, loss: Loss = PLAIN) -> tuple[float, NDArray]:
    """The mean over the images of −log of the right class's probability, in nats, and the gradient of the logits.

    labels  each image's class, whole numbers N; or the share that each class has in it, N×K: of mixed images
    Softmax and logarithm together have the plainest gradient of all: (probability − 1 for the right class, else
    probability − 0) / N.
    """
    n, classes = logits.shape
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    right = np.array(labels, dtype=np.float64) if np.ndim(labels) == 2 else np.eye(classes)[labels]
    if loss.label_smoothing:
        right = (1 - loss.label_smoothing) * right + loss.label_smoothing / classes
    if loss.class_weights is not None:
        right = right * loss.class_weights
    return float(-(log_p * right).sum() / n), (np.exp(log_p) * right.sum(axis=1, keepdims=True) - right) / n


register_whole_map(L.GlobalAvgPool, L.GlobalMaxPool, L.Flatten, L.Dense)
register_same_place(L.Softmax)
