// The whole net in one strip that stays in view: of each layer or block its strongest map. A click leads to its row.

import { element, fill } from "./element.js";
import { findLast } from "./folds.js";
import { drawStrongest } from "./paint.js";
import { hasMaps } from "./river.js";

const SIDE = 34;

/**
 * @typedef {{place: Element, marks: any[], chosen: any}} Overview  chosen: the one that was clicked, until one scrolls on
 */

/**
 * @param {Element} place
 * @param {import("./folds.js").Node[]} nodes
 * @param {(name: string, ...values: any[]) => string} say
 * @returns {Overview}
 */
export function showOverview(place, nodes, say) {
  /** @type {Overview} */
  const made = { place, marks: [], chosen: null };
  made.marks = nodes.map((node) => {
    const canvas = element("canvas", { width: SIDE, height: SIDE });
    const button = element(
      "button",
      {
        type: "button",
        "data-to": node.path,
        title: `${node.path}: ${findLast(node).layer.shape.join("×")}`,
        onclick: () => {
          made.chosen = made.marks.find((mark) => mark.node === node);
          (node.section ?? node.row.whole).scrollIntoView({ block: "start", behavior: chooseBehaviour() });
          markCurrent(made);
        },
      },
      canvas,
      element("span", {}, node.name),
    );
    return { node, canvas, button };
  });
  fill(
    place,
    made.marks.map(({ button }) => button),
  );
  place.setAttribute("aria-label", say("overview"));
  return made;
}

function chooseBehaviour() {
  return matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth";
}

/** @param {Overview} overview @param {any} scene @param {any} model */
export function drawOverview({ marks }, scene, model) {
  for (const { node, canvas } of marks) {
    const { layer } = findLast(node);
    if (hasMaps(layer, model)) drawStrongest(layer, canvas, scene.palettes);
  }
}

/** Mark the block that is at the top of what is in view, or was chosen. @param {Overview} overview */
export function markCurrent({ place, marks, chosen }) {
  const top = place.getBoundingClientRect().bottom + 60;
  const found = marks.find(({ node }) => (node.section ?? node.row.whole).getBoundingClientRect().bottom > top);
  for (const mark of marks) {
    const here = mark === (chosen ?? found ?? marks[marks.length - 1]);
    if (here === mark.button.hasAttribute("aria-current")) continue;
    if (!here) mark.button.removeAttribute("aria-current");
    else {
      mark.button.setAttribute("aria-current", "true");
      const { offsetLeft, offsetWidth } = mark.button;
      const view = [place.scrollLeft, place.scrollLeft + place.clientWidth];
      if (offsetLeft < view[0] || offsetLeft + offsetWidth > view[1]) place.scrollLeft = offsetLeft - 60;
    }
  }
}
