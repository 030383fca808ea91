"""Layers that make a map larger: the transposed convolution, and resizing without weights."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...architecture import layers as L
from ...architecture.abilities import BACKWARD, FORWARD, NEEDS, PART
from ...architecture.layers import Shape
from ...architecture.window import make_pair
from .boxes import Box
from .one_pass import ForwardPass, PassPlace
from .windows import put_back, see_windows

# Transposed convolution ---------------------------------------------------------------------------


def find_targets(layer: L.ConvTranspose, x: Shape) -> tuple[NDArray, NDArray]:
    """The rows (H×kh) and columns (W×kw) of the output to which each row and column of the input adds itself."""
    rows, columns = (
        (np.arange(n) * stride - padding)[:, None] + np.arange(kernel) * dilation
        for n, stride, padding, kernel, dilation in zip(
            x[1:],
            *map(make_pair, (layer.stride, layer.padding, layer.kernel, layer.dilation)),
            strict=True,
        )
    )
    return rows, columns


def write_windows(
    layer: L.ConvTranspose, x: NDArray, rows: NDArray, columns: NDArray, w: dict[str, NDArray], size: tuple[int, int]
) -> NDArray:
    """Each value times the filters of its channel, added up in the map of this size where they lie in it."""
    parts = zip(np.split(x, layer.groups, axis=1), np.split(w["weight"], layer.groups), strict=True)
    written = np.concatenate([np.einsum("ncij,cfab->nfijab", s, k, optimize=True) for s, k in parts], axis=1)
    y = put_back(written, rows, columns, (len(x), layer.filters, *size))
    return y + w["bias"][:, None, None] if layer.bias else y


@FORWARD.of(L.ConvTranspose)
def conv_transpose_forward(layer: L.ConvTranspose, x: NDArray, here: PassPlace) -> NDArray:
    height, width = layer.out(x.shape[1:])[1:]
    return write_windows(layer, x, *find_targets(layer, x.shape[1:]), here.tensors(layer, x), (height, width))


@BACKWARD.of(L.ConvTranspose)
def conv_transpose_backward(layer: L.ConvTranspose, x: NDArray, y: NDArray, dy: NDArray, here: PassPlace):
    """What a value was written to is what its gradient is read from: a convolution of dy by the same filters."""
    g, w = layer.groups, here.tensors(layer, x)
    seen = see_windows(dy, *find_targets(layer, x.shape[1:]))
    parts = list(zip(np.split(seen, g, 1), np.split(x, g, 1), np.split(w["weight"], g), strict=True))
    dx = np.concatenate([np.einsum("nfijab,cfab->ncij", s, k, optimize=True) for s, _, k in parts], axis=1)
    d_weight = np.concatenate([np.einsum("nfijab,ncij->cfab", s, v, optimize=True) for s, v, _ in parts])
    return dx, {"weight": d_weight} | ({"bias": dy.sum(axis=(0, 2, 3))} if layer.bias else {})


@NEEDS.of(L.ConvTranspose)
def need_what_writes(layer: L.ConvTranspose, x: Shape, want: Box) -> Box:
    rows, columns = find_targets(layer, x)
    return Box(*find_writers(rows, want.top, want.bottom), *find_writers(columns, want.left, want.right))


def find_writers(targets: NDArray, low: int, high: int) -> tuple[int, int]:
    """From the first row that writes to one of low ≤ r < high to past the last; one at least, where none does."""
    found = np.flatnonzero(((targets >= low) & (targets < high)).any(1))
    if len(found):
        return int(found[0]), int(found[-1]) + 1
    near = int(np.abs(targets[:, 0] - low).argmin())
    return near, near + 1


@PART.of(L.ConvTranspose)
def compute_written_part(
    layer: L.ConvTranspose, path: str, values: NDArray, have: Box, want: Box, x: Shape, way: ForwardPass
) -> NDArray:
    rows, columns = find_targets(layer, x)
    rows, columns = rows[have.top : have.bottom] - want.top, columns[have.left : have.right] - want.left
    tensors = {t.name: way.tensors[f"{path}.{t.name}"] for t in layer.tensors(x)}
    return write_windows(layer, values, rows, columns, tensors, (want.bottom - want.top, want.right - want.left))


# Resizing -----------------------------------------------------------------------------------------


def tabulate_shares(layer: L.Upsample, x: Shape, axis: int) -> NDArray:
    """H'×H: what share of each row of the input (axis 0; 1 columns) a row of the output takes."""
    shares = layer.find_shares(x, axis)
    table = np.zeros((len(shares), x[1 + axis]))
    for row, taken in zip(table, shares, strict=True):
        for place, share in taken:
            row[place] = share
    return table


@FORWARD.of(L.Upsample)
def upsample_forward(layer: L.Upsample, x: NDArray, here: PassPlace) -> NDArray:
    """Rows and columns apart: y = A·x·Bᵀ for each channel."""
    a, b = (tabulate_shares(layer, x.shape[1:], axis) for axis in (0, 1))
    return np.einsum("ih,nchw,jw->ncij", a, x, b, optimize=True)


@BACKWARD.of(L.Upsample)
def upsample_backward(layer: L.Upsample, x: NDArray, y: NDArray, dy: NDArray, here: PassPlace):
    """Every place gets from each that took a share of it that share of its gradient: Aᵀ·dy·B."""
    a, b = (tabulate_shares(layer, x.shape[1:], axis) for axis in (0, 1))
    return np.einsum("ih,ncij,jw->nchw", a, dy, b, optimize=True), {}


@NEEDS.of(L.Upsample)
def need_what_is_taken(layer: L.Upsample, x: Shape, want: Box) -> Box:
    edges: list[int] = []
    for axis, low, high in ((0, want.top, want.bottom), (1, want.left, want.right)):
        places = [place for shares in layer.find_shares(x, axis)[low:high] for place, _ in shares]
        edges += [min(places), max(places) + 1]
    return Box(*edges)


@PART.of(L.Upsample)
def compute_resized_part(
    layer: L.Upsample, path: str, values: NDArray, have: Box, want: Box, x: Shape, way: ForwardPass
) -> NDArray:
    a = tabulate_shares(layer, x, 0)[want.top : want.bottom, have.top : have.bottom]
    b = tabulate_shares(layer, x, 1)[want.left : want.right, have.left : have.right]
    return np.einsum("ih,nchw,jw->ncij", a, values, b, optimize=True)
