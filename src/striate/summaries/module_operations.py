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
from .module_checks import check_operation
from .module_quantised import COUNTED_QUANTISED, FREE_QUANTISED

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
    "vdot": count_product,
    "addmv": count_product,
    "addbmm": count_product,
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
    _empty_affine_quantized _empty_per_channel_affine_quantized
    _fake_quantize_per_tensor_affine_cachemask_tensor_qparams _fused_dropout _fused_moving_avg_obs_fq_helper
    _fused_rms_norm _local_scalar_dense _log_softmax _make_per_channel_quantized_tensor
    _make_per_tensor_quantized_tensor _native_batch_norm_legit _native_batch_norm_legit_no_training _neg_view
    _pack_padded_sequence _prelu_kernel _reshape_alias _safe_softmax _softmax _to_copy _unique2 _unsafe_index
    _unsafe_view _upsample_bicubic2d_aa _upsample_bilinear2d_aa _upsample_nearest_exact2d _weight_norm_interface
    adaptive_avg_pool1d adaptive_max_pool2d adaptive_max_pool3d all amax amin aminmax any arange argmax argmin
    argsort as_strided avg_pool1d avg_pool2d avg_pool3d bernoulli bincount bucketize cat celu channel_shuffle
    choose_qparams choose_qparams_symmetric clone col2im complex constant_pad_nd copy count_nonzero cudnn_batch_norm
    cummax cumprod cumsum dequantize dequantize_per_channel dequantize_per_tensor dequantize_per_token detach elu
    embedding empty empty_like empty_permuted empty_strided equal eye fake_quantize_per_channel_affine
    fake_quantize_per_channel_affine_cachemask fake_quantize_per_tensor_affine
    fake_quantize_per_tensor_affine_cachemask fill flip full full_like gather gelu glu hardshrink hardsigmoid
    hardswish histc im2col index index_add index_copy index_fill index_put index_select int_repr is_same_size isin
    kthvalue leaky_relu lift lift_fresh lift_fresh_copy linalg_vector_norm linspace log_sigmoid_forward logsumexp
    masked_fill masked_scatter masked_select max max_pool2d max_pool2d_with_indices max_pool3d_with_indices mean
    median min mish mode multinomial native_batch_norm native_channel_shuffle native_dropout native_group_norm
    native_layer_norm new_empty new_empty_strided new_full new_ones new_zeros nonzero norm normal one_hot ones
    ones_like pixel_shuffle pixel_unshuffle prelu prod q_per_channel_axis q_per_channel_scales
    q_per_channel_zero_points q_scale q_zero_point quantize_per_channel quantize_per_tensor
    quantize_per_tensor_dynamic quantize_per_token quantized_batch_norm quantized_max_pool1d quantized_max_pool2d
    quantized_max_pool3d rand rand_like randint randn randn_like randperm reflection_pad1d reflection_pad2d
    reflection_pad3d repeat repeat_interleave replication_pad1d replication_pad2d replication_pad3d resize
    resolve_conj roll rot90 rrelu_with_noise scalar_tensor scatter scatter_add scatter_reduce searchsorted
    select_scatter selu set slice_scatter softmax softshrink sort split_with_sizes_copy squeeze stack std std_mean
    sum t threshold topk transpose tril tril_indices triu triu_indices uniform unique_dim unsafe_split
    unsafe_split_with_sizes unsqueeze upsample_bicubic2d upsample_bilinear2d upsample_nearest1d upsample_nearest2d
    upsample_nearest3d upsample_trilinear3d var var_mean view_as_complex where zero zeros zeros_like
    """.split()
)


@cache
def find_rule(operation: Operation) -> Callable[..., int] | None:
    """How its MACs are counted; None where it has none, or none that we know of."""
    name = name_operation(operation)
    if operation.namespace == "quantized" or name in ("quantized_lstm", "quantized_gru"):
        return COUNTED_QUANTISED.get(name)
    return COUNTED_OPERATIONS.get(name)


@cache
def is_free(operation: Operation) -> bool:
    """Whether an operation has no MACs: it moves values, pools them, sums them or changes each by itself."""
    if operation.namespace == "quantized":
        return name_operation(operation).removesuffix("_out") in FREE_QUANTISED
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
    real    run each operation where its operands are, on their values
    last    the operation at work, with the shapes of its tensors: after an error the one that failed, if one did
    Tensors of the module are never handed on: an operation that writes in place writes on a copy without memory.
    """

    def __init__(
        self,
        count: Callable[[int], None],
        cannot: Callable[[str], None],
        uses: Callable[[Tensor], None],
        real: bool = False,
    ) -> None:
        super().__init__()
        self.count, self.cannot, self.uses, self.real = count, cannot, uses, real
        self.last: tuple[str, tuple[Shape, ...]] = ("", ())
        self.stand_ins: dict[int, tuple[Tensor, Tensor]] = {}
        self.made: dict[int, Tensor] = {}

    def __torch_dispatch__(self, operation: Operation, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        operands = list_tensors([args, kwargs]) if kwargs else list_tensors(args)
        if any(id(t) not in self.made for t in operands):
            for tensor in operands:
                self.uses(tensor)
            self.last = name_operation(operation), tuple(map(drop_batch, operands))
            output = operation(*args, **kwargs) if self.real else self.run_on_meta(operation, args, kwargs)
            self.last = ("", ())
        else:
            # Made in this pass from no tensor at all, as `torch.arange(8)` is: its values are known, and may be asked.
            drawn = torch.Tag.nondeterministic_seeded in operation.tags
            with torch.random.fork_rng(devices=[], enabled=drawn):
                output = self.know(operation(*args, **kwargs))
        rule = find_rule(operation)
        if rule is not None:
            first = output[0] if isinstance(output, (tuple, list)) else output
            self.count(rule(tuple(first.shape), *args))
        elif not is_free(operation):
            self.cannot(str(operation).removesuffix(".default"))
        return output

    def run_on_meta(self, operation: Operation, args: Any, kwargs: dict[str, Any]) -> Any:
        """Its output without values; raises RuntimeError where torch would, on values."""
        valued = VALUED_OPERATIONS.get(operation)
        if valued is not None and not any(t.device.type == "meta" for t in list_tensors(args[1:])):
            return self.know(valued(*args, **kwargs))
        if operation._schema.is_mutable:
            self.forget(operation, args, kwargs)
        args = self.swapped(args)
        if kwargs:
            kwargs = {key: self.swapped(value) for key, value in kwargs.items()}
        if kwargs.get("device") is not None:
            kwargs["device"] = torch.device("meta")
        check_operation(name_operation(operation), args)
        shortcut = SHORTCUTS.get(operation)
        found = None if shortcut is None else shortcut(*args)
        return operation(*args, **kwargs) if found is None else found

    def know(self, output: Any) -> Any:
        """Notes that the values of what lies on the processor are known."""
        self.made.update((id(t), t) for t in list_tensors([output]) if t.device.type != "meta")
        return output

    def forget(self, operation: Operation, args: Any, kwargs: dict[str, Any]) -> None:
        """What is written into with unknown values is unknown from there on, and so is what shares its memory."""
        named = [kwargs.get(spec.name) for spec in operation._schema.arguments[len(args) :]]
        for spec, value in zip(operation._schema.arguments, [*args, *named], strict=True):
            if spec.alias_info is not None and spec.alias_info.is_write and id(value) in self.made:
                memory = value.untyped_storage().data_ptr()
                for key in [key for key, t in self.made.items() if t.untyped_storage().data_ptr() == memory]:
                    self.stand_ins.setdefault(key, (self.made[key], torch.empty_like(self.made[key], device="meta")))
                    del self.made[key]

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


def pack_sequence(x: Tensor, lengths: Tensor, batch_first: bool) -> tuple[Tensor, Tensor]:
    """Padded sequences of known lengths as one row of vectors, and how many sequences are at work at each step."""
    steps, sequences = (x.shape[1], x.shape[0]) if batch_first else x.shape[:2]
    known = lengths.tolist()
    if len(known) != sequences or not known or known != sorted(known, reverse=True) or known[-1] < 1:
        what = f"expected the {sequences} lengths of the sequences, the longest first, but got {known}"
        raise RuntimeError(what)
    if known[0] > steps:
        raise RuntimeError(f"a sequence of length {known[0]} does not lie in {steps} steps")
    at_work = [sum(length > step for length in known) for step in range(known[0])]
    packed = torch.empty((sum(known), *x.shape[2:]), dtype=x.dtype, device="meta")
    return packed, torch.tensor(at_work, dtype=torch.int64)


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


def infer_alike(x: Tensor, *rest: Any) -> Tensor | None:
    """None for whole numbers, of which a sigmoid makes real ones."""
    return torch.empty_like(x) if x.is_floating_point() else None


def infer_itself(x: Tensor, *rest: Any) -> Tensor | None:
    return x if x.is_floating_point() else None


def infer_layer_norm(x: Tensor, over: Any, *rest: Any) -> tuple[Tensor, Tensor, Tensor] | None:
    affine = [tuple(t.shape) for t in rest if isinstance(t, Tensor)]
    if any(shape != tuple(over) for shape in [tuple(x.shape[max(x.ndim - len(over), 0) :]), *affine]):
        return None
    mean = x.new_empty((*x.shape[: x.ndim - len(over)], *(1 for _ in over)))
    return torch.empty_like(x), mean, mean


def infer_concatenation(tensors: Any, axis: int = 0) -> Tensor | None:
    """Tensors that are alike but for one axis, one after another along it."""
    first = tensors[0]
    if not -first.ndim <= axis < first.ndim:
        return None
    axis %= first.ndim
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
# Operations whose output's shape is in the values of all but their first operand.
VALUED_OPERATIONS: dict[Operation, Callable[..., Any]] = {aten._pack_padded_sequence.default: pack_sequence}
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
