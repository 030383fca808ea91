"""How each layer makes one value: its operands, their sum, and what is done after. One function a layer."""

from __future__ import annotations

import numpy as np

from ..architecture import layers as L
from ..architecture.abilities import EXPLAIN
from ..architecture.layers import Layer
from ..engines.plain import growing, windows
from ..engines.plain.pointwise import ACTIVATIONS
from ..language import say, to_say
from . import trace_norms  # noqa: F401  fills the rows of the norms
from .trace_format import PADDING, format_short
from .trace_place import (
    IMAGE_PATH,
    Index,
    Scene,
    ValuePlace,
    list_sources,
)
from .trace_record import (
    Term,
    ValueAccount,
    explain_largest,
    explain_unchanged,
    find_largest,
    format_address,
    make_constant,
    make_mean,
    make_step,
    make_sum,
    make_term_group,
)


def account_value(scene: Scene, path: str, index: Index) -> ValueAccount:
    """The parts of the value at `index` of the layer at `path`, which is no Sequence and no SideHead."""
    layer = scene.net.at(path).layer
    source = list_sources(scene.net, path)[0]
    return EXPLAIN(layer, ValuePlace(scene, path, source, scene.maps[source], index))


@EXPLAIN.of(L.Identity, L.Dropout, L.StochasticDepth)
def explain_passed_on(layer: Layer, at: ValuePlace) -> ValueAccount:
    """What changes nothing in evaluation."""
    return explain_unchanged(at.input(*at.index))


# Of each activation its rule, and the same with the value and the layer's settings in it.
FORMULAS: dict[type, tuple[str, str]] = {
    L.ReLU: ("max(0, x)", "max(0, {0})"),
    L.ReLU6: ("min(max(0, x), 6)", "min(max(0, {0}), 6)"),
    L.LeakyReLU: (to_say("x, or slope·x where x < 0"), to_say("{0}, times {slope:g} if negative")),
    L.ELU: (to_say("x, or alpha·(e^x − 1) where x < 0"), to_say("{0}, or {alpha:g}·(e^{0} − 1) if negative")),
    L.GELU: ("x·Φ(x)", "{0}·Φ({0})"),
    L.SELU: (
        to_say("1.0507·x, or 1.7581·(e^x − 1) where x < 0"),
        to_say("1.0507·{0}, or 1.7581·(e^{0} − 1) if negative"),
    ),
    L.CELU: (
        to_say("x, or alpha·(e^(x/alpha) − 1) where x < 0"),
        to_say("{0}, or {alpha:g}·(e^({0}/{alpha:g}) − 1) if negative"),
    ),
    L.TanhGELU: (
        "x·(1 + tanh(√(2/π)·(x + 0.044715·x³)))/2",
        "{0}·(1 + tanh(0.797885·({0} + 0.044715·({0})³)))/2",
    ),
    L.Mish: ("x·tanh(ln(1 + e^x))", "{0}·tanh(ln(1 + e^({0})))"),
    L.Softplus: ("ln(1 + e^x)", "ln(1 + e^({0}))"),
    L.SiLU: ("x·sigmoid(x)", "{0} / (1 + e^−({0}))"),
    L.Sigmoid: ("1 / (1 + e^−x)", "1 / (1 + e^−({0}))"),
    L.Tanh: ("tanh(x)", "tanh({0})"),
    L.HardSigmoid: ("min(max(0, x + 3), 6) / 6", "min(max(0, {0} + 3), 6) / 6"),
    L.HardSwish: ("x·min(max(0, x + 3), 6) / 6", "{0}·min(max(0, {0} + 3), 6) / 6"),
}


@EXPLAIN.of(*FORMULAS)
def explain_activation(layer: Layer, at: ValuePlace) -> ValueAccount:
    """The function of one value, with its number in the formula."""
    (rule, form), (function, _) = FORMULAS[type(layer)], ACTIVATIONS[type(layer)]
    term = at.input(*at.index)
    y = float(function(layer, np.array(term.x, np.float64)))
    step = make_step(say(rule), form, y, term, **vars(layer))
    return ValueAccount(say(rule), "same", [make_term_group(say("input"), [term])], [step], y, abs(term.x), term.at)


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
        groups.append(make_term_group(say("channel {channel}", channel=first + c), terms, kernel.shape))
    if layer.bias:
        groups.append(make_term_group(say("bias"), [make_bias_term(at, f)]))
    return make_sum(add_bias(say("Σ patch·filter over the channels"), layer.bias), groups)


def add_bias(rule: str, bias: bool) -> str:
    return say("{rule} + bias", rule=rule) if bias else rule


def make_tap_term(at: ValuePlace, c: int, r: int, k: int) -> Term:
    """The value at row r, column k of channel c, or padding."""
    if 0 <= r < at.x.shape[1] and 0 <= k < at.x.shape[2]:
        return at.input(c, r, k)
    return Term(0.0, 0.0, None, note=PADDING)


