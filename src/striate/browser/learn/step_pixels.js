// Step 1: a picture is numbers, and one of them is followed to the answer.

import { findStrongestReader } from "./follow.js";
import { drawBars, drawGrid, drawMaps, drawSeen, make, show, slider, takeRows } from "./page_parts.js";
import { explainSoftmax, showShare } from "./step_answer.js";
import { findOffset } from "./trace_place.js";

const SIDE = 8;

/** From a pixel to a probability: each time the strongest value that reads the one before. [{ at, value, shown }]. */
export function followPixel({ network, x, found }, row, column) {
  const chain = [{ at: `image[0,${row},${column}]`, value: x[row * 32 + column] }];
  let place = ["image", [0, row, column]];
  while (place[0] !== "probability") {
    const at = findStrongestReader(network, found.maps, ...place);
    const [, path, index] = /^(.*)\[([\d,]+)\]$/.exec(at);
    place = [path, index.split(",").map(Number)];
    const map = found.maps.get(path);
    chain.push(map ? { at, value: map.data[findOffset(map.shape, place[1])] } : { at, ...readShare(found, place[1][0]) });
  }
  return chain.map((one) => ({ shown: show(one.value), ...one }));
}

/** A class's probability, and how it is written. */
function readShare({ logits }, label) {
  const { shares, rest } = explainSoftmax(logits, label);
  return { value: shares[label], shown: showShare(shares[label], rest) };
}

/** The picture with the frame; a pointer over it tells the value under it, a click moves the frame. */
function drawPicture({ values, set, say, sight }, told) {
  const { row, column } = values;
  const seen = drawSeen(sight.levels, say("seen"), [[[row, row + SIDE - 1, column, column + SIDE - 1], "light"]]);
  const place = ({ clientX, clientY }) => {
    const box = seen.getBoundingClientRect();
    const clip = (share) => Math.min(31, Math.max(0, Math.floor(share * 32)));
    return [clip((clientY - box.top) / box.height), clip((clientX - box.left) / box.width)];
  };
  seen.addEventListener("pointermove", (event) => {
    const [i, j] = place(event);
    told.textContent = say("hover", { row: i, column: j, value: sight.levels[i * 32 + j] });
  });
  seen.addEventListener("click", (event) => {
    const [i, j] = place(event).map((at) => Math.min(32 - SIDE, Math.max(0, at - SIDE / 2)));
    set({ row: i, column: j }, true);
  });
  return seen;
}

export const pixels = {
  key: "pixels",
  pad: true,
  defaults: { row: 8, column: 12 },
  controls: ({ values, set, say }) => [
    slider("row", say("row"), [0, 24], values.row, set),
    slider("column", say("column"), [0, 24], values.column, set),
  ],
  figure(host) {
    const { values, say, sight } = host;
    const { levels, found } = sight;
    const { row, column } = values;
    const rows = takeRows({ shape: [1, 32, 32], data: levels })
      .slice(row, row + SIDE)
      .map((line) => line.slice(column, column + SIDE));
    const value = rows[0][0];
    const told = make("p", { className: "sum hover" }, say("hover", { row, column, value }));
    const grid = drawGrid(rows, {
      name: say("zoom", { row, column }),
      colour: (level) => `rgb(${level},${level},${level})`,
      mark: (i, j) => `${rows[i][j] > 117 ? "light" : "dark"}${i + j ? "" : " here"}`,
    });
    grid.addEventListener("pointerover", ({ target }) => {
      if (target.tagName !== "TD") return;
      const [i, j] = [row + target.parentElement.rowIndex, column + target.cellIndex];
      told.textContent = say("hover", { row: i, column: j, value: levels[i * 32 + j] });
    });
    const best = found.probabilities.indexOf(Math.max(...found.probabilities));
    const [{ at, value: scaled }, ...chain] = followPixel(sight, row, column);
    const { mean, std } = sight.preprocess;
    return [
      drawPicture(host, told),
      grid,
      told,
      make(
        "div",
        { className: "net", role: "img", "aria-label": say("net") },
        ["conv1", "pool1", "conv2", "pool2", "dense1", "dense2"].map((path) => drawMaps(found, path)),
      ),
      drawBars([...found.probabilities.keys()].map(String), found.probabilities, best),
      make(
        "ol",
        { className: "chain", "aria-label": say("chain") },
        make(
          "li",
          {},
          make("code", {}, at),
          ` (${show(value)}/255 − ${show(mean[0])})/${show(std[0])} = ${show(scaled)}`,
        ),
        chain.map((one) => make("li", {}, make("code", {}, one.at), ` ${one.shown}`)),
      ),
    ];
  },
  numbers: ({ sight, values }) => ({
    value: sight.levels[values.row * 32 + values.column],
    row: values.row,
    column: values.column,
  }),
  tasks: [
    ["task", () => 32 * 32],
    ["white", () => 255],
  ],
  place: { studio: "image", command: "striate trace RUN 4.png --at image[0,8,12]" },
};
