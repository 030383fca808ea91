// A scene as the view draws it: each layer with the levels of its picture, and its values where they are there.

import { unpacked } from "./unpack.js";

/**
 * Take apart what the library packed; what a page computes itself is there already.
 * @param {any} scene
 * @returns {Promise<any>}
 */
export async function openScene(scene) {
  if (!scene.pictures) return scene;
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
