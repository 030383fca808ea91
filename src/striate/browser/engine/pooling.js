// Pooling: one value for a window, or for a whole map, channel by channel.

import { findInside, slideWindow } from "./window.js";

/** Calls `visit(map's index, pixel's index)` for every position and every tap of one channel within the map. */
function visitTaps(rows, columns, visit) {
  for (let down = 0; down < rows.kernel; down++) {
    const [top, bottom] = findInside(rows, down);
    for (let right = 0; right < columns.kernel; right++) {
      const [first, end] = findInside(columns, right);
      for (let row = top; row < bottom; row++) {
        const y = row * rows.stride + down * rows.dilation - rows.before;
        const shift = y * columns.n + right * columns.dilation - columns.before;
        visit(row * columns.size, first, end, shift);
      }
    }
  }
}

/** The largest value under the window; padding never wins. */
export function computeMaxPool(node, x, pass) {
  const [rows, columns] = slideWindow(node.layer, node.x);
  const size = rows.size * columns.size;
  const out = pass.make(node.x[0] * size).fill(-Infinity);
  for (let c = 0; c < node.x[0]; c++) {
    visitTaps(rows, columns, (line, first, end, shift) => {
      let from = c * rows.n * columns.n + shift + first * columns.stride;
      for (let i = c * size + line + first, stop = c * size + line + end; i < stop; i++, from += columns.stride) {
        if (!(x[from] <= out[i])) out[i] = x[from]; // so that a NaN stays one
      }
    });
  }
  return out;
}

/** The mean under the window, over the values within the map, with `count_padding` also over those in the padding. */
export function computeAvgPool(node, x, pass) {
  const { layer } = node;
  const [rows, columns] = slideWindow(layer, node.x);
  const size = rows.size * columns.size;
  const out = pass.make(node.x[0] * size);
  const sums = new Float64Array(size);
  const [high, wide] = [rows, columns].map((axis) => countTaps(axis, layer.count_padding));
  for (let c = 0; c < node.x[0]; c++) {
    sums.fill(0);
    visitTaps(rows, columns, (line, first, end, shift) => {
      let from = c * rows.n * columns.n + shift + first * columns.stride;
      for (let i = line + first; i < line + end; i++, from += columns.stride) sums[i] += x[from];
    });
    for (let i = 0; i < size; i++) {
      out[c * size + i] = sums[i] / (high[Math.floor(i / columns.size)] * wide[i % columns.size]);
    }
  }
  return out;
}

/** The rows and the columns that the window at output row i, column j reads; outside the map lies the padding. */
export function findWindowTaps([rows, columns], i, j) {
  return [[rows, i], [columns, j]].map(([axis, position]) =>
    Array.from({ length: axis.kernel }, (_, tap) => position * axis.stride - axis.before + tap * axis.dilation),
  );
}

/** By how many rows (or columns) each position divides; one beyond the padding, as ceil may reach it, never counts. */
export function countTaps(axis, padded) {
  const [before, after] = padded ? [axis.before, axis.after] : [0, 0];
  return Array.from({ length: axis.size }, (_, position) => {
    let count = 0;
    for (let tap = 0; tap < axis.kernel; tap++) {
      const place = position * axis.stride - axis.before + tap * axis.dilation;
      if (place >= -before && place < axis.n + after) count += 1;
    }
    return count;
  });
}

/** The map's size after a blur, which reflects it at its edges. */
export function slideBlur(layer, x) {
  const before = Math.floor((layer.kernel - 1) / 2);
  const after = Math.floor(layer.kernel / 2);
  return slideWindow({ ...layer, padding: [before, after, before, after] }, x);
}

/** A binomial blur along the rows and along the columns, and every `stride`-th value of it. */
export function computeBlurPool(node, x, pass) {
  const [rows, columns] = slideBlur(node.layer, node.x);
  const taps = makeBinomial(node.layer.kernel);
  const size = rows.size * columns.size;
  const out = pass.make(node.x[0] * size);
  const lines = new Float64Array(rows.n * columns.size);
  for (let c = 0; c < node.x[0]; c++) {
    const from = c * rows.n * columns.n;
    for (let i = 0; i < lines.length; i++) {
      const line = from + Math.floor(i / columns.size) * columns.n;
      lines[i] = sumTaps(taps, columns, i % columns.size, (place) => x[line + place]);
    }
    for (let i = 0; i < size; i++) {
      const column = i % columns.size;
      out[c * size + i] = sumTaps(taps, rows, Math.floor(i / columns.size), (p) => lines[p * columns.size + column]);
    }
  }
  return out;
}

function sumTaps(taps, axis, position, read) {
  let sum = 0;
  for (let tap = 0; tap < taps.length; tap++) {
    sum += taps[tap] * read(reflectPlace(position * axis.stride - axis.before + tap, axis.n));
  }
  return sum;
}

/** A place outside a map of n pixels, reflected at the first and at the last: −1 is 1, and n is n − 2. */
export function reflectPlace(place, n) {
  return n - 1 - Math.abs(n - 1 - Math.abs(place));
}

export function makeBinomial(length) {
  let line = [1];
  for (let i = 1; i < length; i++) line = [...line, 0].map((v, j) => v + (line[j - 1] ?? 0));
  return line.map((v) => v / 2 ** (length - 1));
}

/** The mean of each map. */
export function computeGlobalAvgPool(node, x, pass) {
  return reduceMaps(node, x, pass, 0, (sum, value) => sum + value, (sum, size) => sum / size);
}

/** The largest value of each map. */
export function computeGlobalMaxPool(node, x, pass) {
  return reduceMaps(node, x, pass, -Infinity, (most, value) => (value <= most ? most : value), (most) => most);
}

function reduceMaps(node, x, pass, start, join, finish) {
  const [channels, height, width] = node.x;
  const out = pass.make(channels);
  for (let c = 0; c < channels; c++) {
    let made = start;
    for (let i = c * height * width, end = i + height * width; i < end; i++) made = join(made, x[i]);
    out[c] = finish(made, height * width);
  }
  return out;
}
