"""The trace of any number: what a value of a layer is made of, down to the pixels, checked against the whole map."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import inf, isfinite
from typing import NamedTuple

import numpy as np

from ..architecture.layers import Parallel, Shape, Softmax, format_shape
from ..architecture.net import Net
from ..engines import plain
from ..engines.plain import cone, network
from ..errors import suggest_name
from ..language import join_texts, say, to_say
from .trace_place import IMAGE_PATH, Index, Scene, list_sources, resolve_path
from .trace_record import (
    Term,
    TermGroup,
    Trace,
    TraceError,
    TraceStep,
    apportion_units,
    count_decimals,
    count_units,
    format_address,
    format_units,
)
from .trace_rules import ValueAccount, account_value, make_constant, make_step, make_term_group

__all__ = ["Trace", "TraceError", "finish_trace", "parse_address", "check_place", "trace_value"]

# A path that every classifier has: the softmax of its logits.
PROBABILITY = "probability"


AXES = (to_say("channel"), to_say("row"), to_say("column"))


class TraceEngine(NamedTuple):
    """What computes the maps, and how exactly.

    usual  within this share of what is added up a disagreement is rounding: of few numbers, or of many that cancel
    unit   half the distance from 1 to the next number: the most by which one operation is off, as a share
    """

    by: str
    usual: float
    unit: float


ENGINES = {
    # In float32 it was at most 3e-7 over 2,500 random nets (tests/random_nets.py), ResNet-50, GoogLeNet and
    # DenseNet-121, followed from a probability to the pixels.
    "onnx": TraceEngine(to_say("ONNX Runtime, float32, whole maps"), 5e-6, 2.0**-24),
    "plain": TraceEngine(to_say("plain engine, float64, whole maps"), 1e-9, 2.0**-53),
}


def trace_value(
    net: Net,
    tensors: Mapping[str, np.ndarray],
    image: np.ndarray,
    path: str,
    *index: int,
    depth: int | None = 1,
    engine: str = "onnx",
    pixels: tuple[Sequence[float], Sequence[float]] | None = None,
) -> Trace:
    """Why the value at `index` of the layer `path` is what it is.

    image   one input, C×H×W float, after preprocessing
    path    a layer's, or "probability", the softmax of the net's output, or "image"
    index   channel, row, column from 0; or the place in a vector
    depth   how many values to trace in a row, each time going on to the operand that weighs most; None is as far as
            the pixels
    engine  what computes the maps: "onnx", quick, or "plain", exact to float64. The trace does its arithmetic by
            itself, in float64, and must come to the same value, or TraceError is raised
    pixels  the preprocessing's (mean, std), so that a pixel's trace goes on to its byte
    """
    net, path = add_probability(net, path)
    goal = resolve_path(net, path) if path != IMAGE_PATH and check_place(net, path, index) else path
    check_place(net, path, index)
    wanted = list_ways_down(net, goal, depth)
    scene = Scene(
        net, tensors, {IMAGE_PATH: np.asarray(image)} | compute_whole_maps(net, tensors, image, wanted, engine)
    )
    made: list[Trace] = []
    here: str | None = format_address(goal, index)
    while here and (depth is None or len(made) < max(1, depth)):
        at, spot = parse_address(here)
        made.append(trace_pixel(scene, spot, pixels) if at == IMAGE_PATH else explain_value(scene, at, spot, engine))
        here = made[-1].lead
    below: Trace | None = None
    for one in reversed(made):
        below = replace(one, followed=below)
    assert below is not None
    return below


def add_probability(net: Net, path: str) -> tuple[Net, str]:
    """Where `path` is "probability" and no layer's name: the net with a softmax last, and the path of that."""
    if path != PROBABILITY or any(step.path == PROBABILITY for step in net.steps):
        return net, path
    if net.gives_probabilities:
        return net, net.body.named[-1][0]
    return Net(net.input, [*net.layers, Softmax(name=PROBABILITY)], net.name), path


def parse_address(text: str) -> tuple[str, Index]:
    """A path and an index from their text form. Raises TraceError for another form.

    >>> parse_address("conv1[3,10,12]")
    ('conv1', (3, 10, 12))
    """
    found = re.fullmatch(r"\s*([\w.]+)\s*\[\s*(\d+(?:\s*,\s*\d+)*)\s*\]\s*", text)
    if not found:
        raise TraceError(text, say("an address is a layer's name and an index in brackets"), hint="conv1[3,10,12]")
    return found[1], tuple(int(number) for number in found[2].split(","))


