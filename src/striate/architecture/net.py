"""Net: an input shape and a sequence of layer records. The walk over them, and the checks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import import_module
from math import ceil, floor
from typing import Any, NamedTuple

from ..errors import ModelError, NetError, ShapeError, suggest_name
from ..language import say
from ..terminal import make_printable
from .layers import Container, Layer, LayerScale, Parallel, Sequence, Shape, SideHead, Softmax, Tensor, format_shape
from .layers.containers import check_layer
from .layers.layer import is_whole
from .limits import FIELD, MOST_LAYERS, NUMBER, cut_brief


class Axis(NamedTuple):
    """The receptive field along one axis: `size` input pixels, units `jump` pixels apart, the first from `start`.

    Behind a layer that makes the map larger, units may be less than a pixel apart; size and start are then rounded so
    that all that is seen lies within.
    """

    size: int
    jump: float
    start: int


# Rows and columns; None is the whole input, behind a squeeze-and-excitation gate.
Field = tuple[Axis, Axis] | None


class LayerStep(NamedTuple):
    """One layer as the walk meets it.

    path    its name with those of the containers around it: "stage1.block2.conv1"
    inside  how many of the steps that follow belong to it (0: no container)
    side    within a SideHead, so computed in training alone
    local   the receptive field beside all gates: `field` but for the branches that stretch one value over a map
    """

    path: str
    depth: int
    layer: Layer
    x: Shape
    y: Shape
    field: Field
    inside: int
    side: bool
    local: tuple[Axis, Axis]


class FieldPair(NamedTuple):
    """The receptive field, and that beside all gates."""

    field: Field
    local: tuple[Axis, Axis]


def ends_in_shares(layers: tuple[Layer, ...]) -> bool:
    """Whether layers one after another give probabilities: a Softmax is last, or the mean of several that end so."""
    match layers:
        case [*_, Softmax()]:
            return True
        case [*_, Parallel() as nets, LayerScale()]:
            inside = [branch.layers if isinstance(branch, Sequence) else (branch,) for branch in nets.branches]
            return nets.join == "add" and all(map(ends_in_shares, inside))
    return False


def under_name(layer: Layer, name: str) -> Layer:
    """`layer` under `name`."""
    if isinstance(layer, Parallel):
        return Parallel(*layer.branches, join=layer.join, name=name)
    if isinstance(layer, Sequence):
        return Sequence(*layer.layers, name=name)
    if isinstance(layer, SideHead):
        return SideHead(*layer.layers, weight=layer.weight, name=name)
    return replace(layer, name=name)


@dataclass(frozen=True, repr=False, init=False)
class Net:
    """An architecture: what comes in and the layers it goes through. Pure data; a Net that exists fits its input.

    Raises NetError for a record that is wrong in itself, ShapeError for a layer that does not fit what reaches it.

    >>> net = Net(input=(1, 32, 32), layers=[Conv(6, 5), ReLU(), MaxPool(2), Flatten(), Dense(10)])
    >>> net.output, [step.path for step in net.steps]
    ((10,), ['conv1', 'relu1', 'pool1', 'flatten1', 'dense1'])
    """

    input: Shape
    layers: tuple[Layer, ...]
    name: str = "net"

    def __init__(self, input: Iterable[int], layers: Iterable[Any], name: str = "net") -> None:
        fill_net(self, check_order(check_input(input)), layers, name)

    @cached_property
    def body(self) -> Sequence:
        return Sequence(*self.layers)

    @cached_property
    def steps(self) -> tuple[LayerStep, ...]:
        """Every layer in the order of the data, containers before what they hold."""
        return tuple(walk_layers(self.body, self.input))

    @property
    def output(self) -> Shape:
        return self.body_out(self.input)

    def body_out(self, x: Shape) -> Shape:
        return next((step.y for step in reversed(self.steps) if step.depth == 0), x)

    @property
    def classes(self) -> int:
        """How many classes it tells apart: the length of its output vector. Raises NetError for a map."""
        if len(self.output) != 1:
            raise NetError(
                self.name,
                say("a classifier ends in a vector of logits"),
                got=format_shape(self.output),
                hint=say("end it with Dense"),
            )
        return self.output[0]

    @property
    def gives_probabilities(self) -> bool:
        """Whether it ends in Softmax, or in the scaled sum of branches that do; otherwise its output is logits, and a
        Model applies softmax to them.
        """
        return ends_in_shares(self.layers)

    @cached_property
    def tensors(self) -> dict[str, Tensor]:
        """Every tensor of every layer by its full name, "conv1.weight": the keys of the model file."""
        return {f"{s.path}.{t.name}": t for s in self.steps for t in s.layer.tensors(s.x)}

    def torch(self, seed: int = 0) -> Any:
        """The net as a `torch.nn.Module` with fresh weights, settled by `seed`: N×C×H×W -> its output.

        `state_dict()` has the names and shapes of `tensors`. Raises ModuleNotFoundError where torch is not installed.

        >>> from striate.architecture import zoo
        >>> sum(weight.numel() for weight in zoo.build("lenet5").torch().parameters())
        61706
        """
        # The record knows no engine: the one that trains is looked up when it is asked for.
        return import_module("striate.engines.torch").build_network(self, seed)

    def resized(self, input: Iterable[int]) -> Net:
        """The same layers on another input. Raises ShapeError where they do not fit."""
        return replace(self, input=check_input(input)) if tuple(input) != self.input else self

    def at(self, path: str) -> LayerStep:
        """The step at `path`. Raises NetError with the nearest name."""
        for step in self.steps:
            if step.path == path:
                return step
        raise NetError(
            path,
            say("{net} has no layer of this name", net=self.name),
            hint=suggest_name(path, [s.path for s in self.steps]),
        )

    def __repr__(self) -> str:
        body = "".join("        " + repr(layer).replace("\n", "\n        ") + ",\n" for layer in self.layers)
        return f"Net(\n    input={self.input!r},\n    layers=[\n{body}    ],\n    name={self.name!r},\n)"


def fill_net(net: Net, input: Shape, layers: Iterable[Any], name: str) -> None:
    object.__setattr__(net, "input", input)
    object.__setattr__(net, "layers", tuple(check_layer(layer, Sequence()) for layer in layers))
    object.__setattr__(net, "name", checked_name(name))
    try:
        net.steps  # noqa: B018  walks, and so checks
    except ShapeError as e:
        other = suggest_input(net)
        e.hint = say("{hint}; or {other}", hint=e.hint, other=other) if e.hint and other else e.hint or other
        raise


def make_inner_net(x: Iterable[int], layers: Iterable[Any], name: str = "net") -> Net:
    """The net that `layers` are on a map inside another: its axes are C×H×W, whatever they look like."""
    net: Net = object.__new__(Net)
    fill_net(net, check_input(x), layers, name)
    return net


def checked_name(name: Any) -> str:
    if not isinstance(name, str) or make_printable(name) != name:
        raise NetError("Net.name", say("a net's name must be a text without control characters"), got=cut_brief(name))
    return name


def check_input(value: Iterable[int]) -> Shape:
    shape = tuple(value) if isinstance(value, Iterable) and not isinstance(value, str) else ()
    if len(shape) != 3 or not all(is_whole(n, 1) for n in shape):
        batched = len(shape) == 4 and all(is_whole(n, 1) for n in shape)
        hint = say("{shape}, without the batch", shape=shape[1:]) if batched else "(3, 224, 224)"
        raise NetError("Net.input", say("input must be (channels, height, width)"), got=cut_brief(value), hint=hint)
    if max(shape) > NUMBER:
        raise NetError(
            "Net.input", say("input is too large"), got=cut_brief(value), rule=say("each at most {most:,}", most=NUMBER)
        )
    return shape


def check_order(shape: Shape) -> Shape:
    """Raises NetError for an image whose channels come last: 1, 3 or 4 of them behind two equal or two large sides."""
    c, h, w = shape
    square, large = c == h, w > 1 and min(c, h) >= 16
    if w in (1, 3, 4) and min(c, h) > 4 and (square or large):
        meant, asked = format_shape((w, c, h)), format_shape((c, w, h))
        hint = say(
            "did you mean {meant}? An image of {channels} channels can be given as {asked}",
            meant=meant, channels=c, asked=asked,
        )  # fmt: skip
        raise NetError("Net.input", say("channels come first here"), got=format_shape(shape), rule="C×H×W", hint=hint)
    return shape


def walk_layers(body: Sequence, input: Shape) -> list[LayerStep]:
    """The steps of `body`'s layers. Raises ShapeError naming the layer, with the steps before it as `.steps`."""
    steps: list[Any] = []
    pixel = Axis(1, 1, 0), Axis(1, 1, 0)
    seen, x = FieldPair(pixel, pixel), input
    try:
        for name, layer in body.named:
            x, seen = visit_layer(name, layer, x, seen, 0, False, steps)
    except ShapeError as e:
        e.steps = [step for step in steps if step]  # type: ignore[attr-defined]
        raise
    return steps


