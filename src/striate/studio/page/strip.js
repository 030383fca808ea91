// The probabilities in one line, which stays in view where the bars go out of it.

import { rankClasses } from "./beside.js";
import { element } from "./element.js";

const SHORT = 4; // letters of class names that stand side by side

/**
 * The probabilities in one line, for windows in which the bars go out of view.
 * @param {HTMLElement} strip
 * @param {string[]} classes
 * @param {ArrayLike<number>} probabilities
 */
export function showStrip(strip, classes, probabilities) {
  const order = rankClasses(Array.from(probabilities));
  const short = classes.length <= 10 && classes.every((name) => name.length <= SHORT);
  const shown = short ? [...order].sort((a, b) => a - b) : order.slice(0, 3);
  while (strip.children.length < shown.length) strip.append(element("span"));
  shown.forEach((k, place) => {
    const cell = /** @type {HTMLElement} */ (strip.children[place]);
    cell.textContent = classes[k];
    cell.className = k === order[0] ? "best" : "";
    cell.style.setProperty("--share", `${100 * probabilities[k]}%`);
  });
}
