"""Global response normalisation, which torch has no operator for: its few operations read as one layer.

g = the length of each channel's map, n = g / (mean of g + eps), y = x + weight·x·n + bias, in any order of the last.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from ..architecture import layers as L
from ..architecture.layers import Shape
from ..language import say
from .applying import apply_layer, find_axis, spread_constant
from .handlers import Tracer, handle_operator
from .record import PartialResponse, Value


@handle_operator("linalg_vector_norm")
def read_vector_norm(tracer: Tracer, x: Value, ord: float, dim: Any, keepdim: bool, seen: Shape, **_: Any) -> Value:
    axes = {find_axis(x, one) for one in dim or ()}
    if ord != 2 or not keepdim or len(x.seen) != 3 or axes != set(range(3)) - {x.axis}:
        raise tracer.place.refuse(say("only the length of each whole map is known, as a part of GRN"), got=f"dim {dim}")
    return hold_response(x, seen, PartialResponse("length", x))


def hold_response(x: Value, seen: Shape, found: PartialResponse) -> Value:
    return replace(x, seen=seen, response=found)


def average_lengths(tracer: Tracer, x: Value, dim: Any, keepdim: bool, seen: Shape) -> Value:
    """The mean of the lengths over the channels."""
    axes = [find_axis(x, one) for one in (dim if isinstance(dim, list | tuple) else [dim])]
    if not x.response or x.response.stage != "length" or axes != [x.axis] or not keepdim:
        raise tracer.place.refuse(say("a mean of lengths over something else than the channels"), got=f"dim {dim}")
    return hold_response(x, seen, x.response.at("mean"))


def divide_lengths(tracer: Tracer, x: Any, other: Any, seen: Shape) -> Value:
    above, below = getattr(x, "response", None), getattr(other, "response", None)
    if not above or not below or (above.stage, below.stage) != ("length", "base") or above.x is not below.x:
        raise tracer.place.refuse(say("a length is divided by something else than the mean length"))
    return hold_response(x, seen, below.at("response"))


def multiply_response(tracer: Tracer, x: Any, other: Any, seen: Shape) -> Value:
    """A response times the map that it is of, or times the weight."""
    held, by = (x, other) if getattr(x, "response", None) else (other, x)
    found: PartialResponse = held.response
    if by is found.x and found.stage in ("response", "factor"):
        return hold_response(by, seen, found.at("product" if found.stage == "response" else "scaled"))
    if isinstance(by, Value) or found.weight is not None or found.stage not in ("response", "product"):
        raise tracer.place.refuse(
            say("the {stage} of a GRN times something else than its map or its weight", stage=say(found.stage))
        )
    return hold_response(held, seen, found.at(found.stage, weight=spread_constant(tracer, held, torch.as_tensor(by))))


def add_response(tracer: Tracer, x: Any, other: Any, seen: Shape) -> Value:
    """The mean plus eps; the response plus 1; the product plus the bias and plus the map itself."""
    held, more = (x, other) if getattr(x, "response", None) else (other, x)
    found: PartialResponse = held.response
    if more is found.x and found.stage == "product" and not found.added:
        return settle_response(tracer, hold_response(held, seen, found.at("product", added=True)))
    if isinstance(more, Value):
        raise tracer.place.refuse(say("the {stage} of a GRN and another map", stage=say(found.stage)))
    number = torch.as_tensor(more)
    if found.stage == "mean" and number.numel() == 1:
        return hold_response(held, seen, found.at("base", eps=float(more)))
    if found.stage == "response" and found.weight is not None and bool((number == 1).all()):
        return hold_response(held, seen, found.at("factor"))
    if found.stage not in ("product", "scaled") or found.bias is not None:
        raise tracer.place.refuse(say("the {stage} of a GRN plus a constant", stage=say(found.stage)))
    found = found.at(
        "product", bias=spread_constant(tracer, held, number), added=found.added or found.stage == "scaled"
    )
    return settle_response(tracer, hold_response(held, seen, found))


@handle_operator("addcmul")
def read_addcmul(tracer: Tracer, x: Any, tensor1: Any, tensor2: Any, value: float, seen: Shape) -> Value:
    """bias + weight·product, the last lines of a GRN."""
    held, weight = (tensor2, tensor1) if isinstance(tensor2, Value) else (tensor1, tensor2)
    if isinstance(x, Value) or value != 1 or not isinstance(held, Value) or not held.response:
        raise tracer.place.refuse(say("it is known as a part of GRN alone"))
    return add_response(tracer, multiply_response(tracer, held, weight, held.seen), x, seen)


def settle_response(tracer: Tracer, held: Value) -> Value:
    """The layer, where all of its parts have been met; else what there is so far."""
    found = held.response
    if found is None or not found.added or found.weight is None or found.bias is None:
        return held
    layer = L.GlobalResponseNorm(found.eps)
    return apply_layer(tracer, found.x, layer, held.seen, weight=found.weight, bias=found.bias)