def visit_layer(
    path: str, layer: Layer, x: Shape, seen: FieldPair, depth: int, side: bool, steps: list
) -> tuple[Shape, FieldPair]:
    """Append the step of `layer` and of all in it; return the shape and the fields after it."""
    if not isinstance(layer, Container):
        try:
            y = layer.out(x)
        except ShapeError as e:
            raise e.at(f"{path} ({layer!r})") from None
        seen = widen_fields(layer, x, seen)
        need_bounded_map(path, y, seen.local, len(steps))
        steps.append(LayerStep(path, depth, layer, x, y, seen.field, 0, side, seen.local))
        return y, seen
    place = len(steps)
    need_bounded_map(path, x, seen.local, place)
    steps.append(None)
    if isinstance(layer, Parallel):
        ends = [visit_layer(f"{path}.{name}", b, x, seen, depth + 1, side, steps) for name, b in layer.named]
        try:
            y = layer.joined([shape for shape, _ in ends])
        except ShapeError as e:
            raise e.at(path) from None
        after = join_branches(ends, y)
    else:
        y, after = x, seen
        for name, child in layer.named:
            y, after = visit_layer(
                f"{path}.{name}", child, y, after, depth + 1, side or isinstance(layer, SideHead), steps
            )
        if isinstance(layer, SideHead):
            if len(y) != 1:
                raise ShapeError(
                    path,
                    say("a SideHead ends in a vector of logits"),
                    got=format_shape(y),
                    hint=say("end it with Dense"),
                )
            y, after = x, seen
    steps[place] = LayerStep(path, depth, layer, x, y, after.field, len(steps) - place - 1, side, after.local)
    return y, after


