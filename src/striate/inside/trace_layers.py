"""How each layer makes one value: its operands, their sum, and what is done after. One function a layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import sqrt
from typing import NamedTuple

import numpy as np

from ..arch import layers as L
from ..arch.abilities import EXPLAIN
from ..arch.layers import Layer
from ..arch.net import Net
from ..engines.plain import windows
from ..engines.plain.activations import ACTIVATIONS
from ..engines.plain.norms import neighbours
from .trace_account import (
    Account,
    adds,
    constant,
    gives,
    group,
    largest,
    largest_of,
    mean_of,
    sum_of,
    unchanged,
)
from .trace_record import Step, Term, address, short

Array = np.ndarray
Index = tuple[int, ...]
IMAGE = "image"
"""The address of the net's input."""


class Scene(NamedTuple):
    """What a value is explained from: the maps of one image by path, C×H×W or a vector, `image` among them."""

    net: Net
    tensors: Mapping[str, Array]
    maps: Mapping[str, Array]


@dataclass(frozen=True)
class Place:
    """One value of one layer: the layer's path and input, the address of that input, and the index."""

    scene: Scene
    path: str
    source: str
    x: Array
    index: Index

    def tensor(self, name: str) -> Array:
        return np.asarray(self.scene.tensors[f"{self.path}.{name}"], np.float64)

    def weight_at(self, name: str, *index: int) -> str:
        return address(f"{self.path}.{name}", index)

    def input(self, *index: int) -> Term:
        """The operand at `index` of the layer's input, as it is."""
        x = float(self.x[index])
        return Term(x, x, address(self.source, index))


def settled(net: Net, path: str) -> str:
    """The path whose map this one's is: a Sequence's is that of its last layer, a side head's that of its input."""
    layer = net.at(path).layer
    if isinstance(layer, L.Sequence) and layer.layers:
        return settled(net, f"{path}.{layer.named[-1][0]}")
    return feed(net, path) if isinstance(layer, L.Sequence | L.SideHead) else path


def feed(net: Net, path: str) -> str:
    """The path of the map that the layer at `path` reads, or IMAGE."""
    parent, _, name = path.rpartition(".")
    holder = net.at(parent).layer if parent else net.body
    names = [other for other, _ in holder.named]  # type: ignore[attr-defined]
    place = 0 if isinstance(holder, L.Parallel) else names.index(name)
    if place:
        return settled(net, f"{parent}.{names[place - 1]}" if parent else names[place - 1])
    return feed(net, parent) if parent else IMAGE


def sources(net: Net, path: str) -> list[str]:
    """The paths of all maps that the value of `path` is made of: one, or for joined branches one each."""
    layer = net.at(path).layer
    if isinstance(layer, L.Parallel):
        return [settled(net, f"{path}.{name}") for name, _ in layer.named]
    return [feed(net, path)]


def account(scene: Scene, path: str, index: Index) -> Account:
    """The parts of the value at `index` of the layer at `path`, which is no Sequence and no SideHead."""
    layer = scene.net.at(path).layer
    source = sources(scene.net, path)[0]
    return EXPLAIN(layer, Place(scene, path, source, scene.maps[source], index))


@EXPLAIN.of(L.Identity, L.Dropout, L.StochasticDepth)
def passed_on(layer: Layer, at: Place) -> Account:
    """What changes nothing in evaluation."""
    return unchanged(at.input(*at.index))


FORMULAS: dict[type, tuple[str, Callable]] = {
    L.ReLU: ("max(0, x)", lambda _: "max(0, {0})"),
    L.ReLU6: ("min(max(0, x), 6)", lambda _: "min(max(0, {0}), 6)"),
    L.LeakyReLU: ("x, or slope·x where x < 0", lambda layer: f"{{0}}, times {layer.slope:g} if negative"),
    L.ELU: ("x, or alpha·(e^x − 1) where x < 0", lambda layer: f"{{0}}, or {layer.alpha:g}·(e^{{0}} − 1) if negative"),
    L.GELU: ("x·Φ(x)", lambda _: "{0}·Φ({0})"),
    L.SiLU: ("x·sigmoid(x)", lambda _: "{0} / (1 + e^−({0}))"),
    L.Sigmoid: ("1 / (1 + e^−x)", lambda _: "1 / (1 + e^−({0}))"),
    L.Tanh: ("tanh(x)", lambda _: "tanh({0})"),
    L.HardSigmoid: ("min(max(0, x + 3), 6) / 6", lambda _: "min(max(0, {0} + 3), 6) / 6"),
    L.HardSwish: ("x·min(max(0, x + 3), 6) / 6", lambda _: "{0}·min(max(0, {0} + 3), 6) / 6"),
}


