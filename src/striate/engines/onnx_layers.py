"""Each layer record as ONNX operators, where ONNX Runtime and torch differ written so that both compute the record.

Nodes are plain data here; `engines.onnx` makes the file of them. Sizes are known, so every padding is an explicit
number: `auto_pad` and `ceil_mode`, whose meaning changed between versions of ONNX Runtime, are never used.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import pi, prod, sqrt
from typing import Any, NamedTuple

import numpy as np

from ..architecture import layers as L
from ..architecture.abilities import ONNX
from ..architecture.layers import Shape
from ..architecture.window import make_pair, measure_extent
from .plain.growing import tabulate_shares

# The names of the graph's input and of its output.
NET_INPUT, NET_OUTPUT = "image", "y"
# The same of an exported file.
FILE_INPUT, FILE_OUTPUT, FILE_UNSURE, FILE_STRANGE = "images", "probabilities", "unsure", "strangeness"
FILE_NUMBER = "number"  # the output of a file that answers with a number
RESERVED_NAMES = frozenset((NET_INPUT, NET_OUTPUT, FILE_INPUT, FILE_OUTPUT, FILE_UNSURE, FILE_NUMBER))


class Node(NamedTuple):
    """One operator: `kind` is its ONNX name, `output` the one value that it makes."""

    kind: str
    inputs: tuple[str, ...]
    output: str
    attributes: dict[str, Any]


class Draft:
    """A graph while it is written: nodes in order, constants by name, and which value each layer's map is."""

    def __init__(self, tensors: Mapping[str, np.ndarray]) -> None:
        self.tensors = tensors
        self.nodes: list[Node] = []
        self.constants: dict[str, np.ndarray] = {}
        self.maps: dict[str, str] = {}

    def node(self, kind: str, output: str, *inputs: str, **attributes: Any) -> str:
        """Append an operator; its output's name, a layer's path where it is that layer's map (a layer may be called y).

        An operator may have one output; an input left out is "".
        """
        output = f"{output}/map" if output in RESERVED_NAMES else output
        self.nodes.append(Node(kind, inputs, output, attributes))
        return output

    def constant(self, name: str, value: Any, dtype: Any = np.float32) -> str:
        self.constants[name] = np.ascontiguousarray(value, dtype)
        return name

    def list_read(self) -> dict[str, np.ndarray]:
        """The constants that a node reads; what a norm had that was folded into a convolution is none."""
        read = {name for node in self.nodes for name in node.inputs}
        return {name: array for name, array in self.constants.items() if name in read}

    def tensor(self, path: str, name: str, shape: Shape | None = None) -> str:
        """The layer's own tensor as a constant, under its name in the model file."""
        value = self.tensors[f"{path}.{name}"]
        return self.constant(f"{path}.{name}", value if shape is None else value.reshape(shape))

    def padded(self, x: str, output: str, before: Shape, after: Shape, value: float = 0.0) -> str:
        """`x` with `value` put around: one number an axis, N and C too."""
        pads = self.constant(f"{output}/pads", [*before, *after], np.int64)
        return self.node("Pad", output, x, pads, self.constant(f"{output}/value", value), mode="constant")


def write_layer(layer: L.Layer, draft: Draft, path: str, x: str, shape: Shape) -> str:
    """Write `layer`, which the value `x` of `shape` reaches, into `draft`; the value that is its map."""
    draft.maps[path] = y = ONNX(layer, draft, path, x, shape)
    return y


def write_layers(layers: L.Sequence | L.Parallel, draft: Draft, path: str, x: str, shape: Shape) -> str:
    """Write the layers one after another."""
    for name, layer in layers.named:
        x = write_layer(layer, draft, f"{path}.{name}" if path else name, x, shape)
        shape = layer.out(shape)
    return x


@ONNX.of(L.Sequence)
def write_sequence(layer: L.Sequence, draft: Draft, path: str, x: str, shape: Shape) -> str:
    return write_layers(layer, draft, path, x, shape)


@ONNX.of(L.Parallel)
def write_parallel(layer: L.Parallel, draft: Draft, path: str, x: str, shape: Shape) -> str:
    ends = [write_layer(branch, draft, f"{path}.{name}", x, shape) for name, branch in layer.named]
    if len(ends) == 1:
        return ends[0]
    if layer.join == "concat":
        return draft.node("Concat", path, *ends, axis=1)
    kind = {"add": "Add", "multiply": "Mul"}[layer.join]
    y = ends[0]
    for i, other in enumerate(ends[1:], 2):
        y = draft.node(kind, path if i == len(ends) else f"{path}/{i}", y, other)
    return y


