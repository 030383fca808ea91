// Convolution: as a product of matrices, tile by tile (depthwise.js has the other way).

import { computeDepthwise, isDepthwise, measureDepthwise } from "./depthwise.js";
import { copyValues } from "./finish.js";
import { COLUMNS, DEPTH, ROWS } from "./matmul.js";
import { findInside, makePair, slideWindow } from "./window.js";

/** Output positions that are computed together. */
const TILE = 128;

/** What the convolution's parts take of the memory: its weights for good, and the panels and sums of one tile. */
export function measureConvolution(layer, x) {
  if (isDepthwise(layer, x)) return { weights: 0, scratch: measureDepthwise(layer, x) };
  const [kh, kw] = makePair(layer.kernel);
  const rows = ROWS * Math.ceil(layer.filters / layer.groups / ROWS);
  return { weights: (x[0] / layer.groups) * kh * kw * rows * layer.groups, scratch: (DEPTH + rows) * TILE };
}

/** Lays the weights out at `place` as the product reads them: by group, by block of the depth, by four filters. */
export function packWeights(layer, x, weight, values, place) {
  if (isDepthwise(layer, x)) return;
  const filters = layer.filters / layer.groups;
  const depth = weight.length / layer.filters;
  for (let group = 0; group < layer.groups; group++) {
    for (let k0 = 0; k0 < depth; k0 += DEPTH) {
      const end = Math.min(depth, k0 + DEPTH);
      for (let f0 = 0; f0 < filters; f0 += ROWS) {
        for (let k = k0; k < end; k++) {
          for (let f = f0; f < f0 + ROWS; f++) {
            values[place++] = f < filters ? weight[(group * filters + f) * depth + k] : 0;
          }
        }
      }
    }
  }
}

/**
 * C×H×W -> filters×H'×W'. `node` holds the layer, its shapes, tensors and the places that it was given; `finish` says
 * what is done with the sums (finish.js).
 */
export function computeConvolution(node, x, pass, finish = node.finish) {
  const { layer } = node;
  const [rows, columns] = slideWindow(layer, node.x);
  const out = pass.make(layer.filters * rows.size * columns.size);
  if (isDepthwise(layer, node.x)) computeDepthwise(node, x, rows, columns, out, pass.matmul, finish);
  else {
    for (let group = 0; group < layer.groups; group++) {
      computeGroup(node, x, rows, columns, out, group, pass.matmul, finish);
    }
  }
  return out;
}

function computeGroup(node, x, rows, columns, out, group, matmul, finish) {
  const { layer, place, scratch } = node;
  const filters = layer.filters / layer.groups;
  const quads = Math.ceil(filters / ROWS);
  const depth = node.tensors.weight.length / layer.filters;
  const positions = rows.size * columns.size;
  const sums = scratch + DEPTH * TILE;
  const from = group * (node.x[0] / layer.groups) * rows.n * columns.n;
  for (let n0 = 0; n0 < positions; n0 += TILE) {
    const count = Math.min(TILE, positions - n0);
    const panels = Math.ceil(count / COLUMNS);
    const width = panels * COLUMNS;
    matmul.values.fill(0, sums, sums + quads * ROWS * width);
    let weights = place + group * depth * quads * ROWS;
    for (let k0 = 0; k0 < depth; k0 += DEPTH) {
      const block = Math.min(DEPTH, depth - k0);
      fillPanels(matmul.values, scratch, x, from, rows, columns, k0, block, n0, count);
      matmul.multiply(weights, scratch, sums, quads, block, panels);
      weights += block * quads * ROWS;
    }
    for (let f = 0, channel = group * filters; f < filters; f++, channel++) {
      const row = sums + f * width;
      matmul.finish(row, width / 4, finish.scale[channel], finish.shift[channel], finish.low, finish.high);
      copyValues(matmul.values, row, count, out, channel * positions + n0);
    }
  }
}

/** What the taps k0 … k0 + block of `count` positions from n0 on see, 8 positions to a panel; 0 outside the map. */
function fillPanels(values, place, x, from, rows, columns, k0, block, n0, count) {
  const panels = Math.ceil(count / COLUMNS);
  const step = block * COLUMNS;
  const direct = rows.kernel * columns.kernel * rows.stride * columns.stride === 1 && rows.size === rows.n
    && columns.size === columns.n;
  for (let i = 0; i < block; i++) {
    const to = place + i * COLUMNS;
    if (direct) {
      copyRun(values, to, step, 0, x, from + (k0 + i) * rows.n * columns.n + n0, 1, count);
    } else {
      const tap = (k0 + i) % (rows.kernel * columns.kernel);
      const channel = (k0 + i - tap) / (rows.kernel * columns.kernel);
      fillTap(values, to, step, x, from + channel * rows.n * columns.n, rows, columns, tap, n0, count);
    }
    for (let j = count; j < panels * COLUMNS; j++) values[to + (j >> 3) * step + (j & 7)] = 0;
  }
}

/** One tap of the kernel over the positions of a tile, a row of the output after the other. */
function fillTap(values, to, step, x, from, rows, columns, tap, n0, count) {
  const right = tap % columns.kernel;
  const down = (tap - right) / columns.kernel;
  const [first, end] = findInside(columns, right);
  let column = n0 % columns.size;
  let row = (n0 - column) / columns.size;
  for (let j = 0; j < count; ) {
    const stop = Math.min(columns.size, column + count - j);
    const y = row * rows.stride + down * rows.dilation - rows.before;
    const low = y < 0 || y >= rows.n ? stop : Math.min(stop, Math.max(column, first));
    const high = Math.max(low, Math.min(stop, end));
    const x0 = from + y * columns.n + low * columns.stride + right * columns.dilation - columns.before;
    fillZeros(values, to, step, j, low - column);
    copyRun(values, to, step, j + low - column, x, x0, columns.stride, high - low);
    fillZeros(values, to, step, j + high - column, stop - high);
    j += stop - column;
    column = 0;
    row += 1;
  }
}

function fillZeros(values, to, step, j, count) {
  for (const end = j + count; j < end; j++) values[to + (j >> 3) * step + (j & 7)] = 0;
}

function copyRun(values, to, step, j, x, from, stride, count) {
  for (const end = j + count; j < end; j++, from += stride) values[to + (j >> 3) * step + (j & 7)] = x[from];
}
