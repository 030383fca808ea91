// Depthwise convolution: each filter sees one channel, which is laid out so that 8 output columns lie side by side.

import { copyValues } from "./finish.js";
import { COLUMNS } from "./matmul.js";
import { slideWindow } from "./window.js";

export function isDepthwise(layer, x) {
  return x[0] > 1 && layer.groups === x[0];
}

/**
 * How a channel lies in the memory: with its padding, row after row, and within a row first the columns 0, s, 2s, …,
 * then 1, s + 1, …, for a stride of s. So what one tap sees at neighbouring positions lies side by side.
 */
function planLayout(rows, columns) {
  const high = (rows.size - 1) * rows.stride + (rows.kernel - 1) * rows.dilation + 1;
  const wide = (columns.size - 1) * columns.stride + (columns.kernel - 1) * columns.dilation + 1;
  const phase = Math.ceil(wide / columns.stride);
  const parts = Math.ceil(columns.size / COLUMNS);
  const taps = rows.kernel * columns.kernel;
  const line = phase * columns.stride;
  const room = high * line + 2 * COLUMNS; // the last part may read beyond the last row
  return { high, wide, phase, line, parts, taps, room, sums: rows.size * parts * COLUMNS };
}

/** The room that it takes, in floats. */
export function measureDepthwise(layer, x) {
  const { taps, room, sums } = planLayout(...slideWindow(layer, x));
  return 2 * taps + room + sums;
}

/** C×H×W -> filters×H'×W', into `out`. */
export function computeDepthwise(node, x, rows, columns, out, matmul, finish) {
  const { layer, tensors, scratch } = node;
  const plan = planLayout(rows, columns);
  const { taps, room, parts, line } = plan;
  const [weights, from] = [scratch + taps, scratch + 2 * taps];
  const sums = from + room;
  const each = layer.filters / node.x[0];
  writeOffsets(matmul.places, scratch, rows, columns, plan);
  matmul.values.fill(0, from, sums);
  for (let f = 0; f < layer.filters; f++) {
    if (f % each === 0) layChannel(matmul.values, from, x, (f / each) * rows.n * columns.n, rows, columns, plan);
    for (let t = 0; t < taps; t++) matmul.values[weights + t] = tensors.weight[f * taps + t];
    matmul.slide(from, scratch, weights, sums, taps, rows.size, rows.stride * line, parts, 0);
    matmul.finish(sums, plan.sums / 4, finish.scale[f], finish.shift[f], finish.low, finish.high);
    takeRows(matmul.values, sums, out, f * rows.size * columns.size, rows.size, columns.size, parts * COLUMNS);
  }
}

/** For each tap, how many bytes behind the output's place its value lies. */
function writeOffsets(places, at, rows, columns, { phase, line }) {
  for (let down = 0; down < rows.kernel; down++) {
    for (let right = 0; right < columns.kernel; right++) {
      const column = right * columns.dilation;
      const within = (column % columns.stride) * phase + Math.floor(column / columns.stride);
      places[at++] = 4 * (down * rows.dilation * line + within);
    }
  }
}

/** One channel into its place; the padding around it is 0 already. */
function layChannel(values, place, x, channel, rows, columns, { high, wide, phase, line }) {
  const stride = columns.stride;
  for (let y = 0; y < Math.min(rows.n, high - rows.before); y++) {
    const to = place + (y + rows.before) * line;
    const from = channel + y * columns.n;
    const end = Math.min(columns.n, wide - columns.before);
    for (let first = 0; first < Math.min(stride, end); first++) {
      const column = first + columns.before;
      let i = to + (column % stride) * phase + Math.floor(column / stride);
      for (let j = first; j < end; j += stride) values[i++] = x[from + j];
    }
  }
}

function takeRows(values, from, out, to, rows, size, width) {
  if (size === width) copyValues(values, from, rows * size, out, to);
  else for (let row = 0; row < rows; row++) copyValues(values, from + row * width, size, out, to + row * size);
}
