// The way up from a value: of all values of the next layer that read it, the strongest. One function a layer.

import { findShares, growMap } from "./growing.js";
import { ACTIVATIONS } from "./pointwise.js";
import { findWindowTaps, reflectPlace, slideBlur } from "./pooling.js";
import { IMAGE_PATH, PROBABILITY_PATH, findOffset, listSources, resolvePath } from "./trace_place.js";
import { formatAddress } from "./trace_record.js";
import { makePair, slideWindow } from "./window.js";

/**
 * The address of the strongest unit that reads the value at `index` of the map at `path`, null where none does.
 * Under a window that moves, of the positions that see the value the middle one.
 */
export function findStrongestReader(network, maps, path, index) {
  for (const node of listReaders(network).get(path) ?? []) {
    const { shape, data } = maps.get(node.path);
    const spot = FOLLOW[node.layer.layer]({
      network,
      maps,
      node,
      layer: node.layer,
      shape,
      data,
      source: path,
      spot: index,
    });
    if (spot) return formatAddress(node.path, spot);
  }
  const last = network.logits && resolvePath(network, network.logits);
  return path === last ? formatAddress(PROBABILITY_PATH, index) : null;
}

const READERS = new WeakMap();

/** Path -> the nodes that read its map. */
function listReaders(network) {
  if (READERS.has(network)) return READERS.get(network);
  const readers = new Map([[IMAGE_PATH, []]]);
  for (const node of network.nodes.values()) {
    if (!node.used || ["Sequence", "SideHead"].includes(node.layer.layer)) continue;
    for (const source of listSources(network, node.path)) {
      if (!readers.has(source)) readers.set(source, []);
      readers.get(source).push(node);
    }
  }
  READERS.set(network, readers);
  return readers;
}

const followSamePlace = ({ spot }) => spot;

function findMiddle(list) {
  return list[Math.floor(list.length / 2)];
}

/** The place of the largest of `length` values that lie `apart` from each other. */
function findStrongest(data, first, length, apart) {
  let best = 0;
  for (let k = 1; k < length; k++) if (data[first + k * apart] > data[first + best * apart]) best = k;
  return best;
}

/** The middle one of the window's positions that see the value, [row, column] or null. */
function findMiddlePosition({ spot }, axes, read = (place) => place) {
  const found = axes.map((axis, k) => {
    const seen = [];
    for (let position = 0; position < axis.size; position++) {
      const [taps] = findWindowTaps([axis, axis], position, 0);
      if (taps.some((place) => read(place, axis.n) === spot[1 + k])) seen.push(position);
    }
    return findMiddle(seen);
  });
  return found.includes(undefined) ? null : found;
}

function followPooling(given) {
  const spot = findMiddlePosition(given, slideWindow(given.layer, given.node.x));
  return spot && [given.spot[0], ...spot];
}

function followBlurPool(given) {
  const spot = findMiddlePosition(given, slideBlur(given.layer, given.node.x), reflectPlace);
  return spot && [given.spot[0], ...spot];
}

/** The strongest of the filters that see this channel. */
function followConvolution(given) {
  const spot = findMiddlePosition(given, slideWindow(given.layer, given.node.x));
  return spot && findStrongestFilter(given, spot);
}

function findStrongestFilter({ layer, node, shape, data, spot: [channel] }, [row, column]) {
  const each = layer.filters / layer.groups;
  const first = Math.floor(channel / (node.x[0] / layer.groups)) * each;
  return [first + findStrongest(data, findOffset(shape, [first, row, column]), each, shape[1] * shape[2]), row, column];
}

/** The strongest of the filters that this channel is written by, in the middle of where it writes. */
function followConvTranspose(given) {
  const { layer, node, spot } = given;
  const [kernel, stride, padding, dilation] = [layer.kernel, layer.stride, layer.padding, layer.dilation].map(makePair);
  const size = growMap(layer, node.x);
  const places = [0, 1].map((axis) => {
    const targets = Array.from({ length: kernel[axis] }, (_, tap) => {
      return spot[1 + axis] * stride[axis] - padding[axis] + tap * dilation[axis];
    });
    return findMiddle(targets.filter((place) => place >= 0 && place < size[1 + axis]));
  });
  return places.includes(undefined) ? null : findStrongestFilter(given, places);
}

