// A layer's maps on one canvas: the pictures are the library's levels in the library's colours; marks lie over them.

import { measureFilter } from "./filter_sheet.js";
import { fillLevels } from "./levels.js";
import { parsed } from "./numbers.js";

/**
 * @typedef {object} Layer
 * @property {string} path
 * @property {number[]} shape
 * @property {boolean} signed
 * @property {number[]} order     its channels, the strongest first
 * @property {Uint8Array} levels  0…255 of its values
 * @property {{shape: number[]}} [filters]  of a convolution
 */

export const MANY = 24;
const NUMBERED = 14; // pixels under each map for its number

export const HERE = "#ffb454";
export const POINTED = "#ffffff";

/**
 * Where each map stands on a canvas `width` pixels wide.
 * @param {Layer} layer
 * @param {number} width
 * @param {boolean} all
 * @param {boolean} [strongest]   whether the strongest come first, or the lowest numbers
 * @param {number[]} [wanted]     channels that are shown in any case
 */
export function plan(layer, width, all, strongest = false, wanted = []) {
  const [channels, h, w] = layer.shape.length === 3 ? layer.shape : [1, 1, layer.shape[0]];
  if (h * w === 1 || layer.shape.length === 1) {
    const count = layer.shape[0];
    const cell = count <= 16 ? Math.min(30, Math.floor(width / count)) : count <= 128 ? 14 : count <= 600 ? 9 : 6;
    const across = Math.max(1, Math.min(count, Math.floor(width / cell)));
    return {
      vector: true,
      channels: [0],
      cell,
      across,
      tileW: across * cell,
      tileH: Math.ceil(count / across) * cell,
      columns: 1,
      gap: 0,
      below: 0,
      height: Math.ceil(count / across) * cell,
    };
  }
  const gap = 6;
  const filter = measureFilter(layer.filters);
  const below = filter ? filter.tall + 5 : NUMBERED;
  const few = channels > MANY && !all ? [...new Set([...wanted, ...layer.order])].slice(0, MANY) : layer.order;
  const chosen = strongest ? few : [...few].sort((a, b) => a - b);
  const [least, target] = h >= 40 ? [64, 96] : h >= 20 ? [52, 84] : [36, 60];
  const most = Math.max(1, Math.floor((width + gap) / (Math.max(least, 4) + gap)));
  const columns = Math.ceil(chosen.length / Math.ceil(chosen.length / most));
  const room = Math.min(target, Math.floor((width + gap) / columns) - gap);
  const times = h < 20 && room >= h ? Math.floor(room / h) : room / h;
  const [tileW, tileH] = [Math.max(4, Math.round(w * times)), Math.max(4, Math.round(h * times))];
  return {
    vector: false,
    channels: chosen,
    cell: 0,
    across: 0,
    tileW,
    tileH,
    columns,
    gap,
    below,
    filter,
    height: Math.ceil(chosen.length / columns) * (tileH + gap + below) - gap,
  };
}

/**
 * The maps of a layer, drawn on its sheet.
 * @param {Layer} layer
 * @param {any} placed       a plan
 * @param {HTMLCanvasElement} sheet
 * @param {number[][]} palette
 * @param {number} ratio     device pixels of a CSS pixel
 */
export function drawMaps(layer, placed, sheet, palette, ratio) {
  const context = /** @type {CanvasRenderingContext2D} */ (sheet.getContext("2d"));
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, sheet.width, sheet.height);
  context.scale(ratio, ratio);
  if (placed.vector) drawVector(context, layer, placed, palette);
  else drawTiles(context, layer, placed, packPalette(palette), ratio);
}

/** A square for each value. */
function drawVector(
  /** @type {CanvasRenderingContext2D} */ context,
  /** @type {Layer} */ layer,
  /** @type {any} */ { across, cell },
  /** @type {number[][]} */ palette,
) {
  for (let k = 0; k < layer.shape[0]; k++) {
    context.fillStyle = `rgb(${palette[layer.levels[k]].join()})`;
    context.fillRect((k % across) * cell, Math.floor(k / across) * cell, cell - 1, cell - 1);
  }
}

