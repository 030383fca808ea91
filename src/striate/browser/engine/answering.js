// What an engine answers, wherever it computes: in a worker, or in the page itself.

import { roundHalfEven } from "./decimals.js";
import { computeGradCam, computeSaliency, findLastMap, hideSquares } from "./explain.js";
import { endsInShares, openNetwork } from "./network.js";
import { sayFrom } from "./saying.js";
import { traceValue } from "./trace.js";

/**
 * opened  { net, tensors: Map of name -> { shape, data }, views, texts, preprocess }, as a payload gives it, and
 *         `korean`, the catalogue, where values are to be explained in Korean
 * Gives { about, answers: { name: function } }.
 */
export function openAnswering(opened, { plain = false } = {}) {
  const { net, tensors, views = "plain", texts, preprocess = null, korean = null } = opened;
  const network = openNetwork(net, tensors, { plain });
  const ends = endsInShares(network.body);
  const before = ends ? [...network.shapes.keys()].filter((path) => !path.includes(".")).at(-2) : null;
  const run = { x: null, zero: {}, maps: null }; // the last pass that kept every map
  const keepPass = (x, zero = {}) => {
    if (x) Object.assign(run, { x, zero, maps: network.forward(x, { zero }).maps });
    if (!run.maps) throw new Error("a value is explained in the maps of an image: look at one first, or give it");
    return run;
  };
  return {
    about: { kernel: network.kernel, input: network.input, shapes: network.shapes, lastMap: findLastMap(network) },
    answers: {
      look(x, options = {}) {
        const found = lookAt(network, before, x, options);
        if ((options.keep ?? "all") === "all") Object.assign(run, { x, zero: options.zero ?? {}, maps: found.maps });
        return found;
      },
      classify: (x) => classifyViews(network, ends, views, x),
      trace: (address, { x, zero, language = "en" } = {}) =>
        sayFrom(language === "ko" ? korean : null, () =>
          traceValue(network, keepPass(x, zero), address, { texts, pixels: preprocess }),
        ),
      cam: (x, { label, zero, at } = {}) => computeGradCam(network, keepPass(x, zero), label, at),
      saliency: (x, { label, zero } = {}) => computeSaliency(network, keepPass(x, zero), label),
      hide(x, { label, zero, squares }) {
        const classify = (image) => lookAt(network, before, image, { keep: "last", zero }).probabilities[label];
        return hideSquares(network.input, x, squares, classify);
      },
    },
  };
}

/** One pass: { maps, logits, probabilities, milliseconds }. */
function lookAt(network, before, x, { keep = "all", zero = {} }) {
  const began = performance.now();
  const wanted = before && keep !== "all" ? new Set([...(keep === "last" ? [] : keep), before]) : keep;
  const { maps, output } = network.forward(x, { keep: wanted, zero });
  const milliseconds = performance.now() - began;
  const logits = before ? maps.get(before).data : output;
  if (before && keep !== "all" && !(keep !== "last" && keep.has(before))) maps.delete(before);
  return { maps, logits, probabilities: before ? output : computeShares(output), milliseconds };
}

/** Softmax of a vector. */
export function computeShares(logits) {
  const most = Math.max(...logits);
  const powers = Float64Array.from(logits, (value) => Math.exp(value - most));
  const sum = powers.reduce((a, b) => a + b, 0);
  return Float32Array.from(powers, (value) => value / sum);
}

/** The probabilities as an exported file gives them: of the mean of what the net says over its test-time views. */
function classifyViews(network, ends, views, x) {
  let mean = null;
  for (const view of listViews(views, network.input)) {
    const { output } = network.forward(readView(view, network.input, x), { keep: "last" });
    mean ??= new Float32Array(output.length);
    for (let i = 0; i < output.length; i++) mean[i] += view.weight * output[i];
  }
  return ends ? mean : computeShares(mean);
}

/** How far a view is moved, as a share of the side: one pixel of 32 (striate/engines/views.py). */
const VIEW_SHIFT = 1 / 32;

function listViews(name, [, height, width]) {
  const [down, right] = [height, width].map((side) => Math.max(1, roundHalfEven(side * VIEW_SHIFT)));
  const moves = name === "flip+shift" ? [[0, 0.5], [1, 0.25], [-1, 0.25]] : [[0, 1]];
  return moves.flatMap(([move, weight]) => {
    const view = { weight, down: move * down, right: move * right, mirrored: false };
    return name === "plain" ? [view] : [false, true].map((m) => ({ ...view, weight: weight / 2, mirrored: m }));
  });
}

function readView({ down, right, mirrored }, [channels, height, width], x) {
  const clamp = (place, n) => Math.min(Math.max(place, 0), n - 1);
  const seen = new Float32Array(x.length);
  for (let row = 0, i = 0; row < channels * height; row++) {
    const from = (row - (row % height) + clamp((row % height) + down, height)) * width;
    for (let column = 0; column < width; column++, i++) {
      seen[i] = x[from + clamp((mirrored ? width - 1 - column : column) + right, width)];
    }
  }
  return seen;
}
