// How each layer makes one value: its operands, their sum, and what is done after. One function a layer.

import { formatShort } from "./decimals.js";
import { findShares, findTargets } from "./growing.js";
import { ACTIVATIONS } from "./pointwise.js";
import { countTaps, findWindowTaps, makeBinomial, reflectPlace, slideBlur } from "./pooling.js";
import { explainBatchNorm, explainGlobalResponseNorm, explainGroupNorm, explainInstanceNorm, explainLayerNorm, explainLocalResponseNorm } from "./trace_norms.js";
import { IMAGE_PATH, findOffset, listSources, readInput, readTap, readWeight, weigh } from "./trace_place.js";
import { explainLargest, explainUnchanged, findLargest, formatAddress, makeAccount, makeChannel, makeConstant, makeGroup, makeMean, makePadding, makeStep, makeSum, makeTerm } from "./trace_record.js";
import { say, toSay } from "./saying.js";
import { makePair, slideWindow } from "./window.js";

const explainPassedOn = (at) => explainUnchanged(readInput(at, at.index));

// Activations: [the rule, the formula with the number and the layer's settings in it] -------------------

const FORMULAS = {
  ReLU: ["max(0, x)", "max(0, {0})"],
  ReLU6: ["min(max(0, x), 6)", "min(max(0, {0}), 6)"],
  LeakyReLU: [toSay("x, or slope·x where x < 0"), toSay("{0}, times {slope:g} if negative")],
  ELU: [toSay("x, or alpha·(e^x − 1) where x < 0"), toSay("{0}, or {alpha:g}·(e^{0} − 1) if negative")],
  GELU: ["x·Φ(x)", "{0}·Φ({0})"],
  SELU: [toSay("1.0507·x, or 1.7581·(e^x − 1) where x < 0"), toSay("1.0507·{0}, or 1.7581·(e^{0} − 1) if negative")],
  CELU: [
    toSay("x, or alpha·(e^(x/alpha) − 1) where x < 0"),
    toSay("{0}, or {alpha:g}·(e^({0}/{alpha:g}) − 1) if negative"),
  ],
  TanhGELU: ["x·(1 + tanh(√(2/π)·(x + 0.044715·x³)))/2", "{0}·(1 + tanh(0.797885·({0} + 0.044715·({0})³)))/2"],
  Mish: ["x·tanh(ln(1 + e^x))", "{0}·tanh(ln(1 + e^({0})))"],
  Softplus: ["ln(1 + e^x)", "ln(1 + e^({0}))"],
  SiLU: ["x·sigmoid(x)", "{0} / (1 + e^−({0}))"],
  Sigmoid: ["1 / (1 + e^−x)", "1 / (1 + e^−({0}))"],
  Tanh: ["tanh(x)", "tanh({0})"],
  HardSigmoid: ["min(max(0, x + 3), 6) / 6", "min(max(0, {0} + 3), 6) / 6"],
  HardSwish: ["x·min(max(0, x + 3), 6) / 6", "{0}·min(max(0, {0} + 3), 6) / 6"],
};

/** The function of one value, with its number in the formula. */
function explainActivation(at) {
  const [formula, form] = FORMULAS[at.layer.layer];
  const rule = say(formula);
  const term = readInput(at, at.index);
  const y = ACTIVATIONS[at.layer.layer](at.layer)(term.x);
  const step = makeStep(rule, form, y, [term], at.layer);
  return makeAccount(rule, "same", [makeGroup(say("input"), [term])], [step], y, Math.abs(term.x), term.at);
}

function explainPReLU(at) {
  const rule = say("x, or slope·x where x < 0");
  const term = readInput(at, at.index);
  const slope = readWeight(at, "weight", at.layer.per_channel ? at.index[0] : 0, say("slope"));
  const y = term.x > 0 ? term.x : term.x * slope.x;
  const step = makeStep(rule, toSay("{0}, times {1} if negative"), y, [term, slope]);
  return makeAccount(rule, "same", [makeGroup(say("input"), [term])], [step], y, Math.abs(term.x), term.at);
}

