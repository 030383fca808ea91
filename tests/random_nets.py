"""Random nets for property tests: every layer kind, odd sizes, strides, paddings, dilation, groups, nested branches.

Nets are drawn layer by layer, each made to fit the map that reaches it, so that hardly a draw is rejected. They stay
small: a few channels, a few pixels, so that hundreds run in seconds. A new record is drawn from its own EXAMPLES.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import numpy as np
from hypothesis import strategies as st

from striate.architecture import layers as L
from striate.architecture.layers import LAYERS, Layer, Sequence, Shape
from striate.architecture.layers.containers import Parallel
from striate.architecture.net import Net
from striate.errors import NetError, ShapeError

KINDS = frozenset(LAYERS)
"""All that `nets` can draw."""

WINDOWED = ("Conv", "MaxPool", "AvgPool")
HOLDING = ("Sequence", "Parallel", "SideHead")


def example(name: str) -> Layer:
    """A layer of this kind, each field at the first of its examples."""
    record = LAYERS[name]
    return record(**{field: values[0] for field, values in record.EXAMPLES.items()})


def kinds_that(gives: Callable[[Layer], bool]) -> tuple[str, ...]:
    """The kinds of layer that are drawn from their examples alone, and of which this is true."""
    drawn = [name for name in LAYERS if name not in (*WINDOWED, *HOLDING, "Dense")]
    return tuple(name for name in drawn if gives(example(name)))


MAP = (3, 9, 9)
KEEPING = kinds_that(lambda layer: layer.out(MAP) == MAP and layer.reach(MAP) is None)
FLAT = kinds_that(lambda layer: len(layer.out(MAP)) == 1)
MAPPING = kinds_that(lambda layer: len(layer.out(MAP)) == 3 and type(layer).__name__ not in KEEPING)
"""Those that keep the shape and look at one position; that make a vector of a map; and the others."""

GATES = tuple(name for name in FLAT if "keepdims" in LAYERS[name].EXAMPLES)
"""Those that give C×1×1 where they are asked to."""

NARROW, WIDE = 1, 6
"""Channels of a drawn layer, least and most."""


@st.composite
def nets(
    draw: st.DrawFn,
    max_side: int = 11,
    kinds: Collection[str] = KINDS,
    layers: int = 5,
    depth: int = 2,
    random: bool = False,
) -> Net:
    """A valid classifier: input at most `max_side` a side, `layers` drawn layers, branches nested `depth` deep.

    kinds   names of LAYERS that may occur; Dense, and Flatten or GlobalAvgPool where neither is in it, always may
    random  whether Dropout and StochasticDepth may have a rate above 0
    """
    pen = Pen(draw, frozenset(kinds), random)
    x: Shape = (pen.whole(1, 4), pen.whole(1, max_side), pen.whole(1, max_side))
    input, made = x, []
    for _ in range(pen.whole(0, layers)):
        layer = pen.layer(x, depth)
        made.append(layer)
        x = layer.out(x)
    classes = pen.whole(2, 5)
    if "SideHead" in kinds and pen.chance(5):
        made.insert(pen.whole(0, len(made)), pen.side(classes))
    return Net(input, [*made, *pen.end(x, classes)], name="random")


class Pen:
    """Draws layers of the allowed kinds, each made to fit the shape that it is given."""

    def __init__(self, draw: st.DrawFn, kinds: frozenset[str], random: bool) -> None:
        self.draw, self.kinds, self.random = draw, kinds, random

    def whole(self, least: int, most: int) -> int:
        return self.draw(st.integers(least, most))

    def chance(self, out_of: int) -> bool:
        """True about once in `out_of` times; shrinks to False."""
        return self.whole(1, out_of) == out_of

    def one(self, items: Collection[Any]) -> Any:
        return self.draw(st.sampled_from(list(items)))

    def allowed(self, names: Collection[str]) -> list[str]:
        return [name for name in names if name in self.kinds]

    def layer(self, x: Shape, depth: int) -> Layer:
        """Any layer that fits the map `x`; containers at most `depth` deep."""
        choices = [*self.allowed(WINDOWED), *self.allowed(WINDOWED[:1])]
        choices += ["keep"] if self.allowed(KEEPING) else []
        choices += [kind for kind in self.allowed(MAPPING) if fits(example(kind), x)]
        choices += self.allowed(["Parallel", "Parallel", "Sequence"]) if depth else []
        if not choices:
            return L.Identity()
        match self.one(choices):
            case "keep":
                return self.keeping(x)
            case "Parallel":
                return self.parallel(x, depth - 1)
            case "Sequence":
                return self.sequence(x, depth - 1)
            case kind if kind in WINDOWED:
                return self.windowed(kind, x, self.geometry(x))
            case kind:
                return self.of_examples(kind, x)

    def of_examples(self, kind: str, x: Shape) -> Layer:
        """A layer of this kind, its fields drawn from their examples; the first ones where the drawn do not fit `x`."""
        options = LAYERS[kind].EXAMPLES
        drawn = {field: self.one(values) for field, values in options.items()}
        if "rate" in drawn and not self.random:
            drawn["rate"] = 0.0
        try:
            layer = LAYERS[kind](**drawn)
        except NetError:
            return example(kind)
        return layer if fits(layer, x) else example(kind)

    def keeping(self, x: Shape) -> Layer:
        """A layer that keeps the shape and looks at one position."""
        kinds = [k for k in self.allowed(KEEPING) if fits(example(k), x)]
        norms = [k for k in kinds if k.endswith("Norm")]
        return self.of_examples(self.one(norms if norms and self.chance(3) else kinds), x)

    def pair(self, values: Collection[int]) -> Any:
        """A whole number, or once in four times (rows, columns)."""
        return (self.one(values), self.one(values)) if self.chance(4) else self.one(values)

    def geometry(self, x: Shape) -> dict[str, Any]:
        """Kernel, stride, padding and dilation that fit the map `x`."""
        window = {
            "kernel": self.pair([1, 2, 3, 3, 4, 5]),
            "stride": self.pair([1, 1, 2, 3]),
            "dilation": self.pair([1, 1, 1, 2]),
        }
        four = st.tuples(*[st.integers(0, 2)] * 4)
        window["padding"] = self.draw(st.one_of(st.just("valid"), st.just("same"), st.integers(0, 2), four))
        if not fits(L.Conv(1, **window), x):
            window["padding"] = "same"
        return window

    def windowed(self, kind: str, x: Shape, window: dict[str, Any], filters: int | None = None) -> Layer:
        """A Conv or a pooling with this window, or a Conv where the pooling cannot have it."""
        if kind != "Conv":
            options = {key: value for key, value in window.items() if kind == "MaxPool" or key != "dilation"}
            if kind == "AvgPool":
                options["count_padding"] = self.one([False, True])
            for ceil in self.one([[False], [True, False]]):
                try:
                    pool = LAYERS[kind](**options, ceil=ceil)
                except NetError:
                    break
                same = fits(L.Conv(1, **window), x) and L.Conv(1, **window).out(x)[1:]
                if fits(pool, x) and (filters is None or pool.out(x)[1:] == same):
                    return pool
        groups = 1
        if filters is None:
            groups = self.one([g for g in range(1, x[0] + 1) if x[0] % g == 0])
            filters = groups * self.whole(NARROW, max(NARROW, WIDE // groups))
        return L.Conv(filters, **window, groups=groups, bias=self.one([True, True, False]))

    def sequence(self, x: Shape, depth: int) -> Sequence:
        made = []
        for _ in range(self.whole(0, 3)):
            made.append(self.layer(x, depth))
            x = made[-1].out(x)
        return Sequence(*made)

    def parallel(self, x: Shape, depth: int) -> Layer:
        """Branches that fit each other; once in four times a squeeze-and-excitation gate."""
        join = self.one(["concat", "add", "multiply"])
        if join == "multiply" and "Conv" in self.kinds and self.allowed(GATES) and self.chance(2):
            return Parallel(*self.draw(st.permutations([self.straight(x), self.gate(x)])), join=join)
        window = self.geometry(x) if "Conv" in self.kinds and self.chance(2) else None
        branches = [self.branch(x, window, depth) for _ in range(self.whole(1, 3))]
        if join != "concat":
            widest = max(b.out(x)[0] for b in branches)
            branches = [self.widened(b, x, widest) for b in branches]
        return Parallel(*branches, join=join)

    def straight(self, x: Shape) -> Layer:
        return self.keeping(x) if self.allowed(KEEPING) else L.Identity()

    def gate(self, x: Shape) -> Sequence:
        act = LAYERS[self.one(self.allowed(("Sigmoid", "HardSigmoid")) or ["Identity"])]()
        pool = LAYERS[self.one(self.allowed(GATES))](keepdims=True)
        return Sequence(pool, L.Conv(self.whole(1, 3), 1), L.Tanh(), L.Conv(x[0], 1), act)

    def branch(self, x: Shape, window: dict[str, Any] | None, depth: int) -> Sequence:
        """A branch whose output is as large as that of a Conv with `window`, or as `x` where there is none."""
        made: list[Layer] = []
        if window is not None:
            made.append(self.windowed(self.one(self.allowed(WINDOWED)), x, window, filters=self.whole(NARROW, WIDE)))
            x = made[-1].out(x)
        for _ in range(self.whole(0, 2)):
            made.append(self.level(x, depth))
            x = made[-1].out(x)
        return Sequence(*made)

    def level(self, x: Shape, depth: int) -> Layer:
        """A layer that keeps H×W."""
        choices = [*self.allowed(WINDOWED), *(["keep"] if self.allowed(KEEPING) else [])]
        if depth and "Parallel" in self.kinds:
            choices.append("Parallel")
        match self.one(choices or ["none"]):
            case "none":
                return L.Identity()
            case "keep":
                return self.keeping(x)
            case "Parallel":
                inner = [Sequence(), *(Sequence(self.level(x, depth - 1)) for _ in range(self.whole(0, 2)))]
                join = self.one(["concat", "add"])
                if join == "add":
                    widest = max(b.out(x)[0] for b in inner)
                    inner = [self.widened(b, x, widest) for b in inner]
                return Parallel(*inner, join=join)
            case kind:
                window = {"kernel": self.one([1, 2, 3]), "stride": 1, "padding": "same"}
                return self.windowed(kind, x, window | {"dilation": self.one([1, 2])}, filters=self.whole(NARROW, WIDE))

    def widened(self, branch: Layer, x: Shape, channels: int) -> Layer:
        """`branch` with `channels` channels, by zeros or by a 1×1 convolution."""
        missing = channels - branch.out(x)[0]
        if not missing:
            return branch
        if "PadChannels" in self.kinds and (self.chance(3) or "Conv" not in self.kinds):
            before = self.whole(0, missing)
            return Sequence(branch, L.PadChannels(before, missing - before))
        return Sequence(branch, L.Conv(channels, 1))

    def side(self, classes: int) -> Layer:
        return L.SideHead(L.GlobalAvgPool(), L.Dense(classes), weight=self.one([0.3, 1.0]))

    def end(self, x: Shape, classes: int) -> list[Layer]:
        """From the map to the logits, or to probabilities."""
        flat = self.one(self.allowed(FLAT) or ["GlobalAvgPool"])
        made: list[Layer] = [LAYERS[flat]()]
        vector = made[0].out(x)
        for _ in range(self.whole(0, 2)):
            layer: Layer = L.Dense(self.whole(1, 5), bias=self.one([True, False]))
            if self.allowed(KEEPING) and self.chance(2):
                layer = self.keeping(vector)
            elif "Parallel" in self.kinds and self.chance(3):
                layer = Parallel(L.Identity(), L.Dense(vector[0]), join=self.one(["concat", "add", "multiply"]))
            made.append(layer)
            vector = layer.out(vector)
        made.append(L.Dense(classes))
        return [*made, L.Softmax()] if "Softmax" in self.kinds and self.chance(3) else made


def fits(layer: Layer, x: Shape) -> bool:
    try:
        layer.out(x)
    except ShapeError:
        return False
    return True


def tensors_for(net: Net, seed: int = 0) -> dict[str, np.ndarray]:
    """Random float64 values for every one of `net.tensors`; variances positive, scales around 1."""
    generator = np.random.default_rng(seed)
    made = {}
    for name, tensor in net.tensors.items():
        value = generator.standard_normal(tensor.shape)
        if name.endswith("running_var"):
            value = 0.5 + np.abs(value)
        elif len(tensor.shape) > 1:
            value *= (2 / max(1, tensor.fan_in)) ** 0.5
        elif name.endswith("weight"):
            value = 1 + 0.3 * value
        made[name] = value
    return made


def inputs_for(net: Net, n: int = 2, seed: int = 0) -> np.ndarray:
    """A batch of `n` random float64 inputs N×C×H×W."""
    return np.random.default_rng([seed, n]).standard_normal((n, *net.input))
