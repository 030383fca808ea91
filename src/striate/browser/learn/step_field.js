// Step 8: from small to large: the receptive field, and what excites each layer most.

import { choice, drawMaps, drawSeen, make, paintMap, show } from "./page_parts.js";
import { slideWindow } from "./window.js";

/** Each layer, and the one whose exciting digits are shown with it. */
const LAYERS = { conv1: "conv1", pool1: "conv1", conv2: "conv2", pool2: "conv2", dense1: "dense1", dense3: "dense3" };

/** The pixels that the value at `index` of a layer sees, [top, bottom, left, right], and the side of the field. */
export function findField(network, path, [, row, column]) {
  const at = network.body.findIndex((node) => node.path === path);
  const [, height, width] = network.input;
  if (network.body[at].y.length < 3) return { box: [0, height - 1, 0, width - 1], side: height };
  let box = [row, row, column, column];
  for (const node of network.body.slice(0, at + 1).reverse()) {
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

/** The channel, row and column of a map's largest value; of a vector the place alone. */
export function findStrongest({ shape, data }) {
  let best = 0;
  data.forEach((value, i) => (best = value > data[best] ? i : best));
  if (shape.length < 3) return [best];
  const [, height, width] = shape;
  return [Math.floor(best / (height * width)), Math.floor(best / width) % height, best % width];
}

/** For each layer the field about the same pixel: the small ones lie in the large ones. */
function nestFields(network, path, at) {
  const [top, bottom, left, right] = findField(network, path, at).box;
  const near = (layer, axis, middle) => {
    const [, ...sides] = network.nodes.get(layer).y;
    const centre = (k) => {
      const { box } = findField(network, layer, [0, k, k]);
      return (box[2 * axis] + box[2 * axis + 1]) / 2;
    };
    const places = Array.from({ length: sides[axis] }, (_, k) => Math.abs(centre(k) - middle));
    return places.indexOf(Math.min(...places));
  };
  const maps = Object.keys(LAYERS).filter((layer) => network.nodes.get(layer).y.length === 3);
  return maps.map((layer) => {
    const place = [0, near(layer, 0, (top + bottom) / 2), near(layer, 1, (left + right) / 2)];
    return [findField(network, layer, place).box, "faint"];
  });
}

export const field = {
  key: "field",
  pad: true,
  defaults: { layer: "conv1" },
  controls: ({ values, set, say }) => [
    choice(
      "layer",
      say("layer"),
      Object.keys(LAYERS).map((name) => [name, name]),
      values.layer,
      set,
    ),
  ],
  figure({ values, say, sight }) {
    const { layer } = values;
    const at = findStrongest(sight.found.maps.get(layer));
    const { box, side } = findField(sight.network, layer, at);
    const frames = [...nestFields(sight.network, layer, at), [box, "now"]];
    return [
      drawSeen(sight.levels, say("seen"), frames),
      make(
        "div",
        { className: "besides", role: "img", "aria-label": say("maps", { layer }) },
        drawMaps(sight.found, layer, { here: at.length > 1 ? at[0] : -1 }),
        make("p", { className: "sum" }, say("sees", { at: `${layer}[${at.join(",")}]`, side })),
      ),
      drawExciting(sight.exciting, layer, say),
    ];
  },
  numbers: ({ values, sight }) => ({
    side: findField(sight.network, values.layer, [0, 0, 0]).side,
    layer: values.layer,
  }),
  tasks: [
    ["task", () => 5],
    ["pool2", () => 16],
  ],
  place: { studio: "last-conv", command: "striate examples RUN photos/ --layer conv2" },
};

/** The digits that excite each channel of a layer most, each as the patch that the value sees. */
function drawExciting(exciting, layer, say) {
  const path = LAYERS[layer];
  const groups = exciting[path].map((examples, channel) => {
    const patches = examples.map(({ patch, label, value }) => {
      const levels = Uint8Array.from(atob(patch), (letter) => letter.charCodeAt(0));
      const side = Math.sqrt(levels.length);
      const told = say("patch", { label, value: show(value) });
      const canvas = make("canvas", { className: `patch ${path}`, role: "img", "aria-label": told, title: told });
      return paintMap(canvas, levels, side, side, { low: 0, high: 255 });
    });
    const labels = examples.map(({ label }) => label).join(" ");
    return make(
      "figure",
      { className: "exciting" },
      make("div", { className: "patches" }, patches),
      make("figcaption", {}, make("b", {}, String(channel)), `: ${labels}`),
    );
  });
  return make(
    "section",
    { className: "excite" },
    make("h3", {}, say("excites", { path })),
    make("p", { className: "quiet" }, say(path)),
    make("div", { className: "groups" }, groups),
  );
}