def check_place(net: Net, path: str, index: Index) -> Shape:
    """The shape of the map at `path`. Raises TraceError for an unknown path, or an index that is not in the map."""
    shapes = {IMAGE_PATH: net.input} | {step.path: step.y for step in net.steps if not step.side}
    if path not in shapes:
        side = any(step.path == path for step in net.steps)
        what = (
            say("a side head is computed in training alone")
            if side
            else say("{net} has no layer of this name", net=net.name)
        )
        raise TraceError(path, what, hint=suggest_name(path, shapes))
    shape = shapes[path]
    inside = len(index) == len(shape) and all(0 <= i < n for i, n in zip(index, shape, strict=True))
    if not inside:
        axes = say("channel, row and column") if len(shape) == 3 else say("one place in the vector")
        raise TraceError(
            format_address(path, index),
            say("the map is {shape}: {axes}, each counted from 0", shape=format_shape(shape), axes=axes),
            got=", ".join(map(str, index)),
            rule=join_texts(say(" and "), [f"{say(name)} < {n}" for name, n in zip(AXES, shape, strict=False)]),
            hint=format_address(path, (n // 2 for n in shape)),
        )
    return shape


def list_ways_down(net: Net, path: str, depth: int | None) -> list[str]:
    """Every path whose map `depth` traces in a row may read, starting at `path`."""
    found, edge = {path}, {path}
    while edge and depth != 0:
        edge = {source for one in edge if one != IMAGE_PATH for source in list_sources(net, one)} - (
            found if depth is None else set()
        )
        found |= edge
        depth = None if depth is None else depth - 1
    return [step.path for step in net.steps if step.path in found]


def compute_whole_maps(
    net: Net, tensors: Mapping[str, np.ndarray], image: np.ndarray, paths: list[str], engine: str
) -> dict[str, np.ndarray]:
    """The maps at `paths`, of the net up to the last of them only."""
    if engine not in ENGINES:
        raise TraceError("engine", say("there is no such engine"), got=engine, hint=suggest_name(engine, ENGINES))
    if not paths:
        return {}
    tops = [name for name, _ in net.body.named]
    last = max(tops.index(path.split(".")[0]) for path in paths)
    front = Net(net.input, net.layers[: last + 1], net.name)
    own = {name: tensors[name] for name in front.tensors if name in tensors}
    if engine == "plain":
        maps = plain.compute_maps(front, own, image[None])
    else:
        from ..engines import onnx

        maps = onnx.run_maps(front, own, image[None], paths)
    return {path: maps[path][0] for path in paths}


def explain_value(scene: Scene, path: str, index: Index, engine: str) -> Trace:
    """The trace of one value. Raises TraceError where its parts do not come to the value in the map.

    Many equal numbers are added up with errors that do not cancel: a white picture's mean is off by far more than a
    photograph's. There the parts must come to what float64 gives for the same input, and the map may be off by as much
    as float32 can be at worst.
    """
    told, usual, unit = ENGINES[engine]
    by = say(told)
    value = float(scene.maps[path][index])
    parts = account_value(scene, path, index)
    size = max(parts.scale, abs(value), 1e-3)
    where, layer = format_address(path, index), scene.net.at(path).layer
    if not usual * size < abs(parts.value - value) < inf:  # what is no number goes on to `finish_trace`, which says so
        return finish_trace(where, repr(layer), parts, value, usual * size, by)
    tolerance = max(usual, bound_rounding(parts, unit)) * size
    finish_trace(where, repr(layer), parts, value, tolerance, by)
    exact = ENGINES["plain"]
    agreed = finish_trace(
        where, repr(layer), parts, compute_in_float64(scene, path, index), exact.usual * size, say(exact.by)
    )
    return replace(agreed, value=value, tolerance=tolerance, checked_by=by)


def bound_rounding(parts: ValueAccount, unit: float) -> float:
    """How far a sum may be off, as a share of the sum of its terms' sizes, whatever their order (Higham 2002, 4.2).

    A term is rounded once where it is a product and once by every addition that it goes through; the few more are what
    a mean, a deviation or a power adds.
    """
    roundings = sum(len(group.terms) for group in parts.groups) + 8
    return roundings * unit / (1 - roundings * unit)


def compute_in_float64(scene: Scene, path: str, index: Index) -> float:
    """The value at `index` of the layer at `path`, by the plain engine from the same input as the trace's."""
    layer = scene.net.at(path).layer
    if isinstance(layer, Parallel):
        joined = network.forward_join(
            layer, [np.asarray(scene.maps[one], np.float64)[None] for one in list_sources(scene.net, path)]
        )
        return float(joined[(0, *index)])
    x = np.asarray(scene.maps[list_sources(scene.net, path)[0]], np.float64)
    own = {t.name: np.asarray(scene.tensors[f"{path}.{t.name}"], np.float64) for t in layer.tensors(x.shape)}
    return cone.compute_layer_value(layer, x, own, index)


def trace_pixel(scene: Scene, index: Index, pixels: tuple[Sequence[float], Sequence[float]] | None) -> Trace:
    """The trace of a value of the image: from its byte, where the preprocessing is known."""
    x = float(scene.maps[IMAGE_PATH][index])
    if pixels is None:
        parts = ValueAccount(say("a value of the image as it reaches the net"), "same", [], [], x, abs(x), None)
    else:
        mean, std = (float(np.broadcast_to(v, len(scene.maps[IMAGE_PATH]))[index[0]]) for v in pixels)
        byte = round((x * std + mean) * 255)
        y = (byte / 255 - mean) / std
        step = make_step(
            say("preprocessed"), "({0} / 255 − {1}) / {2}", y, *map(make_constant, (float(byte), mean, std))
        )
        term = Term(float(byte), float(byte), None, note=say("byte, 0 to 255"))
        parts = ValueAccount(
            say("(byte / 255 − mean) / std"),
            "same",
            [make_term_group(say("pixel"), [term])],
            [step],
            y,
            1 + abs(x),
            None,
        )
    return finish_trace(
        format_address(IMAGE_PATH, index), say("image"), parts, x, 1e-5 * max(1.0, parts.scale), say("the image")
    )


def finish_trace(where: str, layer: str, parts: ValueAccount, value: float, tolerance: float, by: str) -> Trace:
    """The record of an account, rounded for display. Raises TraceError where it does not come to `value`."""
    if not isfinite(value) or not isfinite(parts.value):
        raise TraceError(where, say("this value is not finite, so there is nothing to add up"), got=value)
    if abs(parts.value - value) > tolerance:
        raise TraceError(
            where,
            say("the parts do not add up to the value in the whole map"),
            got=say("{parts!r} from its parts, {value!r} from {by}", parts=parts.value, value=value, by=by),
            rule=say("they may differ by {tolerance:.2g}", tolerance=tolerance),
        )
    groups, steps, shown = round_for_display(parts, value)
    return Trace(
        where, layer, parts.rule, parts.op, tuple(groups), tuple(steps), value, parts.value, tolerance, by, shown,
        parts.lead,
    )  # fmt: skip


def round_for_display(parts: ValueAccount, value: float) -> tuple[list[TermGroup], list[TraceStep], str]:
    """Groups and steps with their numbers as they are shown, and the value likewise: sums add up as shown."""
    numbers = [v for g in parts.groups for v in (g.value, *(t.value for t in g.terms))] or [value]
    places = count_decimals(numbers)
    combined = value if parts.op == "sum" and not parts.steps else sum(g.value for g in parts.groups)
    if parts.op == "sum":
        totals = apportion_units([g.value for g in parts.groups], count_units(combined, places), places)
    else:
        totals = [count_units(g.value, places) for g in parts.groups]
    groups = [round_group(g, total, places, parts.op) for g, total in zip(parts.groups, totals, strict=True)]
    steps = [round_step(step) for step in parts.steps]
    shown = steps[-1].shown if steps else format_units(count_units(value, places), places)
    return groups, steps, shown


def round_group(group: TermGroup, total: int, places: int, op: str) -> TermGroup:
    values = [t.value for t in group.terms]
    if op == "sum":
        numbers = apportion_units(values, total, places)
    else:
        numbers = [count_units(v, places) for v in values]
    terms = tuple(t._replace(shown=format_units(n, places)) for t, n in zip(group.terms, numbers, strict=True))
    return group._replace(terms=terms, shown=format_units(total, places))


def round_step(step: TraceStep) -> TraceStep:
    places = count_decimals([step.value, *(part.value for part in step.parts)] if step.exact else [step.value])
    total = count_units(step.value, places)
    if not step.exact:
        return step._replace(shown=format_units(total, places))
    numbers = apportion_units([part.value for part in step.parts], total, places)
    parts = tuple(p._replace(shown=format_units(n, places)) for p, n in zip(step.parts, numbers, strict=True))
    first, *rest = parts
    text = first.shown + "".join(f" − {p.shown[1:]}" if p.shown[0] == "-" else f" + {p.shown}" for p in rest)
    return step._replace(parts=parts, text=text, shown=format_units(total, places))
