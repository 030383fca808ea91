// A scene as the view draws it: each layer with the levels of its picture, and its values where they are there.

import { unpacked } from "./unpack.js";

/** Each is taken apart once: its maps may since have become others. @type {WeakMap<object, Promise<any>>} */
const opened = new WeakMap();

/**
 * Take apart what the library packed; what a page computes itself is there already.
 * @param {any} scene
 * @returns {Promise<any>}
 */
export async function openScene(scene) {
  if (!scene.picture) return scene;
  if (!opened.has(scene)) opened.set(scene, unpackScene(scene));
  return opened.get(scene);
}

async function unpackScene(/** @type {any} */ scene) {
  const picture = new Image();
  picture.src = scene.picture;
  const [levels, values] = await Promise.all([
    scene.pictures ? unpacked(scene.pictures, Uint8Array) : null,
    scene.values ? unpacked(scene.values, Float32Array) : null,
    picture.decode(),
  ]);
  cutMaps(scene.layers, levels, values);
  scene.bitmap = picture;
  return scene;
}

/**
 * Give layers their part of levels and of values, which lie one after another; null: there are none.
 * @param {any[]} layers
 * @param {Uint8Array | null} levels
 * @param {Float32Array | null} values
 */
export function cutMaps(layers, levels, values) {
  let first = 0;
  for (const layer of layers) {
    const end = first + layer.shape.reduce((/** @type {number} */ a, /** @type {number} */ b) => a * b, 1);
    layer.levels = levels && levels.subarray(first, end);
    layer.values = values && values.subarray(first, end);
    first = end;
  }
}
