// The layers of a network by their containers: each folds to the row of what it gives, and opens to all its rows.

import { element } from "./element.js";

const FOLDED_FROM = 30; // rows: from here on the containers begin folded

/**
 * @typedef {{name: string, path: string, row: any, inner: Node[], count: number, section: any, toggle: any}} Node
 */

/**
 * The containers of rows, from the paths of their layers.
 * @param {any[]} rows  as showRows makes them
 * @returns {Node[]}
 */
export function nestRows(rows) {
  const whole = makeNode("", "");
  for (const row of rows) {
    let node = whole;
    const names = row.layer.path.split(".");
    names.forEach((/** @type {string} */ name, /** @type {number} */ depth) => {
      let next = node.inner.find((one) => one.name === name);
      if (!next) node.inner.push((next = makeNode(name, names.slice(0, depth + 1).join("."))));
      node = next;
      node.count += 1;
    });
    node.row = row;
  }
  return whole.inner;
}

/** @returns {Node} */
function makeNode(/** @type {string} */ name, /** @type {string} */ path) {
  return { name, path, row: null, inner: [], count: 0, section: null, toggle: null };
}

/** The row of what a container gives. @param {Node} node @returns {any} */
export function findLast(node) {
  return node.row ?? findLast(node.inner[node.inner.length - 1]);
}

/**
 * The elements of the rows, those of a container together, what it gives last.
 * @param {Node[]} nodes
 * @param {number} count   of all rows
 * @param {(name: string, ...values: any[]) => string} say
 * @param {{turned: Set<string>, folded: () => void}} folds  the containers that a reader folded, or opened, otherwise than
 *   they begin, and who is told when that changes
 * @returns {any[]}
 */
export function placeRows(nodes, count, say, folds) {
  const begins = count > FOLDED_FROM;
  return nodes.map((node) => {
    if (!node.inner.length) return node.row.whole;
    const turn = () => {
      setFolded(node, !isFolded(node));
      folds.turned[isFolded(node) === begins ? "delete" : "add"](node.path);
      folds.folded();
    };
    const inner = element("div", { class: "inner" }, placeRows(node.inner, count, say, folds), node.row?.whole);
    node.toggle = element(
      "button",
      { type: "button", class: "fold-button", "data-fold": node.path, onclick: turn },
      element("b", {}, node.path),
      element("span", { class: "quiet" }, ` ${say("layersIn", node.count)}`),
    );
    node.section = element("section", { class: "block", "data-block": node.path }, node.toggle, inner);
    setFolded(node, begins !== folds.turned.has(node.path));
    return node.section;
  });
}

function isFolded(/** @type {Node} */ node) {
  return node.section.classList.contains("folded");
}

function setFolded(/** @type {Node} */ node, /** @type {boolean} */ folded) {
  node.section.classList.toggle("folded", folded);
  node.toggle.setAttribute("aria-expanded", String(!folded));
}

/**
 * Open whatever hides the row of the layer at `path`.
 * @param {Node[]} nodes
 * @param {string} path
 */
export function openTo(nodes, path) {
  for (const node of nodes) {
    if (!node.section || !(path === node.path || path.startsWith(`${node.path}.`))) continue;
    if (findLast(node).layer.path !== path) setFolded(node, false);
    openTo(node.inner, path);
  }
}