@EXPLAIN.of(*FORMULAS)
def activation(layer: Layer, at: Place) -> Account:
    """The function of one value, with its number in the formula."""
    (rule, form), (function, _) = FORMULAS[type(layer)], ACTIVATIONS[type(layer)]
    term = at.input(*at.index)
    y = float(function(layer, np.array(term.x, np.float64)))
    return Account(rule, "same", [group("input", [term])], [gives(rule, form(layer), y, term)], y, abs(term.x), term.at)


EXPLAIN.none_for(L.Sequence, why="its value is that of its last layer, which is traced in its place")
EXPLAIN.none_for(L.SideHead, why="it passes on what reaches it, which is traced in its place")


@EXPLAIN.of(L.Conv)
def conv(layer: L.Conv, at: Place) -> Account:
    """Channel by channel, the patch under the window times the filter; then the bias."""
    f, i, j = at.index
    rows, columns = windows.taps(layer, at.x.shape)
    rows, columns = rows[i], columns[j]
    weight = at.tensor("weight")[f]
    first = f // (layer.filters // layer.groups) * len(weight)  # the first channel that this filter's part sees
    groups = []
    for c, kernel in enumerate(weight):
        terms = []
        for (a, b), w in np.ndenumerate(kernel):
            seen = tap(at, first + c, int(rows[a]), int(columns[b]))
            terms.append(
                seen._replace(value=seen.x * float(w), weight=float(w), weight_at=at.weight_at("weight", f, c, a, b))
            )
        groups.append(group(f"channel {first + c}", terms, kernel.shape))
    if layer.bias:
        groups.append(group("bias", [bias(at, f)]))
    rule = "Σ patch·filter over the channels" + (" + bias" if layer.bias else "")
    return sum_of(rule, groups)


def tap(at: Place, c: int, r: int, k: int) -> Term:
    """The value at row r, column k of channel c, or padding."""
    if 0 <= r < at.x.shape[1] and 0 <= k < at.x.shape[2]:
        return at.input(c, r, k)
    return Term(0.0, 0.0, None, note="padding")


def bias(at: Place, unit: int) -> Term:
    b = float(at.tensor("bias")[unit])
    return Term(b, b, None, weight=b, weight_at=at.weight_at("bias", unit), note="bias")


@EXPLAIN.of(L.Dense)
def dense(layer: L.Dense, at: Place) -> Account:
    """Every input times its weight; by channel where a map was flattened; then the bias."""
    (unit,) = at.index
    weight = at.tensor("weight")[unit]
    xs = at.x.astype(np.float64)
    terms = [
        Term(x * w, x, address(at.source, [i]), w, at.weight_at("weight", unit, i))
        for i, (x, w) in enumerate(zip(xs.tolist(), weight.tolist(), strict=True))
    ]
    flat = at.scene.net.at(at.source) if at.source != IMAGE else None
    groups = [group("inputs", terms)]
    if flat and isinstance(flat.layer, L.Flatten) and len(flat.x) == 3:
        c, h, w = flat.x
        groups = [group(f"channel {k}", terms[k * h * w : (k + 1) * h * w], (h, w)) for k in range(c)]
    if layer.bias:
        groups.append(group("bias", [bias(at, unit)]))
    return sum_of("Σ input·weight" + (" + bias" if layer.bias else ""), groups)


@EXPLAIN.of(L.MaxPool)
def max_pool(layer: L.MaxPool, at: Place) -> Account:
    c, i, j = at.index
    rows, columns = windows.taps(layer, at.x.shape)
    terms = [tap(at, c, int(r), int(k)) for r in rows[i] for k in columns[j]]
    return largest_of(terms, "the largest under the window", c, (len(rows[i]), len(columns[j])))


@EXPLAIN.of(L.AvgPool)
def avg_pool(layer: L.AvgPool, at: Place) -> Account:
    c, i, j = at.index
    rows, columns = windows.taps(layer, at.x.shape)
    terms = [tap(at, c, int(r), int(k)) for r in rows[i] for k in columns[j]]
    count = int(windows.counted(layer, rows, columns, at.x.shape)[i, j])
    return mean_of("the mean under the window", group(f"channel {c}", terms, (len(rows[i]), len(columns[j]))), count)


