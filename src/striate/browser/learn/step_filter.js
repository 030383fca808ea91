// Step 2: a filter slides over a grid, position by position, forward and backward.

import { flyValue } from "./flying.js";
import { runBackward, runLayer } from "./layers_here.js";
import { button, choice, drawGrid, findMost, joinSum, make, readMatrix, show, slider, takeRows, tint } from "./page_parts.js";

const KERNELS = {
  vertical: [
    [0, 1, 0],
    [0, 1, 0],
    [0, 1, 0],
  ],
  horizontal: [
    [0, 0, 0],
    [1, 1, 1],
    [0, 0, 0],
  ],
  sobel: [
    [1, 0, -1],
    [2, 0, -2],
    [1, 0, -1],
  ],
  blur: [
    [0.1111, 0.1111, 0.1111],
    [0.1111, 0.1111, 0.1111],
    [0.1111, 0.1111, 0.1111],
  ],
  sharpen: [
    [0, -1, 0],
    [-1, 5, -1],
    [0, -1, 0],
  ],
};

const SLOWEST = 1400; // milliseconds a position

const GRID = [
  [0, 0, 1, 0, 0, 0],
  [0, 0, 1, 0, 0, 0],
  [0, 0, 1, 0, 0, 0],
  [0, 0, 1, 1, 1, 1],
  [0, 0, 0, 0, 0, 0],
  [0, 0, 0, 0, 0, 0],
];

/** What the controls hold as matrices; the last good ones where a text is none. */
export function readFilter({ grid, kernel, own }) {
  const rows = readMatrix(grid) ?? GRID;
  const weights = kernel === "own" ? (readMatrix(own, 7) ?? KERNELS.sobel) : KERNELS[kernel];
  const fits = weights.length <= rows.length && weights[0].length <= rows[0].length;
  return {
    rows,
    weights: fits ? weights : [[1]],
    fits,
    readable: readMatrix(grid) !== null && (kernel !== "own" || readMatrix(own, 7) !== null),
  };
}

export function slideFilter({ rows, weights }) {
  const layer = { layer: "Conv", filters: 1, kernel: [weights.length, weights[0].length], bias: false };
  return { layer, out: runLayer(layer, rows, { weight: [[weights]] }) };
}

export const filter = {
  key: "filter",
  defaults: { grid: JSON.stringify(GRID), kernel: "vertical", own: "[[1,0],[0,-1]]", at: 5, speed: 2, back: 0 },
  controls({ values, set, say, play, playing }) {
    const area = (key, rows) =>
      make("textarea", {
        name: key,
        rows,
        value: values[key],
        spellcheck: false,
        "aria-label": say(key),
        oninput: ({ target }) => set({ [key]: target.value, at: 0 }),
      });
    const names = [...Object.keys(KERNELS), "own"].map((name) => [name, say(name)]);
    return [
      make("label", { className: "control wide" }, make("span", {}, say("grid")), area("grid", 2)),
      choice("kernel", say("kernel"), names, values.kernel, (more) => set({ ...more, at: 0 })),
      values.kernel === "own"
        ? make("label", { className: "control" }, make("span", {}, say("own")), area("own", 1))
        : null,
      make(
        "div",
        { className: "buttons" },
        button(
          say(playing ? "pause" : "play"),
          () => {
            const { out } = slideFilter(readFilter(values));
            if (!playing && values.at + 1 >= out.data.length) values.at = -1;
            play(
              (now) => (now.at + 1 < out.data.length ? { at: now.at + 1 } : null),
              () => SLOWEST / values.speed,
            );
          },
          { className: "main" },
        ),
        button(say("one"), () => {
          const { out } = slideFilter(readFilter(values));
          set({ at: (values.at + 1) % out.data.length });
        }),
        button(say(values.back ? "forward" : "backward"), () => set({ back: 1 - values.back })),
      ),
      slider("speed", say("speed"), [1, 8], values.speed, set),
    ];
  },
  figure(host) {
    const { values, say } = host;
    const read = readFilter(values);
    const trouble = !read.readable ? say("unreadable") : !read.fits ? say("toolarge") : null;
    return [
      ...(values.back ? drawBackward(host, read) : drawForward(host, read)),
      trouble && make("p", { className: "trouble", role: "alert" }, trouble),
    ];
  },
  moved(figure, { values }, more) {
    if ("at" in more && !values.back)
      flyValue(figure.querySelector(".sum .here"), figure.querySelector("td.here"), SLOWEST / values.speed / 2);
  },
  numbers: ({ values }) => {
    const { out } = slideFilter(readFilter(values));
    return { at: Math.min(values.at, out.data.length - 1) + 1, of: out.data.length };
  },
  tasks: [
    ["task", () => 3],
    ["places", () => 16],
  ],
  place: { studio: "first-conv", command: "striate trace RUN 4.png --at conv1[0,10,12]" },
};

