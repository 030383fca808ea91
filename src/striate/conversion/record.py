"""What a traced module consists of: values, and the operations that lead from one to another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..architecture.layers import Layer, Shape
from ..errors import NetError
from ..language import say


@dataclass(frozen=True, eq=False)
class Value:
    """A map of one image on its way through the module.

    shape   C×H×W as a Net has it, or (n,) behind a Flatten
    seen    the shape that torch's tensor has, without the batch; `axis` is where its channels lie
    pad     (top, bottom, left, right), and the `filling` that is put around it before it is used, where that is due;
            `inner` is the value without
    response  what it is a part of, where it is no map yet
    groups  of a map seen as groups×(C/groups)×H×W; with `turned`, as (C/groups)×groups×H×W
    """

    shape: Shape
    seen: Shape
    axis: int = 0
    pad: tuple[int, int, int, int] = (0, 0, 0, 0)
    filling: float = 0.0
    inner: Value | None = None
    groups: int = 1
    turned: bool = False
    response: PartialResponse | None = None


@dataclass(frozen=True, eq=False)
class PartialResponse:
    """What has been met of a global response normalisation of `x`, which takes several of torch's operations.

    stage  "length" and "mean" of lengths, "base" with its eps, "response" and that plus 1, the "factor"; x times these
           is "product" and "scaled"
    added  whether x itself has been added
    """

    stage: str
    x: Value
    eps: float = 0.0
    weight: Any = None
    bias: Any = None
    added: bool = False

    def at(self, stage: str, **found: Any) -> PartialResponse:
        return replace(self, stage=stage, **found)


@dataclass(frozen=True, eq=False)
class Operation:
    """What makes a value: a layer of one value, or a join of several.

    layer    the record; None for a join
    join     "add", "multiply" or "concat"
    tensors  of the layer, by their short names
    path     the module that it stands in, "layer1.0.conv1"
    """

    output: Value
    inputs: tuple[Value, ...]
    layer: Layer | None = None
    join: str = ""
    tensors: Mapping[str, np.ndarray] = field(default_factory=dict)
    path: str = ""


class Unconvertible(NetError):
    """An operation that no record expresses: which, where in the module's code, and what would be needed."""


@dataclass(frozen=True)
class Place:
    """Where an operation stands: in which module, and on which line of whose code."""

    operation: str
    path: str
    line: str

    def refuse(self, what: str, got: object = None, rule: str | None = None) -> Unconvertible:
        where = self.path or say("the module")
        where = say("{place} ({line})", place=where, line=self.line) if self.line else where
        what = say("{operation}: {what}", operation=self.operation, what=what)
        return Unconvertible(where, what, got=got, rule=rule)
