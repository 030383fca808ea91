"""Net: an input shape and a sequence of layer records. The walk over them, and the checks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import import_module
from typing import Any, NamedTuple

from ..errors import ModelError, NetError, ShapeError, suggest_name
from ..terminal import make_printable
from .layers import Container, Layer, Parallel, Sequence, Shape, SideHead, Softmax, Tensor, format_shape
from .layers.containers import check_layer
from .layers.layer import is_whole
from .limits import FIELD, MOST_LAYERS, NUMBER, cut_brief


class Axis(NamedTuple):
    """The receptive field along one axis: `size` input pixels, units `jump` pixels apart, the first from `start`."""

    size: int
    jump: int
    start: int


# Rows and columns; None is the whole input, behind a squeeze-and-excitation gate.
Field = tuple[Axis, Axis] | None


class LayerStep(NamedTuple):
    """One layer as the walk meets it.

    path    its name with those of the containers around it: "stage1.block2.conv1"
    inside  how many of the steps that follow belong to it (0: no container)
    side    within a SideHead, so computed in training alone
    """

    path: str
    depth: int
    layer: Layer
    x: Shape
    y: Shape
    field: Field
    inside: int
    side: bool


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
        object.__setattr__(self, "input", check_input(input))
        object.__setattr__(self, "layers", tuple(check_layer(layer, Sequence()) for layer in layers))
        object.__setattr__(self, "name", checked_name(name))
        try:
            self.steps  # noqa: B018  walks, and so checks
        except ShapeError as e:
            e.hint = "; or ".join(part for part in (e.hint, suggest_input(self)) if part)
            raise

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
                "a classifier ends in a vector of logits",
                got=format_shape(self.output),
                hint="end it with Dense",
            )
        return self.output[0]

    @property
    def gives_probabilities(self) -> bool:
        """Whether it ends in Softmax; otherwise its output is logits, and a Model applies softmax to them."""
        return bool(self.layers) and isinstance(self.layers[-1], Softmax)

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
            path, f"{self.name} has no layer of this name", hint=suggest_name(path, [s.path for s in self.steps])
        )

    def __repr__(self) -> str:
        body = "".join("        " + repr(layer).replace("\n", "\n        ") + ",\n" for layer in self.layers)
        return f"Net(\n    input={self.input!r},\n    layers=[\n{body}    ],\n    name={self.name!r},\n)"


def checked_name(name: Any) -> str:
    if not isinstance(name, str) or make_printable(name) != name:
        raise NetError("Net.name", "a net's name must be a text without control characters", got=cut_brief(name))
    return name


def check_input(value: Iterable[int]) -> Shape:
    shape = tuple(value) if isinstance(value, Iterable) and not isinstance(value, str) else ()
    if len(shape) != 3 or not all(is_whole(n, 1) for n in shape):
        raise NetError(
            "Net.input", "input must be (channels, height, width)", got=cut_brief(value), hint="(3, 224, 224)"
        )
    if max(shape) > NUMBER:
        raise NetError("Net.input", "input is too large", got=cut_brief(value), rule=f"each at most {NUMBER:,}")
    return shape


def walk_layers(body: Sequence, input: Shape) -> list[LayerStep]:
    """The steps of `body`'s layers. Raises ShapeError naming the layer, with the steps before it as `.steps`."""
    steps: list[Any] = []
    field: Field = (Axis(1, 1, 0), Axis(1, 1, 0))
    x = input
    try:
        for name, layer in body.named:
            x, field = visit_layer(name, layer, x, field, 0, False, steps)
    except ShapeError as e:
        e.steps = [step for step in steps if step]  # type: ignore[attr-defined]
        raise
    return steps


