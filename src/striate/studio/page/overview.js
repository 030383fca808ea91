// The whole net in one strip that stays in view: of each layer or block its strongest map. A click leads to its row.

import { element, fill } from "./element.js";
import { findLast } from "./folds.js";
import { drawStrongest } from "./paint.js";

const SIDE = 34;

/**
 * @param {Element} place
 * @param {import("./folds.js").Node[]} nodes
 * @param {(name: string, ...values: any[]) => string} say
 */
export function showOverview(place, nodes, say) {
  const marks = nodes.map((node) => {
    const canvas = element("canvas", { width: SIDE, height: SIDE });
    const button = element(
      "button",
      {
        type: "button",
        "data-to": node.path,
        title: `${node.path}: ${findLast(node).layer.shape.join("×")}`,
        onclick: () => (node.section ?? node.row.whole).scrollIntoView({ block: "start", behavior: chooseBehaviour() }),
      },
      canvas,
      element("span", {}, node.name),
    );
    return { node, canvas, button };
  });
  fill(
    place,
    marks.map(({ button }) => button),
  );
  place.setAttribute("aria-label", say("overview"));
  return marks;
}

function chooseBehaviour() {
  return matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth";
}

/** @param {any[]} marks @param {any} scene */
export function drawOverview(marks, scene) {
  for (const { node, canvas } of marks) drawStrongest(findLast(node).layer, canvas, scene.palettes);
}

/**
 * Mark the block that is at the top of what is in view.
 * @param {any[]} marks
 * @param {Element} place
 */
export function markCurrent(marks, place) {
  const top = place.getBoundingClientRect().bottom + 60;
  const found = marks.find(({ node }) => (node.section ?? node.row.whole).getBoundingClientRect().bottom > top);
  for (const mark of marks) {
    const here = mark === (found ?? marks[marks.length - 1]);
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
