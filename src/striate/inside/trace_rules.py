"""How each layer makes one value: its operands, their sum, and what is done after. One function a layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..architecture import layers as L
from ..architecture.abilities import EXPLAIN
from ..architecture.layers import Layer
from ..architecture.net import Net
from ..engines.plain import windows
from ..engines.plain.norms import Scaled, find_neighbours
from ..engines.plain.pointwise import ACTIVATIONS
from .trace_format import format_short
from .trace_record import (
    Term,
    TermGroup,
    TraceStep,
    ValueAccount,
    explain_largest,
    explain_unchanged,
    find_largest,
    format_address,
    make_addition,
    make_constant,
    make_mean,
    make_step,
    make_sum,
    make_term_group,
)

Index = tuple[int, ...]
# The address of the net's input.
IMAGE_PATH = "image"


class Scene(NamedTuple):
    """What a value is explained from: the maps of one image by path, C×H×W or a vector, `image` among them."""

    net: Net
    tensors: Mapping[str, NDArray]
    maps: Mapping[str, NDArray]


@dataclass(frozen=True)
class ValuePlace:
    """One value of one layer: the layer's path and input, the address of that input, and the index."""

    scene: Scene
    path: str
    source: str
    x: NDArray
    index: Index

    def tensor_row(self, name: str, unit: int) -> NDArray:
        """What the layer's tensor holds for one output, in float64: of a large layer the whole would be gigabytes."""
        return np.asarray(self.scene.tensors[f"{self.path}.{name}"][unit], np.float64)

    def weight_at(self, name: str, *index: int) -> str:
        return format_address(f"{self.path}.{name}", index)

    def input(self, *index: int) -> Term:
        """The operand at `index` of the layer's input, as it is."""
        x = float(self.x[index])
        return Term(x, x, format_address(self.source, index))


def resolve_path(net: Net, path: str) -> str:
    """The path whose map this one's is: a Sequence's is that of its last layer, a side head's that of its input."""
    layer = net.at(path).layer
    if isinstance(layer, L.Sequence) and layer.layers:
        return resolve_path(net, f"{path}.{layer.named[-1][0]}")
    return find_feed(net, path) if isinstance(layer, L.Sequence | L.SideHead) else path


def find_feed(net: Net, path: str) -> str:
    """The path of the map that the layer at `path` reads, or IMAGE."""
    parent, _, name = path.rpartition(".")
    holder = net.at(parent).layer if parent else net.body
    names = [other for other, _ in holder.named]  # type: ignore[attr-defined]
    place = 0 if isinstance(holder, L.Parallel) else names.index(name)
    if place:
        return resolve_path(net, f"{parent}.{names[place - 1]}" if parent else names[place - 1])
    return find_feed(net, parent) if parent else IMAGE_PATH


def list_sources(net: Net, path: str) -> list[str]:
    """The paths of all maps that the value of `path` is made of: one, or for joined branches one each."""
    layer = net.at(path).layer
    if isinstance(layer, L.Parallel):
        return [resolve_path(net, f"{path}.{name}") for name, _ in layer.named]
    return [find_feed(net, path)]


def account_value(scene: Scene, path: str, index: Index) -> ValueAccount:
    """The parts of the value at `index` of the layer at `path`, which is no Sequence and no SideHead."""
    layer = scene.net.at(path).layer
    source = list_sources(scene.net, path)[0]
    return EXPLAIN(layer, ValuePlace(scene, path, source, scene.maps[source], index))


@EXPLAIN.of(L.Identity, L.Dropout, L.StochasticDepth)
def explain_passed_on(layer: Layer, at: ValuePlace) -> ValueAccount:
    """What changes nothing in evaluation."""
    return explain_unchanged(at.input(*at.index))