/** e to each logit less the largest, and the share of one in their sum. */
function explainSoftmax(at) {
  const [own, ...rest] = at.index;
  const xs = Array.from({ length: at.shape[0] }, (_, k) => readInput(at, [k, ...rest]));
  const top = xs.reduce((most, { x }) => Math.max(most, x), -Infinity);
  const size = xs.reduce((most, { x }) => Math.max(most, Math.abs(x)), 0);
  const terms = xs.map((term) => {
    return { ...term, value: Math.exp(term.x - top), note: `e^(${formatShort(term.x)} − ${formatShort(top)})` };
  });
  const powers = makeGroup(say("e^(x − largest)"), terms);
  const y = terms[own].value / powers.value;
  const parts = [makeConstant(terms[own].value), makeConstant(powers.value)];
  const step = makeStep(say("its share"), "{0} / {1}", y, parts);
  return makeAccount("e^x / Σ e^x", "sum", [powers], [step], y, y * (1 + size), xs[own].at);
}

// Weighted sums --------------------------------------------------------------------------------------

/** Channel by channel, the patch under the window times the filter; then the bias. */
function explainConvolution(at) {
  const [f, i, j] = at.index;
  const { filters, groups } = at.layer;
  const [kh, kw] = makePair(at.layer.kernel);
  const [rows, columns] = findWindowTaps(slideWindow(at.layer, at.shape), i, j);
  const wide = at.shape[0] / groups;
  const first = Math.floor(f / (filters / groups)) * wide;
  const made = Array.from({ length: wide }, (_, c) => {
    const terms = rows.flatMap((row, a) =>
      columns.map((column, b) => {
        const place = [f, c, a, b];
        const weight = at.node.tensors.weight[findOffset([filters, wide, kh, kw], place)];
        return weigh(readTap(at, first + c, row, column), weight, formatAddress(`${at.path}.weight`, place));
      }),
    );
    return makeChannel(first + c, terms, [kh, kw]);
  });
  return addBias(at, f, made, say("Σ patch·filter over the channels"));
}

function addBias(at, unit, groups, rule) {
  if (!at.layer.bias) return makeSum(rule, groups);
  const term = readWeight(at, "bias", unit, say("bias"));
  return makeSum(say("{rule} + bias", { rule }), [...groups, makeGroup(say("bias"), [term])]);
}

/** Channel by channel, the values whose window has this place, each times its weight for it; then the bias. */
function explainConvTranspose(at) {
  const [f, i, j] = at.index;
  const each = at.layer.filters / at.layer.groups;
  const wide = at.shape[0] / at.layer.groups;
  const kernel = makePair(at.layer.kernel);
  const [rows, columns] = [i, j].map((place, axis) => findTargets(at.layer, axis, at.shape[1 + axis], place));
  const part = Math.floor(f / each);
  let groups = Array.from({ length: wide }, (_, k) => {
    const c = part * wide + k;
    const terms = rows.flatMap(([row, a]) =>
      columns.map(([column, b]) => {
        const place = [c, f % each, a, b];
        const weight = at.node.tensors.weight[findOffset([at.shape[0], each, ...kernel], place)];
        return weigh(readInput(at, [c, row, column]), weight, formatAddress(`${at.path}.weight`, place));
      }),
    );
    return makeChannel(c, terms, [rows.length, columns.length]);
  });
  if (!rows.length || !columns.length) {
    groups = [makeGroup(say("input"), [makePadding(say("no window has this place"))])];
  }
  return addBias(at, f, groups, say("Σ value·its weight here"));
}

/** The channels beside it, each times its weight. */
function explainChannelConv(at) {
  const [channel, ...rest] = at.index;
  const terms = Array.from(at.node.tensors.weight, (weight, t) => {
    const c = channel + t - Math.floor(at.layer.kernel / 2);
    const seen = c >= 0 && c < at.shape[0] ? readInput(at, [c, ...rest]) : makePadding();
    return weigh(seen, weight, formatAddress(`${at.path}.weight`, [0, 0, t]));
  });
  return makeSum(say("Σ channel·weight"), [makeGroup(say("channels"), terms)]);
}