/** A picture for each channel that is shown. */
function drawTiles(
  /** @type {CanvasRenderingContext2D} */ context,
  /** @type {Layer} */ layer,
  /** @type {any} */ placed,
  /** @type {Uint32Array} */ colours,
  /** @type {number} */ ratio,
) {
  const [, h, w] = layer.shape;
  const tile = document.createElement("canvas");
  [tile.width, tile.height] = [w, h];
  const inner = /** @type {CanvasRenderingContext2D} */ (tile.getContext("2d", { willReadFrequently: true }));
  const pixels = inner.createImageData(w, h);
  const whole = new Uint32Array(pixels.data.buffer);
  context.imageSmoothingEnabled = placed.tileH * ratio < h;
  context.imageSmoothingQuality = "high";
  placed.channels.forEach((/** @type {number} */ channel, /** @type {number} */ slot) => {
    for (let i = 0, at = channel * h * w; i < whole.length; i++, at++) whole[i] = colours[layer.levels[at]];
    inner.putImageData(pixels, 0, 0);
    const [x, y] = corner(placed, slot);
    context.drawImage(tile, x, y, placed.tileW, placed.tileH);
  });
  numberTiles(context, placed);
}

/** Under each map its channel, and the filter that made it where that is drawn. */
function numberTiles(/** @type {CanvasRenderingContext2D} */ context, /** @type {any} */ placed) {
  const { filter, drawFilter } = placed;
  context.fillStyle = getComputedStyle(document.body).getPropertyValue("color") || "#888";
  context.globalAlpha = 0.75;
  context.font = "12px system-ui, sans-serif";
  context.textAlign = filter ? "left" : "center";
  placed.channels.forEach((/** @type {number} */ channel, /** @type {number} */ slot) => {
    const [x, y] = corner(placed, slot);
    const [left, down] = filter ? [filter.wide + 5, filter.tall / 2 + 7] : [placed.tileW / 2, 12];
    context.fillText(String(channel), x + left, y + placed.tileH + down);
  });
  context.globalAlpha = 1;
  placed.channels.forEach((/** @type {number} */ channel, /** @type {number} */ slot) => {
    const [x, y] = corner(placed, slot);
    drawFilter?.(context, channel, x, y + placed.tileH + 3);
  });
}

/**
 * The strongest map of a layer, on its own scale; of a vector all values.
 * @param {any} layer
 * @param {HTMLCanvasElement} canvas
 * @param {Record<string, number[][]>} palettes
 */
export function drawStrongest(layer, canvas, palettes) {
  const flat = layer.shape.length === 1 || layer.shape[1] * layer.shape[2] === 1;
  const across = Math.ceil(Math.sqrt(layer.shape[0]));
  const [h, w] = flat ? [Math.ceil(layer.shape[0] / across), across] : layer.shape.slice(1);
  const first = flat ? 0 : layer.order[0] * h * w;
  const part = (layer.values ?? layer.levels).subarray(first, first + (flat ? layer.shape[0] : h * w));
  const one = layer.values ? { values: part, levels: null, signed: false } : { levels: part, signed: layer.signed };
  fillLevels(one);
  const colours = packPalette(palettes[one.signed ? "signed" : "rising"]);
  Object.assign(canvas, { width: w, height: h });
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const pixels = context.createImageData(w, h);
  const whole = new Uint32Array(pixels.data.buffer);
  one.levels?.forEach((/** @type {number} */ level, /** @type {number} */ i) => (whole[i] = colours[level]));
  context.putImageData(pixels, 0, 0);
}

/** @type {WeakMap<number[][], Uint32Array>} */
const packed = new WeakMap();

/** A palette as the pixels of a canvas hold it. @param {number[][]} palette */
function packPalette(palette) {
  if (!packed.has(palette)) {
    const bytes = Uint8ClampedArray.from(palette.flatMap(([r, g, b]) => [r, g, b, 255]));
    packed.set(palette, new Uint32Array(bytes.buffer));
  }
  return /** @type {Uint32Array} */ (packed.get(palette));
}

/**
 * @param {any} placed
 * @param {number} slot
 */
export function corner(placed, slot) {
  return [
    (slot % placed.columns) * (placed.tileW + placed.gap),
    Math.floor(slot / placed.columns) * (placed.tileH + placed.gap + placed.below),
  ];
}