@EXPLAIN.of(L.BlurPool)
def blur_pool(layer: L.BlurPool, at: Place) -> Account:
    """The window, where it reaches beyond the map its mirror image, times the fixed filter."""
    c, i, j = at.index
    rows, columns = windows.taps(layer, at.x.shape)
    terms = []
    for r, high in zip(rows[i].tolist(), layer.taps, strict=True):
        for k, wide in zip(columns[j].tolist(), layer.taps, strict=True):
            seen, w = at.input(c, r, k), high * wide
            terms.append(seen._replace(value=seen.x * w, weight=w, note="fixed weight"))
    return sum_of("Σ patch·blur", [group(f"channel {c}", terms, (layer.kernel, layer.kernel))])


@EXPLAIN.of(L.GlobalAvgPool)
def global_avg_pool(layer: L.GlobalAvgPool, at: Place) -> Account:
    c, (_, h, w) = at.index[0], at.x.shape
    terms = [at.input(c, i, j) for i in range(h) for j in range(w)]
    return mean_of(f"the mean of map {c}", group(f"channel {c}", terms, (h, w)), h * w)


@EXPLAIN.of(L.GlobalMaxPool)
def global_max_pool(layer: L.GlobalMaxPool, at: Place) -> Account:
    c, (_, h, w) = at.index[0], at.x.shape
    return largest_of([at.input(c, i, j) for i in range(h) for j in range(w)], f"the largest of map {c}", c, (h, w))


@EXPLAIN.of(L.Flatten)
def flatten(layer: L.Flatten, at: Place) -> Account:
    place = tuple(int(k) for k in np.unravel_index(at.index[0], at.x.shape))
    return unchanged(at.input(*place))


@EXPLAIN.of(L.PadChannels)
def pad_channels(layer: L.PadChannels, at: Place) -> Account:
    c = at.index[0] - layer.before
    if 0 <= c < at.x.shape[0]:
        return unchanged(at.input(c, *at.index[1:]))
    term = Term(0.0, 0.0, None, note="padding")
    return Account("a channel of zeros", "same", [group("input", [term])], [], 0.0, 0.0, None)


@EXPLAIN.of(L.Parallel)
def parallel(layer: L.Parallel, at: Place) -> Account:
    """Which branch it comes from, or what each branch gives."""
    names = [name for name, _ in layer.named]
    maps = [(path, at.scene.maps[path]) for path in sources(at.scene.net, at.path)]
    if layer.join == "concat":
        c, first = at.index[0], 0
        for name, (path, values) in zip(names, maps, strict=True):
            if c < first + len(values):
                own = (c - first, *at.index[1:])
                x = float(values[own])
                term = Term(x, x, address(path, own), note=f"{name}, its channel {own[0]}")
                return Account(f"{name}, unchanged", "same", [group(name, [term])], [], x, abs(x), term.at)
            first += len(values)
    terms = []
    for name, (path, values) in zip(names, maps, strict=True):
        own = tuple(min(k, n - 1) for k, n in zip(at.index, values.shape, strict=True))  # 1×1 is stretched
        x = float(values[own])
        terms.append(Term(x, x, address(path, own), note=name))
    if layer.join == "add":
        return sum_of("the branches added", [group(term.note, [term]) for term in terms])
    y = float(np.prod([term.x for term in terms]))
    groups = [group(term.note, [term]) for term in terms]
    return Account("the branches multiplied", "product", groups, [], y, abs(y), largest(terms))


@EXPLAIN.of(L.LayerScale)
def layer_scale(layer: L.LayerScale, at: Place) -> Account:
    term, w = at.input(*at.index), float(at.tensor("weight")[at.index[0]])
    scale = Term(w, w, None, weight=w, weight_at=at.weight_at("weight", at.index[0]), note="scale")
    groups = [group("input", [term]), group("scale", [scale])]
    return Account("x·scale", "product", groups, [], term.x * w, abs(term.x * w), term.at)


@EXPLAIN.of(L.BatchNorm)
def batch_norm(layer: L.BatchNorm, at: Place) -> Account:
    """Less the running mean, over the deviation, times the scale, plus the shift: line by line."""
    c = at.index[0]
    middle, variance = (float(at.tensor(name)[c]) for name in ("running_mean", "running_var"))
    steps, y, scale = normalised(
        at.input(*at.index),
        constant(middle, at.weight_at("running_mean", c), "mean"),
        constant(variance, at.weight_at("running_var", c), "variance"),
        layer.eps,
        affine(at, layer, c),
    )
    term = at.input(*at.index)
    rule = "(x − mean) / √(variance + eps)" + ("·scale + shift" if layer.affine else "")
    return Account(rule, "same", [group("input", [term])], steps, y, scale, term.at)


