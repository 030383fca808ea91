// Step 9: from 400 numbers to ten.

import { choice, make, show } from "./page_parts.js";

/** e^(x − largest), their shares, and the loss −ln p of a label. */
export function explainSoftmax(logits, label) {
  const most = Math.max(...logits);
  const powers = Array.from(logits, (x) => Math.exp(x - most));
  const sum = powers.reduce((a, b) => a + b, 0);
  const shares = powers.map((power) => power / sum);
  return { powers, sum, shares, loss: -Math.log(shares[label]) };
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
    const { powers, shares, sum, loss } = explainSoftmax(sight.found.logits, values.label);
    const heads = ["digit", "logit", "power", "share", "target"].map((key) => make("th", { scope: "col" }, say(key)));
    const rows = powers.map((power, k) =>
      make(
        "tr",
        { className: k === values.label ? "here" : "" },
        [k, sight.found.logits[k], power, shares[k], k === values.label ? 1 : 0].map((value) =>
          make("td", {}, show(value)),
        ),
      ),
    );
    const parameters = listParameters(sight.network);
    const total = parameters.reduce((all, [, count]) => all + count, 0);
    const bars = parameters.map(([path, count]) => {
      const bar = make("i");
      bar.style.width = `${(100 * count) / total}%`;
      return make(
        "div",
        { className: "bar" },
        make("span", {}, path),
        make("span", { className: "track" }, bar),
        make("span", { className: "share" }, show(count)),
      );
    });
    const losses = sight.batch.map(({ name, logits }) => [name, explainSoftmax(logits, Number(name)).loss]);
    const mean = losses.reduce((all, [, one]) => all + one, 0) / losses.length;
    return [
      make("table", { className: "words numbers" }, make("thead", {}, make("tr", {}, heads)), make("tbody", {}, rows)),
      make(
        "p",
        { className: "sum" },
        say("sum", { sum: show(sum) }),
        " · ",
        `−ln ${show(shares[values.label])} = `,
        make("b", { className: "value here" }, show(loss)),
      ),
      make(
        "p",
        {},
        say("batch", { losses: losses.map(([name, one]) => `${name}: ${show(one)}`).join(", "), mean: show(mean) }),
      ),
      make("div", { className: "bars wide" }, bars),
      make("p", { className: "quiet" }, say("all", { total: show(total) })),
    ];
  },
  numbers: ({ values, sight }) => {
    const { shares, loss } = explainSoftmax(sight.found.logits, values.label);
    return { label: values.label, p: show(shares[values.label]), loss: show(loss) };
  },
  task: { answer: () => 61706, kind: "number" },
};
