// Step 8: from small to large, the receptive field.

import { choice, make, paintMap } from "./page_parts.js";
import { slideWindow } from "./window.js";

export const LAYERS = ["conv1", "pool1", "conv2", "pool2", "conv3"];

/** The pixels that the value at `index` of a layer sees, [top, bottom, left, right], and the side of the field. */
export function findField(network, path, [, row, column]) {
  const chain = network.body.slice(0, network.body.findIndex((node) => node.path === path) + 1);
  let box = [row, row, column, column];
  for (const node of chain.reverse()) {
    if (!node.layer.kernel) continue;
    const axes = slideWindow(node.layer, node.x);
    box = box.map((place, k) => {
      const axis = axes[k >> 1];
      const first = place * axis.stride - axis.before;
      return k % 2 ? first + (axis.kernel - 1) * axis.dilation : first;
    });
  }
  return { box, side: box[1] - box[0] + 1 };
}

/** The channel, row and column of a map's largest value. */
export function findStrongest({ shape, data }) {
  let best = 0;
  data.forEach((value, i) => (best = value > data[best] ? i : best));
  const [, height, width] = shape;
  return [Math.floor(best / (height * width)), Math.floor(best / width) % height, best % width];
}

export const field = {
  key: "field",
  defaults: { layer: "conv1" },
  controls: ({ values, set, say }) => [
    choice(
      "layer",
      say("layer"),
      LAYERS.map((name) => [name, name]),
      values.layer,
      set,
    ),
  ],
  figure({ values, say, sight }) {
    const map = sight.found.maps.get(values.layer);
    const at = findStrongest(map);
    const {
      box: [top, bottom, left, right],
      side,
    } = findField(sight.network, values.layer, at);
    const picture = paintMap(
      make("canvas", { className: "picture", role: "img", "aria-label": say("seen") }),
      sight.levels,
      32,
      32,
      { low: 0, high: 255 },
    );
    const frame = make("span", { className: "frame" });
    Object.assign(frame.style, {
      left: `${left / 0.32}%`,
      top: `${top / 0.32}%`,
      width: `${(right - left + 1) / 0.32}%`,
      height: `${(bottom - top + 1) / 0.32}%`,
    });
    const [channels, height, width] = map.shape;
    const maps = Array.from({ length: Math.min(channels, 24) }, (_, c) => {
      const values = map.data.subarray(c * height * width, (c + 1) * height * width);
      const canvas = paintMap(make("canvas", { className: c === at[0] ? "map here" : "map" }), values, height, width, {
        signed: true,
      });
      return canvas;
    });
    return [
      make("div", { className: "seen" }, picture, frame),
      make("div", { className: "maps", role: "img", "aria-label": say("maps", { layer: values.layer }) }, maps),
      make("p", { className: "sum" }, say("sees", { at: `${values.layer}[${at.join(",")}]`, side })),
    ];
  },
  numbers: ({ values, sight }) => ({
    side: findField(sight.network, values.layer, [0, 0, 0]).side,
    layer: values.layer,
  }),
  task: { answer: () => 5, kind: "number" },
};
