// The trace of any number: what a value of a layer is made of, held against the map that the engine computed.

import { roundHalfEven } from "./decimals.js";
import { findStrongestReader } from "./follow.js";
import { say, toSay } from "./saying.js";
import { IMAGE_PATH, PROBABILITY_PATH, findOffset, placeValue, resolvePath } from "./trace_place.js";
import { formatAddress, makeAccount, makeConstant, makeGroup, makeStep, makeTerm, roundForDisplay } from "./trace_record.js";
import { EXPLAIN } from "./trace_rules.js";

const BY = toSay("the page's engine, float32, whole maps");

/** Within this share of what is added up a disagreement is rounding, as of ONNX Runtime's maps in Python. */
const USUAL = 5e-6;

/** By so much, as a share, one operation in float32 is off. */
const UNIT = 2 ** -24;

/**
 * Why a value is what it is: the record that Python's `Trace.as_dict()` is, and `up`, the strongest value that reads it.
 * network   as openNetwork gives it
 * maps      Map of path -> { shape, data } of one pass that kept all of them
 * x         the image of that pass; zero  the channels that it put to zero
 * texts     what each layer's record is in words, by its path; pixels  { mean, std } of the preparation
 * Throws an Error for an address that is nowhere.
 */
export function traceValue(network, { maps, x, zero = {} }, address, { texts = {}, pixels = null } = {}) {
  const scene = new Map([...maps, [IMAGE_PATH, { shape: network.input, data: x }]]);
  const [path, index] = parseAddress(address);
  const shape = needPlace(network, path, index);
  const goal = resolvePath(network, path === PROBABILITY_PATH ? findProbability(network) : path);
  const record =
    goal === IMAGE_PATH
      ? tracePixel(network.input, x, index, pixels)
      : explainValue(network, scene, network.nodes.get(goal) ?? makeProbability(network, shape), index, zero, texts);
  return { ...record, up: findStrongestReader(network, scene, goal, index) };
}

function explainValue(network, scene, node, index, zero, texts) {
  const { path, layer } = node;
  const account = explainZero(EXPLAIN[layer.layer](placeValue(network, scene, node, index)), zero[path], index);
  const map = scene.get(path);
  const value = map ? map.data[findOffset(map.shape, index)] : account.value;
  const tolerance = boundRounding(account) * Math.max(account.scale, Math.abs(value), 1e-3);
  return finishTrace(
    formatAddress(path, index),
    texts[path] ?? node.text ?? layer.layer,
    account,
    value,
    tolerance,
    say(BY),
  );
}

/** The path of the network's own softmax, where it ends in one. */
function findProbability(network) {
  const named = network.nodes.has(PROBABILITY_PATH) || network.logits !== null || !network.body.length;
  return named ? PROBABILITY_PATH : network.body.at(-1).path;
}

/** The softmax that a classifier without one ends in. */
function makeProbability(network, shape) {
  const source = network.logits ? resolvePath(network, network.logits) : IMAGE_PATH;
  const text = "Softmax(name='probability')";
  return { path: PROBABILITY_PATH, layer: { layer: "Softmax" }, text, x: shape, y: shape, tensors: {}, source };
}

/** "conv1[3,10,12]" -> ["conv1", [3, 10, 12]]. */
export function parseAddress(text) {
  const found = /^\s*([\w.]+)\s*\[\s*(\d+(?:\s*,\s*\d+)*)\s*\]\s*$/.exec(text);
  if (!found)
    throw new Error(`${text}: ${say("an address is a layer's name and an index in brackets")}, conv1[3,10,12]`);
  return [found[1], found[2].split(",").map(Number)];
}

/** The shape of the map at `path`. Throws for an unknown path, and for an index that is not in the map. */
function needPlace(network, path, index) {
  const shape = {
    [IMAGE_PATH]: network.input,
    [PROBABILITY_PATH]: network.output,
    ...Object.fromEntries(network.shapes),
  }[path];
  if (!shape) {
    const side = network.nodes.has(path);
    const what = side ? say("a side head is computed in training alone") : say("there is no layer of this name");
    throw new Error(`${path}: ${what}`);
  }
  if (index.length !== shape.length || index.some((i, axis) => i >= shape[axis])) {
    const axes = shape.length === 3 ? say("channel, row and column") : say("one place in the vector");
    const what = say("the map is {shape}: {axes}, each counted from 0", { shape: shape.join("×"), axes });
    throw new Error(`${formatAddress(path, index)}: ${what}`);
  }
  return shape;
}

/** A value of the image: from its byte, where the preparation is known. */
function tracePixel(shape, x, index, pixels) {
  const value = x[findOffset(shape, index)];
  const plain = say("a value of the image as it reaches the net");
  let account = makeAccount(plain, "same", [], [], value, Math.abs(value), null);
  if (pixels) {
    const [mean, std] = [pixels.mean, pixels.std].map((each) => each[index[0] % each.length]);
    const byte = roundHalfEven((value * std + mean) * 255);
    const y = (byte / 255 - mean) / std;
    const parts = [byte, mean, std].map((v) => makeConstant(v));
    const step = makeStep(say("preprocessed"), "({0} / 255 − {1}) / {2}", y, parts);
    const group = makeGroup(say("pixel"), [makeTerm(byte, byte, null, { note: say("byte, 0 to 255") })]);
    account = makeAccount(say("(byte / 255 − mean) / std"), "same", [group], [step], y, 1 + Math.abs(value), null);
  }
  const tolerance = 1e-5 * Math.max(1, account.scale);
  return finishTrace(formatAddress(IMAGE_PATH, index), say("image"), account, value, tolerance, say("the image"));
}

/** A value of a channel that was put to zero: what it would be, and that it is 0. */
function explainZero(account, channels, index) {
  if (!channels?.includes(index[0])) return account;
  const step = makeStep(say("put to zero"), "0 · {0}", 0, [makeConstant(account.value)]);
  return { ...account, steps: [...account.steps, step], value: 0 };
}

/** How far a sum may be off, as a share of the sum of its terms' sizes, whatever their order (Higham 2002, 4.2). */
function boundRounding({ groups }) {
  const roundings = groups.reduce((sum, { terms }) => sum + terms.length, 0) + 8;
  return Math.max(USUAL, (roundings * UNIT) / (1 - roundings * UNIT));
}

/** The record of an account, rounded for display. Throws where it does not come to `value`. */
function finishTrace(address, layer, account, value, tolerance, by) {
  if (!Number.isFinite(value) || !Number.isFinite(account.value)) {
    throw new Error(`${address}: ${say("this value is not finite, so there is nothing to add up")}`);
  }
  if (Math.abs(account.value - value) > tolerance) {
    const what = say("the parts do not add up to the value in the whole map");
    throw new Error(`${address}: ${what}: ${account.value}, ${value}`);
  }
  const { groups, steps, shown } = roundForDisplay(account, value);
  const { rule, op, lead, value: computed } = account;
  return {
    address,
    layer,
    rule,
    op,
    value,
    shown,
    computed,
    tolerance,
    checked_by: by,
    groups,
    steps,
    lead,
    followed: null,
  };
}