def visit_layer(
    path: str, layer: Layer, x: Shape, field: Field, depth: int, side: bool, steps: list
) -> tuple[Shape, Field]:
    """Append the step of `layer` and of all in it; return the shape and the field after it."""
    if not isinstance(layer, Container):
        try:
            y = layer.out(x)
        except ShapeError as e:
            raise e.at(f"{path} ({layer!r})") from None
        field = widen_field(layer, x, field)
        need_bounded_map(path, y, field, len(steps))
        steps.append(LayerStep(path, depth, layer, x, y, field, 0, side))
        return y, field
    place = len(steps)
    need_bounded_map(path, x, field, place)
    steps.append(None)
    if isinstance(layer, Parallel):
        ends = [visit_layer(f"{path}.{name}", b, x, field, depth + 1, side, steps) for name, b in layer.named]
        try:
            y = layer.joined([shape for shape, _ in ends])
        except ShapeError as e:
            raise e.at(path) from None
        after = join_fields([f for (shape, f) in ends], stretched=any(s[1:] != y[1:] for s, _ in ends))
    else:
        y, after = x, field
        for name, child in layer.named:
            y, after = visit_layer(
                f"{path}.{name}", child, y, after, depth + 1, side or isinstance(layer, SideHead), steps
            )
        if isinstance(layer, SideHead):
            if len(y) != 1:
                raise ShapeError(
                    path, "a SideHead ends in a vector of logits", got=format_shape(y), hint="end it with Dense"
                )
            y, after = x, field
    steps[place] = LayerStep(path, depth, layer, x, y, after, len(steps) - place - 1, side)
    return y, after


def need_bounded_map(path: str, y: Shape, field: Field, steps: int) -> None:
    """Raise NetError or ShapeError at `path` where the net, its map `y` or its field is beyond `limits`."""
    path = path if len(path) <= 80 else f"…{path[-79:]}"
    if steps >= MOST_LAYERS:
        raise NetError(path, "the net has too many layers", rule=f"at most {MOST_LAYERS:,}, counting containers")
    if len(y) == 3 and max(y) > NUMBER:
        rule = f"at most {NUMBER:,} channels, rows and columns"
        raise ShapeError(path, "the map is too large", got=format_shape(y), rule=rule)
    if field is not None and max(max(axis.size, axis.jump) for axis in field) > FIELD:
        raise ShapeError(path, "the receptive field is too large", rule=f"at most {FIELD:,} pixels")


def widen_field(layer: Layer, x: Shape, field: Field) -> Field:
    """The field after `layer`: size + (extent − 1)·jump, jump·stride, start − before·jump (Araujo et al. 2019)."""
    reach = layer.reach(x)
    if reach is None or field is None:
        return field
    return tuple(  # type: ignore[return-value]
        Axis(a.size + (r.extent - 1) * a.jump, a.jump * r.stride, a.start - r.before * a.jump)
        for a, r in zip(field, reach, strict=True)
    )


def join_fields(fields: list[Field], stretched: bool) -> Field:
    """The field of joined branches: from the first pixel that any of them sees to the last."""
    if stretched or any(f is None for f in fields):
        return None
    first = fields[0]
    if len(fields) == 1 or all(f == first for f in fields):
        return first
    axes = []
    for side in zip(*fields, strict=True):  # type: ignore[arg-type]
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
    return f"an input of at least {format_shape((c, high, max(1, round(high * w / h))))}"


def list_leaves(steps: Iterable[LayerStep]) -> Iterator[LayerStep]:
    """The steps that are no containers."""
    return (step for step in steps if not isinstance(step.layer, Container))


def check_tensors(net: Net, shapes: Mapping[str, Shape]) -> None:
    """Raise ModelError unless `shapes` are those of `net.tensors`."""
    wanted = {name: spec.shape for name, spec in net.tensors.items()}
    for missing in [name for name in wanted if name not in shapes][:1]:
        raise ModelError(missing, f"{net.name} needs this tensor, but it is missing", got=list_few(shapes))
    for extra in [name for name in shapes if name not in wanted][:1]:
        raise ModelError(extra, f"{net.name} has no tensor of this name", rule=f"its tensors are {list_few(wanted)}")
    for name, shape in wanted.items():
        if tuple(shapes[name]) != shape:
            raise ModelError(
                name,
                "this tensor's shape differs from the net's",
                got=format_shape(shapes[name]),
                rule=f"{net.name}: {format_shape(shape)}",
            )


def list_few(names: Mapping[str, object]) -> str:
    """The first few names."""
    shown = list(names)[:4]
    return ", ".join(shown) + (f", … ({len(names)} in all)" if len(names) > 4 else "") or "none"
