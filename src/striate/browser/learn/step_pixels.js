// Step 1: a picture is numbers.

import { drawBars, drawGrid, make, paintMap, slider, takeRows } from "./page_parts.js";

const SIDE = 8;

export const pixels = {
  key: "pixels",
  defaults: { row: 8, column: 12 },
  controls: ({ values, set, say }) => [
    slider("row", say("row"), [0, 24], values.row, set),
    slider("column", say("column"), [0, 24], values.column, set),
  ],
  figure({ values, set, say, sight }) {
    const { levels, found } = sight;
    const { row, column } = values;
    const canvas = paintMap(
      make("canvas", { className: "picture", role: "img", "aria-label": say("seen") }),
      levels,
      32,
      32,
      { low: 0, high: 255 },
    );
    canvas.addEventListener("click", (event) => {
      const box = canvas.getBoundingClientRect();
      const place = (at, from, size) => Math.min(24, Math.max(0, Math.round(((at - from) / size) * 32) - SIDE / 2));
      set({ row: place(event.clientY, box.top, box.height), column: place(event.clientX, box.left, box.width) });
    });
    const frame = make("span", { className: "frame" });
    Object.assign(frame.style, { left: `${column / 0.32}%`, top: `${row / 0.32}%`, width: "25%", height: "25%" });
    const rows = takeRows({ shape: [1, 32, 32], data: levels })
      .slice(row, row + SIDE)
      .map((line) => line.slice(column, column + SIDE));
    const gray = (value) => `rgb(${value},${value},${value})`;
    const grid = drawGrid(rows, {
      name: say("zoom", { row, column }),
      colour: gray,
      mark: (i, j) => (rows[i][j] > 127 ? "light" : "dark"),
    });
    const best = found.probabilities.indexOf(Math.max(...found.probabilities));
    return [
      make("div", { className: "seen" }, canvas, frame),
      grid,
      drawBars([...found.probabilities.keys()].map(String), found.probabilities, best),
    ];
  },
  numbers: ({ sight, values }) => ({
    value: sight.levels[values.row * 32 + values.column],
    row: values.row,
    column: values.column,
  }),
  task: { answer: () => 1024, kind: "number" },
};