FORMULAS: dict[type, tuple[str, Callable]] = {
    L.ReLU: ("max(0, x)", lambda _: "max(0, {0})"),
    L.ReLU6: ("min(max(0, x), 6)", lambda _: "min(max(0, {0}), 6)"),
    L.LeakyReLU: ("x, or slope·x where x < 0", lambda layer: f"{{0}}, times {layer.slope:g} if negative"),
    L.ELU: ("x, or alpha·(e^x − 1) where x < 0", lambda layer: f"{{0}}, or {layer.alpha:g}·(e^{{0}} − 1) if negative"),
    L.GELU: ("x·Φ(x)", lambda _: "{0}·Φ({0})"),
    L.SELU: (
        "1.0507·x, or 1.7581·(e^x − 1) where x < 0",
        lambda layer: f"{layer.SCALE:.4f}·{{0}}, or {layer.SCALE * layer.ALPHA:.4f}·(e^{{0}} − 1) if negative",
    ),
    L.CELU: (
        "x, or alpha·(e^(x/alpha) − 1) where x < 0",
        lambda layer: f"{{0}}, or {layer.alpha:g}·(e^({{0}}/{layer.alpha:g}) − 1) if negative",
    ),
    L.TanhGELU: (
        "x·(1 + tanh(√(2/π)·(x + 0.044715·x³)))/2",
        lambda _: "{0}·(1 + tanh(0.797885·({0} + 0.044715·({0})³)))/2",
    ),
    L.Mish: ("x·tanh(ln(1 + e^x))", lambda _: "{0}·tanh(ln(1 + e^({0})))"),
    L.Softplus: ("ln(1 + e^x)", lambda _: "ln(1 + e^({0}))"),
    L.SiLU: ("x·sigmoid(x)", lambda _: "{0} / (1 + e^−({0}))"),
    L.Sigmoid: ("1 / (1 + e^−x)", lambda _: "1 / (1 + e^−({0}))"),
    L.Tanh: ("tanh(x)", lambda _: "tanh({0})"),
    L.HardSigmoid: ("min(max(0, x + 3), 6) / 6", lambda _: "min(max(0, {0} + 3), 6) / 6"),
    L.HardSwish: ("x·min(max(0, x + 3), 6) / 6", lambda _: "{0}·min(max(0, {0} + 3), 6) / 6"),
}


@EXPLAIN.of(*FORMULAS)
def explain_activation(layer: Layer, at: ValuePlace) -> ValueAccount:
    """The function of one value, with its number in the formula."""
    (rule, form), (function, _) = FORMULAS[type(layer)], ACTIVATIONS[type(layer)]
    term = at.input(*at.index)
    y = float(function(layer, np.array(term.x, np.float64)))
    return ValueAccount(
        rule,
        "same",
        [make_term_group("input", [term])],
        [make_step(rule, form(layer), y, term)],
        y,
        abs(term.x),
        term.at,
    )


EXPLAIN.none_for(L.Sequence, why="its value is that of its last layer, which is traced in its place")
EXPLAIN.none_for(L.SideHead, why="it passes on what reaches it, which is traced in its place")


@EXPLAIN.of(L.Conv)
def explain_conv(layer: L.Conv, at: ValuePlace) -> ValueAccount:
    """Channel by channel, the patch under the window times the filter; then the bias."""
    f, i, j = at.index
    rows, columns = windows.find_taps(layer, at.x.shape)
    rows, columns = rows[i], columns[j]
    weight = at.tensor_row("weight", f)
    first = f // (layer.filters // layer.groups) * len(weight)  # the first channel that this filter's part sees
    groups = []
    for c, kernel in enumerate(weight):
        terms = []
        for (a, b), w in np.ndenumerate(kernel):
            seen = make_tap_term(at, first + c, int(rows[a]), int(columns[b]))
            terms.append(
                seen._replace(value=seen.x * float(w), weight=float(w), weight_at=at.weight_at("weight", f, c, a, b))
            )
        groups.append(make_term_group(f"channel {first + c}", terms, kernel.shape))
    if layer.bias:
        groups.append(make_term_group("bias", [make_bias_term(at, f)]))
    rule = "Σ patch·filter over the channels" + (" + bias" if layer.bias else "")
    return make_sum(rule, groups)


def make_tap_term(at: ValuePlace, c: int, r: int, k: int) -> Term:
    """The value at row r, column k of channel c, or padding."""
    if 0 <= r < at.x.shape[1] and 0 <= k < at.x.shape[2]:
        return at.input(c, r, k)
    return Term(0.0, 0.0, None, note="padding")


def make_bias_term(at: ValuePlace, unit: int) -> Term:
    b = float(at.tensor_row("bias", unit))
    return Term(b, b, None, weight=b, weight_at=at.weight_at("bias", unit), note="bias")


@EXPLAIN.of(L.Dense)
def explain_dense_layer(layer: L.Dense, at: ValuePlace) -> ValueAccount:
    """Every input times its weight; by channel where a map was flattened; then the bias."""
    (unit,) = at.index
    weight = at.tensor_row("weight", unit)
    xs = at.x.astype(np.float64)
    terms = [
        Term(x * w, x, format_address(at.source, [i]), w, at.weight_at("weight", unit, i))
        for i, (x, w) in enumerate(zip(xs.tolist(), weight.tolist(), strict=True))
    ]
    flat = at.scene.net.at(at.source) if at.source != IMAGE_PATH else None
    groups = [make_term_group("inputs", terms)]
    if flat and isinstance(flat.layer, L.Flatten) and len(flat.x) == 3:
        c, h, w = flat.x
        groups = [make_term_group(f"channel {k}", terms[k * h * w : (k + 1) * h * w], (h, w)) for k in range(c)]
    if layer.bias:
        groups.append(make_term_group("bias", [make_bias_term(at, unit)]))
    return make_sum("Σ input·weight" + (" + bias" if layer.bias else ""), groups)


