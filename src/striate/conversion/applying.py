"""What every handler of an operator uses: a layer applied to a value, and torch's arguments as a record has them."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import torch

from ..architecture import layers as L
from ..architecture.layers import Layer, Shape
from ..language import say
from .handlers import Tracer
from .record import Value


def to_array(tensor: Any) -> np.ndarray:
    return tensor.detach().cpu().float().numpy()


def apply_layer(
    tracer: Tracer, x: Value, layer: Layer, seen: Shape, *, axis: int | None = None, **tensors: Any
) -> Value:
    """The value that `layer` makes of `x`; it must look to torch as `seen`."""
    x = settle_value(tracer, x)
    shape = layer.out(x.shape)
    arrays = {name: to_array(tensor) for name, tensor in tensors.items() if tensor is not None}
    output = Value(shape, seen, x.axis if axis is None else axis)
    if prod(shape) != prod(seen):
        raise tracer.place.refuse(
            say("its output has another size than the record's"), got=say("{seen}, not {shape}", seen=seen, shape=shape)
        )
    return tracer.add(output, [x], layer=layer, tensors=arrays)


def settle_value(tracer: Tracer, x: Value) -> Value:
    """The value itself; a padding that is due is put around it by a convolution of one place.

    Raises Unconvertible for another padding than zeros, and where the value is seen in groups.
    """
    if any(x.pad):
        if x.filling or x.inner is None:
            raise tracer.place.refuse(say("a padding of other numbers than 0"), got=x.filling)
        channels = x.shape[0]
        layer = L.Conv(channels, 1, padding=x.pad, groups=channels, bias=False)
        return apply_layer(tracer, x.inner, layer, x.seen, weight=torch.ones(channels, 1, 1, 1))
    if x.response:
        raise tracer.place.refuse(
            say("the {stage} of a GRN, where nothing but the rest of it is known", stage=say(x.response.stage))
        )
    if x.groups > 1:
        raise tracer.place.refuse(say("a map seen in groups, where nothing but a channel shuffle is known"))
    return x


def need_channels_first(tracer: Tracer, x: Value) -> None:
    if len(x.seen) != 3 or x.axis != 0:
        raise tracer.place.refuse(say("it must read a map N×C×H×W"), got=f"N×{'×'.join(map(str, x.seen))}")


def spread_constant(tracer: Tracer, x: Value, given: torch.Tensor) -> torch.Tensor:
    """One number a channel."""
    own = (1,) * (len(x.seen) - given.ndim) + tuple(given.shape[-len(x.seen) :])
    if any(n != 1 for axis, n in enumerate(own) if axis != x.axis):
        raise tracer.place.refuse(say("a constant for each place"), got=tuple(given.shape))
    return given.reshape(-1).float().expand(x.shape[0]) if given.numel() == 1 else given.reshape(-1)


def find_axis(x: Value, dim: int) -> int:
    """An axis of torch's tensor, counted without the batch; the batch is −1."""
    return (dim if dim >= 0 else dim + len(x.seen) + 1) - 1


def make_two(given: Any) -> tuple[int, int]:
    pair = tuple(given) if isinstance(given, list | tuple) else (given,)
    return (pair * 2)[:2] if len(pair) == 1 else pair  # type: ignore[return-value]


def make_four(given: Any) -> Any:
    """A padding of rows and of columns as a record has it."""
    rows, columns = make_two(given)
    return (rows, rows, columns, columns) if rows or columns else "valid"
