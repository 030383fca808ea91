// Backward through what slides a window or resizes: each value gets back what it moved. (node, x, dy) -> dx, float64.

import { findShares, findTargets } from "./growing.js";
import { countTaps, makeBinomial, reflectPlace, slideBlur } from "./pooling.js";
import { findInside, makePair, slideWindow } from "./window.js";

/** What was seen was multiplied by one weight of every filter: its gradient is the sum over those of weight·dy. */
export function backConvolution(node, x, dy) {
  const { weight } = node.tensors;
  const dx = new Float64Array(x.length);
  visitWeights(node, (w, from, to, count, stride) => {
    const factor = weight[w];
    for (let i = 0; i < count; i++) dx[from + i * stride] += factor * dy[to + i];
  });
  return dx;
}

/** A weight was multiplied by what it saw at every position: its gradient is the sum over those of seen·dy. */
export function backWeights(node, x, dy) {
  const dw = new Float64Array(node.tensors.weight.length);
  visitWeights(node, (w, from, to, count, stride) => {
    let sum = 0;
    for (let i = 0; i < count; i++) sum += x[from + i * stride] * dy[to + i];
    dw[w] += sum;
  });
  return dw;
}

/** Calls visit(weight, first input, first output, how many, inputs apart) for each run of products of a convolution. */
function visitWeights(node, visit) {
  const { filters, groups } = node.layer;
  const [rows, columns] = slideWindow(node.layer, node.x);
  const wide = node.x[0] / groups;
  let w = 0;
  for (let f = 0; f < filters; f++) {
    const first = Math.floor(f / (filters / groups)) * wide;
    for (let c = first; c < first + wide; c++) {
      for (let a = 0; a < rows.kernel; a++) {
        const [top, bottom] = findInside(rows, a);
        for (let b = 0; b < columns.kernel; b++, w++) {
          const [left, right] = findInside(columns, b);
          const shift = left * columns.stride + b * columns.dilation - columns.before;
          for (let i = top; i < bottom; i++) {
            const row = i * rows.stride + a * rows.dilation - rows.before;
            const from = (c * rows.n + row) * columns.n + shift;
            visit(w, from, (f * rows.size + i) * columns.size + left, right - left, columns.stride);
          }
        }
      }
    }
  }
}

/** What a value was written to is what its gradient is read from. */
export function backConvTranspose(node, x, dy) {
  const { weight } = node.tensors;
  const [channels, height, width] = node.x;
  const [filters, tall, wide] = node.y;
  const [kh, kw] = makePair(node.layer.kernel);
  const each = filters / node.layer.groups;
  const dx = new Float64Array(x.length);
  const rows = listTargets(node, 0, height, tall);
  const columns = listTargets(node, 1, width, wide);
  for (let c = 0; c < channels; c++) {
    const first = Math.floor((c * node.layer.groups) / channels) * each;
    for (let f = 0; f < each; f++) {
      for (const [i, a, r] of rows) {
        for (const [j, b, k] of columns) {
          const w = weight[((c * each + f) * kh + a) * kw + b];
          dx[(c * height + i) * width + j] += w * dy[((first + f) * tall + r) * wide + k];
        }
      }
    }
  }
  return dx;
}

/** [place of the input, tap, place of the output] wherever one writes to the other, along one axis. */
function listTargets({ layer }, axis, n, size) {
  return Array.from({ length: size }, (_, target) => target).flatMap((target) =>
    findTargets(layer, axis, n, target).map(([place, tap]) => [place, tap, target]),
  );
}

/** The whole gradient goes to the value that won, to the first of them where several are equal. */
export function backMaxPool(node, x, dy) {
  const [rows, columns] = slideWindow(node.layer, node.x);
  const dx = new Float64Array(x.length);
  const [taps, across] = [rows, columns].map((axis) => listTaps(axis));
  for (let c = 0, at = 0; c < node.x[0]; c++) {
    for (const high of taps) {
      for (const wide of across) {
        let winner = -1;
        for (const row of high) {
          for (const column of wide) {
            const place = (c * rows.n + row) * columns.n + column;
            if (winner < 0 || x[place] > x[winner]) winner = place;
          }
        }
        dx[winner] += dy[at++];
      }
    }
  }
  return dx;
}

/** For each position of an axis the places within the map that its window sees. */
function listTaps(axis) {
  return Array.from({ length: axis.size }, (_, position) =>
    Array.from({ length: axis.kernel }, (_, tap) => position * axis.stride - axis.before + tap * axis.dilation).filter(
      (place) => place >= 0 && place < axis.n,
    ),
  );
}

/** Every value under the window moved the mean by 1/count. */
export function backAvgPool(node, x, dy) {
  const axes = slideWindow(node.layer, node.x);
  const counts = axes.map((axis) => countTaps(axis, node.layer.count_padding));
  const shares = axes.map((axis, k) =>
    listTaps(axis).map((places, i) => places.map((place) => [place, 1 / counts[k][i]])),
  );
  return backShares(node, shares, dy);
}

export function backBlurPool(node, x, dy) {
  const taps = makeBinomial(node.layer.kernel);
  const shares = slideBlur(node.layer, node.x).map((axis) =>
    Array.from({ length: axis.size }, (_, position) =>
      taps.map((share, tap) => [reflectPlace(position * axis.stride - axis.before + tap, axis.n), share]),
    ),
  );
  return backShares(node, shares, dy);
}

export function backUpsample(node, x, dy) {
  const factors = makePair(node.layer.factor);
  const shares = [0, 1].map((axis) =>
    findShares(node.layer, node.x[1 + axis], node.y[1 + axis], factors[axis]).map(([first, second, share]) => [
      [first, 1 - share],
      [second, share],
    ]),
  );
  return backShares(node, shares, dy);
}

/** Of a layer that takes shares of rows and of columns apart: every place gets back its share of each gradient. */
function backShares(node, [rows, columns], dy) {
  const [channels, height, width] = node.x;
  const dx = new Float64Array(channels * height * width);
  for (let c = 0, at = 0; c < channels; c++) {
    for (const high of rows) {
      for (const wide of columns) {
        const slope = dy[at++];
        for (const [row, a] of high)
          for (const [column, b] of wide) dx[(c * height + row) * width + column] += slope * a * b;
      }
    }
  }
  return dx;
}
