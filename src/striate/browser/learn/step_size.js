// Step 3: how large is the answer?

import { formatShare } from "./decimals.js";
import { findSize, runBackward } from "./layers_here.js";
import { button, drawGrid, drawTable, make, show, slider, takeRows } from "./page_parts.js";

/** How often each cell of a grid of this side is read, as rows: the gradient of a filter of ones. */
function countOver(side, f, s, padding) {
  const ones = (n) => Array.from({ length: n }, () => Array(n).fill(1));
  const layer = { layer: "Conv", filters: 1, kernel: f, stride: s, padding, bias: false };
  const { input } = runBackward(layer, ones(side), { weight: [[ones(f)]] });
  return takeRows({ shape: [1, side, side], data: input });
}

/** The same of the padded grid. */
export const countReads = ({ n, f, s, p }) => countOver(n + 2 * p, f, s, "valid");

/** The sides one after another while the window fits; at most so many. */
export function shrinkAgain({ n, f, s, p }, most = 6) {
  const sides = [n];
  while (sides.length < most && findSize({ n: sides.at(-1), f, s, p }) >= 1)
    sides.push(findSize({ n: sides.at(-1), f, s, p }));
  return sides;
}

export const size = {
  key: "size",
  defaults: { n: 7, f: 3, s: 1, p: 0 },
  controls: ({ values, set, say }) => [
    slider("n", say("n"), [3, 12], values.n, set),
    slider("f", say("f"), [1, 7], values.f, set),
    slider("s", say("s"), [1, 4], values.s, set),
    slider("p", say("p"), [0, 3], values.p, set),
    make(
      "div",
      { className: "buttons" },
      button(say("valid"), () => set({ p: 0 }, true)),
      button(say("same"), () => set({ p: Math.floor((values.f - 1) / 2), s: 1 }, true)),
    ),
  ],
  figure({ values, say, sight }) {
    const { n, f, s, p } = values;
    const made = findSize(values);
    if (made < 1) return [make("p", { className: "trouble", role: "alert" }, say("nofit", { f, side: n + 2 * p }))];
    const reads = countReads(values);
    const most = Math.max(...reads.flat());
    const padding = (i, j) => i < p || j < p || i >= n + p || j >= n + p;
    const mark = (i, j) =>
      `${padding(i, j) ? "padding " : ""}${reads[i][j] === 0 && !padding(i, j) ? "unread " : ""}${i < f && j < f ? "window" : ""}`;
    const unread = reads
      .flat()
      .filter((value, k) => value === 0 && !padding(Math.floor(k / reads.length), k % reads.length)).length;
    const out = Array.from({ length: made }, () => Array(made).fill(null));
    return [
      drawGrid(reads, { name: say("reads", { side: n + 2 * p }), mark, colour: shadeTo(most) }),
      drawGrid(out, { name: say("result", { made }), mark: () => "result" }),
      make("p", { className: "sum" }, say("work", { macs: show(made * made * f * f), unread: show(unread) })),
      f <= n && drawBeside(values, say),
      make("p", { className: "sum" }, say("again", { sides: nameSides(values, say) })),
      drawMeasured(sight.strides, say),
    ];
  },
  numbers: ({ values }) => ({ ...values, made: findSize(values) }),
  tasks: [
    ["stride1", () => findSize({ n: 7, f: 3, s: 1, p: 0 })],
    ["stride2", () => findSize({ n: 7, f: 3, s: 2, p: 0 })],
    ["stride3", () => findSize({ n: 7, f: 3, s: 3, p: 0 })],
    ["stride4", () => findSize({ n: 7, f: 3, s: 4, p: 0 })],
    ["keep", () => 1],
    ["five", () => 0],
    ["times", () => shrinkAgain({ n: 7, f: 3, s: 1, p: 0 }).length - 1],
  ],
  place: { studio: "first-conv", command: "striate summary RUN" },
};

const shadeTo = (most) => (value) =>
  `color-mix(in srgb, var(--warm) ${Math.round((60 * value) / most)}%, var(--raised))`;

/** What is read of the picture's own cells: without padding, and with as much as keeps the size. */
function drawBeside({ n, f }, say) {
  const grids = ["valid", "same"].map((kind) => {
    const reads = countOver(n, f, 1, kind);
    const made = kind === "same" ? n : findSize({ n, f, s: 1, p: 0 });
    const name = say("beside", { kind, n, made, corner: reads[0][0], most: Math.max(...reads.flat()) });
    return drawGrid(reads, { name, kind: "small", colour: shadeTo(f * f) });
  });
  return make("div", { className: "beside" }, grids);
}

/** "7 → 5 → 3 → 1, and no further", or "…" where it could go on. */
function nameSides(values, say) {
  const sides = shrinkAgain(values);
  return `${sides.join(" → ")}${findSize({ ...values, n: sides.at(-1) }) < 1 ? say("nomore") : " → …"}`;
}

/** LeNet-5 that pools beside one that strides: what was measured of both. */
function drawMeasured(strides, say) {
  const heads = ["net", "macs", "loss", "accuracy"].map((key) => say(key));
  const rows = Object.entries(strides).map(([name, { macs, loss, accuracy }]) => [
    say(name),
    show(macs),
    show(loss),
    formatShare(accuracy, 2),
  ]);
  const { epochs, parameters } = strides.pooling;
  return make(
    "figure",
    { className: "measured" },
    drawTable(heads, rows, { className: "words numbers" }),
    make("figcaption", {}, say("measured", { epochs, parameters: show(parameters) })),
  );
}
