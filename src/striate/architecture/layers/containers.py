"""Layers made of layers: one after another, side by side, and on the side."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from ...errors import NetError, ShapeError
from ...language import say
from ..limits import LEVELS, cut_brief
from .layer import LAYERS, Layer, Shape, format_shape, need_number, need_rule

__all__ = ["Sequence", "Parallel", "SideHead"]

JOINS = ("concat", "add", "multiply")


@dataclass(frozen=True, repr=False, init=False)
class Sequence(Layer):
    """Layers one after another, under one name: a stage, a block, a branch. Empty, it is the identity.

    >>> Sequence(Conv(16, 1), ReLU(), name="squeeze").out((64, 28, 28))
    (16, 28, 28)
    """

    KIND: ClassVar[str] = "sequence"
    layers: tuple[Layer, ...]

    def __init__(self, *layers: Any, name: str | None = None) -> None:
        object.__setattr__(self, "layers", tuple(check_layer(layer, self) for layer in layers))
        object.__setattr__(self, "name", name)
        Layer.__post_init__(self)
        need_levels(self)

    @cached_property
    def levels(self) -> int:
        return count_levels(self)

    @cached_property
    def named(self) -> tuple[tuple[str, Layer], ...]:
        return name_layers(self.layers)

    def out(self, x: Shape) -> Shape:
        for name, layer in self.named:
            try:
                x = layer.out(x)
            except ShapeError as e:
                raise e.at(name) from None
        return x

    def __repr__(self) -> str:
        return format_container(self, self.layers)


@dataclass(frozen=True, repr=False, init=False)
class Parallel(Layer):
    """Branches that all read the same map, their outputs joined into one.

    join  "concat"    one after another along the channels: inception (Szegedy et al. 2014), DenseNet
          "add"       value by value: residual blocks (He et al. 2015)
          "multiply"  value by value: squeeze-and-excitation (Hu et al. 2017), where C×1×1 stretches over C×H×W
    A branch is a layer, or a list of layers.

    >>> Parallel(Conv(64, 1), [Conv(96, 1), Conv(128, 3, padding="same")]).out((192, 28, 28))
    (192, 28, 28)
    """

    KIND: ClassVar[str] = "parallel"
    branches: tuple[Layer, ...]
    join: str = "concat"

    def __init__(self, *branches: Any, join: str = "concat", name: str | None = None) -> None:
        made = tuple(Sequence(*b) if isinstance(b, list | tuple) else check_layer(b, self) for b in branches)
        object.__setattr__(self, "branches", made)
        object.__setattr__(self, "join", join)
        object.__setattr__(self, "name", name)
        Layer.__post_init__(self)
        need_levels(self)
        need_rule(self, "join", join in JOINS, "must be one of {names}", "join='add'", names=", ".join(JOINS))
        need_rule(self, "branches", len(made) > 0, "must hold at least one branch", "Parallel(Identity(), Conv(8, 1))")

    @cached_property
    def levels(self) -> int:
        return count_levels(self)

    @cached_property
    def named(self) -> tuple[tuple[str, Layer], ...]:
        return name_layers(self.branches, kind="branch")

    def out(self, x: Shape) -> Shape:
        shapes = []
        for name, branch in self.named:
            try:
                shapes.append(branch.out(x))
            except ShapeError as e:
                raise e.at(name) from None
        return self.joined(shapes)

    def joined(self, shapes: list[Shape]) -> Shape:
        """The shape of the branches' outputs once joined. Raises ShapeError where they do not match."""
        first = shapes[0]
        if self.join == "concat":
            if any(s[1:] != first[1:] for s in shapes):
                raise self.mismatch(
                    shapes, say("C may differ, H×W must be equal"), say("the same stride and padding in each")
                )
            return (sum(s[0] for s in shapes), *first[1:])
        if all(s == first for s in shapes):
            return first
        if self.join == "multiply":
            full = max(shapes, key=lambda s: s[1:])
            if all(s == full or s == (full[0], 1, 1) for s in shapes):
                return full
            rule, hint = say("C×H×W must be equal, or C×1×1"), say("GlobalAvgPool(keepdims=True) in the gate")
            raise self.mismatch(shapes, rule, hint)
        hint = say("a Conv({channels}, 1) with a stride in the branch that is too large", channels=first[0])
        raise self.mismatch(shapes, say("C×H×W must be equal"), hint)

    def mismatch(self, shapes: list[Shape], rule: str, hint: str) -> ShapeError:
        got = ", ".join(f"{name} {format_shape(s)}" for (name, _), s in zip(self.named, shapes, strict=True))
        return ShapeError(
            "", say('the branches do not match for join="{join}"', join=self.join), got=got, rule=rule, hint=hint
        )

    def size_rule(self, x: Shape) -> str:
        shapes = [branch.out(x) for branch in self.branches]
        if self.join == "concat":
            parts, channels = " + ".join(str(s[0]) for s in shapes), self.joined(shapes)[0]
            return say("{parts} = {channels} channels", parts=parts, channels=channels)
        return {"add": " + ", "multiply": " · "}[self.join].join(map(format_shape, shapes))

    @property
    def label(self) -> str:
        return say("{join} of {count}", join=self.join, count=len(self.branches))

    def __repr__(self) -> str:
        return format_container(self, self.branches)