def affine(at: Place, layer: L.BatchNorm | L.LayerNorm, c: int) -> tuple[Term, Term] | None:
    if not layer.affine:
        return None
    scale, shift = (float(at.tensor(name)[c]) for name in ("weight", "bias"))
    return constant(scale, at.weight_at("weight", c), "scale"), constant(shift, at.weight_at("bias", c), "shift")


def normalised(
    x: Term, middle: Term, variance: Term, eps: float, learned: tuple[Term, Term] | None
) -> tuple[list[Step], float, float]:
    """The lines of a normalisation, its result, and the size of what cancels in it."""
    less = middle._replace(value=-middle.value)
    deviation = sqrt(variance.x + eps)
    steps = [adds("less the mean", x, less)]
    y = steps[0].value / deviation
    scale = (abs(x.x) + abs(middle.x)) / deviation
    steps.append(gives("over the deviation", f"{{0}} / √({{1}} + {short(eps)})", y, constant(steps[0].value), variance))
    if learned:
        weight, shift = learned
        product = y * weight.x
        steps.append(gives("times the scale", "{0} · {1}", product, constant(y), weight))
        steps.append(adds("plus the shift", constant(product), shift))
        y, scale = steps[-1].value, scale * abs(weight.x) + abs(shift.x)
    return steps, y, scale


@EXPLAIN.of(L.LayerNorm)
def layer_norm(layer: L.LayerNorm, at: Place) -> Account:
    """All channels at this position give the mean and the variance; then as in any normalisation."""
    c, rest = at.index[0], at.index[1:]
    terms = [at.input(k, *rest) for k in range(len(at.x))]
    xs = np.array([t.x for t in terms])
    middle, variance = float(xs.mean()), float(xs.var())
    steps = [
        gives("mean", f"{{0}} / {len(xs)}", middle, constant(float(xs.sum()))),
        gives("variance", "mean of (x − {0})²", variance, constant(middle)),
    ]
    more, y, scale = normalised(terms[c], constant(middle), constant(variance), layer.eps, affine(at, layer, c))
    scale *= max(1.0, float(np.abs(xs).max()) / max(abs(terms[c].x) + abs(middle), 1e-12))
    rule = "(x − mean) / √(variance + eps) over the channels here" + ("·scale + shift" if layer.affine else "")
    return Account(rule, "sum", [group("channels", terms)], [*steps, *more], y, scale, terms[c].at)


@EXPLAIN.of(L.LocalResponseNorm)
def local_response_norm(layer: L.LocalResponseNorm, at: Place) -> Account:
    c, rest = at.index[0], at.index[1:]
    near = np.flatnonzero(neighbours(layer.size, len(at.x))[c])
    terms = [t._replace(value=t.x**2, note="squared") for t in (at.input(int(k), *rest) for k in near)]
    squares, own = group("squares of the neighbours", terms), at.input(*at.index)
    s = layer.k + layer.alpha / layer.size * squares.value
    y = own.x / s**layer.beta
    form = f"{layer.k:g} + {layer.alpha:g} / {layer.size} · {{0}}"
    steps = [
        gives("response", form, s, constant(squares.value)),
        gives("x over it", f"{{0}} / {{1}}^{layer.beta:g}", y, own, constant(s)),
    ]
    return Account("x / (k + alpha/size · Σ x²)^beta", "sum", [squares], steps, y, abs(y), own.at)


@EXPLAIN.of(L.Softmax)
def softmax(layer: L.Softmax, at: Place) -> Account:
    """e to each logit less the largest, and the share of one in their sum."""
    k, rest = at.index[0], at.index[1:]
    xs = [at.input(i, *rest) for i in range(len(at.x))]
    top = max(t.x for t in xs)
    terms = [t._replace(value=float(np.exp(t.x - top)), note=f"e^({short(t.x)} − {short(top)})") for t in xs]
    powers = group("e^(x − largest)", terms)
    y = terms[k].value / powers.value
    step = gives("its share", "{0} / {1}", y, constant(terms[k].value), constant(powers.value))
    return Account("e^x / Σ e^x", "sum", [powers], [step], y, y * (1 + max(abs(t.x) for t in xs)), xs[k].at)
