"""Whether 8-bit layers compute the same on every processor: read from a file's weights, without the processor.

Without VNNI an x86 processor multiplies unsigned by signed 8-bit numbers with `vpmaddubsw`, which adds each two
neighbouring products in 16 bits and cuts off what is more (Intel's Software Developer's Manual; oneDNN's "Nuances of
int8 Computations"). ONNX Runtime uses it for uint8 maps and int8 weights, and makes signed maps unsigned before it
does; OpenVINO's kernels use it too. Digits that a small network told with 8-bit weights of the full range came out up
to 0.85 off on an emulated Haswell, and right with processors that have VNNI.

Here the weights are such that no two neighbours can get there, whatever the maps hold: 255·|w + w'| ≤ 32,767.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..errors import ModelError
from ..language import say
from ..terminal import format_count

if TYPE_CHECKING:
    import onnx

# The largest level of a map, and what 16 bits hold.
INPUT_LEVELS, LARGEST_SUM = 255, 32767
# The largest sum of two neighbouring weights of one sign, 128.
LARGEST_PAIR = LARGEST_SUM // INPUT_LEVELS

# Operators that sum up products.
PRODUCT_OPERATORS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
# Operators on whole numbers, which no exported file has: they stand as DequantizeLinear, operator, QuantizeLinear.
FUSED_OPERATORS = ("QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger", "QGemm", "DynamicQuantizeMatMul")


class EightBitProof(NamedTuple):
    """The proof of a file: so many layers in 8 bits, and the largest sum of two neighbouring products among them."""

    layers: int
    largest: int

    def __str__(self) -> str:
        bound = say(
            "two neighbouring products give at most {largest:,}, and 16 bits hold {most:,}",
            largest=self.largest,
            most=LARGEST_SUM,
        )
        layers = format_count(self.layers, "layer")
        return say(
            "8-bit weights of {layers}: {bound}. Predictions are the same with and without VNNI",
            layers=layers,
            bound=bound,
        )


def list_weight_orders(weight: np.ndarray) -> Iterator[np.ndarray]:
    """The weights F×… of each filter in a row, F×K, in the orders in which kernels lay them side by side.

    Channel by channel at each place of the kernel, as in a channels-last map, and place by place in each channel.
    """
    yield weight.reshape(len(weight), -1)
    if weight.ndim > 2:
        yield np.moveaxis(weight, 1, -1).reshape(len(weight), -1)


def find_largest_pairs(weight: np.ndarray) -> np.ndarray:
    """For each filter of F×… the largest sum of two neighbouring weights, those of the other sign being none.

    A weight alone is a pair too: its neighbour may be the kernel's padding.

    >>> find_largest_pairs(np.array([[3, 4, -9, -2], [5, -5, 1, 0]])).tolist()
    [11, 5]
    """
    found = np.abs(weight.reshape(len(weight), -1)).max(1)
    for line in list_weight_orders(weight):
        for sign in (1, -1):
            one = np.maximum(sign * line, 0)
            found = np.maximum(found, (one[:, 1:] + one[:, :-1]).max(1, initial=0))
    return found


def prove_no_saturation(model: onnx.ModelProto) -> EightBitProof:
    """The proof that an 8-bit file computes the same on every processor. Raises ModelError naming what is not so."""
    from onnx import numpy_helper

    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    levels = {n.output[0]: n.input[0] for n in model.graph.node if n.op_type == "DequantizeLinear"}
    layers = largest = 0
    for node in model.graph.node:
        if node.op_type in FUSED_OPERATORS:
            raise ModelError(node.name, say("this operator's products cannot be bounded"), got=node.op_type)
        if node.op_type not in PRODUCT_OPERATORS or node.input[0] not in levels:
            continue
        if node.op_type == "ConvTranspose" and node.input[1] not in levels:
            continue  # its weights are floats: ONNX Runtime has no such operator in whole numbers
        weight = constants.get(levels.get(node.input[1], ""))
        if weight is None:
            raise ModelError(node.name, say("an 8-bit layer has 8-bit weights"), got=node.input[1])
        pair = find_largest_pair(node, numpy_helper.to_array(weight))
        layers, largest = layers + 1, max(largest, pair * INPUT_LEVELS)
    return EightBitProof(layers, largest)


def find_largest_pair(node: onnx.NodeProto, weight: np.ndarray) -> int:
    """The largest sum of two neighbouring weights of a layer. Raises ModelError where it is more than PAIR."""
    if weight.dtype != np.int8:
        raise ModelError(node.name, say("8-bit weights are signed here"), got=str(weight.dtype))
    turned = node.op_type == "MatMul" or node.op_type == "Gemm" and not read_attribute(node, "transB")
    filters = np.moveaxis(weight, 1, 0) if turned or node.op_type == "ConvTranspose" else weight
    pair = int(find_largest_pairs(filters.astype(int)).max())
    if pair > LARGEST_PAIR:
        rule = say(
            "{levels}·{pair} ≤ {most}: the sum of two neighbouring weights is at most {pair}",
            levels=INPUT_LEVELS,
            pair=LARGEST_PAIR,
            most=LARGEST_SUM,
        )
        what = say("two neighbouring products leave 16 bits: on a processor without VNNI the answers would be others")
        raise ModelError(node.name, what, got=str(pair), rule=rule)
    return pair


def read_attribute(node: onnx.NodeProto, name: str) -> int:
    return next((a.i for a in node.attribute if a.name == name), 0)