@dataclass(frozen=True, repr=False, init=False)
class SideHead(Layer):
    """A second classifier on the way, for training alone: the map goes on unchanged.

    In training its logits add `weight` times their cross-entropy to the loss; in evaluation it is not computed, so
    its MACs are counted apart (the auxiliary heads of GoogLeNet, Szegedy et al. 2014, section 5).

    >>> SideHead(GlobalAvgPool(), Dense(10)).out((512, 14, 14))
    (512, 14, 14)
    """

    KIND: ClassVar[str] = "aux"
    layers: tuple[Layer, ...]
    weight: float = 0.3

    def __init__(self, *layers: Any, weight: float = 0.3, name: str | None = None) -> None:
        object.__setattr__(self, "layers", tuple(check_layer(layer, self) for layer in layers))
        object.__setattr__(self, "weight", weight)
        object.__setattr__(self, "name", name)
        Layer.__post_init__(self)
        need_levels(self)
        need_number(self, "weight", above=0)

    @cached_property
    def levels(self) -> int:
        return count_levels(self)

    @cached_property
    def named(self) -> tuple[tuple[str, Layer], ...]:
        return name_layers(self.layers)

    def out(self, x: Shape) -> Shape:
        logits = Sequence(*self.layers).out(x)
        if len(logits) != 1:
            raise ShapeError(
                "",
                say("a SideHead ends in a vector of logits"),
                got=format_shape(logits),
                hint=say("end it with Dense"),
            )
        return x

    def __repr__(self) -> str:
        return format_container(self, self.layers)


Container = Sequence | Parallel | SideHead


def count_levels(holder: Container) -> int:
    """How many containers lie inside one another, `holder` the outermost."""
    inside = holder.branches if isinstance(holder, Parallel) else holder.layers
    return 1 + max((layer.levels for layer in inside if isinstance(layer, Container)), default=0)


def need_levels(holder: Container) -> None:
    if holder.levels > LEVELS:
        what, rule = (
            say("containers are nested too deep"),
            say("at most {most} levels, counting the net itself", most=LEVELS),
        )
        raise NetError(type(holder).__name__, what, got=say("{levels} levels", levels=holder.levels), rule=rule)


def check_layer(value: Any, holder: Layer) -> Layer:
    """`value`, or NetError where it is no layer."""
    if isinstance(value, Layer):
        name = type(value).__name__
        if LAYERS.get(name) is not type(value):
            what, hint = (
                say("this class is not registered as a layer"),
                say("@striate.layer above class {name}", name=name),
            )
            raise NetError(name, what, hint=hint)
        return value
    hint = f"{value.__name__}()" if isinstance(value, type) else "Conv(6, 5)"
    what = say("holds layers, with brackets after its name") if isinstance(value, type) else say("holds layers")
    raise NetError(type(holder).__name__, what, got=cut_brief(value), hint=hint)


def name_layers(layers: tuple[Layer, ...], kind: str | None = None) -> tuple[tuple[str, Layer], ...]:
    """Each layer with its name: its own, or its kind and how many of that kind came so far (conv1, conv2, …).

    Raises NetError where two layers would have one name.
    """
    seen: Counter[str] = Counter()
    names = []
    for layer in layers:
        stem = kind or layer.KIND
        seen[stem] += 1
        names.append(layer.name or f"{stem}{seen[stem]}")
    if len(set(names)) < len(names):
        twice = next(name for name, count in Counter(names).items() if count > 1)
        raise NetError(
            twice, say("two layers side by side have this name"), hint=say("give one of them another name=…")
        )
    return tuple(zip(names, layers, strict=True))


def format_container(layer: Container, inside: tuple[Layer, ...]) -> str:
    """The expression that makes a container, broken over lines where it is long."""
    options = [f"{f}={v!r}" for f, v, usual in list_extras(layer) if v != usual]
    parts = [repr(child) for child in inside] + options
    line = f"{type(layer).__name__}({', '.join(parts)})"
    if len(line) <= 88 and "\n" not in line:
        return line
    body = "".join("    " + part.replace("\n", "\n    ") + ",\n" for part in parts)
    return f"{type(layer).__name__}(\n{body})"


def list_extras(layer: Container) -> list[tuple[str, Any, Any]]:
    """A container's fields beside its layers: (name, value, default)."""
    own = {"join": "concat"} if isinstance(layer, Parallel) else {"weight": 0.3} if isinstance(layer, SideHead) else {}
    return [(f, getattr(layer, f), usual) for f, usual in [*own.items(), ("name", None)]]
