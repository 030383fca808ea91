// How each normalisation makes one value: mean and variance, what is divided by them, scale and shift.

import { formatGeneral, formatShort } from "./decimals.js";
import { say, toSay } from "./saying.js";
import { readInput, readTensor } from "./trace_place.js";
import { makeAccount, makeAddition, makeChannel, makeConstant, makeGroup, makeStep, sumUp } from "./trace_record.js";

/** The lines of a normalisation: { steps, value, scale }; `scale` is the size of what cancels in it. */
function explainNormalisation(x, middle, variance, eps, affine) {
  const deviation = Math.sqrt(variance.x + eps);
  const steps = [makeAddition(say("minus the mean"), x, { ...middle, value: -middle.value })];
  let value = steps[0].value / deviation;
  let scale = (Math.abs(x.x) + Math.abs(middle.x)) / deviation;
  const form = `{0} / √({1} + ${formatShort(eps)})`;
  steps.push(makeStep(say("divided by the standard deviation"), form, value, [makeConstant(steps[0].value), variance]));
  if (affine) {
    const [weight, shift] = affine;
    const product = value * weight.x;
    steps.push(makeStep(say("times the scale"), "{0} · {1}", product, [makeConstant(value), weight]));
    steps.push(makeAddition(say("plus the shift"), makeConstant(product), shift));
    value = steps.at(-1).value;
    scale = scale * Math.abs(weight.x) + Math.abs(shift.x);
  }
  return { steps, value, scale };
}

function readAffine(at, channel) {
  if (!at.layer.affine) return null;
  return [readTensor(at, "weight", [channel], say("scale")), readTensor(at, "bias", [channel], say("shift"))];
}

function addAffine(at, rule) {
  return at.layer.affine ? say("{rule}·scale + shift", { rule }) : rule;
}

export function explainBatchNorm(at) {
  const [channel] = at.index;
  const own = readInput(at, at.index);
  const [middle, variance] = [
    ["running_mean", say("mean")],
    ["running_var", say("variance")],
  ].map(([name, note]) => readTensor(at, name, [channel], note));
  const made = explainNormalisation(own, middle, variance, at.layer.eps, readAffine(at, channel));
  const rule = addAffine(at, say("(x − mean) / √(variance + eps)"));
  return makeAccount(rule, "same", [makeGroup(say("input"), [own])], made.steps, made.value, made.scale, own.at);
}

/** The value `own` less the mean of all terms, over their deviation, times the scale, plus the shift. */
function explainOwnStatistics(at, groups, own, rule) {
  const xs = groups.flatMap((group) => group.terms.map((term) => term.x));
  const sum = sumUp(xs);
  const middle = sum / xs.length;
  const variance = sumUp(xs.map((x) => (x - middle) ** 2)) / xs.length;
  const steps = [
    makeStep(say("mean"), `{0} / ${xs.length}`, middle, [makeConstant(sum)]),
    makeStep(say("variance"), toSay("mean of (x − {0})²"), variance, [makeConstant(middle)]),
  ];
  const affine = readAffine(at, at.index[0]);
  const made = explainNormalisation(own, makeConstant(middle), makeConstant(variance), at.layer.eps, affine);
  const most = xs.reduce((a, x) => Math.max(a, Math.abs(x)), 0);
  const scale = made.scale * Math.max(1, most / Math.max(Math.abs(own.x) + Math.abs(middle), 1e-12));
  const whole = addAffine(at, rule);
  return makeAccount(whole, "sum", groups, [...steps, ...made.steps], made.value, scale, own.at);
}

export function explainLayerNorm(at) {
  const [channel, ...rest] = at.index;
  const terms = Array.from({ length: at.shape[0] }, (_, k) => readInput(at, [k, ...rest]));
  const rule = say("(x − mean) / √(variance + eps) over the channels here");
  return explainOwnStatistics(at, [makeGroup(say("channels"), terms)], terms[channel], rule);
}

export const explainGroupNorm = (at) => explainChannelGroup(at, at.layer.groups);

export const explainInstanceNorm = (at) => explainChannelGroup(at, at.shape[0]);

