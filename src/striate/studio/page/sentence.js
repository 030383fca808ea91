// A value in one sentence: where it is, and what it is made of.

import { parsed } from "./numbers.js";

/**
 * @param {any} trace   its record
 * @param {any} scene
 * @param {(name: string, ...values: any[]) => string} say
 */
export function describeValue(trace, scene, say) {
  const [path, index] = parsed(trace.address);
  const layer = scene.layers.find((/** @type {any} */ one) => one.path === path);
  const what = describeRule(layer?.kind, trace, say);
  return what ? say("isMadeOf", describePlace(path, index, scene, say), what) : `${describePlace(path, index, scene, say)}.`;
}

/** @param {string} path @param {number[]} index @param {any} scene @param {(name: string, ...values: any[]) => string} say */
function describePlace(path, index, scene, say) {
  if (path === scene.top) return say("atClass", scene.classes[index[0]]);
  if (index.length === 1) return say("atUnit", index[0], path);
  if (path !== "image") return say("atMap", index[0], path, index[1], index[2]);
  const colour = scene.layers[0].shape[0] === 3 ? say(["red", "green", "blue"][index[0]]) : "";
  return say("atPixel", colour, index[1], index[2]).trim();
}

/** What the layer's kind does; nothing where the rule below says all. */
function describeRule(/** @type {string} */ kind, /** @type {any} */ trace, /** @type {any} */ say) {
  const windows = trace.groups.filter((/** @type {any} */ group) => group.grid.length === 2);
  const [h, w] = windows[0]?.grid ?? [];
  const bias = trace.groups.some((/** @type {any} */ { terms }) =>
    terms.some((/** @type {any} */ term) => /\.bias\[/.test(term.weight_at ?? "")),
  );
  const plus = bias ? say("plusBias") : "";
  const inputs = trace.groups.reduce((/** @type {number} */ sum, /** @type {any} */ { terms }) => sum + terms.length, 0);
  switch (kind) {
    case "Conv":
      return windows.length > 1 ? say("ofWindows", h, w, windows.length, plus) : say("ofWindow", h, w, plus);
    case "Dense":
      return say("ofInputs", inputs - (bias ? 1 : 0), plus);
    case "MaxPool":
      return say("ofLargest", h, w);
    case "AvgPool":
      return say("ofMean", h, w);
    case "GlobalAvgPool":
      return say("ofWholeMean", inputs);
    case "ReLU":
      return say("ofReLU");
    case "BatchNorm":
      return say("ofBatchNorm");
    case "Softmax":
      return say("ofSoftmax");
    case "Flatten":
      return say("ofFlatten");
    case "image":
      return say("ofImage");
    default:
      return "";
  }
}
