"""A watch over every tensor operation of a forward pass: each runs on the meta device, and its MACs are counted."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from ..architecture.layers import Shape

# What torch calls an operator overload: `aten.convolution.default`.
Operation = Any


def name_operation(operation: Operation) -> str:
    """`aten.convolution.default` → "convolution"."""
    return operation._schema.name.split("::")[-1]


def count_convolution(y: Shape, x: Tensor, weight: Tensor, *rest: Any) -> int:
    """k·k·C/groups for each output value; for a transposed convolution filters/groups·k·k for each input value."""
    transposed = rest[4]
    return prod(x.shape if transposed else y) * prod(weight.shape[1:])


def count_product(y: Shape, *factors: Any) -> int:
    """Of two matrices, or of batches of them: the length of the inner axis for each output value."""
    left = [f for f in factors if isinstance(f, Tensor)][-2]
    return prod(y) * left.shape[-1]


def count_attention(y: Shape, query: Tensor, key: Tensor, value: Tensor, *rest: Any) -> int:
    """Queries by keys, and the result by values (…×length×width)."""
    return prod(query.shape[:-1]) * key.shape[-2] * (query.shape[-1] + value.shape[-1])


def count_linear(y: Shape, x: Tensor, weight: Tensor, *rest: Any) -> int:
    return prod(y) * weight.shape[-1]


# The operations with MACs, by name: what makes the output's shape and the arguments their number.
COUNTED_OPERATIONS: dict[str, Callable[..., int]] = {
    "convolution": count_convolution,
    "_convolution": count_convolution,
    "mm": count_product,
    "bmm": count_product,
    "addmm": count_product,
    "baddbmm": count_product,
    "mv": count_product,
    "dot": count_product,
    "linear": count_linear,
    "_scaled_dot_product_flash_attention": count_attention,
    "_scaled_dot_product_flash_attention_for_cpu": count_attention,
    "_scaled_dot_product_efficient_attention": count_attention,
    "_scaled_dot_product_cudnn_attention": count_attention,
    "_scaled_dot_product_fused_attention_overrideable": count_attention,
}

# Operations without a convolution or matrix product in them: by our convention they have no MACs.
FREE_OPERATIONS = frozenset(
    """
    _adaptive_avg_pool2d _adaptive_avg_pool3d _assert_async _assert_tensor_metadata _conj _efficientzerotensor
    _fused_dropout _fused_rms_norm _local_scalar_dense _log_softmax _native_batch_norm_legit
    _native_batch_norm_legit_no_training _neg_view _prelu_kernel _reshape_alias _safe_softmax _softmax _to_copy
    _unique2 _unsafe_index _unsafe_view _upsample_bicubic2d_aa _upsample_bilinear2d_aa _upsample_nearest_exact2d
    _weight_norm_interface adaptive_avg_pool1d adaptive_max_pool2d adaptive_max_pool3d all amax amin aminmax any
    arange argmax argmin argsort as_strided avg_pool1d avg_pool2d avg_pool3d bernoulli cat celu channel_shuffle
    clone complex constant_pad_nd copy count_nonzero cudnn_batch_norm cummax cumprod cumsum detach elu embedding
    empty empty_like empty_permuted empty_strided equal eye fill flip full full_like gather gelu glu hardshrink
    hardsigmoid hardswish im2col index index_add index_copy index_fill index_put index_select is_same_size isin
    kthvalue leaky_relu lift lift_fresh lift_fresh_copy linalg_vector_norm linspace log_sigmoid_forward logsumexp
    masked_fill masked_scatter masked_select max max_pool2d max_pool2d_with_indices max_pool3d_with_indices mean
    median min mish mode multinomial native_batch_norm native_channel_shuffle native_dropout native_group_norm
    native_layer_norm new_empty new_empty_strided new_full new_ones new_zeros nonzero norm normal one_hot ones
    ones_like pixel_shuffle pixel_unshuffle prelu prod rand rand_like randint randn randn_like randperm
    reflection_pad1d reflection_pad2d reflection_pad3d repeat repeat_interleave replication_pad1d replication_pad2d
    replication_pad3d resize resolve_conj roll rot90 rrelu_with_noise scalar_tensor scatter scatter_add
    scatter_reduce select_scatter selu set slice_scatter softmax softshrink sort split_with_sizes_copy stack std
    std_mean sum threshold topk tril tril_indices triu triu_indices uniform unique_dim upsample_bicubic2d
    upsample_bilinear2d upsample_nearest1d upsample_nearest2d upsample_nearest3d upsample_trilinear3d var var_mean
    where zero zeros zeros_like
    """.split()
)


@cache
def is_free(operation: Operation) -> bool:
    """Whether an operation has no MACs: it moves values, pools them, sums them or changes each by itself."""
    return (
        torch.Tag.pointwise in operation.tags
        or operation.is_view
        or name_operation(operation).rstrip("_") in FREE_OPERATIONS
    )


class OperationWatch(TorchDispatchMode):
    """Runs each operation on the meta device, whatever the device of its operands, and counts it.

    count   called with the MACs of an operation
    cannot  called with the name of an operation that does arithmetic of an unknown amount
    uses    called with each tensor that is read
    last    the operation at work, with the shapes of its tensors: the one that failed, after an error
    Tensors of the module are never handed on: an operation that writes in place writes on a copy without memory.
    """

    def __init__(
        self, count: Callable[[int], None], cannot: Callable[[str], None], uses: Callable[[Tensor], None]
    ) -> None:
        super().__init__()
        self.count, self.cannot, self.uses = count, cannot, uses
        self.last: tuple[str, tuple[Shape, ...]] = ("", ())
        self.stand_ins: dict[int, tuple[Tensor, Tensor]] = {}
        self.made: dict[int, Tensor] = {}

    def __torch_dispatch__(self, operation: Operation, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        operands = list_tensors([args, kwargs]) if kwargs else list_tensors(args)
        if any(id(t) not in self.made for t in operands):
            for tensor in operands:
                self.uses(tensor)
            args = self.swapped(args)
            if kwargs:
                kwargs = {key: self.swapped(value) for key, value in kwargs.items()}
            if kwargs.get("device") is not None:
                kwargs["device"] = torch.device("meta")
            self.last = name_operation(operation), tuple(map(drop_batch, operands))
            shortcut = SHORTCUTS.get(operation)
            found = None if shortcut is None else shortcut(*args)
            output = operation(*args, **kwargs) if found is None else found
        else:
            # Made in this pass from no tensor at all, as `torch.arange(8)` is: its values are known, and may be asked.
            output = operation(*args, **kwargs)
            self.made.update((id(t), t) for t in list_tensors([output]))
        rule = COUNTED_OPERATIONS.get(name_operation(operation))
        if rule is not None:
            first = output[0] if isinstance(output, (tuple, list)) else output
            self.count(rule(tuple(first.shape), *args))
        elif not is_free(operation):
            self.cannot(str(operation).removesuffix(".default"))
        return output

    def swapped(self, value: Any) -> Any:
        """`value` with a stand-in on the meta device for each tensor that is elsewhere."""
        if isinstance(value, Tensor):
            if value.device.type == "meta":
                return value
            if id(value) not in self.stand_ins:
                # The tensor is kept as well, so that its id is not given to another.
                self.stand_ins[id(value)] = value, torch.empty_like(value, device="meta")
            return self.stand_ins[id(value)][1]
        if isinstance(value, (list, tuple)):
            return type(value)(map(self.swapped, value))
        return value


def list_tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, (list, tuple)):
        return []
    return [t for part in value for t in list_tensors(part)]


def drop_batch(value: Any) -> Shape:
    """The shape of the first tensor in `value` without a batch of one; () where there is none."""
    found = list_tensors(list(value.values()) if isinstance(value, dict) else value)
    shape = tuple(found[0].shape) if found else ()
    return shape[1:] if shape[:1] == (1,) else shape


def infer_convolution(
    x: Tensor, weight: Tensor, bias: Any, stride: Any, pad: Any, dilation: Any, *rest: Any
) -> Tensor | None:
    """The output of a plain convolution that fits; None leaves the others, and the complaints, to torch."""
    transposed, _, groups = rest
    if transposed or x.ndim != weight.ndim or x.shape[1] != weight.shape[1] * groups:
        return None
    n = len(stride)
    size = []
    for i, (length, kernel) in enumerate(zip(x.shape[2:], weight.shape[2:], strict=True)):
        room = length + 2 * pad[i % len(pad)] - dilation[i % len(dilation)] * (kernel - 1) - 1
        if room < 0:
            return None
        size.append(room // stride[i % n] + 1)
    return x.new_empty((x.shape[0], weight.shape[0], *size))


def infer_batch_norm(x: Tensor, *rest: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Batch normalisation's output and two statistics, which evaluation leaves empty."""
    nothing = x.new_empty(0)
    return torch.empty_like(x), nothing, nothing


