"""Convolution and pooling: what a sliding window sees, and what is done with it, forward and backward.

Everything here rests on one array, `seen`, of shape N×C×H'×W'×kh×kw: for each image, channel and output position
the kh×kw values under the window. A convolution multiplies them by a kernel and adds up, max pooling takes the
largest, average pooling the mean. Backward, each computes the gradient of `seen`, and `put_back` adds up, for every
pixel, the gradients of all the windows that saw it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ...arch import layers as L
from ...arch.abilities import BACKWARD, FORWARD
from ...arch.layers import Shape
from ...arch.window import pair
from .one_pass import Here

Array = np.ndarray
Windowed = L.Conv | L.MaxPool | L.AvgPool | L.BlurPool


def taps(layer: Windowed, x: Shape) -> tuple[Array, Array]:
    """The rows (H'×kh) and the columns (W'×kw) of the map that each output row and column reads.

    Output row i reads the rows i·stride − before + tap·dilation. One outside the map, below 0 or past its end, lies
    in the padding; where the map is reflected (BlurPool), the pixel that its mirror image is of is named instead.
    """
    made = []
    dilations = pair(getattr(layer, "dilation", 1))
    for n, slide, kernel, stride, dilation in zip(
        x[1:], L.slides(layer, x), pair(layer.kernel), L.strides(layer), dilations, strict=True
    ):
        first = np.arange(slide.size) * stride - slide.before
        places = first[:, None] + np.arange(kernel) * dilation
        made.append(mirrored(places, n) if isinstance(layer, L.BlurPool) else places)
    return made[0], made[1]


def mirrored(places: Array, n: int) -> Array:
    """Places outside a map of n pixels, reflected at the first and at the last: −1 is 1, and n is n − 2."""
    return n - 1 - abs(n - 1 - abs(places))


def see(x: Array, rows: Array, columns: Array, fill: float = 0.0) -> Array:
    """N×C×H×W -> N×C×H'×W'×kh×kw: the values at `rows` and `columns`, `fill` where those lie outside the map."""
    around = [
        (max(0, -int(i.min())), max(0, int(i.max()) + 1 - n)) for i, n in zip((rows, columns), x.shape[2:], strict=True)
    ]
    padded = np.pad(x, [(0, 0), (0, 0), *around], constant_values=fill)
    rows, columns = rows + around[0][0], columns + around[1][0]
    return padded[:, :, rows[:, None, :, None], columns[None, :, None, :]]


def put_back(d_seen: Array, rows: Array, columns: Array, shape: tuple[int, ...]) -> Array:
    """The reverse of `see` for gradients: every pixel gets the sum over all windows and taps that saw it."""
    height, width = shape[2:]
    dx = np.zeros(shape)
    for a, b in np.ndindex(d_seen.shape[4:]):  # for one tap no two windows see the same pixel
        r, c = rows[:, a], columns[:, b]
        high, wide = (r >= 0) & (r < height), (c >= 0) & (c < width)  # a gradient for the padding goes nowhere
        dx[:, :, r[high][:, None], c[wide]] += d_seen[..., a, b][:, :, high][..., wide]
    return dx


# Convolution -------------------------------------------------------------------------------------


def conv(layer: L.Conv, seen: Array, w: Mapping[str, Array]) -> Array:
    """y[n, f, i, j] = Σ over c, a, b of seen[n, c, i, j, a, b]·weight[f, c, a, b], plus bias[f].

    With groups, filter f sees its own part of the channels only: the parts are convolved apart.
    """
    parts = zip(np.split(seen, layer.groups, axis=1), np.split(w["weight"], layer.groups), strict=True)
    y = np.concatenate([np.einsum("ncijab,fcab->nfij", s, k, optimize=True) for s, k in parts], axis=1)
    return y + w["bias"][:, None, None] if layer.bias else y


def conv_backward(layer: L.Conv, seen: Array, dy: Array, w: Mapping[str, Array]) -> tuple[Array, dict[str, Array]]:
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


def max_pool(layer: L.MaxPool, seen: Array) -> Array:
    """The largest value under the window; padding is −∞ in `seen`, so it never wins."""
    return seen.max(axis=(4, 5))


def max_pool_backward(layer: L.MaxPool, seen: Array, dy: Array) -> Array:
    """The whole gradient goes to the value that won, to the first of them where several are equal."""
    flat = seen.reshape(*seen.shape[:4], -1)
    winner = flat.argmax(axis=-1)
    d_seen = np.zeros(flat.shape)
    np.put_along_axis(d_seen, winner[..., None], dy[..., None], axis=-1)
    return d_seen.reshape(seen.shape)


def counted(layer: L.AvgPool, rows: Array, columns: Array, x: Shape) -> Array:
    """H'×W': by how many values each position divides.

    Those within the map; with `count_padding` also those in the padding, but not those beyond it, which the last
    position of a ceil-mode pooling may reach.
    """
    numbers = []
    for places, slide, n in zip((rows, columns), L.slides(layer, x), x[1:], strict=True):
        before, after = (slide.before, slide.after) if layer.count_padding else (0, 0)
        numbers.append(((places >= -before) & (places < n + after)).sum(axis=1))
    return numbers[0][:, None] * numbers[1][None, :]


def avg_pool(layer: L.AvgPool, seen: Array, count: Array) -> Array:
    """The sum under the window, over how many count."""
    return seen.sum(axis=(4, 5)) / count


def avg_pool_backward(layer: L.AvgPool, seen: Array, dy: Array, count: Array) -> Array:
    """Every value under the window moved the mean by 1/count, so each gets that share of the gradient."""
    return np.broadcast_to((dy / count)[..., None, None], seen.shape)


# Blurred pooling: a convolution with a fixed filter -----------------------------------------------


def blur_pool(layer: L.BlurPool, seen: Array) -> Array:
    """Each channel's window times the products of the taps, summed."""
    return np.einsum("ncijab,a,b->ncij", seen, layer.taps, layer.taps, optimize=True)