/** All values of this channel's group give the mean and the variance; then as in any normalisation. */
function explainChannelGroup(at, groups) {
  const wide = at.shape[0] / groups;
  const first = Math.floor(at.index[0] / wide) * wide;
  const made = Array.from({ length: wide }, (_, k) => readMap(at, first + k));
  const rule =
    wide === 1
      ? say("(x − mean) / √(variance + eps) over the channel")
      : say("(x − mean) / √(variance + eps) over its group of channels");
  return explainOwnStatistics(at, made, readInput(at, at.index), rule);
}

/** All values of one channel, as they lie. */
function readMap(at, channel) {
  const [, height = 1, width = 1] = at.shape;
  const places = Array.from({ length: height * width }, (_, i) => [Math.floor(i / width), i % width]);
  const terms = places.map((place) => readInput(at, at.shape.length > 1 ? [channel, ...place] : [channel]));
  return makeChannel(channel, terms, at.shape.slice(1));
}

/** The length of its map beside the mean length of all; then x times that and the weight is added to x. */
export function explainGlobalResponseNorm(at) {
  const [channel] = at.index;
  const { terms, grid } = readMap(at, channel);
  const squared = terms.map((term) => ({ ...term, value: term.x ** 2, note: say("squared") }));
  const squares = makeGroup(say("squares of channel {channel}", { channel }), squared, grid);
  const each = at.data.length / at.shape[0];
  const lengths = Array.from({ length: at.shape[0] }, (_, c) =>
    Math.sqrt(sumUp(Array.from(at.data.subarray(c * each, (c + 1) * each), (x) => x ** 2))),
  );
  const length = Math.sqrt(squares.value);
  const total = sumUp(lengths);
  const mean = total / lengths.length;
  const response = length / (mean + at.layer.eps);
  const [weight, bias] = [toSay("weight"), toSay("bias")].map((name) => readTensor(at, name, [channel], say(name)));
  const own = readInput(at, at.index);
  const product = own.x * response * weight.x;
  const form = `{0} / ({1} + ${formatShort(at.layer.eps)})`;
  const steps = [
    makeStep(say("length"), "√{0}", length, [makeConstant(squares.value)]),
    makeStep(say("mean length"), `{0} / ${lengths.length}`, mean, [makeConstant(total)]),
    makeStep(say("response"), form, response, [makeConstant(length), makeConstant(mean)]),
    makeStep(say("times x and the weight"), "{0} · {1} · {2}", product, [makeConstant(response), own, weight]),
    makeAddition(say("added to x, and the bias"), own, makeConstant(product), bias),
  ];
  const scale = Math.abs(own.x) + Math.abs(product) + Math.abs(bias.x);
  const rule = say("x + weight·x·(length / (mean length + eps)) + bias");
  return makeAccount(rule, "sum", [squares], steps, steps.at(-1).value, scale, own.at);
}

export function explainLocalResponseNorm(at) {
  const { size, alpha, beta, k } = at.layer;
  const [channel, ...rest] = at.index;
  const first = Math.max(0, channel - Math.floor(size / 2));
  const last = Math.min(at.shape[0] - 1, channel + Math.floor((size - 1) / 2));
  const near = Array.from({ length: last - first + 1 }, (_, i) => readInput(at, [first + i, ...rest]));
  const terms = near.map((term) => ({ ...term, value: term.x ** 2, note: say("squared") }));
  const squares = makeGroup(say("squares of the neighbours"), terms);
  const own = readInput(at, at.index);
  const s = k + (alpha / size) * squares.value;
  const y = own.x / s ** beta;
  const form = `${formatGeneral(k)} + ${formatGeneral(alpha)} / ${size} · {0}`;
  const steps = [
    makeStep(say("response"), form, s, [makeConstant(squares.value)]),
    makeStep(say("x divided by it"), `{0} / {1}^${formatGeneral(beta)}`, y, [own, makeConstant(s)]),
  ];
  return makeAccount(say("x / (k + alpha/size · Σ x²)^beta"), "sum", [squares], steps, y, Math.abs(y), own.at);
}
