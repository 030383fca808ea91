// Small layers, computed by the page's own engine.

import { computeGradients } from "./backward.js";
import { backWeights } from "./backward_windows.js";
import { openNetwork } from "./network.js";

/** One layer over a grid: rows of numbers, or a flat map { shape, data }. Gives { shape, data }. */
export function runLayer(layer, x, tensors = {}) {
  const { network, image } = openLayer(layer, x, tensors);
  const { maps } = network.forward(image);
  return maps.get("here");
}

/** The gradient of the sum of the layer's values: { input, weight }, flat. */
export function runBackward(layer, x, tensors = {}) {
  const { network, image } = openLayer(layer, x, tensors);
  const { maps } = network.forward(image);
  const seed = new Float64Array(maps.get("here").data.length).fill(1);
  const input = computeGradients(network, { maps, x: image }, { path: "here", seed }).get("image").data;
  const node = network.nodes.get("here");
  return { input, weight: layer.layer === "Conv" ? backWeights(node, image, seed) : null };
}

function openLayer(layer, x, tensors) {
  const { shape, data } = Array.isArray(x) ? { shape: [1, x.length, x[0].length], data: x.flat() } : x;
  const named = Object.entries(tensors).map(([name, values]) => [
    `here.${name}`,
    { data: Float32Array.from(values.flat(3)) },
  ]);
  const network = openNetwork({ input: shape, layers: [{ ...layer, name: "here" }] }, new Map(named));
  return { network, image: Float32Array.from(data) };
}

/** ⌊(n + 2p − f)/s⌋ + 1; below 1 the window does not fit. */
export function findSize({ n, f, s, p }) {
  return Math.floor((n + 2 * p - f) / s) + 1;
}
