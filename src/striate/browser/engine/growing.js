// What makes a map larger: the transposed convolution, and resizing without weights.

import { makePair } from "./window.js";

/** The output's shape of a transposed convolution. */
export function growMap(layer, x) {
  const [kernel, stride, padding, more, dilation] = takeWindow(layer);
  const size = (axis) =>
    (x[1 + axis] - 1) * stride[axis] - 2 * padding[axis] + dilation[axis] * (kernel[axis] - 1) + more[axis] + 1;
  return [layer.filters, size(0), size(1)];
}

function takeWindow({ kernel, stride, padding, output_padding: more, dilation }) {
  return [kernel, stride, padding, more, dilation].map(makePair);
}

/** Each value times the filters of its channel, added up where they lie in the larger map. */
export function computeConvTranspose(node, x, pass) {
  const { weight, bias } = node.tensors;
  const [channels, height, width] = node.x;
  const [filters, tall, wide] = node.y;
  const [kernel, stride, padding, , dilation] = takeWindow(node.layer);
  const each = filters / node.layer.groups;
  const area = tall * wide;
  const out = pass.make(filters * area);
  for (let f = 0; f < filters; f++) out.fill(bias ? bias[f] : 0, f * area, (f + 1) * area);
  for (let c = 0; c < channels; c++) {
    const first = Math.floor((c * node.layer.groups) / channels) * each;
    for (let f = 0; f < each; f++) {
      for (let a = 0; a < kernel[0]; a++) {
        for (let b = 0; b < kernel[1]; b++) {
          const w = weight[((c * each + f) * kernel[0] + a) * kernel[1] + b];
          for (let i = 0; i < height; i++) {
            const r = i * stride[0] - padding[0] + a * dilation[0];
            if (r < 0 || r >= tall) continue;
            for (let j = 0; j < width; j++) {
              const k = j * stride[1] - padding[1] + b * dilation[1];
              if (k >= 0 && k < wide) out[(first + f) * area + r * wide + k] += w * x[(c * height + i) * width + j];
            }
          }
        }
      }
    }
  }
  return out;
}

/** The output's shape of a resizing. */
export function resizeMap(layer, x) {
  const [tall, wide] = makePair(layer.factor);
  return [x[0], Math.floor(x[1] * tall), Math.floor(x[2] * wide)];
}

/** The [place, tap] pairs of one axis of the input, of n places, that write to `target` of the output. */
export function findTargets(layer, axis, n, target) {
  const [kernel, stride, padding, , dilation] = takeWindow(layer).map((pair) => pair[axis]);
  const found = [];
  for (let place = 0; place < n; place++) {
    for (let tap = 0; tap < kernel; tap++) {
      if (place * stride - padding + tap * dilation === target) found.push([place, tap]);
    }
  }
  return found;
}

/** Where a place is taken from, along one axis: [first, second, the second's share]. */
export function findShares(layer, n, size, factor) {
  return Array.from({ length: size }, (_, i) => {
    if (size === n) return [i, i, 0];
    if (layer.mode === "nearest") return [findNearest(i, n, size, factor), 0, 0];
    const spread = layer.align_corners ? i * (size > 1 ? (n - 1) / (size - 1) : 0) : (i + 0.5) * (1 / factor) - 0.5;
    const place = Math.max(0, spread);
    const low = Math.min(Math.floor(place), n - 1);
    return low < n - 1 ? [low, low + 1, Math.min(Math.max(place - low, 0), 1)] : [low, low, 0];
  });
}

/** The place that torch takes, which divides in 32 bits. */
function findNearest(i, n, size, factor) {
  if (size === 2 * n) return Math.floor(i / 2);
  return Math.min(Math.floor(Math.fround(i * Math.fround(1 / factor))), n - 1);
}

/** Each place is the input's nearest one, or the mean of its neighbours by their shares. */
export function computeUpsample(node, x, pass) {
  const [channels, height, width] = node.x;
  const [, tall, wide] = node.y;
  const factors = makePair(node.layer.factor);
  const rows = findShares(node.layer, height, tall, factors[0]);
  const columns = findShares(node.layer, width, wide, factors[1]);
  const out = pass.make(channels * tall * wide);
  let at = 0;
  for (let c = 0; c < channels; c++) {
    for (const [r0, r1, high] of rows) {
      const above = (c * height + r0) * width;
      const below = (c * height + r1) * width;
      for (const [k0, k1, right] of columns) {
        const upper = x[above + k0] * (1 - right) + (right ? x[above + k1] * right : 0);
        if (!high) out[at++] = upper;
        else out[at++] = upper * (1 - high) + (x[below + k0] * (1 - right) + (right ? x[below + k1] * right : 0)) * high;
      }
    }
  }
  return out;
}
