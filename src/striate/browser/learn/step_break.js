// Step 11: break it and build it.

import { choice, drawBars, make, paintMap, slider } from "./page_parts.js";

const NETS = [
  ["LeNet-5", "lenet5", "61,706"],
  ["AlexNet", "alexnet", "61,100,840"],
  ["GoogLeNet", "googlenet", "6,624,904"],
  ["ResNet-18", "resnet18", "11,689,512"],
];

export const breaking = {
  key: "breaking",
  pad: true,
  defaults: { layer: "conv1", channel: -1, right: 0, turn: 0, scale: 100 },
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
    slider("turn", say("turn"), [-90, 90, 5], values.turn, set),
    slider("scale", say("scale"), [50, 130, 5], values.scale, set),
  ],
  figure({ values, say, sight }) {
    const zero = values.channel < 0 ? {} : { [values.layer]: [values.channel] };
    const { levels, found } = sight.see({ right: values.right, turn: values.turn, scale: values.scale / 100, zero });
    const best = found.probabilities.indexOf(Math.max(...found.probabilities));
    const strips = ["conv1", "pool1", "conv2", "pool2"].map((path) => {
      const {
        shape: [channels, height, width],
        data,
      } = found.maps.get(path);
      const size = height * width;
      const maps = Array.from({ length: channels }, (_, c) =>
        paintMap(make("canvas", { className: "map" }), data.subarray(c * size, (c + 1) * size), height, width, {
          signed: true,
        }),
      );
      return make("div", { className: "maps" }, make("span", { className: "quiet" }, path), maps);
    });
    const cards = NETS.map(([name, spec, count]) =>
      make("li", {}, make("b", {}, name), ` ${say(spec)} `, make("code", {}, `striate summary ${spec}`), ` · ${count}`),
    );
    return [
      make(
        "div",
        { className: "seen" },
        paintMap(make("canvas", { className: "picture", role: "img", "aria-label": say("seen") }), levels, 32, 32, {
          low: 0,
          high: 255,
        }),
      ),
      drawBars([...found.probabilities.keys()].map(String), found.probabilities, best),
      ...strips,
      make("ul", { className: "nets" }, cards),
    ];
  },
  numbers: ({ values, sight }) => {
    const zero = values.channel < 0 ? {} : { [values.layer]: [values.channel] };
    const { found } = sight.see({ right: values.right, turn: values.turn, scale: values.scale / 100, zero });
    const best = found.probabilities.indexOf(Math.max(...found.probabilities));
    return { best, p: `${(100 * found.probabilities[best]).toFixed(1)} %` };
  },
  task: { answer: () => 16, kind: "number" },
};
