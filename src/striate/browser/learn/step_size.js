// Step 3: how large is the answer?

import { findSize, runBackward } from "./layers_here.js";
import { button, drawGrid, make, show, slider, takeRows } from "./page_parts.js";

/** How often each cell of the padded grid is read, as rows: the gradient of a filter of ones. */
export function countReads({ n, f, s, p }) {
  const side = n + 2 * p;
  const ones = Array.from({ length: side }, () => Array(side).fill(1));
  const layer = { layer: "Conv", filters: 1, kernel: f, stride: s, bias: false };
  const { input } = runBackward(layer, ones, { weight: [[Array.from({ length: f }, () => Array(f).fill(1))]] });
  return takeRows({ shape: [1, side, side], data: input });
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
  figure({ values, say }) {
    const { n, f, s, p } = values;
    const made = findSize(values);
    if (made < 1) return [make("p", { className: "trouble", role: "alert" }, say("nofit", { f, side: n + 2 * p }))];
    const reads = countReads(values);
    const most = Math.max(...reads.flat());
    const padding = (i, j) => i < p || j < p || i >= n + p || j >= n + p;
    const mark = (i, j) =>
      `${padding(i, j) ? "padding " : ""}${reads[i][j] === 0 && !padding(i, j) ? "unread " : ""}${i < f && j < f ? "window" : ""}`;
    const shade = (value) => `color-mix(in srgb, var(--warm) ${Math.round((60 * value) / most)}%, var(--raised))`;
    const unread = reads
      .flat()
      .filter((value, k) => value === 0 && !padding(Math.floor(k / reads.length), k % reads.length)).length;
    const out = Array.from({ length: made }, () => Array(made).fill(null));
    return [
      drawGrid(reads, { name: say("reads", { side: n }), mark, colour: shade }),
      drawGrid(out, { name: say("result", { made }), mark: () => "result" }),
      make("p", { className: "sum" }, say("work", { macs: show(made * made * f * f), unread: show(unread) })),
    ];
  },
  numbers: ({ values }) => ({ ...values, made: findSize(values) }),
  task: { answer: () => 2, kind: "number" },
};