@EXPLAIN.of(L.MaxPool)
def explain_max_pool(layer: L.MaxPool, at: ValuePlace) -> ValueAccount:
    c, i, j = at.index
    rows, columns = windows.find_taps(layer, at.x.shape)
    terms = [make_tap_term(at, c, int(r), int(k)) for r in rows[i] for k in columns[j]]
    return explain_largest(terms, "the largest under the window", c, (len(rows[i]), len(columns[j])))


@EXPLAIN.of(L.AvgPool)
def explain_avg_pool(layer: L.AvgPool, at: ValuePlace) -> ValueAccount:
    c, i, j = at.index
    rows, columns = windows.find_taps(layer, at.x.shape)
    terms = [make_tap_term(at, c, int(r), int(k)) for r in rows[i] for k in columns[j]]
    count = int(windows.count_values(layer, rows, columns, at.x.shape)[i, j])
    return make_mean(
        "the mean under the window", make_term_group(f"channel {c}", terms, (len(rows[i]), len(columns[j]))), count
    )


@EXPLAIN.of(L.BlurPool)
def explain_blur_pool(layer: L.BlurPool, at: ValuePlace) -> ValueAccount:
    """The window, where it reaches beyond the map its mirror image, times the fixed filter."""
    c, i, j = at.index
    rows, columns = windows.find_taps(layer, at.x.shape)
    terms = []
    for r, high in zip(rows[i].tolist(), layer.taps, strict=True):
        for k, wide in zip(columns[j].tolist(), layer.taps, strict=True):
            seen, w = at.input(c, r, k), high * wide
            terms.append(seen._replace(value=seen.x * w, weight=w, note="fixed weight"))
    return make_sum("Σ patch·blur", [make_term_group(f"channel {c}", terms, (layer.kernel, layer.kernel))])


@EXPLAIN.of(L.GlobalAvgPool)
def explain_global_avg_pool(layer: L.GlobalAvgPool, at: ValuePlace) -> ValueAccount:
    c, (_, h, w) = at.index[0], at.x.shape
    terms = [at.input(c, i, j) for i in range(h) for j in range(w)]
    return make_mean(f"the mean of map {c}", make_term_group(f"channel {c}", terms, (h, w)), h * w)


@EXPLAIN.of(L.GlobalMaxPool)
def explain_global_max_pool(layer: L.GlobalMaxPool, at: ValuePlace) -> ValueAccount:
    c, (_, h, w) = at.index[0], at.x.shape
    return explain_largest(
        [at.input(c, i, j) for i in range(h) for j in range(w)], f"the largest of map {c}", c, (h, w)
    )


@EXPLAIN.of(L.Flatten)
def explain_flatten(layer: L.Flatten, at: ValuePlace) -> ValueAccount:
    place = tuple(int(k) for k in np.unravel_index(at.index[0], at.x.shape))
    return explain_unchanged(at.input(*place))


@EXPLAIN.of(L.PadChannels)
def explain_pad_channels(layer: L.PadChannels, at: ValuePlace) -> ValueAccount:
    c = at.index[0] - layer.before
    if 0 <= c < at.x.shape[0]:
        return explain_unchanged(at.input(c, *at.index[1:]))
    term = Term(0.0, 0.0, None, note="padding")
    return ValueAccount("a channel of zeros", "same", [make_term_group("input", [term])], [], 0.0, 0.0, None)


@EXPLAIN.of(L.SliceChannels)
def explain_slice_channels(layer: L.SliceChannels, at: ValuePlace) -> ValueAccount:
    return explain_unchanged(at.input(layer.start + at.index[0], *at.index[1:]))


@EXPLAIN.of(L.ChannelShuffle)
def explain_channel_shuffle(layer: L.ChannelShuffle, at: ValuePlace) -> ValueAccount:
    return explain_unchanged(at.input(layer.find_source(at.index[0], at.x.shape), *at.index[1:]))


