// Step 11: break it and build it.

import { computeGradients } from "./backward.js";
import { formatShare } from "./decimals.js";
import { openNetwork } from "./network.js";
import { choice, drawBars, drawMaps, drawSeen, drawTable, make, show, slider } from "./page_parts.js";

const NETS = [
  ["LeNet-5", "lenet5", 61_706],
  ["AlexNet", "alexnet", 61_100_840],
  ["VGG-16", "vgg16", 138_357_544],
  ["GoogLeNet", "googlenet", 6_624_904],
  ["ResNet-18", "resnet18", 11_689_512],
];

/** How much the end of a chain of blocks changes with its beginning: each a weight, with a shortcut or without. */
export function passBack(blocks, weight, shortcut) {
  const conv = { layer: "Conv", filters: 1, kernel: 1, bias: false, name: "conv" };
  const block = (k) =>
    shortcut
      ? {
          layer: "Parallel",
          join: "add",
          name: `block${k}`,
          branches: [conv, { layer: "Identity", name: "x" }],
        }
      : { ...conv, name: `block${k}` };
  const layers = Array.from({ length: blocks }, (_, k) => block(k));
  const names = layers.map(({ name }) => `${name}${shortcut ? ".conv" : ""}.weight`);
  const network = openNetwork(
    { input: [1, 1, 1], layers },
    new Map(names.map((name) => [name, { shape: [1, 1, 1, 1], data: Float32Array.of(weight) }])),
  );
  const x = Float32Array.of(1);
  const { maps } = network.forward(x);
  return computeGradients(network, { maps, x }, { path: layers.at(-1).name, seed: [1] }).get("image").data[0];
}

function look({ values, sight }) {
  const { right, down, turn, scale, layer, channel } = values;
  const zero = channel < 0 ? {} : { [layer]: [channel] };
  const { levels, found } = sight.see({ right, down, turn, scale: scale / 100, zero });
  return { levels, found, best: found.probabilities.indexOf(Math.max(...found.probabilities)) };
}

export const breaking = {
  key: "breaking",
  pad: true,
  defaults: { layer: "conv1", channel: -1, right: 0, down: 0, turn: 0, scale: 100, blocks: 20 },
  controls: ({ values, set, say }) => [
    choice(
      "layer",
      say("layer"),
      [
        ["conv1", "conv1"],
        ["conv2", "conv2"],
      ],
      values.layer,
      (more) => set({ ...more, channel: -1 }),
    ),
    slider("channel", say("channel"), [-1, values.layer === "conv1" ? 5 : 15], values.channel, set),
    slider("right", say("right"), [-8, 8], values.right, set),
    slider("down", say("down"), [-8, 8], values.down, set),
    slider("turn", say("turn"), [-90, 90, 5], values.turn, set),
    slider("scale", say("scale"), [50, 130, 5], values.scale, set),
    slider("blocks", say("blocks"), [1, 40], values.blocks, set),
  ],
  figure(host) {
    const { values, say } = host;
    const { levels, found, best } = look(host);
    const rows = NETS.map(([name, spec, count]) => [
      make("b", {}, name),
      say(spec),
      show(count),
      make("code", {}, `striate summary ${spec}`),
    ]);
    const slopes = Object.fromEntries(
      [
        ["plain", false],
        ["short", true],
      ].map(([key, shortcut]) => [key, show(passBack(values.blocks, 0.1, shortcut))]),
    );
    return [
      drawSeen(levels, say("seen")),
      drawBars([...found.probabilities.keys()].map(String), found.probabilities, best),
      make(
        "div",
        { className: "net", role: "img", "aria-label": say("maps") },
        ["conv1", "pool1", "conv2", "pool2", "dense1", "dense2", "dense3"].map((path) => drawMaps(found, path)),
      ),
      drawTable(["", say("came"), say("parameters"), ""], rows, { className: "words nets" }),
      make("p", { className: "sum" }, say("shortcut", { blocks: values.blocks, ...slopes })),
    ];
  },
  numbers: (host) => {
    const { found, best } = look(host);
    return { best, chance: formatShare(found.probabilities[best]) };
  },
  tasks: [
    ["task", () => 16],
    ["twice", () => 5],
  ],
  place: { studio: "probability", command: "striate invariance RUN photos/" },
};