/** The strongest of the channels whose window has this one. */
function followChannelConv({ layer, shape, data, spot: [channel, ...rest] }) {
  const half = Math.floor(layer.kernel / 2);
  const first = Math.max(0, channel - half);
  const length = Math.min(shape[0], channel + half + 1) - first;
  const apart = data.length / shape[0];
  return [first + findStrongest(data, findOffset(shape, [first, ...rest]), length, apart), ...rest];
}

/** The middle one of the places that take a share of it. */
function followUpsample({ layer, node, spot }) {
  const factors = makePair(layer.factor);
  const places = [0, 1].map((axis) => {
    const shares = findShares(layer, node.x[1 + axis], node.y[1 + axis], factors[axis]);
    const takes = ([first, second, share]) => first === spot[1 + axis] || (share && second === spot[1 + axis]);
    return findMiddle(shares.flatMap((taken, i) => (takes(taken) ? [i] : [])));
  });
  return places.includes(undefined) ? null : [spot[0], ...places];
}

function followSliceChannels({ layer, spot: [channel, ...rest] }) {
  const inside = channel >= layer.start && channel < layer.start + layer.length;
  return inside ? [channel - layer.start, ...rest] : null;
}

function followChannelShuffle({ layer, node, spot: [channel, ...rest] }) {
  const each = node.x[0] / layer.groups;
  return [(channel % each) * layer.groups + Math.floor(channel / each), ...rest];
}

/** Where a branch's value is in the joined map; a value that is stretched over the map at its strongest place. */
function followParallel({ network, maps, node, layer, shape, data, source, spot }) {
  let first = 0;
  for (const path of listSources(network, node.path)) {
    const own = maps.get(path).shape;
    if (path === source) {
      if (layer.join === "concat") return [first + spot[0], ...spot.slice(1)];
      if (own.slice(1).join() === shape.slice(1).join()) return spot;
      const size = shape[1] * shape[2];
      const place = findStrongest(data, spot[0] * size, size, 1);
      return [spot[0], Math.floor(place / shape[2]), place % shape[2]];
    }
    first += own[0];
  }
  return null;
}

/** Every record that reads a map; a Sequence and a SideHead do it by others. */
export const FOLLOW = {
  ...Object.fromEntries(Object.keys(ACTIVATIONS).map((name) => [name, followSamePlace])),
  Identity: followSamePlace,
  Dropout: followSamePlace,
  StochasticDepth: followSamePlace,
  Softmax: followSamePlace,
  BatchNorm: followSamePlace,
  LayerNorm: followSamePlace,
  GroupNorm: followSamePlace,
  InstanceNorm: followSamePlace,
  GlobalResponseNorm: followSamePlace,
  LocalResponseNorm: followSamePlace,
  LayerScale: followSamePlace,
  PReLU: followSamePlace,
  MaxPool: followPooling,
  AvgPool: followPooling,
  BlurPool: followBlurPool,
  Conv: followConvolution,
  ConvTranspose: followConvTranspose,
  ChannelConv: followChannelConv,
  Upsample: followUpsample,
  Dense: ({ data }) => [findStrongest(data, 0, data.length, 1)],
  Flatten: ({ node, spot }) => [findOffset(node.x, spot)],
  GlobalAvgPool: ({ shape, spot }) => [spot[0], 0, 0].slice(0, shape.length),
  GlobalMaxPool: ({ shape, spot }) => [spot[0], 0, 0].slice(0, shape.length),
  PadChannels: ({ layer, spot }) => [spot[0] + layer.before, ...spot.slice(1)],
  SliceChannels: followSliceChannels,
  ChannelShuffle: followChannelShuffle,
  Parallel: followParallel,
};