/** Every input times its weight; by channel where a map was flattened; then the bias. */
function explainDense(at) {
  const [unit] = at.index;
  const length = at.data.length;
  const terms = Array.from(at.data, (x, i) => {
    const weight = at.node.tensors.weight[unit * length + i];
    return weigh(makeTerm(x, x, formatAddress(at.source, [i])), weight, formatAddress(`${at.path}.weight`, [unit, i]));
  });
  const flat = at.source === IMAGE_PATH ? null : at.network.nodes.get(at.source);
  let groups = [makeGroup(say("inputs"), terms)];
  if (flat?.layer.layer === "Flatten" && flat.x.length === 3) {
    const [channels, height, width] = flat.x;
    const size = height * width;
    groups = Array.from({ length: channels }, (_, k) =>
      makeChannel(k, terms.slice(k * size, (k + 1) * size), [height, width]),
    );
  }
  return addBias(at, unit, groups, say("Σ input·weight"));
}

function explainLayerScale(at) {
  const term = readInput(at, at.index);
  const scale = readWeight(at, "weight", at.index[0], say("scale"));
  const groups = [makeGroup(say("input"), [term]), makeGroup(say("scale"), [scale])];
  const y = term.x * scale.x;
  return makeAccount(say("x·scale"), "product", groups, [], y, Math.abs(y), term.at);
}

// Pooling and resizing -------------------------------------------------------------------------------

function readWindow(at, axes) {
  const [c, i, j] = at.index;
  const [rows, columns] = findWindowTaps(axes, i, j);
  const terms = rows.flatMap((row) => columns.map((column) => readTap(at, c, row, column)));
  return { terms, grid: [rows.length, columns.length] };
}

function explainMaxPool(at) {
  const { terms, grid } = readWindow(at, slideWindow(at.layer, at.shape));
  return explainLargest(terms, say("the largest under the window"), at.index[0], grid);
}

function explainAvgPool(at) {
  const axes = slideWindow(at.layer, at.shape);
  const { terms, grid } = readWindow(at, axes);
  const [high, wide] = axes.map((axis, k) => countTaps(axis, at.layer.count_padding)[at.index[1 + k]]);
  return makeMean(say("the mean under the window"), makeChannel(at.index[0], terms, grid), high * wide);
}

/** The window, where it reaches beyond the map its mirror image, times the fixed filter. */
function explainBlurPool(at) {
  const [c, i, j] = at.index;
  const taps = makeBinomial(at.layer.kernel);
  const axes = slideBlur(at.layer, at.shape);
  const [rows, columns] = findWindowTaps(axes, i, j).map((taps, k) =>
    taps.map((place) => reflectPlace(place, axes[k].n)),
  );
  const terms = rows.flatMap((row, a) =>
    columns.map((column, b) => weigh(readInput(at, [c, row, column]), taps[a] * taps[b], null, say("fixed weight"))),
  );
  return makeSum(say("Σ patch·blur"), [makeChannel(c, terms, [taps.length, taps.length])]);
}

/** The place that it is taken from, or its neighbours by their shares. */
function explainUpsample(at) {
  const [c, i, j] = at.index;
  const factors = makePair(at.layer.factor);
  const [rows, columns] = [i, j].map((place, axis) => {
    const [first, second, share] = findShares(at.layer, at.shape[1 + axis], at.node.y[1 + axis], factors[axis])[place];
    return share
      ? [
          [first, 1 - share],
          [second, share],
        ]
      : [[first, 1]];
  });
  if (rows.length === 1 && columns.length === 1) return explainUnchanged(readInput(at, [c, rows[0][0], columns[0][0]]));
  const terms = rows.flatMap(([row, high]) =>
    columns.map(([column, wide]) => weigh(readInput(at, [c, row, column]), high * wide, null, say("fixed weight"))),
  );
  return makeSum(say("Σ neighbour·share"), [makeChannel(c, terms, [rows.length, columns.length])]);
}

function readWholeMap(at) {
  const [, height, width] = at.shape;
  return Array.from({ length: height * width }, (_, i) =>
    readInput(at, [at.index[0], Math.floor(i / width), i % width]),
  );
}

function explainGlobalAvgPool(at) {
  const [c] = at.index;
  const [, height, width] = at.shape;
  const values = makeChannel(c, readWholeMap(at), [height, width]);
  return makeMean(say("the mean of map {channel}", { channel: c }), values, height * width);
}

