"""Convolution and pooling: what a sliding window sees, and what is done with it, forward and backward.

Everything here rests on one array, `seen`, of shape N×C×H'×W'×kh×kw: for each image, channel and output position
the kh×kw values under the window. A convolution multiplies them by a kernel and adds up, max pooling takes the
largest, average pooling the mean. Backward, each computes the gradient of `seen`, and `put_back` adds up, for every
pixel, the gradients of all the windows that saw it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ...architecture import layers as L
from ...architecture.abilities import BACKWARD, FORWARD
from ...architecture.layers import Shape
from ...architecture.window import make_pair
from .one_pass import PassPlace

WindowLayer = L.Conv | L.MaxPool | L.AvgPool | L.BlurPool


def find_taps(layer: WindowLayer, x: Shape) -> tuple[NDArray, NDArray]:
    """The rows (H'×kh) and the columns (W'×kw) of the map that each output row and column reads.

    Output row i reads the rows i·stride − before + tap·dilation. One outside the map, below 0 or past its end, lies
    in the padding; where the map is reflected (BlurPool), the pixel that its mirror image is of is named instead.
    """
    made = []
    dilations = make_pair(getattr(layer, "dilation", 1))
    for n, slide, kernel, stride, dilation in zip(
        x[1:], L.slide_window(layer, x), make_pair(layer.kernel), L.find_strides(layer), dilations, strict=True
    ):
        first = np.arange(slide.size) * stride - slide.before
        places = first[:, None] + np.arange(kernel) * dilation
        made.append(reflect_places(places, n) if isinstance(layer, L.BlurPool) else places)
    return made[0], made[1]


def reflect_places(places: NDArray, n: int) -> NDArray:
    """Places outside a map of n pixels, reflected at the first and at the last: −1 is 1, and n is n − 2."""
    return n - 1 - abs(n - 1 - abs(places))


def see_windows(x: NDArray, rows: NDArray, columns: NDArray, fill: float = 0.0) -> NDArray:
    """N×C×H×W -> N×C×H'×W'×kh×kw: the values at `rows` and `columns`, `fill` where those lie outside the map."""
    around = [
        (max(0, -int(i.min())), max(0, int(i.max()) + 1 - n)) for i, n in zip((rows, columns), x.shape[2:], strict=True)
    ]
    padded = np.pad(x, [(0, 0), (0, 0), *around], constant_values=fill)
    rows, columns = rows + around[0][0], columns + around[1][0]
    return padded[:, :, rows[:, None, :, None], columns[None, :, None, :]]


def put_back(d_seen: NDArray, rows: NDArray, columns: NDArray, shape: tuple[int, ...]) -> NDArray:
    """The reverse of `see_windows` for gradients: every pixel gets the sum over all windows and taps that saw it."""
    height, width = shape[2:]
    dx = np.zeros(shape)
    for a, b in np.ndindex(d_seen.shape[4:]):  # for one tap no two windows see the same pixel
        r, c = rows[:, a], columns[:, b]
        high, wide = (r >= 0) & (r < height), (c >= 0) & (c < width)  # a gradient for the padding goes nowhere
        dx[:, :, r[high][:, None], c[wide]] += d_seen[..., a, b][:, :, high][..., wide]
    return dx


# Convolution -------------------------------------------------------------------------------------


def conv_forward(layer: L.Conv, seen: NDArray, w: Mapping[str, NDArray]) -> NDArray:
    """y[n, f, i, j] = Σ over c, a, b of seen[n, c, i, j, a, b]·weight[f, c, a, b], plus bias[f].

    With groups, filter f sees its own part of the channels only: the parts are convolved apart.
    """
    parts = zip(np.split(seen, layer.groups, axis=1), np.split(w["weight"], layer.groups), strict=True)
    y = np.concatenate([np.einsum("ncijab,fcab->nfij", s, k, optimize=True) for s, k in parts], axis=1)
    return y + w["bias"][:, None, None] if layer.bias else y


def conv_backward(
    layer: L.Conv, seen: NDArray, dy: NDArray, w: Mapping[str, NDArray]
) -> tuple[NDArray, dict[str, NDArray]]:
    """The gradients of `seen` and of the tensors.

    A weight was multiplied by what it saw at every position of every image: its gradient is the sum over those of
    seen·dy. What was seen was multiplied by one weight of every filter: its gradient is the sum over filters of
    weight·dy.
    """
    g = layer.groups
    parts = list(zip(np.split(seen, g, 1), np.split(dy, g, 1), np.split(w["weight"], g), strict=True))
    d_seen = np.concatenate([np.einsum("nfij,fcab->ncijab", d, k, optimize=True) for _, d, k in parts], axis=1)
    d_weight = np.concatenate([np.einsum("ncijab,nfij->fcab", s, d, optimize=True) for s, d, _ in parts])
    return d_seen, {"weight": d_weight} | ({"bias": dy.sum(axis=(0, 2, 3))} if layer.bias else {})


# Pooling -----------------------------------------------------------------------------------------


def max_pool_forward(layer: L.MaxPool, seen: NDArray) -> NDArray:
    """The largest value under the window; padding is −∞ in `seen`, so it never wins."""
    return seen.max(axis=(4, 5))


def max_pool_backward(layer: L.MaxPool, seen: NDArray, dy: NDArray) -> NDArray:
    """The whole gradient goes to the value that won, to the first of them where several are equal."""
    flat = seen.reshape(*seen.shape[:4], -1)
    winner = flat.argmax(axis=-1)
    d_seen = np.zeros(flat.shape)
    np.put_along_axis(d_seen, winner[..., None], dy[..., None], axis=-1)
    return d_seen.reshape(seen.shape)


def count_values(layer: L.AvgPool, rows: NDArray, columns: NDArray, x: Shape) -> NDArray:
    """H'×W': by how many values each position divides.

    Those within the map; with `count_padding` also those in the padding, but not those beyond it, which the last
    position of a ceil-mode pooling may reach.
    """
    numbers = []
    for places, slide, n in zip((rows, columns), L.slide_window(layer, x), x[1:], strict=True):
        before, after = (slide.before, slide.after) if layer.count_padding else (0, 0)
        numbers.append(((places >= -before) & (places < n + after)).sum(axis=1))
    return numbers[0][:, None] * numbers[1][None, :]


def avg_pool_forward(layer: L.AvgPool, seen: NDArray, count: NDArray) -> NDArray:
    """The sum under the window, over how many count."""
    return seen.sum(axis=(4, 5)) / count


def avg_pool_backward(layer: L.AvgPool, seen: NDArray, dy: NDArray, count: NDArray) -> NDArray:
    """Every value under the window moved the mean by 1/count, so each gets that share of the gradient."""
    return np.broadcast_to((dy / count)[..., None, None], seen.shape)


# Blurred pooling: a convolution with a fixed filter -----------------------------------------------


def blur_pool_forward(layer: L.BlurPool, seen: NDArray) -> NDArray:
    """Each channel's window times the products of the taps, summed."""
    return np.einsum("ncijab,a,b->ncij", seen, layer.taps, layer.taps, optimize=True)


