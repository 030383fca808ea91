"""Weights at the values that 8 bits have, and biases that make up for what the rounding moves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..engines import onnx as engine
from ..engines.onnx_layers import FILE_INPUT
from .saturation import LARGEST_PAIR, find_largest_pairs

if TYPE_CHECKING:
    import onnx

# The largest 8-bit level of a weight; the smallest is −127, so that the levels lie evenly around 0.
MOST_LEVEL = 127
# Operators whose weights are rounded.
ROUNDED_LAYERS = ("Conv", "Gemm")
# By so much of itself a scale is wider than it must be, so that a float's last bit does not make a pair one more.
SPARE_SHARE = 1e-6


def correct_biases(model: onnx.ModelProto, images: Iterable[np.ndarray], kept: Iterable[str] = ()) -> onnx.ModelProto:
    """`model` with the weights of every Conv and Gemm rounded, and each bias moved so that the mean answer stays.

    weight' = rounded(weight)
    bias'   = bias + Σ (weight − weight')·m, with m the mean over the images of what each weight is multiplied with

    images  calibration images, uint8 H×W×C of any size
    kept    names of nodes that stay as they are
    Source: Nagel et al. 2019, Data-Free Quantization Through Weight Equalization and Bias Correction, section 4.2.
    It matters most in depthwise layers: with 9 weights a filter the errors of rounding do not average out.
    """
    import onnx
    from onnx import numpy_helper

    made = onnx.ModelProto()
    made.CopyFrom(model)
    constants = {tensor.name: tensor for tensor in made.graph.initializer}
    left = set(kept)
    layers = [node for node in made.graph.node if node.op_type in ROUNDED_LAYERS and node.name not in left]
    means = measure_mean_inputs(model, [node.name for node in layers], images)

    def put(name: str, value: np.ndarray) -> None:
        if name not in constants:
            constants[name] = made.graph.initializer.add()
        constants[name].CopyFrom(numpy_helper.from_array(value.astype(np.float32), name))

    for node in layers:
        whole = numpy_helper.to_array(constants[node.input[1]]).astype(np.float64)
        near = round_weights(whole)
        shift = measure_bias_shift(whole - near, means[node.name])
        if len(node.input) == 2:
            node.input.append(f"{node.input[1]}/bias")
            put(node.input[2], shift)
        else:
            put(node.input[2], numpy_helper.to_array(constants[node.input[2]]) + shift)
        put(node.input[1], near)
    return made


def round_weights(weight: np.ndarray) -> np.ndarray:
    """Weights F×… at the nearest of 255 levels, one scale a filter."""
    scale = compute_scales(weight).reshape(-1, *(1,) * (weight.ndim - 1))
    return np.round(weight / scale) * scale


def compute_scales(weight: np.ndarray) -> np.ndarray:
    """What a level is worth in each filter of F×…: its largest weight is at most 127 levels, two neighbours of one

    sign at most 128 (`formats.saturation` says why). Both together are one level more only where both halves round up,
    and then one is odd and the other even, of which NumPy's `round` takes the even one.

    >>> (compute_scales(np.array([[127.0, 1.0, -127.0], [64.0, 128.0, 0.0], [0.0, 0.0, 0.0]])).round(3)).tolist()
    [1.0, 1.5, 1.0]
    """
    wide = np.maximum(
        np.abs(weight.reshape(len(weight), -1)).max(1) / MOST_LEVEL,
        find_largest_pairs(weight) / LARGEST_PAIR * (1 + SPARE_SHARE),
    )
    wide[wide == 0] = 1
    return wide


def compute_weight_scales(model: onnx.ModelProto, kept: Iterable[str] = ()) -> dict[str, np.ndarray]:
    """`compute_scales` of the weights of every Conv and Gemm, by the weights' names."""
    from onnx import numpy_helper

    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    left = set(kept)
    names = [node.input[1] for node in model.graph.node if node.op_type in ROUNDED_LAYERS and node.name not in left]
    return {name: compute_scales(numpy_helper.to_array(constants[name]).astype(np.float64)) for name in names}


def measure_bias_shift(error: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """By how much a layer's mean output falls short for the `error` F×… of its weights: F numbers.

    mean  of the input, C×kh×kw or C; a grouped convolution's filters each see their group's part of it
    """
    filters, inside = error.shape[0], error[0].size
    groups = mean.size // inside
    parts = error.reshape(groups, filters // groups, inside)
    return np.einsum("gfi,gi->gf", parts, mean.reshape(groups, inside)).ravel()


def measure_mean_inputs(
    model: onnx.ModelProto, layers: Iterable[str], images: Iterable[np.ndarray]
) -> dict[str, np.ndarray]:
    """For each Conv or Gemm named, the mean over images and places of what each of its weights meets."""
    import onnx
    from onnx import helper

    nodes = {node.name: node for node in model.graph.node}
    chosen = {name: nodes[name] for name in layers}
    shapes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    told = onnx.ModelProto()
    told.CopyFrom(model)
    sources = list(dict.fromkeys(node.input[0] for node in chosen.values()))
    del told.graph.output[:]
    told.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in sources)
    session = engine.open_session(told, threads=None)
    sums: dict[str, Any] = dict.fromkeys(chosen, 0.0)
    count = 0
    for image in images:
        maps = dict(zip(sources, session.run(sources, {FILE_INPUT: image[None]}), strict=True))
        for name, node in chosen.items():
            attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
            x = maps[node.input[0]]
            sums[name] += (
                x.mean(0) if node.op_type == "Gemm" else measure_mean_window(x[0], shapes[node.input[1]], attributes)
            )
        count += 1
    return {name: total / count for name, total in sums.items()}


def measure_mean_window(x: np.ndarray, weight: tuple[int, ...], attributes: Mapping[str, Any]) -> np.ndarray:
    """C×kh×kw: the mean over all places of the window that a convolution lays on the map `x`, C×H×W."""
    top, left, bottom, right = attributes["pads"]
    padded = np.pad(x, ((0, 0), (top, bottom), (left, right)))
    dilations = attributes.get("dilations", (1, 1))
    ways = zip(padded.shape[1:], weight[2:], attributes["strides"], dilations, strict=True)
    # For each tap of the kernel, the rows (then the columns) that it meets: the sums go one axis after the other.
    rows, columns = ([slice(k * d, n - d * (taps - 1 - k), s) for k in range(taps)] for n, taps, s, d in ways)
    sums = np.stack([padded[:, row].sum(1, dtype=np.float64) for row in rows], axis=1)
    totals = np.stack([sums[:, :, column].sum(2) for column in columns], axis=2)
    return totals / (len(range(padded.shape[1])[rows[0]]) * len(range(padded.shape[2])[columns[0]]))