def need_bounded_map(path: str, y: Shape, field: Field, steps: int) -> None:
    """Raise NetError or ShapeError at `path` where the net, its map `y` or its field is beyond `limits`."""
    path = path if len(path) <= 80 else f"…{path[-79:]}"
    if steps >= MOST_LAYERS:
        raise NetError(
            path,
            say("the net has too many layers"),
            rule=say("at most {most:,}, counting containers", most=MOST_LAYERS),
        )
    if len(y) == 3 and max(y) > NUMBER:
        rule = say("at most {most:,} channels, rows and columns", most=NUMBER)
        raise ShapeError(path, say("the map is too large"), got=format_shape(y), rule=rule)
    if field is not None and max(max(axis.size, axis.jump) for axis in field) > FIELD:
        raise ShapeError(path, say("the receptive field is too large"), rule=say("at most {most:,} pixels", most=FIELD))


def widen_fields(layer: Layer, x: Shape, seen: FieldPair) -> FieldPair:
    """The fields after `layer`: size + (extent − 1)·jump, jump·stride, start − before·jump (Araujo et al. 2019)."""
    reach = layer.reach(x)
    if reach is None:
        return seen
    made = tuple(
        Axis(ceil(a.size + (r.extent - 1) * a.jump), make_whole(a.jump * r.stride), floor(a.start - r.before * a.jump))
        for a, r in zip(seen.local, reach, strict=True)
    )
    local = made[0], made[1]
    return FieldPair(None if seen.field is None else local, local)


def make_whole(jump: float) -> float:
    """As a whole number where it is one."""
    return int(jump) if jump == int(jump) else jump


def join_branches(ends: list[tuple[Shape, FieldPair]], y: Shape) -> FieldPair:
    """The fields of joined branches. A branch that is stretched over the map is a gate: through it all is seen."""
    beside = [seen.local for shape, seen in ends if shape[1:] == y[1:]]
    local = join_fields(beside)
    whole = len(beside) < len(ends) or any(seen.field is None for _, seen in ends)
    return FieldPair(None if whole else local, local)


def join_fields(fields: list[tuple[Axis, Axis]]) -> tuple[Axis, Axis]:
    """From the first pixel that any of them sees to the last."""
    first = fields[0]
    if len(fields) == 1 or all(f == first for f in fields):
        return first
    axes = []
    for side in zip(*fields, strict=True):
        start = min(a.start for a in side)
        jump = max(a.jump for a in side)
        axes.append(Axis(max(a.start + a.size for a in side) - start, jump, start))
    return axes[0], axes[1]


def suggest_input(net: Net) -> str:
    """A hint: the smallest input of the same proportions that the layers accept; "" where larger does not help."""

    def fits(side: int) -> bool:
        try:
            walk_layers(net.body, (c, side, max(1, round(side * w / h))))
        except ShapeError:
            return False
        return True

    c, h, w = net.input
    low, high = h, h
    while not fits(high):
        low, high = high, high * 2
        if high > 4096:
            return ""
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    return say("an input of at least {shape}", shape=format_shape((c, high, max(1, round(high * w / h)))))


def list_leaves(steps: Iterable[LayerStep]) -> Iterator[LayerStep]:
    """The steps that are no containers."""
    return (step for step in steps if not isinstance(step.layer, Container))


def check_tensors(net: Net, shapes: Mapping[str, Shape]) -> None:
    """Raise ModelError unless `shapes` are those of `net.tensors`."""
    wanted = {name: spec.shape for name, spec in net.tensors.items()}
    for missing in [name for name in wanted if name not in shapes][:1]:
        raise ModelError(missing, say("{net} needs this tensor, but it is missing", net=net.name), got=list_few(shapes))
    for extra in [name for name in shapes if name not in wanted][:1]:
        raise ModelError(
            extra,
            say("{net} has no tensor of this name", net=net.name),
            rule=say("its tensors are {names}", names=list_few(wanted)),
        )
    for name, shape in wanted.items():
        if tuple(shapes[name]) != shape:
            raise ModelError(
                name,
                say("this tensor's shape differs from the net's"),
                got=format_shape(shapes[name]),
                rule=f"{net.name}: {format_shape(shape)}",
            )


def list_few(names: Mapping[str, object]) -> str:
    """The first few names."""
    shown = list(names)[:4]
    if len(names) > len(shown):
        return say("{names}, … ({count} in all)", names=", ".join(shown), count=len(names))
    return ", ".join(shown) or say("none")
