// The image as the network takes it, at the network's size: what is drawn or opened is laid on it, and it is read from it.

import { prepareImage, standardise } from "./preprocess.js";

const PEN = 0.095; // of the shorter side
const DOT = 0.01; // by which a stroke of no length is drawn out: some browsers draw nothing of it
const MOST_SIDE = 4096; // of a picture; a larger one is read smaller

/**
 * @param {object} given
 * @param {number[]} given.input      channels, rows and columns
 * @param {any} given.preprocess
 * @param {string} given.ink          "light" on a dark ground, or "dark" on a light one
 * @param {() => void} given.changed  called after each piece of a stroke
 * @param {() => void} given.ended    called after a stroke
 */
export function makePaper({ input, preprocess, ink, changed, ended }) {
  const [channels, height, width] = input;
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width, height });
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d", { willReadFrequently: true }));
  const [ground, colour] = ink === "light" ? ["#000", "#fff"] : ["#fff", "#000"];
  /** @type {number[] | null} */
  let last = null;

  function clear() {
    context.fillStyle = ground;
    context.fillRect(0, 0, width, height);
  }

  /** @param {number[]} place  row and column, with fractions */
  function move([i, j]) {
    const [before, after] = [last ?? [i, j - 0.01], [i, j]]; // a line without a length is not drawn: a tap is a dot
    const line = { strokeStyle: colour, lineWidth: PEN * Math.min(height, width), lineCap: "round", lineJoin: "round" };
    Object.assign(context, line);
    context.beginPath();
    context.moveTo(before[1], before[0]);
    context.lineTo(after[1] + DOT, after[0]);
    context.stroke();
    last = after;
    changed();
  }

  function end() {
    last = null;
    ended();
  }

  /** The levels on it, a byte each: { width, height, channels, data }. */
  function readLevels() {
    const { data } = context.getImageData(0, 0, width, height);
    const levels = new Uint8Array(channels * height * width);
    for (let i = 0, o = 0; i < data.length; i += 4) for (let c = 0; c < channels; c++) levels[o++] = data[i + c];
    return { width, height, channels, data: levels };
  }

  /** Lay on it what `prepareImage` gave. @param {{data: Uint8Array}} image */
  function writeLevels({ data }) {
    const pixels = context.createImageData(width, height);
    for (let i = 0; i < height * width; i++) {
      for (let c = 0; c < 3; c++) pixels.data[4 * i + c] = data[i * channels + Math.min(c, channels - 1)];
      pixels.data[4 * i + 3] = 255;
    }
    context.putImageData(pixels, 0, 0);
  }

  /** A picture file, brought to the network's size as Python does it. Rejects what is no picture. @param {Blob} blob */
  async function open(blob) {
    const bitmap = await createImageBitmap(blob, { imageOrientation: "from-image" });
    const scale = Math.min(1, MOST_SIDE / Math.max(bitmap.width, bitmap.height));
    const whole = document.createElement("canvas");
    const size = { width: Math.round(bitmap.width * scale), height: Math.round(bitmap.height * scale) };
    Object.assign(whole, size);
    const drawing = /** @type {CanvasRenderingContext2D} */ (whole.getContext("2d", { willReadFrequently: true }));
    drawing.drawImage(bitmap, 0, 0, size.width, size.height);
    bitmap.close();
    writeLevels(prepareImage(drawing.getImageData(0, 0, size.width, size.height), preprocess, channels).image);
  }

  /** An example, which is at the network's size already. @param {string} source */
  async function lay(source) {
    const image = new Image();
    image.src = source;
    await image.decode();
    context.drawImage(image, 0, 0);
  }

  clear();
  return { canvas, clear, open, lay, pen: { move, end }, read: () => standardise(readLevels(), preprocess), readLevels };
}
