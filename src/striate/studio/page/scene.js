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
  if (!scene.pictures) return scene;
  if (!opened.has(scene)) opened.set(scene, unpackScene(scene));
  return opened.get(scene);
}

async function unpackScene(/** @type {any} */ scene) {
  const picture = new Image();
  picture.src = scene.picture;
  const [levels, values] = await Promise.all([
    unpacked(scene.pictures, Uint8Array),
    scene.values ? unpacked(scene.values, Float32Array) : null,
    picture.decode(),
  ]);
  let first = 0;
  for (const layer of scene.layers) {
    const end = first + layer.shape.reduce((/** @type {number} */ a, /** @type {number} */ b) => a * b, 1);
    layer.levels = levels.subarray(first, end);
    layer.values = values && values.subarray(first, end);
    first = end;
  }
  scene.bitmap = picture;
  return scene;
}
