"""A layer of one's own: a record that all of striate then knows by its name, without a change to striate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

from ..errors import ModelError, NetError
from ..language import say
from .abilities import BACKWARD, DRAW, EXPLAIN, FOLLOW, FORWARD, FROM_TORCH, JAVASCRIPT, NEEDS, ONNX, PART, TORCH
from .layers import LAYERS, Layer
from .limits import cut_brief

Record = TypeVar("Record", bound=type[Layer])

# What the class may say of itself, by the ability that it fills.
METHODS = {
    "torch": (TORCH, "torch(self, x) -> nn.Module, x the shape of its input"),
    "onnx": (ONNX, "onnx(self, draft, path, x, shape) -> the name of its output"),
    "forward": (FORWARD, "forward(self, x, here) -> N×…, in NumPy"),
    "backward": (BACKWARD, "backward(self, x, y, dy, here) -> (dx, gradients of its tensors by name)"),
    "needs": (NEEDS, "needs(self, x, want) -> the box of its input that a box of its output depends on"),
    "part": (PART, "part(self, path, values, have, want, x, way) -> a part of its output from a part of its input"),
    "explain": (EXPLAIN, "explain(self, at) -> the account of one value"),
    "follow": (FOLLOW, "follow(self, given) -> the place of the strongest value that reads a given one"),
    "draw": (DRAW, "draw(self) -> the face of its block"),
}  # fmt: skip


def layer(record: Record) -> Record:
    """Register a class made from `striate.Layer` as a layer: a decorator.

    The class becomes a frozen dataclass: its fields are the layer's settings, its methods its rules (`out`, `tensors`,
    `macs`, `kept`, …, as those of the records in `striate.architecture.layers`), and `torch(self, x)` the nn.Module
    that computes it, whose parameters have the names of `tensors`. What else is there is used: `onnx` for a file that
    runs without torch, `explain` for the trace, `forward` and `backward` for the plain engine, `draw` for the drawing.
    What is missing is said, by name, where it is asked for.

    A model file names the module that defines the layer; whoever loads it imports that first. No code runs from a file.

    Raises NetError for what is no layer, and for a name that another layer has.

    >>> import striate
    >>> @striate.layer
    ... class Squared(striate.Layer):
    ...     KEPT = striate.architecture.layers.SavedMap(input=True)
    ...     def torch(self, x):
    ...         from torch import nn
    ...         return type("Square", (nn.Module,), {"forward": lambda self, x: x * x})()
    >>> striate.Net((1, 4, 4), [striate.Conv(2, 3), Squared(), striate.Flatten()]).output
    (8,)
    """
    if not (isinstance(record, type) and issubclass(record, Layer)):
        got, hint = getattr(record, "__name__", repr(record))[:60], "class Name(striate.Layer): …"
        raise NetError("striate.layer", say("a layer is a class made from striate.Layer"), got=got, hint=hint)
    known = LAYERS.get(record.__name__)
    if known is not None and name_origin(known) != name_origin(record):
        what = say("another layer has this name")
        raise NetError(record.__name__, what, got=name_origin(known), hint=say("give your class another name"))
    made: Any = record
    if "__dataclass_fields__" not in vars(record):
        made = dataclass(frozen=True, repr=False)(record)
    if "KIND" not in vars(made):
        made.KIND = made.__name__.lower()
    LAYERS[made.__name__] = made
    fill_abilities(made)
    return made


def fill_abilities(record: type[Layer]) -> None:
    """Enter the record's own methods into the table, and for those that it lacks that it lacks them."""
    for name, (ability, signature) in METHODS.items():
        method = getattr(record, name, None)
        ability.cells.pop(record, None)
        if method is not None:
            ability.of(record)(method)
        else:
            ability.none_for(record, why=f"{record.__name__} has no method {signature}")
    FROM_TORCH.none_for(record, why="it is no layer of torch's")
    JAVASCRIPT.none_for(record, why="a page holds striate's own layers only: no code of yours goes into it")


def name_origin(record: type[Layer]) -> str:
    """Where a record is defined, "package.module:Name"."""
    return f"{record.__module__}:{record.__qualname__}"


def list_own_layers(net: Any) -> dict[str, str]:
    """The layers of a net that are not striate's own, and where each is defined."""
    records = {type(step.layer) for step in net.steps}
    own = {record.__name__: name_origin(record) for record in records if not record.__module__.startswith("striate.")}
    return dict(sorted(own.items()))


def check_own_layers(own: Any, where: str) -> None:
    """Raise ModelError for a layer that a file's net has, by its name and origin, and that nobody has registered."""
    for name, origin in own.items() if isinstance(own, dict) else ():
        if name not in LAYERS:
            module = str(origin).partition(":")[0]
            what = say("the net has a layer of its own, {name}, which is not registered", name=cut_brief(name))
            hint = f"import {module}" if module.isidentifier() else say("import the module that defines it")
            raise ModelError(where, what, got=cut_brief(origin), rule=say("no code runs from a file"), hint=hint)
