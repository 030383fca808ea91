// Step 9: from 400 numbers to ten.

import { choice, drawCounts, drawMaps, drawTable, make, show } from "./page_parts.js";

/** e^x of the logits, their shares and what these lack of 1, and the loss −ln p of a label; too large an e^x is that of x − largest. */
export function explainSoftmax(logits, label) {
  const most = Math.max(...logits);
  const less = most > 700 ? most : 0;
  const powers = Array.from(logits, (x) => Math.exp(x - less));
  const sum = powers.reduce((a, b) => a + b, 0);
  const shares = powers.map((power) => power / sum);
  const addOthers = (one) => powers.reduce((all, power, k) => (k === one ? all : all + power), 0);
  const rests = powers.map((_, k) => addOthers(k) / sum);
  return { powers, sum, shares, rests, rest: rests[label], loss: Math.log1p(addOthers(label) / powers[label]) };
}

/** A share that rounds to 1 is written by what it lacks, so that its logarithm is the one that is shown. */
export function showShare(share, rest) {
  return share > 0.9999 && rest > 0 ? `1 − ${show(rest)}` : show(share);
}

/** How many numbers each layer has, in the order of the net. */
export function listParameters(network) {
  return network.body
    .map((node) => [node.path, Object.values(node.tensors).reduce((sum, { length }) => sum + length, 0)])
    .filter(([, count]) => count > 0);
}

export const answer = {
  key: "answer",
  pad: true,
  defaults: { label: 4 },
  controls: ({ values, set, say }) => [
    choice(
      "label",
      say("label"),
      Array.from({ length: 10 }, (_, k) => [String(k), String(k)]),
      String(values.label),
      ({ label }) => set({ label: Number(label) }),
    ),
  ],
  figure({ values, say, sight }) {
    const { logits } = sight.found;
    const { powers, shares, sum, rests, rest, loss } = explainSoftmax(logits, values.label);
    const heads = ["digit", "logit", "power", "share", "target"].map((key) => say(key));
    const rows = powers.map((power, k) => [
      ...[k, logits[k], power].map((value) => show(value)),
      showShare(shares[k], rests[k]),
      show(k === values.label ? 1 : 0),
    ]);
    const parameters = listParameters(sight.network);
    const total = parameters.reduce((all, [, count]) => all + count, 0);
    const losses = sight.batch.map(({ name, logits }) => [name, explainSoftmax(logits, Number(name)).loss]);
    const mean = losses.reduce((all, [, one]) => all + one, 0) / losses.length;
    const named = losses.map(([name, one]) => `${name}: ${show(one)}`).join(", ");
    return [
      make(
        "div",
        { className: "net sized", role: "img", "aria-label": say("strips") },
        ["pool2", "flatten", "dense1", "dense2", "dense3"].map((path) =>
          drawMaps(sight.found, path, { name: `${path} ${sight.found.maps.get(path).shape.join("×")}` }),
        ),
      ),
      drawTable(heads, rows, { className: "words numbers", mark: (k) => (k === values.label ? "here" : "") }),
      make(
        "p",
        { className: "sum" },
        say("sum", { sum: show(sum) }),
        " · ",
        `−ln(${showShare(shares[values.label], rest)}) = `,
        make("b", { className: "value here" }, show(loss)),
      ),
      make("p", { className: "sum" }, say("batch", { losses: named, mean: show(mean) })),
      drawCounts(parameters, (count) => count / total),
      make("p", { className: "quiet" }, say("all", { total: show(total) })),
    ];
  },
  numbers: ({ values, sight }) => {
    const { shares, rest, loss } = explainSoftmax(sight.found.logits, values.label);
    return { label: values.label, chance: showShare(shares[values.label], rest), loss: show(loss) };
  },
  tasks: [
    ["task", () => 61706],
    ["half", () => Math.log(2), 0.005],
  ],
  place: { studio: "probability", command: "striate trace RUN 4.png --at loss --label 4" },
};
