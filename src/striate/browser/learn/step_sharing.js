// Step 5: the same weights everywhere.

import { findSize } from "./layers_here.js";
import { choice, make, show } from "./page_parts.js";

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

export const sharing = {
  key: "sharing",
  defaults: { way: "shared" },
  controls: ({ values, set, say }) => [
    choice(
      "way",
      say("way"),
      ["dense", "local", "shared"].map((name) => [name, say(name)]),
      values.way,
      set,
    ),
  ],
  figure({ values, say }) {
    const counts = countParameters();
    const bars = Object.entries(counts).map(([name, count]) => {
      const bar = make("i");
      bar.style.width = `${(100 * Math.log10(count)) / 8}%`;
      return make(
        "div",
        { className: name === values.way ? "bar best" : "bar" },
        make("span", {}, say(name)),
        make("span", { className: "track" }, bar),
        make("span", { className: "share" }, show(count)),
      );
    });
    const lines = [
      ["lenetfirst", "(1·5·5 + 1)·6 = 156"],
      ["headmean", "64·10 = 640, + 10 = 650"],
      ["headflat", "14·14·64·10 + 10 = 125,450"],
    ];
    return [
      drawWires(values.way),
      make("div", { className: "bars wide" }, bars),
      make("p", { className: "quiet" }, say("scale")),
      make(
        "dl",
        {},
        lines.flatMap(([name, text]) => [make("dt", {}, say(name)), make("dd", {}, text)]),
      ),
    ];
  },
  numbers: () => Object.fromEntries(Object.entries(countParameters()).map(([name, count]) => [name, show(count)])),
  task: { answer: () => 156, kind: "number" },
};

/** Seven inputs and five outputs with the wires between them; wires of one colour have one weight. */
function drawWires(way) {
  const lines = [];
  for (let out = 0; out < 5; out++) {
    for (let into = 0; into < 7; into++) {
      const near = into >= out && into < out + 3;
      if (way !== "dense" && !near) continue;
      const hue = way === "shared" ? (into - out) * 110 + 20 : (out * 7 + into) * 23;
      lines.push(
        `<line x1="${30 + 50 * into}" y1="20" x2="${80 + 50 * out}" y2="130" stroke="hsl(${hue} 65% 50%)" stroke-width="2"/>`,
      );
    }
  }
  const dots = [0, 1, 2, 3, 4, 5, 6].map((i) => `<circle cx="${30 + 50 * i}" cy="20" r="9" class="dot"/>`);
  const outs = [0, 1, 2, 3, 4].map((i) => `<circle cx="${80 + 50 * i}" cy="130" r="9" class="dot out"/>`);
  const figure = make("figure", { className: "wires" });
  figure.innerHTML = `<svg viewBox="0 0 360 150" aria-hidden="true">${[...lines, ...dots, ...outs].join("")}</svg>`;
  return figure;
}