@EXPLAIN.of(L.Parallel)
def explain_parallel(layer: L.Parallel, at: ValuePlace) -> ValueAccount:
    """Which branch it comes from, or what each branch gives."""
    names = [name for name, _ in layer.named]
    maps = [(path, at.scene.maps[path]) for path in list_sources(at.scene.net, at.path)]
    if layer.join == "concat":
        c, first = at.index[0], 0
        for name, (path, values) in zip(names, maps, strict=True):
            if c < first + len(values):
                own = (c - first, *at.index[1:])
                x = float(values[own])
                term = Term(x, x, format_address(path, own), note=f"{name}, its channel {own[0]}")
                return ValueAccount(
                    f"{name}, unchanged", "same", [make_term_group(name, [term])], [], x, abs(x), term.at
                )
            first += len(values)
    terms = []
    for name, (path, values) in zip(names, maps, strict=True):
        own = tuple(min(k, n - 1) for k, n in zip(at.index, values.shape, strict=True))  # 1×1 is stretched
        x = float(values[own])
        terms.append(Term(x, x, format_address(path, own), note=name))
    if layer.join == "add":
        return make_sum("the branches added", [make_term_group(term.note, [term]) for term in terms])
    y = float(np.prod([term.x for term in terms]))
    groups = [make_term_group(term.note, [term]) for term in terms]
    return ValueAccount("the branches multiplied", "product", groups, [], y, abs(y), find_largest(terms))


@EXPLAIN.of(L.LayerScale)
def explain_layer_scale(layer: L.LayerScale, at: ValuePlace) -> ValueAccount:
    term, w = at.input(*at.index), float(at.tensor_row("weight", at.index[0]))
    scale = Term(w, w, None, weight=w, weight_at=at.weight_at("weight", at.index[0]), note="scale")
    groups = [make_term_group("input", [term]), make_term_group("scale", [scale])]
    return ValueAccount("x·scale", "product", groups, [], term.x * w, abs(term.x * w), term.at)


@EXPLAIN.of(L.BatchNorm)
def explain_batch_norm(layer: L.BatchNorm, at: ValuePlace) -> ValueAccount:
    """Less the running mean, over the deviation, times the scale, plus the shift: line by line."""
    c = at.index[0]
    middle, variance = (float(at.tensor_row(name, c)) for name in ("running_mean", "running_var"))
    steps, y, scale = explain_normalisation(
        at.input(*at.index),
        make_constant(middle, at.weight_at("running_mean", c), "mean"),
        make_constant(variance, at.weight_at("running_var", c), "variance"),
        layer.eps,
        make_affine_terms(at, layer, c),
    )
    term = at.input(*at.index)
    rule = "(x − mean) / √(variance + eps)" + ("·scale + shift" if layer.affine else "")
    return ValueAccount(rule, "same", [make_term_group("input", [term])], steps, y, scale, term.at)


def make_affine_terms(at: ValuePlace, layer: Scaled, c: int) -> tuple[Term, Term] | None:
    if not layer.affine:
        return None
    scale, shift = (float(at.tensor_row(name, c)) for name in ("weight", "bias"))
    return make_constant(scale, at.weight_at("weight", c), "scale"), make_constant(
        shift, at.weight_at("bias", c), "shift"
    )


def explain_normalisation(
    x: Term, middle: Term, variance: Term, eps: float, learned: tuple[Term, Term] | None
) -> tuple[list[TraceStep], float, float]:
    """The lines of a normalisation, its result, and the size of what cancels in it."""
    less = middle._replace(value=-middle.value)
    deviation = sqrt(variance.x + eps)
    steps = [make_addition("minus the mean", x, less)]
    y = steps[0].value / deviation
    scale = (abs(x.x) + abs(middle.x)) / deviation
    steps.append(
        make_step(
            "divided by the standard deviation",
            f"{{0}} / √({{1}} + {format_short(eps)})",
            y,
            make_constant(steps[0].value),
            variance,
        )
    )
    if learned:
        weight, shift = learned
        product = y * weight.x
        steps.append(make_step("times the scale", "{0} · {1}", product, make_constant(y), weight))
        steps.append(make_addition("plus the shift", make_constant(product), shift))
        y, scale = steps[-1].value, scale * abs(weight.x) + abs(shift.x)
    return steps, y, scale


@EXPLAIN.of(L.LayerNorm)
def explain_layer_norm(layer: L.LayerNorm, at: ValuePlace) -> ValueAccount:
    """All channels at this position give the mean and the variance; then as in any normalisation."""
    c, rest = at.index[0], at.index[1:]
    terms = [at.input(k, *rest) for k in range(len(at.x))]
    rule = "(x − mean) / √(variance + eps) over the channels here"
    return explain_own_statistics(layer, at, [make_term_group("channels", terms)], terms[c], rule)


