// The keyboard on a map: what the pointer does, without one.

import { address, parsed } from "./numbers.js";

/**
 * Arrow keys move in the map, Page Up and Down between maps, Enter pins; where there is a pen, the space bar dots.
 * @param {HTMLElement} canvas
 * @param {any} layer
 * @param {{placed: () => any, pointed: () => string | null, point: (at: string | null) => void, choose: (at: string) => void, pen: () => any}} view
 */
export function listenToKeys(canvas, layer, view) {
  const { placed, point, choose } = view;
  canvas.addEventListener("keydown", (event) => {
    const pointed = view.pointed();
    const own =
      pointed && parsed(pointed)[0] === layer.path
        ? parsed(pointed)[1]
        : layer.shape.map((/** @type {number} */ n, /** @type {number} */ axis) =>
            axis === 0 ? (placed()?.channels[0] ?? 0) : n >> 1,
          );
    const next = [...own];
    const vector = next.length === 1;
    const across = placed()?.across || 1;
    const move = /** @type {Record<string, number[]>} */ ({
      ArrowLeft: [vector ? 0 : 2, -1],
      ArrowRight: [vector ? 0 : 2, 1],
      ArrowUp: vector ? [0, -across] : [1, -1],
      ArrowDown: vector ? [0, across] : [1, 1],
      PageUp: [0, -1],
      PageDown: [0, 1],
    })[event.key];
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      const pen = layer.path === "image" && event.key === " " && view.pen();
      if (pen) {
        pen.move([own[1] + 0.5, own[2] + 0.5]);
        pen.end();
        return;
      }
      choose(address(layer.path, own));
      return;
    }
    if (!move) return;
    event.preventDefault();
    if (pointed && parsed(pointed)[0] === layer.path)
      next[move[0]] = Math.min(layer.shape[move[0]] - 1, Math.max(0, next[move[0]] + move[1]));
    point(address(layer.path, next));
  });
  canvas.addEventListener("blur", () => point(null));
}
