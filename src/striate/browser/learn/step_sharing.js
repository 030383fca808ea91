// Step 5: the same weights everywhere.

import { findSize } from "./layers_here.js";
import { drawCounts, make, show, toggle } from "./page_parts.js";

/** The parameters from 3×32×32 to 6×28×28, biases included: all to all, each place with its own 5×5, one filter for all. */
export function countParameters() {
  const [channels, side, filters, kernel] = [3, 32, 6, 5];
  const places = findSize({ n: side, f: kernel, s: 1, p: 0 }) ** 2;
  const window = channels * kernel * kernel + 1;
  return {
    dense: (channels * side * side + 1) * places * filters,
    local: window * places * filters,
    shared: window * filters,
  };
}

const findWay = ({ local, shared }) => (!local ? "dense" : shared ? "shared" : "local");

/** Parameters of a first layer, and of two heads for ten classes: [name, the arithmetic]. */
export function listHeads() {
  const [maps, side, classes] = [64, 14, 10];
  const flat = side * side * maps * classes;
  return [
    ["lenetfirst", `(1·5·5 + 1)·6 = ${show((5 * 5 + 1) * 6)}`],
    ["headmean", `${maps}·${classes} = ${show(maps * classes)}, + ${classes} = ${show((maps + 1) * classes)}`],
    ["headflat", `${side}·${side}·${maps}·${classes} + ${classes} = ${show(flat + classes)}`],
  ];
}

export const sharing = {
  key: "sharing",
  defaults: { local: 1, shared: 1 },
  controls: ({ values, set, say }) => [
    toggle("local", say("near"), values.local, (more) => set(more, true)),
    toggle("shared", say("same"), values.local ? values.shared : 0, set, { disabled: !values.local }),
  ],
  figure({ values, say }) {
    const way = findWay(values);
    const counts = Object.entries(countParameters());
    return [
      drawWires(way, say),
      drawCounts(
        counts.map(([name, count]) => [say(name), count]),
        (count) => Math.log10(count) / 8,
        counts.findIndex(([name]) => name === way),
      ),
      make("p", { className: "quiet" }, say("scale")),
      make(
        "dl",
        {},
        listHeads().flatMap(([name, text]) => [make("dt", {}, say(name)), make("dd", {}, text)]),
      ),
    ];
  },
  numbers: () => Object.fromEntries(Object.entries(countParameters()).map(([name, count]) => [name, show(count)])),
  tasks: [
    ["task", () => (5 * 5 + 1) * 6],
    ["mean", () => 64 * 10],
  ],
  place: { studio: "first-conv", command: "striate summary RUN" },
};

/** Seven inputs and five outputs with the wires between them; wires of one colour have one weight. */
function drawWires(way, say) {
  const lines = [];
  const weights = new Set();
  for (let out = 0; out < 5; out++) {
    for (let into = 0; into < 7; into++) {
      const near = into >= out && into < out + 3;
      if (way !== "dense" && !near) continue;
      weights.add(way === "shared" ? into - out : `${out} ${into}`);
      const hue = way === "shared" ? (into - out) * 110 + 20 : (out * 7 + into) * 23;
      lines.push(
        `<line x1="${30 + 50 * into}" y1="20" x2="${80 + 50 * out}" y2="130" stroke="light-dark(hsl(${hue} 65% 42%), hsl(${hue} 75% 68%))" stroke-width="2"/>`,
      );
    }
  }
  const dots = [0, 1, 2, 3, 4, 5, 6].map((i) => `<circle cx="${30 + 50 * i}" cy="20" r="9" class="dot"/>`);
  const outs = [0, 1, 2, 3, 4].map((i) => `<circle cx="${80 + 50 * i}" cy="130" r="9" class="dot out"/>`);
  const figure = make("figure", { className: "wires" });
  figure.innerHTML = `<svg viewBox="0 0 360 150" aria-hidden="true">${[...lines, ...dots, ...outs].join("")}</svg>`;
  figure.append(make("figcaption", {}, say("wires", { lines: lines.length, weights: weights.size })));
  return figure;
}
