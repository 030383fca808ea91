// The chosen runs beside one another: what came of each, and the settings in which they differ.

import { formatShare } from "./decimals.js";
import { element } from "./element.js";
import { clock } from "./numbers.js";

/**
 * @param {{run: any, colour: string}[]} shown
 * @param {(name: string, ...values: any[]) => string} say
 */
export function comparing(shown, say) {
  const runs = shown.map(({ run }) => run);
  const row = (/** @type {string} */ name, /** @type {(run: any) => any} */ value) =>
    element(
      "tr",
      {},
      element("th", { scope: "row" }, name),
      runs.map((run) => element("td", {}, value(run) ?? "–")),
    );
  const count = (/** @type {number | undefined} */ n) => n?.toLocaleString("en");
  return element(
    "table",
    { class: "compare" },
    element("caption", { class: "unseen" }, say("comparison")),
    element(
      "thead",
      {},
      element(
        "tr",
        {},
        element("td", {}),
        shown.map(({ run, colour }) =>
          element("th", { scope: "col" }, element("i", { class: "swatch", style: { background: colour } }), run.name),
        ),
      ),
    ),
    element(
      "tbody",
      {},
      row(say("data"), (run) => run.data),
      row(say("net"), (run) => run.net),
      row(say("params"), (run) => count(run.params)),
      row(say("macs"), (run) => count(run.macs)),
      row(say("epochs"), (run) => `${run.epochs.length} / ${run.planned}`),
      row(say("best"), (run) => run.best !== null && formatShare(run.best)),
      row(say("reported"), reported),
      row(say("seconds"), (run) => run.epochs.length > 0 && clock(run.seconds)),
      differing(runs).map((name) => row(element("code", {}, name), (run) => written(run.settings[name]))),
    ),
  );

  function reported(/** @type {any} */ run) {
    if (run.accuracy === null) return null;
    const [low, high] = run.interval ?? [];
    const interval = run.interval && say("between", formatShare(low), formatShare(high));
    const split = run.split && ` ${say(run.split === "test" ? "testSplit" : run.split)}`;
    return [formatShare(run.accuracy), element("small", { class: "quiet" }, interval && ` ${interval}`, split)];
  }
}

/** The settings that are not the same in all runs that have them. @param {any[]} runs */
function differing(runs) {
  const names = [...new Set(runs.flatMap((run) => Object.keys(run.settings)))];
  const values = (/** @type {string} */ name) =>
    new Set(runs.filter((run) => name in run.settings).map((run) => written(run.settings[name])));
  return names.filter((name) => name !== "epochs" && values(name).size > 1);
}

/** @param {any} value */
function written(value) {
  return value === undefined || value === null ? "–" : Array.isArray(value) ? value.join("×") : String(value);
}