def make_bias_term(at: ValuePlace, unit: int) -> Term:
    b = float(at.tensor_row("bias", unit))
    return Term(b, b, None, weight=b, weight_at=at.weight_at("bias", unit), note=say("bias"))


@EXPLAIN.of(L.ConvTranspose)
def explain_conv_transpose(layer: L.ConvTranspose, at: ValuePlace) -> ValueAccount:
    """Channel by channel, the values whose window has this place, each times its weight for it; then the bias."""
    f, i, j = at.index
    each = layer.filters // layer.groups
    wide = len(at.x) // layer.groups
    rows, columns = growing.find_targets(layer, at.x.shape)
    writers = [np.argwhere(targets == place) for targets, place in ((rows, i), (columns, j))]
    groups = []
    for c in range(f // each * wide, (f // each + 1) * wide):
        weight, terms = at.tensor_row("weight", c)[f % each], []
        for r, a in writers[0].tolist():
            for k, b in writers[1].tolist():
                seen, w = at.input(c, r, k), float(weight[a, b])
                place = at.weight_at("weight", c, f % each, a, b)
                terms.append(seen._replace(value=seen.x * w, weight=w, weight_at=place))
        groups.append(make_term_group(say("channel {channel}", channel=c), terms, (len(writers[0]), len(writers[1]))))
    if not all(map(len, writers)):
        nothing = Term(0.0, 0.0, None, note=say("no window has this place"))
        groups = [make_term_group(say("input"), [nothing])]
    if layer.bias:
        groups.append(make_term_group(say("bias"), [make_bias_term(at, f)]))
    return make_sum(add_bias(say("Σ value·its weight here"), layer.bias), groups)


@EXPLAIN.of(L.ChannelConv)
def explain_channel_conv(layer: L.ChannelConv, at: ValuePlace) -> ValueAccount:
    """The channels beside it, each times its weight."""
    weight, terms = at.tensor_row("weight", 0)[0], []
    for t, w in enumerate(weight.tolist()):
        c = at.index[0] + t - layer.kernel // 2
        seen = at.input(c, *at.index[1:]) if 0 <= c < len(at.x) else Term(0.0, 0.0, None, note=PADDING)
        terms.append(seen._replace(value=seen.x * w, weight=w, weight_at=at.weight_at("weight", 0, 0, t)))
    return make_sum(say("Σ channel·weight"), [make_term_group(say("channels"), terms)])


@EXPLAIN.of(L.Upsample)
def explain_upsample(layer: L.Upsample, at: ValuePlace) -> ValueAccount:
    """The place that it is taken from, or its neighbours by their shares."""
    c, i, j = at.index
    rows, columns = (layer.find_shares(at.x.shape, axis)[place] for axis, place in ((0, i), (1, j)))
    if len(rows) == len(columns) == 1:
        return explain_unchanged(at.input(c, rows[0][0], columns[0][0]))
    terms = []
    for r, high in rows:
        for k, wide in columns:
            seen, w = at.input(c, r, k), high * wide
            terms.append(seen._replace(value=seen.x * w, weight=w, note=say("fixed weight")))
    return make_sum(
        say("Σ neighbour·share"),
        [make_term_group(say("channel {channel}", channel=c), terms, (len(rows), len(columns)))],
    )


@EXPLAIN.of(L.PReLU)
def explain_prelu(layer: L.PReLU, at: ValuePlace) -> ValueAccount:
    unit = at.index[0] if layer.per_channel else 0
    term, w = at.input(*at.index), float(at.tensor_row("weight", unit))
    slope = Term(w, w, None, weight=w, weight_at=at.weight_at("weight", unit), note=say("slope"))
    y = term.x if term.x > 0 else term.x * w
    steps = [make_step(say("x, or slope·x where x < 0"), "{0}, times {1} if negative", y, term, slope)]
    return ValueAccount(
        say("x, or slope·x where x < 0"),
        "same",
        [make_term_group(say("input"), [term])],
        steps,
        y,
        abs(term.x),
        term.at,
    )


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
    groups = [make_term_group(say("inputs"), terms)]
    if flat and isinstance(flat.layer, L.Flatten) and len(flat.x) == 3:
        c, h, w = flat.x
        groups = [
            make_term_group(say("channel {channel}", channel=k), terms[k * h * w : (k + 1) * h * w], (h, w))
            for k in range(c)
        ]
    if layer.bias:
        groups.append(make_term_group(say("bias"), [make_bias_term(at, unit)]))
    return make_sum(add_bias(say("Σ input·weight"), layer.bias), groups)


@EXPLAIN.of(L.MaxPool)
def explain_max_pool(layer: L.MaxPool, at: ValuePlace) -> ValueAccount:
    c, i, j = at.index
    rows, columns = windows.find_taps(layer, at.x.shape)
    terms = [make_tap_term(at, c, int(r), int(k)) for r in rows[i] for k in columns[j]]
    return explain_largest(terms, say("the largest under the window"), c, (len(rows[i]), len(columns[j])))


@EXPLAIN.of(L.AvgPool)
def explain_avg_pool(layer: L.AvgPool, at: ValuePlace) -> ValueAccount:
    c, i, j = at.index
    rows, columns = windows.find_taps(layer, at.x.shape)
    terms = [make_tap_term(at, c, int(r), int(k)) for r in rows[i] for k in columns[j]]
    count = int(windows.count_values(layer, rows, columns, at.x.shape)[i, j])
    return make_mean(
        say("the mean under the window"),
        make_term_group(say("channel {channel}", channel=c), terms, (len(rows[i]), len(columns[j]))),
        count,
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
            terms.append(seen._replace(value=seen.x * w, weight=w, note=say("fixed weight")))
    return make_sum(
        say("Σ patch·blur"), [make_term_group(say("channel {channel}", channel=c), terms, (layer.kernel, layer.kernel))]
    )


@EXPLAIN.of(L.GlobalAvgPool)
def explain_global_avg_pool(layer: L.GlobalAvgPool, at: ValuePlace) -> ValueAccount:
    c, (_, h, w) = at.index[0], at.x.shape
    terms = [at.input(c, i, j) for i in range(h) for j in range(w)]
    return make_mean(
        say("the mean of map {channel}", channel=c),
        make_term_group(say("channel {channel}", channel=c), terms, (h, w)),
        h * w,
    )


@EXPLAIN.of(L.GlobalMaxPool)
def explain_global_max_pool(layer: L.GlobalMaxPool, at: ValuePlace) -> ValueAccount:
    c, (_, h, w) = at.index[0], at.x.shape
    return explain_largest(
        [at.input(c, i, j) for i in range(h) for j in range(w)],
        say("the largest of map {channel}", channel=c),
        c,
        (h, w),
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
    term = Term(0.0, 0.0, None, note=PADDING)
    return ValueAccount(say("a channel of zeros"), "same", [make_term_group(say("input"), [term])], [], 0.0, 0.0, None)


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
                term = Term(
                    x,
                    x,
                    format_address(path, own),
                    note=say("{name}, its channel {channel}", name=name, channel=own[0]),
                )
                return ValueAccount(
                    say("{at}, unchanged", at=name), "same", [make_term_group(name, [term])], [], x, abs(x), term.at
                )
            first += len(values)
    terms = []
    for name, (path, values) in zip(names, maps, strict=True):
        own = tuple(min(k, n - 1) for k, n in zip(at.index, values.shape, strict=True))  # 1×1 is stretched
        x = float(values[own])
        terms.append(Term(x, x, format_address(path, own), note=name))
    if layer.join == "add":
        return make_sum(say("the branches added"), [make_term_group(term.note, [term]) for term in terms])
    y = float(np.prod([term.x for term in terms]))
    groups = [make_term_group(term.note, [term]) for term in terms]
    return ValueAccount(say("the branches multiplied"), "product", groups, [], y, abs(y), find_largest(terms))


@EXPLAIN.of(L.LayerScale)
def explain_layer_scale(layer: L.LayerScale, at: ValuePlace) -> ValueAccount:
    term, w = at.input(*at.index), float(at.tensor_row("weight", at.index[0]))
    scale = Term(w, w, None, weight=w, weight_at=at.weight_at("weight", at.index[0]), note=say("scale"))
    groups = [make_term_group(say("input"), [term]), make_term_group(say("scale"), [scale])]
    return ValueAccount(say("x·scale"), "product", groups, [], term.x * w, abs(term.x * w), term.at)


@EXPLAIN.of(L.Softmax)
def explain_softmax(layer: L.Softmax, at: ValuePlace) -> ValueAccount:
    """e to each logit less the largest, and the share of one in their sum."""
    k, rest = at.index[0], at.index[1:]
    xs = [at.input(i, *rest) for i in range(len(at.x))]
    top = max(t.x for t in xs)
    terms = [
        t._replace(value=float(np.exp(t.x - top)), note=f"e^({format_short(t.x)} − {format_short(top)})") for t in xs
    ]
    powers = make_term_group(say("e^(x − largest)"), terms)
    y = terms[k].value / powers.value
    step = make_step(say("its share"), "{0} / {1}", y, make_constant(terms[k].value), make_constant(powers.value))
    return ValueAccount("e^x / Σ e^x", "sum", [powers], [step], y, y * (1 + max(abs(t.x) for t in xs)), xs[k].at)