/**
 * The index of the value at a point of the canvas, or null between the maps.
 * @param {Layer} layer
 * @param {any} placed
 * @param {number} x
 * @param {number} y
 * @returns {number[] | null}
 */
export function under(layer, placed, x, y) {
  if (placed.vector) {
    const [column, row] = [Math.floor(x / placed.cell), Math.floor(y / placed.cell)];
    const k = row * placed.across + column;
    if (column < 0 || column >= placed.across || row < 0 || k >= layer.shape[0]) return null;
    return layer.shape.length === 3 ? [k, 0, 0] : [k];
  }
  const column = Math.floor(x / (placed.tileW + placed.gap));
  const row = Math.floor(y / (placed.tileH + placed.gap + placed.below));
  const slot = row * placed.columns + column;
  const [left, top] = corner(placed, slot);
  const [, h, w] = layer.shape;
  const [j, i] = [Math.floor(((x - left) / placed.tileW) * w), Math.floor(((y - top) / placed.tileH) * h)];
  if (
    column < 0 ||
    column >= placed.columns ||
    slot < 0 ||
    slot >= placed.channels.length ||
    i < 0 ||
    j < 0 ||
    i >= h ||
    j >= w
  )
    return null;
  return [placed.channels[slot], i, j];
}

/**
 * The rectangle on the canvas of rows top…bottom and columns left…right of a channel, or null where it is not shown.
 * @param {Layer} layer
 * @param {any} placed
 * @param {number} channel
 * @param {number[]} box  [top, bottom, left, right], the last ones included
 * @returns {number[] | null}
 */
export function rectangle(layer, placed, channel, [top, bottom, left, right]) {
  if (placed.vector) {
    const size = placed.cell;
    return [(channel % placed.across) * size, Math.floor(channel / placed.across) * size, size - 1, size - 1];
  }
  const slot = placed.channels.indexOf(channel);
  if (slot < 0) return null;
  const [x, y] = corner(placed, slot);
  const [, h, w] = layer.shape;
  const [high, wide] = [placed.tileH / h, placed.tileW / w];
  return [x + left * wide, y + top * high, (right - left + 1) * wide, (bottom - top + 1) * high];
}

/**
 * A frame that is seen on light and on dark.
 * @param {CanvasRenderingContext2D} context
 * @param {number[]} box
 * @param {string} colour
 * @param {number} line
 */
export function frame(context, [x, y, w, h], colour, line) {
  const grow = Math.max(0, (5 - Math.min(w, h)) / 2);
  [x, y, w, h] = [x - grow, y - grow, w + 2 * grow, h + 2 * grow];
  context.lineWidth = line + 2;
  context.strokeStyle = "rgba(0,0,0,.55)";
  context.strokeRect(x, y, w, h);
  context.lineWidth = line;
  context.strokeStyle = colour;
  context.strokeRect(x, y, w, h);
}

/**
 * Where a trace's operands lie: for each layer and channel a box.
 * @param {any} trace
 * @returns {Map<string, Map<number, number[]>>}
 */
export function operands(trace) {
  const found = new Map();
  for (const group of trace?.groups ?? [])
    for (const { at } of group.terms) {
      if (!at) continue;
      const [path, [c, i = 0, j = 0]] = parsed(at);
      if (!found.has(path)) found.set(path, new Map());
      const boxes = found.get(path);
      const box = boxes.get(c) ?? [i, i, j, j];
      boxes.set(c, [Math.min(box[0], i), Math.max(box[1], i), Math.min(box[2], j), Math.max(box[3], j)]);
    }
  return found;
}

/**
 * What of the image a unit sees, cut at the edges, from the layer's field, stride and start; null for all of it.
 * @param {any} layer
 * @param {number[]} index
 * @param {number[]} size  of the image, rows and columns
 * @returns {number[] | null}  [top, bottom, left, right]
 */
export function field(layer, index, size) {
  if (!layer.field || index.length < 3) return null;
  const ends = [0, 1].map((axis) => {
    const first = layer.start[axis] + index[axis + 1] * layer.stride[axis];
    return [Math.max(0, first), Math.min(size[axis], first + layer.field[axis]) - 1];
  });
  return [...ends[0], ...ends[1]];
}
