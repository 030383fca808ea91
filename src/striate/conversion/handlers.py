"""The table of torch's operators that are known, and what is written down while a module is read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from ..language import say
from .record import Operation, Place, Value


class Tracer:
    """The operations found so far, which weights they have, and where the one stands that is being read."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self.used: dict[int, torch.Tensor] = {}  # by their ids, which they keep as long as they are here
        self.place = Place("", "", "")

    def use_weights(self, given: Any) -> None:
        """Raises Unconvertible for weights that another operation has too: a Net would have them twice."""
        for tensor in filter(torch.is_tensor, given):
            if tensor.numel() > 1 and id(tensor) in self.used:
                raise self.place.refuse(say("the same weights are used twice"), rule=say("each operation its own"))
            self.used[id(tensor)] = tensor

    def add(self, output: Value, inputs: Sequence[Value], **how: Any) -> Value:
        self.operations.append(Operation(output, tuple(inputs), path=self.place.path, **how))
        return output


Handler = Callable[..., Any]
# torch's operators, "conv2d", each with what makes operations of it: handler(tracer, arguments…, seen=output shape).
HANDLERS: dict[str, Handler] = {}


def handle_operator(*names: str) -> Callable[[Handler], Handler]:
    """Enter a handler for these operators of torch."""

    def enter(handler: Handler) -> Handler:
        HANDLERS.update(dict.fromkeys(names, handler))
        return handler

    return enter