@ONNX.of(L.Identity, L.Dropout, L.StochasticDepth, L.SideHead)
def write_nothing(layer: L.Layer, draft: Draft, path: str, x: str, shape: Shape) -> str:
    """Nothing is computed in evaluation: the map goes on as it came."""
    return x


@ONNX.of(L.Conv)
def write_conv(layer: L.Conv, draft: Draft, path: str, x: str, shape: Shape) -> str:
    rows, columns = L.slide_window(layer, shape)
    tensors = [draft.tensor(path, t.name) for t in layer.tensors(shape)]
    return draft.node(
        "Conv",
        path,
        x,
        *tensors,
        kernel_shape=make_pair(layer.kernel),
        strides=make_pair(layer.stride),
        dilations=make_pair(layer.dilation),
        group=layer.groups,
        pads=(rows.before, columns.before, rows.after, columns.after),
    )


def find_overhang(layer: L.MaxPool | L.AvgPool, shape: Shape) -> tuple[int, int]:
    """How far the last window reaches beyond the map, rows and columns: padding after it, and what `ceil` adds."""
    reaches = map(measure_extent, make_pair(layer.kernel), make_pair(getattr(layer, "dilation", 1)))
    ways = zip(shape[1:], L.slide_window(layer, shape), L.find_strides(layer), reaches, strict=True)
    down, right = (max(0, (slide.size - 1) * s + reach - n - slide.before) for n, slide, s, reach in ways)
    return down, right


@ONNX.of(L.MaxPool)
def write_max_pool(layer: L.MaxPool, draft: Draft, path: str, x: str, shape: Shape) -> str:
    rows, columns = L.slide_window(layer, shape)
    down, right = find_overhang(layer, shape)
    pads = (rows.before, columns.before, down, right)
    if layer.dilation != 1 and any(pads):
        # ONNX Runtime refuses padding as wide as the kernel's number of taps, which a dilated window may have.
        x = draft.padded(x, f"{path}/padded", (0, 0, *pads[:2]), (0, 0, *pads[2:]), -np.inf)
        pads = (0, 0, 0, 0)
    window = {
        "kernel_shape": make_pair(layer.kernel),
        "strides": L.find_strides(layer),
        "dilations": make_pair(layer.dilation),
    }
    return draft.node("MaxPool", path, x, **window, pads=pads)


@ONNX.of(L.AvgPool)
def write_avg_pool(layer: L.AvgPool, draft: Draft, path: str, x: str, shape: Shape) -> str:
    """Padding that counts is put there as zeros before, so that the operator itself counts pixels only.

    ONNX Runtime's own count_include_pad divided by the wrong number with `ceil_mode` before opset 19 and with sides
    of different padding (onnxruntime issues 16203 and 26708).
    """
    rows, columns = L.slide_window(layer, shape)
    down, right = find_overhang(layer, shape)
    pads = (rows.before, columns.before, down, right)
    if layer.count_padding and any((rows.before, columns.before, rows.after, columns.after)):
        after = min(rows.after, down), min(columns.after, right)
        x = draft.padded(x, f"{path}/padded", (0, 0, *pads[:2]), (0, 0, *after))
        pads = (0, 0, down - after[0], right - after[1])
    return draft.node(
        "AveragePool", path, x, kernel_shape=make_pair(layer.kernel), strides=L.find_strides(layer), pads=pads
    )


@ONNX.of(L.BlurPool)
def write_blur_pool(layer: L.BlurPool, draft: Draft, path: str, x: str, shape: Shape) -> str:
    """A reflecting Pad, then a Conv that has a group for each channel."""
    top, bottom, left, right = layer.padding
    if any(layer.padding):
        pads = draft.constant(f"{path}/pads", (0, 0, top, left, 0, 0, bottom, right), np.int64)
        x = draft.node("Pad", f"{path}/reflected", x, pads, mode="reflect")
    taps = np.outer(layer.taps, layer.taps)
    filters = draft.constant(f"{path}/filters", np.broadcast_to(taps, (shape[0], 1, *taps.shape)))
    return draft.node(
        "Conv",
        path,
        x,
        filters,
        kernel_shape=taps.shape,
        strides=L.find_strides(layer),
        group=shape[0],
        pads=(0, 0, 0, 0),
    )


