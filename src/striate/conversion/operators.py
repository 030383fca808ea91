"""torch's operators as layer records: what each makes of its arguments, or why no record does."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Any

import torch

from ..architecture import layers as L
from ..architecture.layers import Layer, Shape
from ..language import say
from . import response_norm
from .applying import (
    apply_layer,
    find_axis,
    make_four,
    make_two,
    need_channels_first,
    settle_value,
    spread_constant,
)
from .handlers import Tracer, handle_operator
from .record import Value

# Convolutions and dense layers.


@handle_operator("conv2d")
def read_conv2d(
    tracer: Tracer, x: Value, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: int, seen: Shape
) -> Value:
    need_channels_first(tracer, x)
    if isinstance(weight, Value) or isinstance(bias, Value):
        raise tracer.place.refuse(say("its weights depend on the image"))
    around: Any = padding if isinstance(padding, str) else make_four(padding)
    if any(x.pad):
        if around == "same" or x.filling:
            raise tracer.place.refuse(say("a padding before a padding, or one that is not 0"), got=(x.pad, x.filling))
        own = (0, 0, 0, 0) if around == "valid" else around
        around = tuple(a + b for a, b in zip(x.pad, own, strict=True))
    layer = L.Conv(
        weight.shape[0], tuple(weight.shape[2:]), tuple(stride), around, tuple(dilation), groups, bias is not None
    )
    return apply_layer(tracer, x.inner or x, layer, seen, weight=weight, bias=bias)


@handle_operator("linear")
def read_linear(tracer: Tracer, x: Value, weight: Any, bias: Any, seen: Shape) -> Value:
    if isinstance(weight, Value) or x.axis != len(x.seen) - 1:
        raise tracer.place.refuse(say("a dense layer over the channels, which must come last"), got=x.seen)
    units, axis = weight.shape[0], len(seen) - 1
    if len(x.shape) == 1:
        return apply_layer(tracer, x, L.Dense(units, bias is not None), seen, axis=axis, weight=weight, bias=bias)
    layer = L.Conv(units, 1, bias=bias is not None)
    return apply_layer(tracer, x, layer, seen, axis=axis, weight=weight[:, :, None, None], bias=bias)


# Normalisation.


@handle_operator("batch_norm")
def read_batch_norm(
    tracer: Tracer, x: Value, weight: Any, bias: Any, running_mean: Any, running_var: Any, training: bool,
    momentum: float, eps: float, cudnn_enabled: bool, seen: Shape,
) -> Value:  # fmt: skip
    if training or running_mean is None:
        raise tracer.place.refuse(say("it normalises by the batch"), rule=say("module.eval(), with running statistics"))
    if x.axis != 0:
        raise tracer.place.refuse(say("its channels must come first"), got=x.seen)
    if weight is None and bias is not None or weight is not None and bias is None:
        raise tracer.place.refuse(say("a scale without a shift, or a shift without a scale"))
    layer = L.BatchNorm(eps, momentum or 0.1, weight is not None)
    named = {"weight": weight, "bias": bias, "running_mean": running_mean, "running_var": running_var}
    return apply_layer(tracer, x, layer, seen, **named)


@handle_operator("layer_norm")
def read_layer_norm(
    tracer: Tracer, x: Value, normalized_shape: Any, weight: Any, bias: Any, eps: float, cudnn_enable: bool, seen: Shape
) -> Value:
    if len(normalized_shape) != 1 or x.axis != len(x.seen) - 1:
        raise tracer.place.refuse(say("it is over more than the channels"), got=list(normalized_shape))
    if (weight is None) != (bias is None):
        raise tracer.place.refuse(say("a scale without a shift, or a shift without a scale"))
    return apply_layer(tracer, x, L.LayerNorm(eps, weight is not None), seen, weight=weight, bias=bias)


@handle_operator("group_norm")
def read_group_norm(
    tracer: Tracer, x: Value, num_groups: int, weight: Any, bias: Any, eps: float, cudnn_enabled: bool, seen: Shape
) -> Value:
    need_channels_first(tracer, x)
    if (weight is None) != (bias is None):
        raise tracer.place.refuse(say("a scale without a shift, or a shift without a scale"))
    return apply_layer(tracer, x, L.GroupNorm(num_groups, eps, weight is not None), seen, weight=weight, bias=bias)


@handle_operator("instance_norm")
def read_instance_norm(
    tracer: Tracer, x: Value, weight: Any, bias: Any, running_mean: Any, running_var: Any, use_input_stats: bool,
    momentum: float, eps: float, cudnn_enabled: bool, seen: Shape,
) -> Value:  # fmt: skip
    need_channels_first(tracer, x)
    if not use_input_stats:
        raise tracer.place.refuse(say("it normalises by running statistics"), rule="track_running_stats=False")
    return apply_layer(tracer, x, L.InstanceNorm(eps, weight is not None), seen, weight=weight, bias=bias)


# Activations.


def enter_activation(name: str, record: type[Layer]) -> None:
    @handle_operator(name)
    def read_activation(tracer: Tracer, x: Value, seen: Shape) -> Value:
        return apply_layer(tracer, x, record(), seen)


for operator, record in {
    "relu": L.ReLU, "relu6": L.ReLU6, "silu": L.SiLU, "sigmoid": L.Sigmoid, "tanh": L.Tanh,
    "selu": L.SELU, "mish": L.Mish,
    "hardsigmoid": L.HardSigmoid, "hardswish": L.HardSwish,
}.items():  # fmt: skip
    enter_activation(operator, record)


@handle_operator("hardtanh", "clamp")
def read_hardtanh(tracer: Tracer, x: Value, seen: Shape, **bounds: Any) -> Value:
    least, most = bounds.get("min_val", bounds.get("min")), bounds.get("max_val", bounds.get("max"))
    if (least, most) == (0, None):
        return apply_layer(tracer, x, L.ReLU(), seen)
    if (least, most) != (0, 6):
        raise tracer.place.refuse(say("values are cut off at other bounds than 0 and 6"), got=(least, most))
    return apply_layer(tracer, x, L.ReLU6(), seen)


@handle_operator("clamp_min")
def read_clamp_min(tracer: Tracer, x: Value, min: Any, seen: Shape) -> Value:
    return read_hardtanh(tracer, x, seen, min=min, max=None)


@handle_operator("leaky_relu")
def read_leaky_relu(tracer: Tracer, x: Value, negative_slope: float, seen: Shape) -> Value:
    return apply_layer(tracer, x, L.LeakyReLU(negative_slope), seen)


@handle_operator("prelu")
def read_prelu(tracer: Tracer, x: Value, weight: Any, seen: Shape) -> Value:
    if x.axis != 0:
        raise tracer.place.refuse(say("its channels must come first"), got=x.seen)
    return apply_layer(tracer, x, L.PReLU(per_channel=len(weight) > 1), seen, weight=weight)


@handle_operator("elu")
def read_elu(tracer: Tracer, x: Value, alpha: float, scale: float, input_scale: float, seen: Shape) -> Value:
    if (scale, input_scale) != (1, 1):
        raise tracer.place.refuse(say("an ELU that is scaled"), got=(scale, input_scale))
    return apply_layer(tracer, x, L.ELU(float(alpha)), seen)


@handle_operator("celu")
def read_celu(tracer: Tracer, x: Value, alpha: float, seen: Shape) -> Value:
    return apply_layer(tracer, x, L.CELU(float(alpha)), seen)


@handle_operator("softplus")
def read_softplus(tracer: Tracer, x: Value, beta: float, threshold: float, seen: Shape) -> Value:
    if (beta, threshold) != (1, 20):
        raise tracer.place.refuse(say("a softplus of another slope"), got=f"beta {beta}, threshold {threshold}")
    return apply_layer(tracer, x, L.Softplus(), seen)


@handle_operator("gelu")
def read_gelu(tracer: Tracer, x: Value, approximate: str, seen: Shape) -> Value:
    return apply_layer(tracer, x, L.GELU() if approximate == "none" else L.TanhGELU(), seen)


@handle_operator("softmax")
def read_softmax(tracer: Tracer, x: Value, dim: int, dtype: Any, seen: Shape) -> Value:
    if len(x.shape) > 1 and x.shape[1:] != (1, 1) or find_axis(x, dim) != x.axis:
        raise tracer.place.refuse(say("a softmax over something else than one vector's classes"), got=f"dim {dim}")
    return apply_layer(tracer, x, L.Softmax(), seen)


@handle_operator("dropout", "feature_dropout")
def read_dropout(tracer: Tracer, x: Value, p: float, train: bool, seen: Shape) -> Value:
    return apply_layer(tracer, x, L.Dropout(p), seen) if 0 < p < 1 else x


# Pooling.


@handle_operator("max_pool2d")
def read_max_pool2d(
    tracer: Tracer, x: Value, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool, seen: Shape
) -> Value:
    need_channels_first(tracer, x)
    around = make_four(padding)
    if any(x.pad) and x.filling == -torch.inf and around == "valid":
        x, around = x.inner or x, x.pad
    kernel = make_two(kernel_size)
    layer = L.MaxPool(kernel, make_two(stride or kernel_size), around, make_two(dilation), ceil_mode)
    return apply_layer(tracer, x, layer, seen)


@handle_operator("avg_pool2d")
def read_avg_pool2d(
    tracer: Tracer, x: Value, kernel_size: Any, stride: Any, padding: Any, ceil_mode: bool, count_include_pad: bool,
    divisor_override: Any, seen: Shape,
) -> Value:  # fmt: skip
    need_channels_first(tracer, x)
    around = make_four(padding)
    if any(x.pad) and (around != "valid" or x.filling):
        raise tracer.place.refuse(say("a padding before a padding, or one that is not 0"), got=(x.pad, x.filling))
    if divisor_override is not None:
        raise tracer.place.refuse(say("a divisor of its own"), got=divisor_override)
    count = count_include_pad or any(x.pad)
    around = x.pad if any(x.pad) else around
    layer = L.AvgPool(make_two(kernel_size), make_two(stride or kernel_size), around, ceil_mode, count)
    return apply_layer(tracer, x.inner or x, layer, seen)


@handle_operator("adaptive_avg_pool2d")
def read_adaptive_avg_pool(tracer: Tracer, x: Value, output_size: Any, seen: Shape) -> Value:
    need_channels_first(tracer, x)
    size, (h, w) = tuple(output_size), x.shape[1:]
    if size == (1, 1):
        return apply_layer(tracer, x, L.GlobalAvgPool(keepdims=True), seen)
    if size == (h, w):
        return x
    if h % size[0] or w % size[1]:
        raise tracer.place.refuse(say("windows of different sizes"), got=f"{h}×{w} to {size[0]}×{size[1]}")
    window = h // size[0], w // size[1]
    return apply_layer(tracer, x, L.AvgPool(window, window), seen)


@handle_operator("adaptive_max_pool2d")
def read_adaptive_max_pool(tracer: Tracer, x: Value, output_size: Any, seen: Any) -> Any:
    need_channels_first(tracer, x)
    if tuple(output_size) != (1, 1):
        raise tracer.place.refuse(say("only that to 1×1 is known"), got=tuple(output_size))
    return apply_layer(tracer, x, L.GlobalMaxPool(keepdims=True), seen[0]), None


@handle_operator("mean", "amax")
def read_reduction(tracer: Tracer, x: Value, dim: Any, keepdim: bool, seen: Shape, **_: Any) -> Value:
    """The mean or the largest of each whole map."""
    if x.response:
        return response_norm.average_lengths(tracer, x, dim, keepdim, seen)
    axes = {find_axis(x, one) for one in (dim if isinstance(dim, list | tuple) else [dim])}
    if len(x.shape) != 3 or len(x.seen) != 3 or axes != set(range(3)) - {x.axis}:
        raise tracer.place.refuse(say("it is over something else than each whole map"), got=f"dim {dim}")
    record = L.GlobalMaxPool if tracer.place.operation == "amax" else L.GlobalAvgPool
    return apply_layer(tracer, x, record(keepdims=True), seen, axis=x.axis if keepdim else 0)


# Joins.


@handle_operator("add")
def read_add(tracer: Tracer, x: Any, other: Any, alpha: Any, seen: Shape) -> Value:
    if alpha != 1:
        raise tracer.place.refuse(say("a multiple of a map is added"), got=f"alpha {alpha}")
    if holds_response(x, other):
        return response_norm.add_response(tracer, x, other, seen)
    if isinstance(x, Value) and isinstance(other, Value):
        return join_values(tracer, "add", [x, other], seen)
    value, constant = (x, other) if isinstance(x, Value) else (other, x)
    return shift_value(tracer, value, torch.as_tensor(constant), seen)


@handle_operator("sub")
def read_sub(tracer: Tracer, x: Any, other: Any, alpha: Any, seen: Shape) -> Value:
    if alpha != 1 or not isinstance(x, Value):
        raise tracer.place.refuse(say("a map is taken from a constant, or a multiple of it"), got=f"alpha {alpha}")
    if not isinstance(other, Value):
        return shift_value(tracer, x, -torch.as_tensor(other), seen)
    return join_values(tracer, "add", [x, scale_value(tracer, other, torch.tensor(-1.0), other.seen)], seen)


@handle_operator("mul")
def read_mul(tracer: Tracer, x: Any, other: Any, seen: Shape) -> Value:
    if holds_response(x, other):
        return response_norm.multiply_response(tracer, x, other, seen)
    if isinstance(x, Value) and isinstance(other, Value):
        return join_values(tracer, "multiply", [x, other], seen)
    value, factor = (x, other) if isinstance(x, Value) else (other, x)
    return scale_value(tracer, value, torch.as_tensor(factor), seen)


@handle_operator("div")
def read_div(tracer: Tracer, x: Any, other: Any, seen: Shape, **_: Any) -> Value:
    if holds_response(x, other):
        return response_norm.divide_lengths(tracer, x, other, seen)
    if not isinstance(x, Value) or isinstance(other, Value):
        raise tracer.place.refuse(say("something is divided by a map"))
    return scale_value(tracer, x, 1 / torch.as_tensor(other), seen)


def scale_value(tracer: Tracer, x: Value, factor: torch.Tensor, seen: Shape) -> Value:
    """The value times a constant: one for all, or one a channel."""
    if bool((factor == 1).all()):
        return x
    return apply_layer(tracer, x, L.LayerScale(), seen, weight=spread_constant(tracer, x, factor))


def shift_value(tracer: Tracer, x: Value, shift: torch.Tensor, seen: Shape) -> Value:
    """The value plus a constant, one for all or one a channel: a convolution of one place, channel by channel."""
    if not shift.any():
        return x
    channels = x.shape[0]
    weight, bias = torch.ones(channels, 1, 1, 1), spread_constant(tracer, x, shift)
    return apply_layer(tracer, x, L.Conv(channels, 1, groups=channels), seen, weight=weight, bias=bias)


@handle_operator("cat", "concat")
def read_cat(tracer: Tracer, tensors: Any, dim: int, seen: Shape) -> Value:
    if not all(isinstance(one, Value) for one in tensors):
        raise tracer.place.refuse(say("constants are put beside a map"))
    if any(find_axis(one, dim) != one.axis for one in tensors):
        raise tracer.place.refuse(say("maps are put together along another axis than the channels"), got=f"dim {dim}")
    return join_values(tracer, "concat", list(tensors), seen)


def holds_response(*given: Any) -> bool:
    """Whether one of these is a part of a global response normalisation."""
    return any(isinstance(one, Value) and one.response is not None for one in given)


def join_values(tracer: Tracer, join: str, values: list[Value], seen: Shape) -> Value:
    values = [settle_value(tracer, value) for value in values]
    if len(values) == 1:
        return values[0]
    if len({value.axis - len(value.seen) for value in values}) > 1:
        raise tracer.place.refuse(
            say("maps whose channels lie on different axes"), got=[value.seen for value in values]
        )
    shape = L.Parallel(L.Identity(), join=join).joined([value.shape for value in values])
    return tracer.add(Value(shape, seen, values[0].axis - len(values[0].seen) + len(seen)), values, join=join)


# Parts of the channels.


@handle_operator("slice")
def read_slice(tracer: Tracer, x: Value, dim: int, start: Any, end: Any, step: int, seen: Shape) -> Value:
    if find_axis(x, dim) < 0:
        return x  # all images of the batch
    low, high, _ = slice(start, end, step).indices(x.seen[find_axis(x, dim)])
    return take_channels(tracer, x, dim, low, high - low, seen, step)


@handle_operator("narrow")
def read_narrow(tracer: Tracer, x: Value, dim: int, start: int, length: int, seen: Shape) -> Value:
    return take_channels(tracer, x, dim, start, length, seen)


@handle_operator("split", "split_with_sizes", "chunk")
def read_split(tracer: Tracer, x: Value, dim: int, seen: Any, **_: Any) -> list[Value]:
    parts, start, axis = [], 0, find_axis(x, dim)
    for shape in seen:
        parts.append(take_channels(tracer, x, dim, start, shape[axis], shape))
        start += shape[axis]
    return parts


def take_channels(tracer: Tracer, x: Value, dim: int, start: int, length: int, seen: Shape, step: int = 1) -> Value:
    axis = find_axis(x, dim)
    if (start, length, step) == (0, x.seen[axis], 1):
        return x
    if axis != x.axis or step != 1:
        raise tracer.place.refuse(say("a part of the map, not of its channels"), got=f"dim {dim}, step {step}")
    return apply_layer(tracer, x, L.SliceChannels(start, length), seen)


# The same values, seen otherwise.


@handle_operator("clone", "contiguous", "alias", "detach", "to", "_to_copy", "expand", "expand_as", "lift_fresh_copy")
def read_unchanged(tracer: Tracer, x: Value, seen: Shape, **_: Any) -> Value:
    """As it is; what is expanded is stretched by the operation that reads it."""
    return x


@handle_operator("channel_shuffle", "native_channel_shuffle")
def read_channel_shuffle(tracer: Tracer, x: Value, groups: int, seen: Shape) -> Value:
    return apply_layer(tracer, x, L.ChannelShuffle(groups), seen)


@handle_operator("pad", "constant_pad_nd")
def read_pad(tracer: Tracer, x: Value, pad: Any, value: Any, seen: Shape, mode: str = "constant") -> Value:
    if not any(pad):
        return x
    need_channels_first(tracer, x)
    if mode != "constant" or len(pad) != 4 or any(x.pad) or min(pad) < 0:
        raise tracer.place.refuse(say("another padding than of constants around a map"), got=(mode, tuple(pad)))
    left, right, top, bottom = pad
    return replace(x, seen=seen, pad=(top, bottom, left, right), filling=float(value or 0.0), inner=x)


@handle_operator("flatten", "view", "reshape", "_unsafe_view", "unsqueeze", "squeeze", "reshape_as", "view_as")
def read_view(tracer: Tracer, x: Value, seen: Shape, **_: Any) -> Value:
    """The same numbers in another shape: a map of one place, groups of channels, or a vector of all of it."""
    if seen == x.seen:
        return x
    if x.groups > 1:
        return join_groups(tracer, x, seen)
    settle_value(tracer, x)
    if prod(x.shape[1:]) == 1:
        axes = [axis for axis, n in enumerate(seen) if n == x.shape[0]]
        if sum(n != 1 for n in seen) <= 1 and axes:
            return look_again(tracer, x, seen, axes[0])
    elif x.axis == 0 and len(seen) == 1:
        return apply_layer(tracer, x, L.Flatten(), seen, axis=0)
    elif x.axis == 0 and len(seen) == 4 and seen[2:] == x.shape[1:]:
        return share_maker(tracer, x, replace(x, seen=seen, groups=seen[0]))
    raise tracer.place.refuse(
        say("the map's numbers in another shape"), got=say("{before} to {after}", before=x.seen, after=seen)
    )


def join_groups(tracer: Tracer, x: Value, seen: Shape) -> Value:
    """A map seen in groups, as one again; where the groups were turned, that shuffles its channels."""
    if seen != x.shape:
        raise tracer.place.refuse(
            say("groups of channels in another shape"), got=say("{before} to {after}", before=x.seen, after=seen)
        )
    whole = share_maker(tracer, x, replace(x, seen=seen, groups=1, turned=False))
    return apply_layer(tracer, whole, L.ChannelShuffle(x.groups), seen) if x.turned else whole


def look_again(tracer: Tracer, x: Value, seen: Shape, axis: int) -> Value:
    return share_maker(tracer, x, replace(x, seen=seen, axis=axis))


def share_maker(tracer: Tracer, x: Value, other: Value) -> Value:
    """`other` as another name of the value."""
    return tracer.add(other, [x], layer=L.Identity())


@handle_operator("permute", "transpose")
def read_permute(tracer: Tracer, x: Value, seen: Shape, **how: Any) -> Value:
    n = len(x.seen)
    if "dims" in how:
        order = [find_axis(x, one) for one in how["dims"]][1:]
    else:
        first, second = (find_axis(x, how[name]) for name in ("dim0", "dim1"))
        order = list(range(n))
        order[first], order[second] = second, first
    if x.groups > 1 and order == [1, 0, 2, 3]:
        return share_maker(tracer, x, replace(x, seen=seen, turned=not x.turned))
    settle_value(tracer, x)
    places = [axis for axis in order if axis != x.axis]
    if sorted(order) != list(range(n)) or places != sorted(places):
        raise tracer.place.refuse(say("rows and columns exchanged"), got=how)
    return look_again(tracer, x, seen, order.index(x.axis))