def blur_pool_backward(
    layer: L.BlurPool, dy: NDArray, rows: NDArray, columns: NDArray, shape: tuple[int, ...]
) -> NDArray:
    """The gradient of x: every pixel gets dy times its share in the window, twice where it was seen mirrored too.

    Rows and columns are blurred apart, y = A·x·Bᵀ for each channel, so the gradient is Aᵀ·dy·B.
    """
    a, b = (compute_shares(layer, places, n) for places, n in zip((rows, columns), shape[2:], strict=True))
    return np.einsum("ih,ncij,jw->nchw", a, dy, b, optimize=True)


def compute_shares(layer: L.BlurPool, places: NDArray, n: int) -> NDArray:
    """H'×H: how much of each row an output row takes."""
    made = np.zeros((len(places), n))
    np.add.at(made, (np.arange(len(places))[:, None], places), layer.taps)
    return made


# All as layers ------------------------------------------------------------------------------------

# The value of what lies outside the map. A blur has none: it sees the map mirrored.
PADDING_VALUES = {L.Conv: 0.0, L.MaxPool: -np.inf, L.AvgPool: 0.0, L.BlurPool: 0.0}


def read_windows(layer: WindowLayer, x: NDArray, rows: NDArray, columns: NDArray) -> NDArray:
    """`see_windows`, with the padding that the layer takes: zeros, or −∞ for max pooling."""
    return see_windows(x, rows, columns, PADDING_VALUES[type(layer)])


def apply_window(
    layer: WindowLayer, seen: NDArray, rows: NDArray, columns: NDArray, x: Shape, w: Mapping[str, NDArray]
) -> NDArray:
    """The layer's output from what its windows see; `x` is the shape of the whole map."""
    match layer:
        case L.Conv():
            return conv_forward(layer, seen, w)
        case L.MaxPool():
            return max_pool_forward(layer, seen)
        case L.AvgPool():
            return avg_pool_forward(layer, seen, count_values(layer, rows, columns, x))
        case L.BlurPool():
            return blur_pool_forward(layer, seen)


def forward_window(layer: WindowLayer, x: NDArray, w: Mapping[str, NDArray]) -> NDArray:
    rows, columns = find_taps(layer, x.shape[1:])
    return apply_window(layer, read_windows(layer, x, rows, columns), rows, columns, x.shape[1:], w)


@FORWARD.of(L.Conv, L.MaxPool, L.AvgPool, L.BlurPool)
def windowed_forward(layer: WindowLayer, x: NDArray, here: PassPlace) -> NDArray:
    return forward_window(layer, x, here.tensors(layer, x))


@BACKWARD.of(L.Conv)
def conv_layer_backward(
    layer: L.Conv, x: NDArray, y: NDArray, dy: NDArray, here: PassPlace
) -> tuple[NDArray, dict[str, NDArray]]:
    rows, columns = find_taps(layer, x.shape[1:])
    d_seen, grads = conv_backward(layer, read_windows(layer, x, rows, columns), dy, here.tensors(layer, x))
    return put_back(d_seen, rows, columns, x.shape), grads


@BACKWARD.of(L.MaxPool)
def max_pool_layer_backward(layer: L.MaxPool, x: NDArray, y: NDArray, dy: NDArray, here: PassPlace):
    rows, columns = find_taps(layer, x.shape[1:])
    return put_back(max_pool_backward(layer, read_windows(layer, x, rows, columns), dy), rows, columns, x.shape), {}


@BACKWARD.of(L.AvgPool)
def avg_pool_layer_backward(layer: L.AvgPool, x: NDArray, y: NDArray, dy: NDArray, here: PassPlace):
    rows, columns = find_taps(layer, x.shape[1:])
    count = count_values(layer, rows, columns, x.shape[1:])
    return put_back(
        avg_pool_backward(layer, read_windows(layer, x, rows, columns), dy, count), rows, columns, x.shape
    ), {}


@BACKWARD.of(L.BlurPool)
def blur_pool_layer_backward(layer: L.BlurPool, x: NDArray, y: NDArray, dy: NDArray, here: PassPlace):
    rows, columns = find_taps(layer, x.shape[1:])
    return blur_pool_backward(layer, dy, rows, columns, x.shape), {}
