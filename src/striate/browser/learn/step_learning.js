// Step 10: how it learns. One weight of the first layer under four optimizers, and what 20 epochs made of it.

import { computeGradients } from "./backward.js";
import { backWeights } from "./backward_windows.js";
import { formatShare } from "./decimals.js";
import { explainSoftmax } from "./step_answer.js";
import { openNetwork } from "./network.js";
import { button, make, paintMap, show, showFactor, slider } from "./page_parts.js";

const PLACE = 12; // conv1.weight[0,0,2,2], the middle of the first filter

/** name -> { rate, step(w, g, state, t) -> { w, state, text } }, as striate/optimizers has them. */
export const OPTIMIZERS = {
  sgd: { rate: 0.05, step: (w, g, rate) => ({ w: w - rate * g, text: `${show(w)} − ${show(rate)}·${showFactor(g)}` }) },
  momentum: {
    rate: 0.05,
    step(w, g, rate, { v = 0 }) {
      const next = 0.9 * v + g;
      return {
        w: w - rate * next,
        state: { v: next },
        text: `v = 0.9·${showFactor(v)} + ${showFactor(g)} = ${show(next)}; ${show(w)} − ${show(rate)}·${showFactor(next)}`,
      };
    },
  },
  rmsprop: {
    rate: 0.01,
    step(w, g, rate, { v = 0 }) {
      const next = 0.99 * v + 0.01 * g * g;
      return {
        w: w - (rate * g) / (Math.sqrt(next) + 1e-8),
        state: { v: next },
        text: `v = 0.99·${show(v)} + 0.01·${showFactor(g)}² = ${show(next)}; ${show(w)} − ${show(rate)}·${showFactor(g)}/√${show(next)}`,
      };
    },
  },
  adam: {
    rate: 0.01,
    step(w, g, rate, { m = 0, v = 0 }, t) {
      const mean = 0.9 * m + 0.1 * g,
        square = 0.999 * v + 0.001 * g * g;
      const [m1, v1] = [mean / (1 - 0.9 ** t), square / (1 - 0.999 ** t)];
      return {
        w: w - (rate * m1) / (Math.sqrt(v1) + 1e-8),
        state: { m: mean, v: square },
        text: `m̂ = ${show(m1)}, v̂ = ${show(v1)}; ${show(w)} − ${show(rate)}·${showFactor(m1)}/√${show(v1)}`,
      };
    },
  },
};

/** The loss of a label and its gradient by one weight, where that weight is `w`. */
function measureWeight(sight, w, label) {
  const tensors = new Map(sight.tensors);
  const { shape, data } = tensors.get("conv1.weight");
  const changed = data.slice();
  changed[PLACE] = w;
  tensors.set("conv1.weight", { shape, data: changed });
  const network = openNetwork(sight.net, tensors);
  const { maps, output } = network.forward(sight.x);
  const { shares, loss } = explainSoftmax(output, label);
  const seed = shares.map((share, k) => share - (k === label ? 1 : 0)); // of −ln p by the logits
  const path = network.body.at(-1).path;
  const slope = computeGradients(network, { maps, x: sight.x }, { path, seed, to: "conv1" }).get("conv1").data;
  return { loss, g: backWeights(network.nodes.get("conv1"), sight.x, slope)[PLACE] };
}

/** The steps of one optimizer from the network's own weight on: a row each { w, g, loss, next, text }. */
export function descend(sight, name, steps, label, times = 1) {
  const { step } = OPTIMIZERS[name];
  const rate = OPTIMIZERS[name].rate * times;
  let w = sight.tensors.get("conv1.weight").data[PLACE];
  let state = {};
  return Array.from({ length: steps }, (_, t) => {
    const { loss, g } = measureWeight(sight, w, label);
    const made = step(w, g, rate, state, t + 1);
    const row = { w, g, loss, next: made.w, text: made.text };
    [w, state] = [made.w, made.state ?? {}];
    return row;
  });
}

export const learning = {
  key: "learning",
  defaults: { steps: 3, label: 9, rate: 1, epoch: 20 },
  controls: ({ values, set, say, play, playing }) => [
    slider("steps", say("steps"), [1, 8], values.steps, set),
    slider("label", say("label"), [0, 9], values.label, set),
    slider("rate", say("rate"), [0.25, 4, 0.25], values.rate, set),
    slider("epoch", say("epoch"), [0, 20], values.epoch, set),
    button(
      say(playing ? "pause" : "play"),
      () => {
        if (!playing && values.epoch >= 20) values.epoch = -1;
        play(
          (now) => (now.epoch < 20 ? { epoch: now.epoch + 1 } : null),
          () => 400,
        );
      },
      { className: "main" },
    ),
  ],
  figure({ values, say, sight }) {
    const ways = Object.keys(OPTIMIZERS).map((name) => {
      const rows = descend(sight, name, values.steps, values.label, values.rate);
      const lines = rows.map((row) =>
        make("li", {}, `g = ${show(row.g)}: ${row.text} = `, make("b", { className: "value here" }, show(row.next))),
      );
      return make(
        "section",
        { className: "way" },
        make("h3", {}, `${say(name)}, ${say("at")} ${show(OPTIMIZERS[name].rate * values.rate)}`),
        make("ol", {}, lines),
        make("p", { className: "quiet" }, say("loss", { from: show(rows[0].loss), to: show(rows.at(-1).loss) })),
      );
    });
    const then = sight.training[values.epoch];
    const filters = Array.from({ length: 6 }, (_, f) =>
      paintMap(make("canvas", { className: "map" }), then.filters.slice(25 * f, 25 * f + 25), 5, 5, { signed: true }),
    );
    return [
      make("div", { className: "ways" }, ways),
      make("div", { className: "maps", role: "img", "aria-label": say("filters") }, filters),
      make(
        "p",
        { className: "sum" },
        say("then", {
          epoch: then.epoch,
          loss: show(then.loss),
          right: formatShare(then.right),
          accuracy: formatShare(then.accuracy),
        }),
      ),
      drawCurve(sight.training, values.epoch, say("curve")),
    ];
  },
  numbers: ({ values }) => ({ ...values }),
  tasks: [
    ["task", () => 0.8],
    ["batches", () => Math.ceil(60000 / 64)],
  ],
  place: {
    studio: "first-conv",
    command: "striate trace RUN 4.png --weight conv1[0,0,2,2] --label 9 --optimizer sgd,momentum,rmsprop,adam",
  },
};

/** Over the epochs: the validation loss, on a logarithmic scale, and the probability of the right digit. */
function drawCurve(rows, epoch, name) {
  const losses = rows.map((row) => Math.log(row.loss));
  const [high, low] = [Math.max(...losses), Math.min(...losses)];
  const lines = {
    loss: rows.map((_, x) => [20 + x * 16, 10 + (80 * (high - losses[x])) / (high - low || 1)]),
    chance: rows.map((row, x) => [20 + x * 16, 90 - 80 * row.right]),
  };
  const drawn = Object.entries(lines).map(([key, points]) => {
    const [x, y] = points[epoch];
    return `<polyline class="${key}" points="${points.map((p) => p.join()).join(" ")}"/><circle class="${key}" cx="${x}" cy="${y}" r="5"/>`;
  });
  const figure = make("figure", { className: "curve" });
  figure.innerHTML = `<svg viewBox="0 0 360 100" aria-hidden="true">${drawn.join("")}</svg>`;
  figure.append(make("figcaption", {}, name));
  return figure;
}