def blur_pool_backward(layer: L.BlurPool, dy: Array, rows: Array, columns: Array, shape: tuple[int, ...]) -> Array:
    """The gradient of x: every pixel gets dy times its share in the window, twice where it was seen mirrored too.

    Rows and columns are blurred apart, y = A·x·Bᵀ for each channel, so the gradient is Aᵀ·dy·B.
    """
    a, b = (shares(layer, places, n) for places, n in zip((rows, columns), shape[2:], strict=True))
    return np.einsum("ih,ncij,jw->nchw", a, dy, b, optimize=True)


def shares(layer: L.BlurPool, places: Array, n: int) -> Array:
    """H'×H: how much of each row an output row takes."""
    made = np.zeros((len(places), n))
    np.add.at(made, (np.arange(len(places))[:, None], places), layer.taps)
    return made


# All as layers ------------------------------------------------------------------------------------

PADDING = {L.Conv: 0.0, L.MaxPool: -np.inf, L.AvgPool: 0.0, L.BlurPool: 0.0}
"""The value of what lies outside the map. A blur has none: it sees the map mirrored."""


def look(layer: Windowed, x: Array, rows: Array, columns: Array) -> Array:
    """`see`, with the padding that the layer takes: zeros, or −∞ for max pooling."""
    return see(x, rows, columns, PADDING[type(layer)])


def apply(layer: Windowed, seen: Array, rows: Array, columns: Array, x: Shape, w: Mapping[str, Array]) -> Array:
    """The layer's output from what its windows see; `x` is the shape of the whole map."""
    match layer:
        case L.Conv():
            return conv(layer, seen, w)
        case L.MaxPool():
            return max_pool(layer, seen)
        case L.AvgPool():
            return avg_pool(layer, seen, counted(layer, rows, columns, x))
        case L.BlurPool():
            return blur_pool(layer, seen)


def forward(layer: Windowed, x: Array, w: Mapping[str, Array]) -> Array:
    rows, columns = taps(layer, x.shape[1:])
    return apply(layer, look(layer, x, rows, columns), rows, columns, x.shape[1:], w)


@FORWARD.of(L.Conv, L.MaxPool, L.AvgPool, L.BlurPool)
def windowed(layer: Windowed, x: Array, here: Here) -> Array:
    return forward(layer, x, here.tensors(layer, x))


@BACKWARD.of(L.Conv)
def conv_layer_backward(layer: L.Conv, x: Array, y: Array, dy: Array, here: Here) -> tuple[Array, dict[str, Array]]:
    rows, columns = taps(layer, x.shape[1:])
    d_seen, grads = conv_backward(layer, look(layer, x, rows, columns), dy, here.tensors(layer, x))
    return put_back(d_seen, rows, columns, x.shape), grads


@BACKWARD.of(L.MaxPool)
def max_pool_layer_backward(layer: L.MaxPool, x: Array, y: Array, dy: Array, here: Here):
    rows, columns = taps(layer, x.shape[1:])
    return put_back(max_pool_backward(layer, look(layer, x, rows, columns), dy), rows, columns, x.shape), {}


@BACKWARD.of(L.AvgPool)
def avg_pool_layer_backward(layer: L.AvgPool, x: Array, y: Array, dy: Array, here: Here):
    rows, columns = taps(layer, x.shape[1:])
    count = counted(layer, rows, columns, x.shape[1:])
    return put_back(avg_pool_backward(layer, look(layer, x, rows, columns), dy, count), rows, columns, x.shape), {}


@BACKWARD.of(L.BlurPool)
def blur_pool_layer_backward(layer: L.BlurPool, x: Array, y: Array, dy: Array, here: Here):
    rows, columns = taps(layer, x.shape[1:])
    return blur_pool_backward(layer, dy, rows, columns, x.shape), {}
