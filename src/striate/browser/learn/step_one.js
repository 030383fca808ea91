// Step 7: 1×1 convolutions.

import { runLayer } from "./layers_here.js";
import { drawCounts, drawGrid, findMost, make, show, showFactor, slider, takeRows, tint } from "./page_parts.js";

const IMAGE = {
  shape: [3, 3, 3],
  data: [1, 2, 0, 0, 3, 1, 2, 1, 0, 4, 0, 1, 1, 1, 0, 0, 2, 2, 0, 1, 5, 3, 0, 1, 1, 2, 0],
};

/** The mixture of three channels, before and after its ReLU. */
export function mixChannels({ a, b, c }) {
  const mixed = runLayer({ layer: "Conv", filters: 1, kernel: 1, bias: false }, IMAGE, { weight: [a, b, c] });
  return { mixed, positive: runLayer({ layer: "ReLU" }, mixed) };
}

/** Multiply-adds of a 5×5 convolution from 192 to 32 channels at 28×28: directly, and by way of fewer channels. */
export function countBottleneck(narrow) {
  const area = 28 * 28;
  return { direct: area * 5 * 5 * 192 * 32, through: area * 192 * narrow + area * 5 * 5 * narrow * 32 };
}

export const one = {
  key: "one",
  defaults: { a: 1, b: -1, c: 0.5, narrow: 16 },
  controls: ({ values, set, say }) => [
    ...["a", "b", "c"].map((key, k) => slider(key, say("weight", { k }), [-2, 2, 0.5], values[key], set)),
    slider("narrow", say("narrow"), [4, 64, 4], values.narrow, set),
  ],
  figure({ values, say }) {
    const { mixed, positive } = mixChannels(values);
    const { direct, through } = countBottleneck(values.narrow);
    const inside = (i, j) => (i === 1 && j === 1 ? "window" : "");
    const maps = [0, 1, 2].map((c) => drawGrid(takeRows(IMAGE, c), { name: say("channel", { c }), mark: inside }));
    const middle = [0, 1, 2].map(
      (c) => `${show(IMAGE.data[9 * c + 4])}·${showFactor([values.a, values.b, values.c][c])}`,
    );
    return [
      ...maps,
      drawGrid(takeRows(mixed), { name: say("mixed"), mark: inside, colour: tint(findMost(mixed.data)) }),
      drawGrid(takeRows(positive), { name: "ReLU", mark: inside, colour: tint(findMost(mixed.data)) }),
      make(
        "p",
        { className: "sum" },
        `${middle.join(" + ")} = `,
        make("b", { className: "value here" }, show(mixed.data[4])),
      ),
      drawCounts(
        [
          [say("direct"), direct],
          [say("through", { narrow: values.narrow }), through],
        ],
        (macs) => macs / Math.max(direct, through),
      ),
      drawInception(say),
    ];
  },
  numbers: ({ values }) => {
    const { direct, through } = countBottleneck(values.narrow);
    return { direct: show(direct), through: show(through), times: show(direct / through), narrow: values.narrow };
  },
  tasks: [
    ["task", () => 4],
    ["squeeze", () => (192 + 1) * 32],
  ],
  place: { studio: "one", command: "striate summary googlenet" },
};

/** GoogLeNet's first inception module, 3a: four ways side by side, their maps one behind the other. */
function drawInception(say) {
  const ways = [["1×1, 64"], ["1×1, 96", "3×3, 128"], ["1×1, 16", "5×5, 32"], ["3×3 max", "1×1, 32"]];
  const boxes = ways.map((way) =>
    make(
      "div",
      { className: "way" },
      way.map((text) => make("span", { className: "box" }, text)),
    ),
  );
  return make(
    "figure",
    { className: "inception" },
    make("div", { className: "ways" }, boxes),
    make("span", { className: "box" }, "64 + 128 + 32 + 32 = 256"),
    make("figcaption", {}, say("inception")),
  );
}