function explainGlobalMaxPool(at) {
  const [c] = at.index;
  return explainLargest(readWholeMap(at), say("the largest of map {channel}", { channel: c }), c, at.shape.slice(1));
}

// What moves values, and what joins branches ---------------------------------------------------------

function explainFlatten(at) {
  const place = [];
  let rest = at.index[0];
  for (const n of [...at.shape].reverse()) {
    place.unshift(rest % n);
    rest = Math.floor(rest / n);
  }
  return explainUnchanged(readInput(at, place));
}

function explainPadChannels(at) {
  const [channel, ...rest] = at.index;
  const c = channel - at.layer.before;
  if (c >= 0 && c < at.shape[0]) return explainUnchanged(readInput(at, [c, ...rest]));
  return makeAccount(say("a channel of zeros"), "same", [makeGroup(say("input"), [makePadding()])], [], 0, 0, null);
}

function explainSliceChannels(at) {
  return explainUnchanged(readInput(at, [at.layer.start + at.index[0], ...at.index.slice(1)]));
}

function explainChannelShuffle(at) {
  const [c, ...rest] = at.index;
  const { groups } = at.layer;
  return explainUnchanged(readInput(at, [(c % groups) * (at.shape[0] / groups) + Math.floor(c / groups), ...rest]));
}

/** Which branch it comes from, or what each branch gives. */
function explainParallel(at) {
  const branches = listSources(at.network, at.path).map((path, k) => {
    const name = at.node.inside[k].path.slice(at.path.length + 1);
    return { name, path, ...at.maps.get(path) };
  });
  if (at.layer.join === "concat") return explainConcat(at, branches);
  const terms = branches.map(({ name, path, shape, data }) => {
    const own = at.index.map((i, axis) => Math.min(i, shape[axis] - 1)); // 1×1 is stretched
    const x = data[findOffset(shape, own)];
    return makeTerm(x, x, formatAddress(path, own), { note: name });
  });
  const groups = terms.map((term) => makeGroup(term.note, [term]));
  if (at.layer.join === "add") return makeSum(say("the branches added"), groups);
  const y = terms.reduce((product, { x }) => product * x, 1);
  return makeAccount(say("the branches multiplied"), "product", groups, [], y, Math.abs(y), findLargest(terms));
}

function explainConcat(at, branches) {
  let [c, ...rest] = at.index;
  let k = 0;
  while (c >= branches[k].shape[0]) c -= branches[k++].shape[0];
  const { name, path, shape, data } = branches[k];
  const x = data[findOffset(shape, [c, ...rest])];
  const note = say("{name}, its channel {channel}", { name, channel: c });
  const term = makeTerm(x, x, formatAddress(path, [c, ...rest]), { note });
  const rule = say("{at}, unchanged", { at: name });
  return makeAccount(rule, "same", [makeGroup(name, [term])], [], x, Math.abs(x), term.at);
}

/** Every record whose values have an account of their own; those of a Sequence and a SideHead are other layers'. */
export const EXPLAIN = {
  ...Object.fromEntries(Object.keys(FORMULAS).map((name) => [name, explainActivation])),
  Identity: explainPassedOn,
  Dropout: explainPassedOn,
  StochasticDepth: explainPassedOn,
  Conv: explainConvolution,
  ConvTranspose: explainConvTranspose,
  ChannelConv: explainChannelConv,
  Upsample: explainUpsample,
  PReLU: explainPReLU,
  Dense: explainDense,
  MaxPool: explainMaxPool,
  AvgPool: explainAvgPool,
  BlurPool: explainBlurPool,
  GlobalAvgPool: explainGlobalAvgPool,
  GlobalMaxPool: explainGlobalMaxPool,
  Flatten: explainFlatten,
  PadChannels: explainPadChannels,
  SliceChannels: explainSliceChannels,
  ChannelShuffle: explainChannelShuffle,
  Parallel: explainParallel,
  LayerScale: explainLayerScale,
  Softmax: explainSoftmax,
  BatchNorm: explainBatchNorm,
  LayerNorm: explainLayerNorm,
  GroupNorm: explainGroupNorm,
  InstanceNorm: explainInstanceNorm,
  GlobalResponseNorm: explainGlobalResponseNorm,
  LocalResponseNorm: explainLocalResponseNorm,
};
