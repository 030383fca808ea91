// Step 6: ReLU, then pooling.

import { runLayer } from "./layers_here.js";
import { button, choice, drawGrid, findMost, make, readMatrix, show, slider, takeRows, tint } from "./page_parts.js";

const GRID = [
  [-2, 6, 7, 1, 5, -1],
  [2, 1, -6, 3, 0, 2],
  [3, 0, 8, -2, 0, 4],
  [-1, 2, 2, 1, 1, 3],
  [9, -3, 0, 2, 7, 1],
  [2, 0, 5, 3, -4, 2],
];

/** From a side, by a window and a stride, to a side. */
const EXAMPLES = [
  [4, 2, 2, 2],
  [5, 3, 1, 3],
];

const cutGrid = (side) => JSON.stringify(GRID.slice(0, side).map((line) => line.slice(0, side)));

/** ReLU of the grid, what is pooled of it, and the same of the grid shifted to the right. */
export function poolGrid({ grid, kind, f, s, shift }) {
  const rows = readMatrix(grid) ?? GRID;
  const positive = takeRows(runLayer({ layer: "ReLU" }, rows));
  const side = Math.min(f, positive.length, positive[0].length);
  const layer = { layer: kind === "max" ? "MaxPool" : "AvgPool", kernel: side, stride: s };
  const moved = positive.map((line) => line.map((_, j) => (j >= shift ? line[j - shift] : 0)));
  return {
    rows,
    positive,
    moved,
    side,
    out: takeRows(runLayer(layer, positive)),
    after: takeRows(runLayer(layer, moved)),
  };
}

export const pooling = {
  key: "pooling",
  defaults: { grid: JSON.stringify(GRID), kind: "max", f: 2, s: 2, shift: 0 },
  controls: ({ values, set, say }) => [
    choice(
      "kind",
      say("kind"),
      [
        ["max", say("max")],
        ["avg", say("avg")],
      ],
      values.kind,
      set,
    ),
    make(
      "div",
      { className: "buttons" },
      EXAMPLES.map(([from, f, s, to]) =>
        button(`${from}×${from} → ${to}×${to}`, () => set({ grid: cutGrid(from), f, s, shift: 0 }, true)),
      ),
    ),
    slider("f", say("f"), [1, 4], values.f, set),
    slider("s", say("s"), [1, 4], values.s, set),
    slider("shift", say("shift"), [0, 3], values.shift, set),
    make(
      "label",
      { className: "control wide" },
      make("span", {}, say("grid")),
      make("textarea", {
        name: "grid",
        rows: 2,
        value: values.grid,
        spellcheck: false,
        "aria-label": say("grid"),
        oninput: ({ target }) => set({ grid: target.value }),
      }),
    ),
  ],
  figure({ values, say }) {
    const { rows, positive, moved, side, out, after } = poolGrid(values);
    const corner = (i, j) => (i < side && j < side ? "window" : "");
    const changed = after.flat().filter((value, k) => value !== out.flat()[k]).length;
    const same = (i, j) => (after[i][j] === out[i][j] ? "" : "changed");
    return [
      drawGrid(rows, { name: say("before"), colour: tint(findMost(rows.flat())) }),
      drawGrid(values.shift ? moved : positive, {
        name: say(values.shift ? "moved" : "relu"),
        mark: corner,
        colour: tint(findMost(positive.flat())),
      }),
      drawGrid(values.shift ? after : out, {
        name: say(values.kind),
        mark: values.shift ? same : (i, j) => (i + j === 0 ? "here" : ""),
        colour: tint(findMost(out.flat())),
      }),
      values.shift
        ? make("p", { className: "sum" }, say("changed", { changed, of: out.flat().length }))
        : make("p", { className: "sum" }, say("lost", { kept: out.flat().length, of: positive.flat().length })),
      make("p", { className: "sum" }, say(values.s < side ? "overlapping" : "apart")),
      values.kind === "avg" && make("p", { className: "sum" }, say("blur", { share: `1/${side * side}` })),
    ];
  },
  numbers: ({ values }) => {
    const { out, side } = poolGrid(values);
    return { high: out.length, wide: out[0].length, f: side, s: values.s, first: show(out[0][0]) };
  },
  tasks: [
    ["task", () => 0],
    ["side", () => 3],
  ],
  place: { studio: "pool", command: "striate trace RUN 4.png --at pool1[0,5,6]" },
};