def infer_alike(x: Tensor, *rest: Any) -> Tensor:
    return torch.empty_like(x)


def infer_itself(x: Tensor, *rest: Any) -> Tensor:
    return x


def infer_layer_norm(x: Tensor, over: Any, *rest: Any) -> tuple[Tensor, Tensor, Tensor] | None:
    if tuple(x.shape[x.ndim - len(over) :]) != tuple(over):
        return None
    mean = x.new_empty((*x.shape[: x.ndim - len(over)], *(1 for _ in over)))
    return torch.empty_like(x), mean, mean


def infer_concatenation(tensors: Any, axis: int = 0) -> Tensor | None:
    """Tensors that are alike but for one axis, one after another along it."""
    first = tensors[0]
    axis %= max(first.ndim, 1)
    rest = [t.shape[:axis] + t.shape[axis + 1 :] for t in tensors]
    if any(t.ndim != first.ndim or t.dtype != first.dtype for t in tensors) or any(r != rest[0] for r in rest):
        return None
    return first.new_empty((*first.shape[:axis], sum(t.shape[axis] for t in tensors), *first.shape[axis + 1 :]))


def infer_elementwise(x: Tensor, y: Any, *rest: Any) -> Tensor | None:
    """The sum or product of two tensors of one shape and kind."""
    return torch.empty_like(x) if isinstance(y, Tensor) and y.shape == x.shape and y.dtype == x.dtype else None


aten = torch.ops.aten
ELEMENTWISE = (
    aten.relu, aten.hardtanh, aten.silu, aten.gelu, aten.sigmoid, aten.hardswish, aten.hardsigmoid, aten.tanh, aten.elu,
    aten.leaky_relu,
)  # fmt: skip
IN_PLACE = (
    aten.relu_, aten.hardtanh_, aten.silu_, aten.sigmoid_, aten.hardswish_, aten.hardsigmoid_, aten.tanh_, aten.elu_,
    aten.leaky_relu_,
)  # fmt: skip
# Shapes that we know sooner than torch's own meta kernels: 155 batch normalisations there take 0.1 s.
SHORTCUTS: dict[Operation, Callable[..., Any]] = {
    aten.convolution.default: infer_convolution,
    aten.native_batch_norm.default: infer_batch_norm,
    aten.native_layer_norm.default: infer_layer_norm,
    aten.cat.default: infer_concatenation,
    aten.add.Tensor: infer_elementwise,
    aten.mul.Tensor: infer_elementwise,
    **{operation.default: infer_alike for operation in ELEMENTWISE},
    **{operation.default: infer_itself for operation in IN_PLACE},
}
