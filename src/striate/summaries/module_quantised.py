"""Modules of `torch.ao`: weights packed for 8-bit arithmetic, which no module lists among its parameters.

Their operations exist on the processor alone, so such a module is run there for real.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from ..architecture.layers import Shape
from .module_copy import list_modules


def is_quantised(module: nn.Module) -> bool:
    """Whether a module in it is of torch's quantisation: with packed weights, or with numbers rounded in training."""
    return any(map(is_torchs, list_modules(module)))


def is_torchs(module: nn.Module) -> bool:
    return type(module).__module__.startswith("torch.ao.")


def find_packed_weights(module: nn.Module) -> int:
    """How many weights and biases the module itself holds in packed form."""
    if not is_torchs(module):
        return 0
    packed = [value for value in module.__dict__.values() if isinstance(value, torch.ScriptObject)]
    return sum(t.numel() for value in packed for t in list_packed(value))


def list_packed(packed: Any) -> list[Tensor]:
    """The tensors of a packed object: of a layer its weight and bias, of a recurrent cell those of its two layers."""
    if hasattr(packed, "unpack"):
        return [t for t in packed.unpack() if isinstance(t, Tensor)]
    parts = list_parts(packed.__getstate__())
    # The layers of a cell hold its biases once more.
    inner = [t for part in parts if isinstance(part, torch.ScriptObject) for t in list_packed(part) if t.ndim > 1]
    return inner + [part for part in parts if isinstance(part, Tensor)]


def list_parts(value: Any) -> list[Any]:
    """The tensors and packed objects in nested tuples and lists."""
    if isinstance(value, (tuple, list)):
        return [found for part in value for found in list_parts(part)]
    return [value] if isinstance(value, (Tensor, torch.ScriptObject)) else []


def list_matrices(value: Any) -> list[Tensor]:
    """The weights of all packed objects in `value`."""
    packed = [part for part in list_parts([value]) if isinstance(part, torch.ScriptObject)]
    return [t for part in packed for t in list_packed(part) if t.ndim > 1]


def count_quantised_convolution(y: Shape, x: Tensor, packed: Any, *rest: Any) -> int:
    return prod(y) * prod(list_matrices(packed)[0].shape[1:])


def count_quantised_transposed(y: Shape, x: Tensor, packed: Any, *rest: Any) -> int:
    return prod(x.shape) * prod(list_matrices(packed)[0].shape[1:])


def count_quantised_linear(y: Shape, x: Tensor, packed: Any, *rest: Any) -> int:
    return prod(y) * list_matrices(packed)[0].shape[1]


def count_quantised_recurrence(y: Shape, x: Tensor, *packed: Any) -> int:
    """Every matrix of every cell once for each vector of the sequence."""
    return prod(x.shape[:-1]) * sum(t.numel() for t in list_matrices(packed))


def count_quantised_product(y: Shape, left: Tensor, *rest: Any) -> int:
    return prod(y) * left.shape[-1]


# By the operation's name after "quantized::", or after "aten::" for the recurrences.
COUNTED_QUANTISED: dict[str, Callable[..., int]] = {
    **{
        name: count_quantised_convolution
        for n in "123"
        for name in (f"conv{n}d", f"conv{n}d_relu", f"conv{n}d_dynamic", f"conv{n}d_add", f"conv{n}d_add_relu")
    },
    **{
        name: count_quantised_transposed
        for n in "123"
        for name in (f"conv_transpose{n}d", f"conv_transpose{n}d_dynamic")
    },
    **dict.fromkeys(
        ["linear", "linear_relu", "linear_leaky_relu", "linear_tanh", "linear_dynamic", "linear_relu_dynamic",
         "linear_dynamic_fp16", "linear_relu_dynamic_fp16"],
        count_quantised_linear,
    ),
    **dict.fromkeys(["quantized_lstm", "quantized_gru"], count_quantised_recurrence),
    **dict.fromkeys(
        ["quantized_lstm_cell_dynamic", "quantized_gru_cell_dynamic", "quantized_rnn_relu_cell_dynamic",
         "quantized_rnn_tanh_cell_dynamic"],
        count_quantised_recurrence,
    ),
    "matmul": count_quantised_product,
}  # fmt: skip

# Of "quantized::": they round, add, scale or look up.
FREE_QUANTISED = frozenset(
    """
    add add_relu add_scalar add_scalar_relu mul mul_relu mul_scalar mul_scalar_relu cat cat_relu batch_norm
    batch_norm_relu batch_norm1d batch_norm1d_relu batch_norm2d batch_norm2d_relu batch_norm3d batch_norm3d_relu
    relu6 leaky_relu hardswish elu celu sigmoid softmax clamp threshold prelu dropout layer_norm group_norm
    instance_norm max_pool1d max_pool2d embedding_byte embedding_4bit embedding_bag_byte embedding_bag_4bit
    embedding_bag_2bit embedding_bag_byte_rowwise_offsets embedding_bag_4bit_rowwise_offsets
    embedding_bag_2bit_rowwise_offsets conv1d_prepack conv2d_prepack conv3d_prepack linear_prepack conv1d_unpack
    conv2d_unpack conv3d_unpack linear_unpack
    """.split()
)