@ONNX.of(L.GlobalAvgPool)
def write_global_avg_pool(layer: L.GlobalAvgPool, draft: Draft, path: str, x: str, shape: Shape) -> str:
    if layer.keepdims:
        return draft.node("GlobalAveragePool", path, x)
    return draft.node("Flatten", path, draft.node("GlobalAveragePool", f"{path}/mean", x), axis=1)


@ONNX.of(L.GlobalMaxPool)
def write_global_max_pool(layer: L.GlobalMaxPool, draft: Draft, path: str, x: str, shape: Shape) -> str:
    if layer.keepdims:
        return draft.node("GlobalMaxPool", path, x)
    return draft.node("Flatten", path, draft.node("GlobalMaxPool", f"{path}/largest", x), axis=1)


@ONNX.of(L.Flatten)
def write_flatten(layer: L.Flatten, draft: Draft, path: str, x: str, shape: Shape) -> str:
    return draft.node("Flatten", path, x, axis=1)


@ONNX.of(L.Dense)
def write_dense(layer: L.Dense, draft: Draft, path: str, x: str, shape: Shape) -> str:
    return draft.node("Gemm", path, x, *(draft.tensor(path, t.name) for t in layer.tensors(shape)), transB=1)


@ONNX.of(L.BatchNorm)
def write_batch_norm(layer: L.BatchNorm, draft: Draft, path: str, x: str, shape: Shape) -> str:
    weight, bias = write_affine(layer, draft, path, shape[0])
    running = [draft.tensor(path, name) for name in ("running_mean", "running_var")]
    return draft.node("BatchNormalization", path, x, weight, bias, *running, epsilon=layer.eps)


def write_affine(layer: L.BatchNorm | L.LayerNorm, draft: Draft, path: str, channels: int) -> tuple[str, str]:
    """The learned scale and shift, or ones and zeros."""
    if layer.affine:
        return draft.tensor(path, "weight"), draft.tensor(path, "bias")
    return draft.constant(f"{path}/ones", np.ones(channels)), draft.constant(f"{path}/zeros", np.zeros(channels))


@ONNX.of(L.LayerNorm)
def write_layer_norm(layer: L.LayerNorm, draft: Draft, path: str, x: str, shape: Shape) -> str:
    weight, bias = write_affine(layer, draft, path, shape[0])
    if len(shape) == 1:
        return draft.node("LayerNormalization", path, x, weight, bias, axis=-1, epsilon=layer.eps)
    last = draft.node("Transpose", f"{path}/channels_last", x, perm=(0, 2, 3, 1))
    even = draft.node("LayerNormalization", f"{path}/normed", last, weight, bias, axis=-1, epsilon=layer.eps)
    return draft.node("Transpose", path, even, perm=(0, 3, 1, 2))


@ONNX.of(L.GroupNorm, L.InstanceNorm)
def write_group_norm(layer: L.GroupNorm | L.InstanceNorm, draft: Draft, path: str, x: str, shape: Shape) -> str:
    """Each group as a long channel for InstanceNormalization, which all opsets have; then scale and shift."""
    groups = layer.count_groups(shape)
    rows = draft.constant(f"{path}/groups", (0, groups, -1), np.int64)
    ones, zeros = (draft.constant(f"{path}/{name}", np.full(groups, k)) for name, k in (("ones", 1), ("zeros", 0)))
    parts = draft.node("Reshape", f"{path}/parts", x, rows)
    even = draft.node("InstanceNormalization", f"{path}/even", parts, ones, zeros, epsilon=layer.eps)
    whole = draft.constant(f"{path}/whole", (-1, *shape), np.int64)
    if not layer.affine:
        return draft.node("Reshape", path, even, whole)
    back = draft.node("Reshape", f"{path}/normed", even, whole)
    wide = (shape[0], *(1,) * (len(shape) - 1))
    scaled = draft.node("Mul", f"{path}/scaled", back, draft.tensor(path, "weight", wide))
    return draft.node("Add", path, scaled, draft.tensor(path, "bias", wide))