/** The window over the picture, its products, how they add up, and the result as far as it is made. */
function drawForward({ values, set, say }, { rows, weights }) {
  const { out } = slideFilter({ rows, weights });
  const [, high, wide] = out.shape;
  const at = Math.max(0, Math.min(values.at, high * wide - 1));
  const [row, column] = [Math.floor(at / wide), at % wide];
  const inside = (i, j) => i >= row && i < row + weights.length && j >= column && j < column + weights[0].length;
  const made = takeRows(out).map((line, i) => line.map((value, j) => (i * wide + j <= at ? value : null)));
  const products = weights.map((line, i) => line.map((weight, j) => weight * rows[row + i][column + j]));
  let sum = 0;
  const running = products.map((line) => line.map((product) => (sum += product)));
  return [
    drawGrid(rows, {
      name: say("input"),
      mark: (i, j) => (inside(i, j) ? "window" : ""),
      colour: tint(findMost(rows.flat())),
    }),
    drawGrid(weights, { name: say("kernel"), colour: tint(findMost(weights.flat())) }),
    drawGrid(products, { name: say("products"), colour: tint(findMost(products.flat())) }),
    drawGrid(running, { name: say("running"), colour: tint(findMost(running.flat())) }),
    drawGrid(made, {
      name: say("output"),
      mark: (i, j) => (i === row && j === column ? "here" : ""),
      colour: tint(findMost(out.data)),
      on: (i, j) => set({ at: i * wide + j }),
    }),
    make(
      "p",
      { className: "sum" },
      `${joinSum(products.flat())} = `,
      make("b", { className: "value here" }, show(out.data[at])),
    ),
    make(
      "p",
      { className: "alike" },
      say("alike", { share: show(findLikeness(weights.flat(), rows, row, column, weights)) }),
    ),
  ];
}

/** The gradient of the sum of the result, on its way back to the filter and to the picture. */
function drawBackward({ say }, { rows, weights }) {
  const { layer, out } = slideFilter({ rows, weights });
  const back = runBackward(layer, rows, { weight: [[weights]] });
  const slope = takeRows({ shape: out.shape, data: out.data.map(() => 1) });
  const dx = takeRows({ shape: [1, rows.length, rows[0].length], data: back.input });
  const dw = takeRows({ shape: [1, weights.length, weights[0].length], data: back.weight });
  const met = rows.slice(0, out.shape[1]).flatMap((line) => line.slice(0, out.shape[2]));
  return [
    drawGrid(slope, { name: say("slope") }),
    drawGrid(dx, { name: say("toinput"), colour: tint(findMost(back.input)) }),
    drawGrid(dw, { name: say("toweight"), colour: tint(findMost(back.weight)), mark: (i, j) => (i + j ? "" : "here") }),
    make(
      "p",
      { className: "sum" },
      `${say("met")} ${joinSum(met)} = `,
      make("b", { className: "value here" }, show(back.weight[0])),
    ),
  ];
}

/** The cosine between the filter and the patch: 1 where they are the same picture. */
function findLikeness(filterValues, rows, row, column, weights) {
  const patch = weights.flatMap((line, i) => line.map((_, j) => rows[row + i][column + j]));
  const dot = (a, b) => a.reduce((sum, value, i) => sum + value * b[i], 0);
  return dot(filterValues, patch) / (Math.sqrt(dot(filterValues, filterValues) * dot(patch, patch)) || 1);
}
