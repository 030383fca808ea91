// Normalisation, and what scales or moves channels.

/** out = x·scale + shift, both one a channel. */
function scaleChannels(x, channels, scale, shift, out) {
  const size = x.length / channels;
  for (let c = 0; c < channels; c++) {
    const s = scale[c], t = shift[c];
    for (let i = c * size, end = i + size; i < end; i++) out[i] = x[i] * s + t;
  }
  return out;
}

/** By the running statistics, as in evaluation. */
export function computeBatchNorm(node, x, pass) {
  const { weight, bias, running_mean: mean, running_var: variance } = node.tensors;
  const channels = node.x[0];
  const scale = Float64Array.from(variance, (v, c) => (weight ? weight[c] : 1) / Math.sqrt(v + node.layer.eps));
  const shift = Float64Array.from(mean, (m, c) => (bias ? bias[c] : 0) - m * scale[c]);
  return scaleChannels(x, channels, scale, shift, pass.make(x.length));
}

/** At each position, over the channels. */
export function computeLayerNorm(node, x, pass) {
  const { weight, bias } = node.tensors;
  const channels = node.x[0];
  const size = x.length / channels;
  const mean = new Float64Array(size), spread = new Float64Array(size);
  const out = pass.make(x.length);
  for (let i = 0; i < x.length; i++) mean[i % size] += x[i] / channels;
  for (let i = 0; i < x.length; i++) spread[i % size] += (x[i] - mean[i % size]) ** 2 / channels;
  for (let i = 0; i < size; i++) spread[i] = 1 / Math.sqrt(spread[i] + node.layer.eps);
  for (let c = 0; c < channels; c++) {
    const s = weight ? weight[c] : 1, t = bias ? bias[c] : 0;
    for (let i = 0; i < size; i++) out[c * size + i] = (x[c * size + i] - mean[i]) * spread[i] * s + t;
  }
  return out;
}

/** A part of the channels at all positions: `groups` parts. */
export function computeGroupNorm(node, x, pass) {
  return normaliseGroups(node, x, pass, node.layer.groups);
}

/** Each channel for itself. */
export function computeInstanceNorm(node, x, pass) {
  return normaliseGroups(node, x, pass, node.x[0]);
}

function normaliseGroups(node, x, pass, groups) {
  const { weight, bias } = node.tensors;
  const each = x.length / groups;
  const size = x.length / node.x[0];
  const out = pass.make(x.length);
  for (let start = 0; start < x.length; start += each) {
    let mean = 0, square = 0;
    for (let i = start; i < start + each; i++) mean += x[i] / each;
    for (let i = start; i < start + each; i++) square += (x[i] - mean) ** 2 / each;
    const spread = 1 / Math.sqrt(square + node.layer.eps);
    for (let i = start; i < start + each; i++) {
      const c = Math.floor(i / size);
      out[i] = (x[i] - mean) * spread * (weight ? weight[c] : 1) + (bias ? bias[c] : 0);
    }
  }
  return out;
}

/** x + weight·x·(its channel's length over the mean length) + bias. */
export function computeGlobalResponseNorm(node, x, pass) {
  const { weight, bias } = node.tensors;
  const channels = node.x[0];
  const size = x.length / channels;
  const length = new Float64Array(channels);
  for (let i = 0; i < x.length; i++) length[Math.floor(i / size)] += x[i] ** 2;
  for (let c = 0; c < channels; c++) length[c] = Math.sqrt(length[c]);
  const base = length.reduce((sum, one) => sum + one, 0) / channels + node.layer.eps;
  return scaleChannels(x, channels, length.map((one, c) => 1 + (weight[c] * one) / base), bias, pass.make(x.length));
}

/** A filter that slides along the channels, at every position. */
export function computeChannelConv(node, x, pass) {
  const { weight } = node.tensors;
  const channels = node.x[0];
  const size = x.length / channels;
  const half = (node.layer.kernel - 1) / 2;
  const out = pass.make(x.length).fill(0);
  for (let c = 0; c < channels; c++) {
    for (let d = Math.max(0, c - half); d <= Math.min(channels - 1, c + half); d++) {
      const w = weight[d - c + half];
      for (let i = 0; i < size; i++) out[c * size + i] += w * x[d * size + i];
    }
  }
  return out;
}

/** Each value over (k + alpha/size · the squares of `size` neighbouring channels)^beta. */
export function computeLocalResponseNorm(node, x, pass) {
  const { size, alpha, beta, k } = node.layer;
  const channels = node.x[0];
  const each = x.length / channels;
  const out = pass.make(x.length);
  const sums = new Float64Array(each);
  for (let c = 0; c < channels; c++) {
    sums.fill(0);
    const first = Math.max(0, c - Math.floor(size / 2));
    const last = Math.min(channels - 1, c + Math.floor((size - 1) / 2));
    for (let d = first; d <= last; d++) for (let i = 0; i < each; i++) sums[i] += x[d * each + i] ** 2;
    for (let i = 0; i < each; i++) out[c * each + i] = x[c * each + i] / (k + (alpha / size) * sums[i]) ** beta;
  }
  return out;
}

/** Each channel times its factor. */
export function computeLayerScale(node, x, pass) {
  const { weight } = node.tensors;
  return scaleChannels(x, node.x[0], weight, new Float32Array(weight.length), pass.make(x.length));
}

/** Zero channels before and after. */
export function computePadChannels(node, x, pass) {
  const size = node.x[1] * node.x[2];
  const out = pass.make(node.y[0] * size).fill(0);
  out.set(x, node.layer.before * size);
  return out;
}

/** `length` channels from `start` on. */
export function computeSliceChannels(node, x, pass) {
  const size = x.length / node.x[0];
  const { start, length } = node.layer;
  const out = pass.make(length * size);
  out.set(x.subarray(start * size, (start + length) * size));
  return out;
}

/** Of `groups` parts the first channels first, then the second ones, and so on. */
export function computeChannelShuffle(node, x, pass) {
  const [channels, height, width] = node.x;
  const size = height * width;
  const { groups } = node.layer;
  const out = pass.make(x.length);
  for (let c = 0; c < channels; c++) {
    const from = (c % groups) * (channels / groups) + Math.floor(c / groups);
    out.set(x.subarray(from * size, (from + 1) * size), c * size);
  }
  return out;
}
