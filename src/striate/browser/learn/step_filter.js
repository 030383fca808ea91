// Step 2: a filter slides over a grid, position by position, forward and backward.

import { runBackward, runLayer } from "./layers_here.js";
import { button, choice, drawGrid, findMost, make, readMatrix, show, slider, takeRows, tint } from "./page_parts.js";

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
  controls({ values, set, say, play }) {
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
          say("play"),
          () =>
            play(
              (now) => {
                const { out } = slideFilter(readFilter(now));
                return now.at + 1 < out.data.length ? { at: now.at + 1 } : null;
              },
              () => 1400 / values.speed,
            ),
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
  figure({ values, set, say }) {
    const read = readFilter(values);
    const { layer, out } = slideFilter(read);
    const { rows, weights } = read;
    const [, high, wide] = out.shape;
    const at = Math.min(values.at, high * wide - 1);
    const [row, column] = [Math.floor(at / wide), at % wide];
    const inside = (i, j) => i >= row && i < row + weights.length && j >= column && j < column + weights[0].length;
    const trouble = !read.readable
      ? make("p", { className: "trouble", role: "alert" }, say("unreadable"))
      : !read.fits
        ? make("p", { className: "trouble", role: "alert" }, say("toolarge"))
        : null;
    if (values.back) {
      const back = runBackward(layer, rows, { weight: [[weights]] });
      const dx = takeRows({ shape: [1, rows.length, rows[0].length], data: back.input });
      const dw = takeRows({ shape: [1, weights.length, weights[0].length], data: back.weight });
      return [
        drawGrid(
          Array.from({ length: high }, () => Array(wide).fill(1)),
          { name: say("slope") },
        ),
        drawGrid(dx, { name: say("toinput"), colour: tint(findMost(back.input)) }),
        drawGrid(dw, { name: say("toweight"), colour: tint(findMost(back.weight)) }),
        trouble,
      ];
    }
    const made = takeRows(out).map((line, i) => line.map((value, j) => (i * wide + j <= at ? value : null)));
    const products = weights.map((line, i) => line.map((weight, j) => weight * rows[row + i][column + j]));
    const chosen = (i, j) => (i === row && j === column ? "here" : "");
    return [
      drawGrid(rows, {
        name: say("input"),
        mark: (i, j) => (inside(i, j) ? "window" : ""),
        colour: tint(findMost(rows.flat())),
      }),
      drawGrid(weights, { name: say("kernel"), colour: tint(findMost(weights.flat())) }),
      drawGrid(products, { name: say("products"), colour: tint(findMost(products.flat())) }),
      drawGrid(made, {
        name: say("output"),
        mark: chosen,
        colour: tint(findMost(out.data)),
        on: (i, j) => set({ at: i * wide + j }),
      }),
      make(
        "p",
        { className: "sum" },
        `${products.flat().map(show).join(" + ").replaceAll("+ −", "− ")} = `,
        make("b", { className: "value here" }, show(out.data[at])),
      ),
      make(
        "p",
        { className: "alike" },
        say("alike", { share: show(findLikeness(weights.flat(), rows, row, column, weights)) }),
      ),
      trouble,
    ];
  },
  numbers: ({ values }) => {
    const { out } = slideFilter(readFilter(values));
    return { at: Math.min(values.at, out.data.length - 1) + 1, of: out.data.length };
  },
  task: { answer: () => 3, kind: "number" },
};

/** The cosine between the filter and the patch: 1 where they are the same picture. */
function findLikeness(filterValues, rows, row, column, weights) {
  const patch = weights.flatMap((line, i) => line.map((_, j) => rows[row + i][column + j]));
  const dot = (a, b) => a.reduce((sum, value, i) => sum + value * b[i], 0);
  return dot(filterValues, patch) / (Math.sqrt(dot(filterValues, filterValues) * dot(patch, patch)) || 1);
}
