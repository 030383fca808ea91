// The filters of a convolution as one picture: painted by Python (striate/studio/packing.py: describe_filters), or in the
// page, where it has the weights. They stand at their maps as well: whole where a filter is one picture, of one or three
// channels, else the part of it that reads the input map which is looked at.

import { element } from "./element.js";

const GAP = 2; // pixels between filters
const ACROSS = 16; // filters in a row, of those that read one or three channels
const GREY = 128;
const BESIDE = 22; // pixels that a filter at its map has at most, except where it has more weights than that

/**
 * A sheet that opens; what is painted here is painted when it does.
 * @param {{path: string, filters: {shape: number[], src?: string, size?: number[], weights?: Float32Array}}} layer
 * @param {number[][]} palette  256 colours from negative to positive
 * @param {(name: string, ...values: any[]) => string} say
 */
export function showFilterSheet({ path, filters }, palette, say) {
  const name = `${say("filters")} ${filters.shape.join("×")}`;
  const image = element("img", { alt: `${path}, ${name}` });
  const show = ({ src, size: [width] } = /** @type {any} */ (filters)) => {
    image.src = src;
    image.style.width = `${width * Math.max(1, Math.min(6, Math.floor(480 / width)))}px`;
  };
  const sheet = element("details", { class: "filters" }, element("summary", {}, name), image);
  if (filters.src) show();
  else sheet.addEventListener("toggle", () => image.src || show(paintFilters(filters, palette)));
  return sheet;
}

/**
 * How large a filter, or its part for one channel, is drawn at its map; null where it is no picture.
 * @param {{shape: number[]} | undefined} filters
 */
export function measureFilter(filters) {
  const [, , h, w] = filters?.shape ?? [0, 0, 0, 0];
  if (h * w <= 1) return null;
  const times = Math.max(1, Math.floor(BESIDE / Math.max(h, w)));
  return { wide: w * times, tall: h * times };
}

/** Whether each filter is one picture. @param {{shape: number[]}} filters */
export function isPicture({ shape: [, channels] }) {
  return channels === 1 || channels === 3;
}

/**
 * The filters that stand at their maps, to be drawn one by one: `reads` is the input map whose part of them is drawn, of
 * `inputs` in all. A filter that does not read it, of another group, is not drawn.
 * @param {{shape: number[], src?: string, weights?: Float32Array}} filters
 * @param {number[][]} palette
 * @returns {Promise<(context: CanvasRenderingContext2D, filter: number, x: number, y: number, reads: number, inputs: number) => void>}
 */
export async function openFilters(filters, palette) {
  const image = element("img", { src: filters.src ?? paintFilters(filters, palette).src });
  await image.decode();
  const [count, channels, h, w] = filters.shape;
  const { across, tall } = placeFilters(filters.shape);
  const { wide, tall: high } = /** @type {any} */ (measureFilter(filters));
  return (context, filter, x, y, reads, inputs) => {
    const group = Math.floor((filter * inputs) / (channels * count));
    const part = isPicture(filters) ? 0 : reads - group * channels;
    if (part < 0 || part >= channels) return;
    const [top, left] = [Math.floor(filter / across) * (tall + GAP) + part * (h + 1), (filter % across) * (w + GAP)];
    context.imageSmoothingEnabled = false;
    context.drawImage(image, left, top, w, h, x, y, wide, high);
  };
}

/** How a sheet is made up: so many filters in a row, each so tall. @param {number[]} shape */
function placeFilters([count, channels, height]) {
  const picture = isPicture({ shape: [count, channels] });
  return {
    across: picture ? Math.min(count, ACROSS) : count,
    tall: channels === 3 ? height : channels * (height + 1) - 1,
  };
}

/**
 * Each filter on its own scale, 0 in the middle: three channels are one picture in colour, else the channels stand one
 * under another, blue where negative and orange where positive.
 */
function paintFilters(/** @type {any} */ { shape, weights }, /** @type {number[][]} */ palette) {
  const [count, channels, height, width] = shape;
  const colour = channels === 3;
  const { across, tall } = placeFilters(shape);
  const size = [across * (width + GAP) - GAP, Math.ceil(count / across) * (tall + GAP) - GAP];
  const canvas = element("canvas", { width: size[0], height: size[1] });
  const context = canvas.getContext("2d");
  const image = context.createImageData(...size);
  image.data.fill(255).forEach((_, i) => i % 4 < 3 && (image.data[i] = GREY));
  const each = weights.length / count;
  for (let k = 0; k < count; k++) {
    const own = weights.subarray(k * each, (k + 1) * each);
    const limit = own.reduce((/** @type {number} */ most, w) => Math.max(most, Math.abs(w)), 0) || 1;
    const [top, left] = [Math.floor(k / across) * (tall + GAP), (k % across) * (width + GAP)];
    own.forEach((/** @type {number} */ weight, /** @type {number} */ i) => {
      const level = Math.round((weight / limit / 2 + 0.5) * 255);
      const [c, row] = [Math.floor(i / width / height), Math.floor(i / width) % height];
      const at = 4 * ((top + row + (colour ? 0 : c * (height + 1))) * size[0] + left + (i % width));
      if (colour) image.data[at + c] = level;
      else image.data.set(palette[level], at);
    });
  }
  context.putImageData(image, 0, 0);
  return { src: canvas.toDataURL(), size };
}