@ONNX.of(L.PReLU)
def write_prelu(layer: L.PReLU, draft: Draft, path: str, x: str, shape: Shape) -> str:
    slopes = (shape[0] if layer.per_channel else 1, *(1,) * (len(shape) - 1))
    return draft.node("PRelu", path, x, draft.tensor(path, "weight", slopes))


@ONNX.of(L.LocalResponseNorm)
def write_local_response_norm(layer: L.LocalResponseNorm, draft: Draft, path: str, x: str, shape: Shape) -> str:
    """The LRN operator where it can; it refuses an even size (and the standard puts the odd channel on the other
    side than torch does) and an alpha or beta that is not positive."""
    if layer.size % 2 and layer.alpha > 0 and layer.beta > 0:
        return draft.node("LRN", path, x, size=layer.size, alpha=layer.alpha, beta=layer.beta, bias=float(layer.k))
    c, h, w = shape
    squares = draft.node("Mul", f"{path}/squares", x, x)
    padded = draft.padded(squares, f"{path}/padded", (0, layer.size // 2, 0, 0), (0, (layer.size - 1) // 2, 0, 0))
    # The channels as the rows of one map: their window is then an average pooling.
    rows = draft.constant(f"{path}/rows", (-1, 1, c + layer.size - 1, h * w), np.int64)
    flat = draft.node("Reshape", f"{path}/flat", padded, rows)
    mean = draft.node("AveragePool", f"{path}/mean", flat, kernel_shape=(layer.size, 1), strides=(1, 1))
    back = draft.node("Reshape", f"{path}/back", mean, draft.constant(f"{path}/shape", (-1, c, h, w), np.int64))
    scaled = draft.node("Mul", f"{path}/scaled", back, draft.constant(f"{path}/alpha", layer.alpha))
    shifted = draft.node("Add", f"{path}/shifted", scaled, draft.constant(f"{path}/k", layer.k))
    power = draft.node("Pow", f"{path}/power", shifted, draft.constant(f"{path}/beta", layer.beta))
    return draft.node("Div", path, x, power)


@ONNX.of(L.GlobalResponseNorm)
def write_global_response_norm(layer: L.GlobalResponseNorm, draft: Draft, path: str, x: str, shape: Shape) -> str:
    """x·(1 + weight·response) + bias, the response being the channel's length over the mean of all lengths."""
    axes, channels = draft.constant(f"{path}/axes", (2, 3), np.int64), draft.constant(f"{path}/axis", (1,), np.int64)
    length = draft.node("ReduceL2", f"{path}/length", x, axes, keepdims=1)
    mean = draft.node("ReduceMean", f"{path}/mean", length, channels, keepdims=1)
    base = draft.node("Add", f"{path}/base", mean, draft.constant(f"{path}/eps", layer.eps))
    response = draft.node("Div", f"{path}/response", length, base)
    each = (shape[0], 1, 1)
    weighed = draft.node("Mul", f"{path}/weighed", response, draft.tensor(path, "weight", each))
    factor = draft.node("Add", f"{path}/factor", weighed, draft.constant(f"{path}/one", 1))
    scaled = draft.node("Mul", f"{path}/scaled", x, factor)
    return draft.node("Add", path, scaled, draft.tensor(path, "bias", each))


@ONNX.of(L.ConvTranspose)
def write_conv_transpose(layer: L.ConvTranspose, draft: Draft, path: str, x: str, shape: Shape) -> str:
    """The operator; output padding as large as the stride, which ONNX Runtime refuses, as less padding after the map.

    What that leaves are rows and columns where nothing is written: zeros, to which the bias is added as to all.
    """
    pads, more = make_pair(layer.padding), make_pair(layer.output_padding)
    window: dict[str, Any] = {
        "kernel_shape": make_pair(layer.kernel),
        "strides": make_pair(layer.stride),
        "dilations": make_pair(layer.dilation),
        "group": layer.groups,
    }
    weight, *bias = (draft.tensor(path, t.name) for t in layer.tensors(shape))
    if all(extra < step for extra, step in zip(more, make_pair(layer.stride), strict=True)):
        return draft.node("ConvTranspose", path, x, weight, *bias, **window, pads=pads * 2, output_padding=more)
    after = tuple(max(0, pad - extra) for pad, extra in zip(pads, more, strict=True))
    empty = tuple(max(0, extra - pad) for pad, extra in zip(pads, more, strict=True))
    y = draft.node("ConvTranspose", f"{path}/written", x, weight, **window, pads=(*pads, *after))
    if not bias:
        return draft.padded(y, path, (0, 0, 0, 0), (0, 0, *empty))
    whole = draft.padded(y, f"{path}/padded", (0, 0, 0, 0), (0, 0, *empty))
    return draft.node("Add", path, whole, draft.tensor(path, "bias", (layer.filters, 1, 1)))


@ONNX.of(L.ChannelConv)
def write_channel_conv(layer: L.ChannelConv, draft: Draft, path: str, x: str, shape: Shape) -> str:
    """The channels as the rows of one map, over which a filter of one column slides."""
    rows = draft.constant(f"{path}/rows", (-1, 1, shape[0], prod(shape[1:])), np.int64)
    weight, half = draft.tensor(path, "weight", (1, 1, layer.kernel, 1)), layer.kernel // 2
    y = draft.node(
        "Conv",
        f"{path}/slid",
        draft.node("Reshape", f"{path}/flat", x, rows),
        weight,
        kernel_shape=(layer.kernel, 1),
        strides=(1, 1),
        dilations=(1, 1),
        group=1,
        pads=(half, 0, half, 0),
    )
    return draft.node("Reshape", path, y, draft.constant(f"{path}/whole", (-1, *shape), np.int64))


@ONNX.of(L.Upsample)
def write_upsample(layer: L.Upsample, draft: Draft, path: str, x: str, shape: Shape) -> str:
    """The Resize operator for whole factors; for others, whose sizes and places it rounds otherwise, two products."""
    if all(factor == int(factor) for factor in layer.factors):
        # A factor for each of four axes: OpenCV 5.0 takes no `axes`, and operators before version 18 have none.
        factors = draft.constant(f"/factors/{path}", (1, 1, *layer.factors))
        aligned = "align_corners" if layer.align_corners else "half_pixel"
        how = (
            {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
            if layer.mode == "nearest"
            else {"mode": "linear", "coordinate_transformation_mode": aligned}
        )
        return draft.node("Resize", path, x, "", factors, **how)
    rows, columns = (tabulate_shares(layer, shape, axis) for axis in (0, 1))
    tall = draft.node("MatMul", f"{path}/tall", draft.constant(f"{path}/rows", rows), x)
    return draft.node("MatMul", path, tall, draft.constant(f"{path}/columns", columns.T))


@ONNX.of(L.LayerScale)
def write_layer_scale(layer: L.LayerScale, draft: Draft, path: str, x: str, shape: Shape) -> str:
    return draft.node("Mul", path, x, draft.tensor(path, "weight", (shape[0], *(1,) * (len(shape) - 1))))


@ONNX.of(L.PadChannels)
def write_pad_channels(layer: L.PadChannels, draft: Draft, path: str, x: str, shape: Shape) -> str:
    return draft.padded(x, path, (0, layer.before, 0, 0), (0, layer.after, 0, 0))


@ONNX.of(L.SliceChannels)
def write_slice_channels(layer: L.SliceChannels, draft: Draft, path: str, x: str, shape: Shape) -> str:
    first, last, axis = (
        draft.constant(f"{path}/{name}", (value,), np.int64)
        for name, value in (("start", layer.start), ("stop", layer.start + layer.length), ("axis", 1))
    )
    return draft.node("Slice", path, x, first, last, axis)


@ONNX.of(L.ChannelShuffle)
def write_channel_shuffle(layer: L.ChannelShuffle, draft: Draft, path: str, x: str, shape: Shape) -> str:
    c, h, w = shape
    apart = draft.constant(f"{path}/apart", (-1, layer.groups, c // layer.groups, h, w), np.int64)
    turned = draft.node(
        "Transpose", f"{path}/turned", draft.node("Reshape", f"{path}/rows", x, apart), perm=(0, 2, 1, 3, 4)
    )
    return draft.node("Reshape", path, turned, draft.constant(f"{path}/whole", (-1, c, h, w), np.int64))


@ONNX.of(L.ReLU6)
def write_relu6(layer: L.ReLU6, draft: Draft, path: str, x: str, shape: Shape) -> str:
    return draft.node("Clip", path, x, draft.constant(f"{path}/least", 0), draft.constant(f"{path}/most", 6))


@ONNX.of(L.GELU)
def write_gelu(layer: L.GELU, draft: Draft, path: str, x: str, shape: Shape) -> str:
    """x·(1 + erf(x/√2))·½, in the order that ONNX Runtime knows and runs as one operator."""
    part = draft.node("Div", f"{path}/x", x, draft.constant(f"{path}/root", sqrt(2)))
    erf = draft.node("Erf", f"{path}/erf", part)
    twice = draft.node("Add", f"{path}/twice", erf, draft.constant(f"{path}/one", 1))
    return draft.node("Mul", path, draft.node("Mul", f"{path}/product", x, twice), draft.constant(f"{path}/half", 0.5))


@ONNX.of(L.TanhGELU)
def write_tanh_gelu(layer: L.TanhGELU, draft: Draft, path: str, x: str, shape: Shape) -> str:
    cube = draft.node("Mul", f"{path}/cube", draft.node("Mul", f"{path}/square", x, x), x)
    bent = draft.node("Mul", f"{path}/bent", cube, draft.constant(f"{path}/share", 0.044715))
    inner = draft.node("Add", f"{path}/inner", x, bent)
    scaled = draft.node("Mul", f"{path}/scaled", inner, draft.constant(f"{path}/root", sqrt(2 / pi)))
    twice = draft.node(
        "Add", f"{path}/twice", draft.node("Tanh", f"{path}/tanh", scaled), draft.constant(f"{path}/one", 1)
    )
    return draft.node("Mul", path, draft.node("Mul", f"{path}/product", x, twice), draft.constant(f"{path}/half", 0.5))


@ONNX.of(L.SELU)
def write_selu(layer: L.SELU, draft: Draft, path: str, x: str, shape: Shape) -> str:
    return draft.node("Selu", path, x, alpha=layer.ALPHA, gamma=layer.SCALE)


@ONNX.of(L.CELU)
def write_celu(layer: L.CELU, draft: Draft, path: str, x: str, shape: Shape) -> str:
    """alpha·ELU(x/alpha): the operator Celu is of float32 alone."""
    if layer.alpha == 1:
        return draft.node("Elu", path, x, alpha=1.0)
    share = draft.node("Div", f"{path}/share", x, draft.constant(f"{path}/alpha", layer.alpha))
    return draft.node("Mul", path, draft.node("Elu", f"{path}/elu", share, alpha=1.0), f"{path}/alpha")


@ONNX.of(L.Mish)
def write_mish(layer: L.Mish, draft: Draft, path: str, x: str, shape: Shape) -> str:
    return draft.node("Mul", path, x, draft.node("Tanh", f"{path}/gate", draft.node("Softplus", f"{path}/soft", x)))


@ONNX.of(L.Softplus)
def write_softplus(layer: L.Softplus, draft: Draft, path: str, x: str, shape: Shape) -> str:
    return draft.node("Softplus", path, x)


@ONNX.of(L.SiLU)
def write_silu(layer: L.SiLU, draft: Draft, path: str, x: str, shape: Shape) -> str:
    return draft.node("Mul", path, x, draft.node("Sigmoid", f"{path}/gate", x))


@ONNX.of(L.LeakyReLU)
def write_leaky_relu(layer: L.LeakyReLU, draft: Draft, path: str, x: str, shape: Shape) -> str:
    return draft.node("LeakyRelu", path, x, alpha=float(layer.slope))


@ONNX.of(L.ELU)
def write_elu(layer: L.ELU, draft: Draft, path: str, x: str, shape: Shape) -> str:
    return draft.node("Elu", path, x, alpha=float(layer.alpha))


@ONNX.of(L.HardSigmoid)
def write_hard_sigmoid(layer: L.HardSigmoid, draft: Draft, path: str, x: str, shape: Shape) -> str:
    return draft.node("HardSigmoid", path, x, alpha=1 / 6, beta=0.5)


@ONNX.of(L.Softmax)
def write_softmax(layer: L.Softmax, draft: Draft, path: str, x: str, shape: Shape) -> str:
    return draft.node("Softmax", path, x, axis=1)


@ONNX.of(L.ReLU, L.Sigmoid, L.Tanh, L.HardSwish)
def write_same_named(layer: L.Layer, draft: Draft, path: str, x: str, shape: Shape) -> str:
    """One operator of the same meaning and, but for capitals, the same name."""
    return draft.node({"ReLU": "Relu"}.get(type(layer).__name__, type(layer).__name__), path, x)


# The graph's value before the softmax.
LOGITS_NAME = "/logits"
