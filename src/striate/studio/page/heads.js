// The heads of transfers as cross-validation found them: loss and accuracy over the strengths of L2 that were tried.

import { formatShare } from "./decimals.js";
import { element, fill } from "./element.js";
import { plot, ticks } from "./plot.js";

/** @param {(name: string, ...values: any[]) => string} say */
export function heading(say) {
  const options = { x: (/** @type {number} */ at) => String(Number((10 ** at).toPrecision(2))), unit: "strength", say };
  const plots = {
    loss: plot({ ...options, title: say("loss"), y: (value) => String(Number(value.toPrecision(3))) }),
    accuracy: plot({ ...options, title: say("accuracy"), y: (value) => formatShare(value).replace(".0 %", " %") }),
  };
  const lead = element("div", {});
  const el = element(
    "section",
    { class: "card heads", hidden: true },
    element("h2", {}, say("headTitle")),
    element("p", { class: "quiet" }, say("headLead")),
    lead,
    element(
      "div",
      { class: "grid-2" },
      element("figure", {}, element("h3", {}, say("loss")), plots.loss.el),
      element("figure", {}, element("h3", {}, say("accuracy")), plots.accuracy.el),
    ),
  );

  /** @param {{run: any, colour: string}[]} shown  transfers */
  function show(shown) {
    el.hidden = !shown.length;
    fill(
      lead,
      shown.map(({ run, colour }) => {
        const best = chosen(run);
        return element(
          "p",
          {},
          element("i", { class: "swatch", style: { background: colour } }),
          element("b", {}, run.name),
          ` ${say("headChosen", best.strength ?? "–", best.loss.toFixed(4), formatShare(best.accuracy))}`,
        );
      }),
    );
    const tried = shown.filter(({ run }) => run.strengths?.length);
    for (const figure of el.querySelectorAll(".grid-2")) figure.hidden = !tried.length;
    if (tried.length) for (const key of /** @type {("loss" | "accuracy")[]} */ (["loss", "accuracy"])) draw(key, tried);
  }

  /** @param {"loss" | "accuracy"} key @param {{run: any, colour: string}[]} tried */
  function draw(key, tried) {
    const lines = tried.map(({ run, colour }) => ({
      name: run.name,
      label: tried.length > 1 ? run.name : "",
      colour,
      points: [...run.strengths].map((item) => [Math.log10(item.strength), item[key]]).sort(([a], [b]) => a - b),
    }));
    const [xs, ys] = [0, 1].map((k) => lines.flatMap(({ points }) => points.map((point) => point[k])));
    const marks = key === "loss" ? ticks(0, Math.max(...ys)) : ticks(Math.min(...ys, 0.99), 1);
    const [low, high] = [Math.min(...xs), Math.max(...xs)];
    plots[key].show({ lines, across: [low, Math.max(high, low + 0.01)], at: [...new Set(xs)], marks });
  }

  return { el, show, close: () => Object.values(plots).forEach((item) => item.close()) };
}

/** Whether a run is a transfer, whose epoch 0 is its head. @param {any} run */
export const isTransfer = (run) => run?.epochs[0]?.epoch === 0;

/** What came of the strength of least cost; of a run without its strengths, of its head. @param {any} run */
function chosen(run) {
  const [head] = run.epochs;
  const tried = run.strengths ?? [];
  const least = Math.min(...tried.map((/** @type {any} */ item) => item.cost));
  return tried.find((/** @type {any} */ item) => item.cost === least) ?? { loss: head.loss, accuracy: head.acc };
}
