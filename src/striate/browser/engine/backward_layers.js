// Backward through dense layers, norms, and what works value by value or channel by channel. (node, x, dy) -> dx, float64.

import { SLOPES } from "./slopes.js";

export const backIdentity = (node, x, dy) => dy;

export function backActivation(node, x, dy) {
  const slope = SLOPES[node.layer.layer](node.layer);
  return dy.map((value, i) => value * slope(x[i]));
}

export function backPReLU(node, x, dy) {
  const { weight } = node.tensors;
  const size = x.length / node.x[0];
  return dy.map((value, i) => (x[i] > 0 ? value : value * weight[node.layer.per_channel ? Math.floor(i / size) : 0]));
}

export function backDense(node, x, dy) {
  const { weight } = node.tensors;
  const dx = new Float64Array(x.length);
  for (let unit = 0; unit < dy.length; unit++) {
    const slope = dy[unit];
    if (slope) for (let i = 0, w = unit * x.length; i < x.length; i++, w++) dx[i] += slope * weight[w];
  }
  return dx;
}

/** The gradient of a dense layer's weights, units×inputs. */
export function backDenseWeights(node, x, dy) {
  return Float64Array.from({ length: dy.length * x.length }, (_, w) => dy[Math.floor(w / x.length)] * x[w % x.length]);
}

/** dx = y·(dy − Σ y·dy), along the channels at each position. */
export function backSoftmax(node, x, dy, y) {
  const size = x.length / node.x[0];
  const means = new Float64Array(size);
  for (let i = 0; i < x.length; i++) means[i % size] += y[i] * dy[i];
  return dy.map((value, i) => y[i] * (value - means[i % size]));
}

// Norms ----------------------------------------------------------------------------------------------

function scaleChannels(dy, channels, factors) {
  const size = dy.length / channels;
  return dy.map((value, i) => value * factors[Math.floor(i / size)]);
}

export function backBatchNorm(node, x, dy) {
  const { weight, running_var: variance } = node.tensors;
  return scaleChannels(
    dy,
    node.x[0],
    Array.from(variance, (v, c) => (weight ? weight[c] : 1) / Math.sqrt(v + node.layer.eps)),
  );
}

export const backLayerScale = (node, x, dy) => scaleChannels(dy, node.x[0], node.tensors.weight);

/**
 * Through (x − mean)/√(variance + eps) of parts of the map; `part` says to which each value belongs.
 * A value moves its own output, and by mean and variance all others of its part.
 */
function backOwnStatistics(node, x, dy, parts, part) {
  const { weight } = node.tensors;
  const size = x.length / node.x[0];
  const each = x.length / parts;
  const [mean, spread, slope, along] = Array.from({ length: 4 }, () => new Float64Array(parts));
  for (let i = 0; i < x.length; i++) mean[part(i)] += x[i] / each;
  for (let i = 0; i < x.length; i++) spread[part(i)] += (x[i] - mean[part(i)]) ** 2 / each;
  for (let p = 0; p < parts; p++) spread[p] = Math.sqrt(spread[p] + node.layer.eps);
  const scaled = dy.map((value, i) => (weight ? value * weight[Math.floor(i / size)] : value));
  for (let i = 0; i < x.length; i++) {
    slope[part(i)] += scaled[i] / each;
    along[part(i)] += (scaled[i] * (x[i] - mean[part(i)])) / spread[part(i)] / each;
  }
  return scaled.map((value, i) => {
    const p = part(i);
    return (value - slope[p] - (along[p] * (x[i] - mean[p])) / spread[p]) / spread[p];
  });
}

export function backLayerNorm(node, x, dy) {
  const size = x.length / node.x[0];
  return backOwnStatistics(node, x, dy, size, (i) => i % size);
}

export const backGroupNorm = (node, x, dy) => backGroups(node, x, dy, node.layer.groups);

export const backInstanceNorm = (node, x, dy) => backGroups(node, x, dy, node.x[0]);

function backGroups(node, x, dy, groups) {
  const each = x.length / groups;
  return backOwnStatistics(node, x, dy, groups, (i) => Math.floor(i / each));
}

