// Step 4: colour, and many filters.

import { runLayer } from "./layers_here.js";
import { drawGrid, drawTable, joinSum, make, show, slider, takeRows, tint } from "./page_parts.js";

const COLOURS = ["red", "green", "blue"];
const SIDE = 5;

/** Whole numbers that are the same on every machine: a small linear congruence. */
function drawNumbers(count, seed, most) {
  let state = seed;
  return Array.from({ length: count }, () => {
    state = (state * 1103 + 4721) % 65536;
    return (state % (2 * most + 1)) - most;
  });
}

export const IMAGE = { shape: [3, SIDE, SIDE], data: drawNumbers(75, 7, 9).map(Math.abs) };

/** The filters F×3×5×5 and their biases. */
export function makeFilters(count) {
  return { weight: [drawNumbers(75 * count, 3, 1)], bias: drawNumbers(count, 11, 3) };
}

export function runFilters(count) {
  const { weight, bias } = makeFilters(count);
  return runLayer({ layer: "Conv", filters: count, kernel: SIDE }, IMAGE, { weight, bias });
}

export const channels = {
  key: "channels",
  defaults: { filters: 1 },
  controls: ({ values, set, say }) => [slider("filters", say("filters"), [1, 8], values.filters, set)],
  figure({ values, say }) {
    const { weight, bias } = makeFilters(values.filters);
    const out = runFilters(values.filters);
    const sums = COLOURS.map((_, c) =>
      IMAGE.data.slice(25 * c, 25 * c + 25).reduce((sum, x, i) => sum + x * weight[0][25 * c + i], 0),
    );
    const planes = COLOURS.map((name, c) =>
      make(
        "div",
        { className: `plane ${name}` },
        drawGrid(takeRows(IMAGE, c), { name: say(name) }),
        drawGrid(takeRows({ shape: [3, SIDE, SIDE], data: weight[0] }, c), { colour: tint(1) }),
        make("p", {}, `Σ = ${show(sums[c])}`),
      ),
    );
    const depth = Array.from(out.data, (value, f) =>
      make("span", { className: f === 0 ? "cell here" : "cell" }, show(value)),
    );
    return [
      make("div", { className: "planes" }, planes),
      make(
        "p",
        { className: "sum" },
        `${joinSum(sums)} ${bias[0] < 0 ? "−" : "+"} ${show(Math.abs(bias[0]))} = `,
        make("b", { className: "value here" }, show(out.data[0])),
      ),
      make("div", { className: "depth" }, depth),
      make("p", { className: "sum" }, say("depth", { filters: values.filters, count: show(76 * values.filters) })),
      drawOrders(say),
      drawDictionary(say),
    ];
  },
  numbers: ({ values }) => ({
    filters: values.filters,
    count: show(76 * values.filters),
    limit: show(Math.sqrt(6 / (25 * 3 + 25 * values.filters))),
  }),
  tasks: [
    ["task", () => 76],
    ["conv2", () => (5 * 5 * 6 + 1) * 16],
  ],
  place: { studio: "last-conv", command: "striate trace RUN 4.png --at conv2[0,2,3]" },
  makeFilters,
};

/** The first numbers of the image as they lie in memory: channels last, and channels first. */
function drawOrders(say) {
  const shown = 9;
  const last = Array.from({ length: shown }, (_, k) => [k % 3, Math.floor(k / 3)]);
  const first = Array.from({ length: shown }, (_, k) => [0, k]).map(([c, place]) =>
    place < SIDE * SIDE ? [c, place] : [c + 1, place - SIDE * SIDE],
  );
  const rows = Object.entries({ last, first }).map(([name, places]) =>
    make(
      "p",
      { className: `order ${name}` },
      make("span", { className: "quiet" }, say(name)),
      places.map(([c, place]) =>
        make("span", { className: `cell ${COLOURS[c]}` }, show(IMAGE.data[SIDE * SIDE * c + place])),
      ),
      "…",
    ),
  );
  return make("div", { className: "orders" }, rows);
}

/** What the three call the same things; where only the default is meant, that is said. */
const DICTIONARY = [
  ["filters", "Conv2D(6, 5)", "Conv(6, 5)", "nn.Conv2d(3, 6, 5)"],
  ["strides", "strides=1", "stride=1", "stride=1"],
  ["padding", 'padding="valid"', 'padding="valid"', "padding=0"],
  ["start", '"glorot_uniform", 0', '"glorot_uniform", 0', "kaiming_uniform, uniform"],
  ["pool", "MaxPooling2D(2)", "MaxPool(2)", "nn.MaxPool2d(2)"],
  ["mean", "GlobalAveragePooling2D()", "GlobalAvgPool()", "nn.AdaptiveAvgPool2d(1)"],
  ["dense", "Flatten(), Dense(10)", "Flatten(), Dense(10)", "nn.Flatten(), nn.Linear(400, 10)"],
  ["order", "N×H×W×C", "N×C×H×W", "N×C×H×W"],
];

function drawDictionary(say) {
  const rows = DICTIONARY.map(([name, ...cells]) => [say(name), ...cells.map((cell) => make("code", {}, cell))]);
  return make("div", { className: "dictionary" }, drawTable(["", "Keras", "striate", "PyTorch"], rows));
}
