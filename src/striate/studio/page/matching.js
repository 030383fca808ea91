// Where in a network the thing is that the course speaks of: "pool", "last-conv", or the address of a value.

import { address, parsed } from "./numbers.js";

/**
 * Name -> which of a scene's layers is meant.
 * @type {Record<string, (layers: any[]) => any>}
 */
const MEANT = {
  image: (layers) => layers[0],
  "first-conv": (layers) => layers.find(isConv),
  "last-conv": (layers) => layers.findLast(isConv),
  one: (layers) => layers.find((layer) => isConv(layer) && layer.kind.endsWith("@1×1")),
  pool: (layers) => layers.find((layer) => layer.colour === "pool"),
  dense: (layers) => layers.find((layer) => layer.colour === "dense"),
  probability: (layers) => layers[layers.length - 1],
};

const isConv = (/** @type {any} */ layer) => layer.colour === "conv";

/**
 * The address that `wanted` means in a scene: itself where that is a value of it, else the middle of the strongest
 * channel of the layer that is meant; null where nothing is.
 * @param {any} scene
 * @param {string} wanted
 */
export function findPlace(scene, wanted) {
  if (wanted.includes("[")) return isThere(scene, wanted) ? wanted : null;
  const { layers } = scene;
  const layer = MEANT[wanted]?.(layers) ?? (wanted === "one" ? MEANT["last-conv"](layers) : null);
  if (!layer) return null;
  const [, ...sides] = layer.shape;
  return address(layer.path, [layer.order[0], ...sides.map((/** @type {number} */ side) => side >> 1)]);
}

function isThere(/** @type {any} */ scene, /** @type {string} */ wanted) {
  const [path, index] = parsed(wanted);
  const layer = scene.layers.find((/** @type {any} */ item) => item.path === path);
  return (
    layer?.shape.length === index.length &&
    index.every((/** @type {number} */ i, /** @type {number} */ axis) => i >= 0 && i < layer.shape[axis])
  );
}
