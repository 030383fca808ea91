"""One table: each layer record × what can be done with it.

An ability is a column. Its cells stand in the module named here, which is imported when its first cell is asked for:
this room knows torch and NumPy by these names alone. A cell is a function of the layer, or the reason why there is
none. There is no default: a record without a cell is refused by name (tests/test_abilities.py walks the whole table).

A layer of your own is one more row:

    @FORWARD.of(Double)
    def double(layer, x, here):
        return 2 * x
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, TypeVar

from ..errors import NetError
from ..language import say
from .layers.layer import Layer

Cell = TypeVar("Cell")


@dataclass(frozen=True, eq=False)
class Ability:
    """A column of the table: what it gives for a layer, by the record's class.

    name   its own, as it stands in this module
    lacks  what cannot be done with a layer that has no cell, a sentence
    home   the module that fills it
    """

    name: str
    lacks: str
    home: str
    cells: dict[type[Layer], Any] = field(default_factory=dict, repr=False)
    reasons: dict[type[Layer], str] = field(default_factory=dict, repr=False)

    def of(self, *records: type[Layer]) -> Callable[[Cell], Cell]:
        """Makes what it decorates the cell of `records`, a new one where there was one."""

        def fill(cell: Cell) -> Cell:
            self.cells.update(dict.fromkeys(records, cell))
            return cell

        return fill

    def none_for(self, *records: type[Layer], why: str) -> None:
        """Say why `records` have no cell."""
        self.reasons.update(dict.fromkeys(records, why))

    def __call__(self, layer: Layer, *args: Any) -> Any:
        """The layer's cell, called with it. Raises NetError where it has none."""
        cell = self.cells.get(type(layer))
        return (self.cell(type(layer)) if cell is None else cell)(layer, *args)

    def cell(self, record: type[Layer]) -> Any:
        """The cell of `record`: of itself, not of a class that it was made from, whose rules it may have changed.

        Raises NetError with the reason, or with how to fill it.
        """
        if record not in self.cells:
            import_module(self.home)
        if record in self.cells:
            return self.cells[record]
        if record in self.reasons:
            raise NetError(record.__name__, say(self.lacks), rule=say(self.reasons[record]))
        raise NetError(
            record.__name__,
            say(self.lacks),
            rule=say("{home} has no function for it, and none is guessed", home=self.home),
            hint=say(
                "{code} on a function makes it the layer's own",
                code=f"striate.architecture.abilities.{self.name}.of({record.__name__})",
            ),
        )

    def filled(self) -> dict[type[Layer], Any]:
        """All cells."""
        import_module(self.home)
        return self.cells


# (layer, x: its input's shape) -> nn.Module
TORCH = Ability(
    "TORCH", "there is no torch module for this layer, so it cannot be trained", "striate.engines.torch_layers"
)

# No function: {class of torch module: module -> the record, None where it differs from ours}
FROM_TORCH = Ability("FROM_TORCH", "no torch module is read as this layer", "striate.summaries.module_records")

# (layer, x: N×…, here) -> N×…; `here` is its place in the pass, with its tensors
FORWARD = Ability("FORWARD", "the plain engine cannot compute this layer", "striate.engines.plain.network")

# (layer, x, y, dy, here) -> (dx, gradients of its tensors by name)
BACKWARD = Ability("BACKWARD", "the plain engine has no gradient of this layer", "striate.engines.plain.network")

# (layer, x: its input's shape, want: Box of its output) -> Box of its input
NEEDS = Ability("NEEDS", "which inputs a value of this layer depends on is not known", "striate.engines.plain.cone")

# (layer, path, values, have, want, x, way) -> the part `want` of its output from the part `have` of its input
PART = Ability("PART", "a part of this layer's map cannot be computed alone", "striate.engines.plain.cone")

# (layer, draft, path, x, shape) -> the name of its output
ONNX = Ability(
    "ONNX", "there are no ONNX operators for this layer, so it can be neither run nor exported",
    "striate.engines.onnx_layers",
)  # fmt: skip

# (layer, at: Place) -> Account: the value's operands, their sum, and what is done after
EXPLAIN = Ability("EXPLAIN", "a value of this layer cannot be traced", "striate.inside.trace_rules")

# (layer, given: Reading) -> the index of the strongest value that reads it, None where none does
FOLLOW = Ability("FOLLOW", "which value of this layer reads a given one is not known", "striate.inside.follow")

# (layer) -> Face: the colour of its block, and the text under it
DRAW = Ability("DRAW", "there is no rule for drawing this layer", "striate.summaries.draw_layers")

# (layer) -> the name of its function in browser/engine/*.js
JAVASCRIPT = Ability(
    "JAVASCRIPT", "the browser's engine cannot compute this layer", "striate.browser.javascript_layers"
)

# The columns. What else is asked of a layer, its size, tensors, MACs and memory, are the record's own methods.
ABILITIES = (TORCH, FROM_TORCH, FORWARD, BACKWARD, NEEDS, PART, ONNX, EXPLAIN, FOLLOW, DRAW, JAVASCRIPT)