/** A value moves its own output, and through its channel's length that channel's response and all others'. */
export function backGlobalResponseNorm(node, x, dy) {
  const { weight } = node.tensors;
  const channels = node.x[0];
  const size = x.length / channels;
  const [length, response] = [new Float64Array(channels), new Float64Array(channels)];
  for (let i = 0; i < x.length; i++) {
    const c = Math.floor(i / size);
    length[c] += x[i] ** 2;
    response[c] += dy[i] * weight[c] * x[i];
  }
  for (let c = 0; c < channels; c++) length[c] = Math.sqrt(length[c]);
  const base = length.reduce((sum, one) => sum + one, 0) / channels + node.layer.eps;
  const through = response.reduce((sum, one, c) => sum + one * length[c], 0) / base ** 2 / channels;
  return dy.map((value, i) => {
    const c = Math.floor(i / size);
    const own = value * (1 + (weight[c] * length[c]) / base);
    return length[c] > 0 ? own + ((response[c] / base - through) * x[i]) / length[c] : own;
  });
}

/** A value moves its own output, and through the sum of squares that of every channel that counts it. */
export function backLocalResponseNorm(node, x, dy) {
  const { size, alpha, beta, k } = node.layer;
  const channels = node.x[0];
  const each = x.length / channels;
  const sums = new Float64Array(x.length).fill(k);
  const near = (c) => [Math.max(0, c - Math.floor(size / 2)), Math.min(channels - 1, c + Math.floor((size - 1) / 2))];
  for (let c = 0; c < channels; c++) {
    const [first, last] = near(c);
    for (let d = first; d <= last; d++)
      for (let i = 0; i < each; i++) sums[c * each + i] += (alpha / size) * x[d * each + i] ** 2;
  }
  const dx = dy.map((value, i) => value * sums[i] ** -beta);
  for (let c = 0; c < channels; c++) {
    const [first, last] = near(c);
    for (let i = 0; i < each; i++) {
      const at = c * each + i;
      const slope = (-beta * dy[at] * x[at] * sums[at] ** (-beta - 1) * 2 * alpha) / size;
      for (let d = first; d <= last; d++) dx[d * each + i] += slope * x[d * each + i];
    }
  }
  return dx;
}

// Whole maps and channels ----------------------------------------------------------------------------

export function backGlobalAvgPool(node, x, dy) {
  const size = x.length / node.x[0];
  return Float64Array.from({ length: x.length }, (_, i) => dy[Math.floor(i / size)] / size);
}

/** The whole gradient goes to the value that won, to the first of them where several are equal. */
export function backGlobalMaxPool(node, x, dy) {
  const size = x.length / node.x[0];
  const dx = new Float64Array(x.length);
  for (let c = 0; c < node.x[0]; c++) {
    let winner = c * size;
    for (let i = winner + 1; i < (c + 1) * size; i++) if (x[i] > x[winner]) winner = i;
    dx[winner] = dy[c];
  }
  return dx;
}

export function backPadChannels(node, x, dy) {
  const start = node.layer.before * (x.length / node.x[0]);
  return dy.slice(start, start + x.length);
}

export function backSliceChannels(node, x, dy) {
  const dx = new Float64Array(x.length);
  dx.set(dy, node.layer.start * (x.length / node.x[0]));
  return dx;
}

export function backChannelShuffle(node, x, dy) {
  const channels = node.x[0];
  const size = x.length / channels;
  const { groups } = node.layer;
  const dx = new Float64Array(x.length);
  for (let c = 0; c < channels; c++) {
    const from = (c % groups) * (channels / groups) + Math.floor(c / groups);
    dx.set(dy.subarray(c * size, (c + 1) * size), from * size);
  }
  return dx;
}

export function backChannelConv(node, x, dy) {
  const { weight } = node.tensors;
  const channels = node.x[0];
  const size = x.length / channels;
  const half = (node.layer.kernel - 1) / 2;
  const dx = new Float64Array(x.length);
  for (let c = 0; c < channels; c++) {
    for (let d = Math.max(0, c - half); d <= Math.min(channels - 1, c + half); d++) {
      for (let i = 0; i < size; i++) dx[d * size + i] += weight[d - c + half] * dy[c * size + i];
    }
  }
  return dx;
}
