// The image as the view shows it, with what is seen of it.

import { parsed } from "./numbers.js";
import { field, frame, HERE, POINTED } from "./paint.js";

/**
 * The image, what the pinned unit sees of it in the light.
 * @param {HTMLCanvasElement} image
 * @param {any} scene
 * @param {{at: string | null, pointed: string | null, heat: any, pen: boolean}} marked  pen: it is drawn on
 */
export function drawImage(image, scene, { at, pointed, heat, pen }) {
  const layerOf = (/** @type {string} */ path) => scene.layers.find((/** @type {any} */ layer) => layer.path === path);
  const [, h, w] = scene.layers[0].shape;
  const ratio = window.devicePixelRatio || 1;
  const width = image.parentElement?.clientWidth || 260;
  const times = width / Math.max(h, w);
  const [wide, high] = [Math.round(w * times), Math.round(h * times)];
  Object.assign(image, { width: wide * ratio, height: high * ratio });
  Object.assign(image.style, { width: `${wide}px`, height: `${high}px` });
  const context = /** @type {CanvasRenderingContext2D} */ (image.getContext("2d"));
  context.scale(ratio, ratio);
  context.imageSmoothingEnabled = times < 1;
  if (scene.bitmap) context.drawImage(scene.bitmap, 0, 0, wide, high);
  context.imageSmoothingEnabled = true;
  if (heat) context.drawImage(heat, 0, 0, wide, high);
  const boxOf = (/** @type {string | null} */ place) => {
    if (!place) return null;
    const [path, index] = parsed(place);
    const layer = layerOf(path);
    const seen = layer && field(layer, index, [h, w]);
    return (
      seen && [seen[2] * times, seen[0] * times, (seen[3] - seen[2] + 1) * times, (seen[1] - seen[0] + 1) * times]
    );
  };
  const [here, there] = [boxOf(at), boxOf(pointed)];
  if (here && !heat && !pen && (here[2] < wide - 1 || here[3] < high - 1)) {
    context.fillStyle = "rgba(10,12,18,.55)";
    context.beginPath();
    context.rect(0, 0, wide, high);
    context.rect(here[0], here[1], here[2], here[3]);
    context.fill("evenodd");
  }
  if (here && !heat) frame(context, [here[0] + 1, here[1] + 1, here[2] - 2, here[3] - 2], HERE, 2);
  if (there) frame(context, [there[0] + 1, there[1] + 1, there[2] - 2, there[3] - 2], POINTED, 1);
}
