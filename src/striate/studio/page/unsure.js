// When a calibrated model is unsure: of its answers with each class how many it gives, and how many of those are wrong.

import { formatShare } from "./decimals.js";
import { element } from "./element.js";

/**
 * @param {any} found  `abstention` of the results, or null
 * @param {(name: string, ...values: any[]) => string} say
 */
export function unsureCard(found, say) {
  if (!found) return false;
  const columns = ["class", "threshold", "saidImages", "answeredImages", "wrongImages"];
  return element(
    "section",
    { class: "card" },
    element("h2", {}, say("whenUnsure")),
    found.told.map((/** @type {string} */ line) => element("p", {}, line)),
    element(
      "div",
      { class: "scroll" },
      element(
        "table",
        { class: "per-class" },
        element("thead", {}, element("tr", {}, columns.map((name) => element("th", { scope: "col" }, say(name))))),
        element(
          "tbody",
          {},
          found.rows.map((/** @type {any} */ row) =>
            element(
              "tr",
              {},
              element("th", { scope: "row" }, row.name),
              element("td", {}, row.threshold === null ? say("never") : formatShare(row.threshold)),
              [row.said, row.answered, row.wrong].map((n) => element("td", {}, n.toLocaleString("en"))),
            ),
          ),
        ),
      ),
    ),
  );
}