def explain_own_statistics(
    layer: L.LayerNorm | L.GroupNorm | L.InstanceNorm, at: ValuePlace, groups: list[TermGroup], own: Term, rule: str
) -> ValueAccount:
    """The value `own` less the mean of all terms, over their deviation, times the scale, plus the shift."""
    xs = np.array([term.x for group in groups for term in group.terms])
    middle, variance = float(xs.mean()), float(xs.var())
    steps = [
        make_step("mean", f"{{0}} / {len(xs)}", middle, make_constant(float(xs.sum()))),
        make_step("variance", "mean of (x − {0})²", variance, make_constant(middle)),
    ]
    more, y, scale = explain_normalisation(
        own, make_constant(middle), make_constant(variance), layer.eps, make_affine_terms(at, layer, at.index[0])
    )
    scale *= max(1.0, float(np.abs(xs).max()) / max(abs(own.x) + abs(middle), 1e-12))
    rule += "·scale + shift" if layer.affine else ""
    return ValueAccount(rule, "sum", groups, [*steps, *more], y, scale, own.at)


@EXPLAIN.of(L.GroupNorm, L.InstanceNorm)
def explain_group_norm(layer: L.GroupNorm | L.InstanceNorm, at: ValuePlace) -> ValueAccount:
    """All values of this channel's group give the mean and the variance; then as in any normalisation."""
    wide = len(at.x) // layer.count_groups(at.x.shape)
    first = at.index[0] // wide * wide
    places = [(first + k, *rest) for k in range(wide) for rest in np.ndindex(at.x.shape[1:])]
    terms = [at.input(*place) for place in places]
    groups = [
        make_term_group(f"channel {first + k}", terms[k * len(terms) // wide : (k + 1) * len(terms) // wide],
                        at.x.shape[1:])
        for k in range(wide)
    ]  # fmt: skip
    rule = f"(x − mean) / √(variance + eps) over {'the channel' if wide == 1 else 'its group of channels'}"
    return explain_own_statistics(layer, at, groups, terms[places.index(tuple(at.index))], rule)


@EXPLAIN.of(L.PReLU)
def explain_prelu(layer: L.PReLU, at: ValuePlace) -> ValueAccount:
    unit = at.index[0] if layer.per_channel else 0
    term, w = at.input(*at.index), float(at.tensor_row("weight", unit))
    slope = Term(w, w, None, weight=w, weight_at=at.weight_at("weight", unit), note="slope")
    y = term.x if term.x > 0 else term.x * w
    steps = [make_step("x, or slope·x where x < 0", "{0}, times {1} if negative", y, term, slope)]
    return ValueAccount(
        "x, or slope·x where x < 0", "same", [make_term_group("input", [term])], steps, y, abs(term.x), term.at
    )


@EXPLAIN.of(L.LocalResponseNorm)
def explain_local_response_norm(layer: L.LocalResponseNorm, at: ValuePlace) -> ValueAccount:
    c, rest = at.index[0], at.index[1:]
    near = np.flatnonzero(find_neighbours(layer.size, len(at.x))[c])
    terms = [t._replace(value=t.x**2, note="squared") for t in (at.input(int(k), *rest) for k in near)]
    squares, own = make_term_group("squares of the neighbours", terms), at.input(*at.index)
    s = layer.k + layer.alpha / layer.size * squares.value
    y = own.x / s**layer.beta
    form = f"{layer.k:g} + {layer.alpha:g} / {layer.size} · {{0}}"
    steps = [
        make_step("response", form, s, make_constant(squares.value)),
        make_step("x divided by it", f"{{0}} / {{1}}^{layer.beta:g}", y, own, make_constant(s)),
    ]
    return ValueAccount("x / (k + alpha/size · Σ x²)^beta", "sum", [squares], steps, y, abs(y), own.at)


@EXPLAIN.of(L.Softmax)
def explain_softmax(layer: L.Softmax, at: ValuePlace) -> ValueAccount:
    """e to each logit less the largest, and the share of one in their sum."""
    k, rest = at.index[0], at.index[1:]
    xs = [at.input(i, *rest) for i in range(len(at.x))]
    top = max(t.x for t in xs)
    terms = [
        t._replace(value=float(np.exp(t.x - top)), note=f"e^({format_short(t.x)} − {format_short(top)})") for t in xs
    ]
    powers = make_term_group("e^(x − largest)", terms)
    y = terms[k].value / powers.value
    step = make_step("its share", "{0} / {1}", y, make_constant(terms[k].value), make_constant(powers.value))
    return ValueAccount("e^x / Σ e^x", "sum", [powers], [step], y, y * (1 + max(abs(t.x) for t in xs)), xs[k].at)
