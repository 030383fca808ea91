// The way back through a network: how much one value changes with every map before it.

import { backActivation, backBatchNorm, backChannelConv, backChannelShuffle, backDense, backGlobalAvgPool, backGlobalMaxPool, backGlobalResponseNorm, backGroupNorm, backIdentity, backInstanceNorm, backLayerNorm, backLayerScale, backLocalResponseNorm, backPReLU, backPadChannels, backSliceChannels, backSoftmax } from "./backward_layers.js";
import { backAvgPool, backBlurPool, backConvTranspose, backConvolution, backMaxPool, backUpsample } from "./backward_windows.js";
import { SLOPES } from "./slopes.js";
import { IMAGE_PATH, findFeed, resolvePath } from "./trace_place.js";

/** Every record that holds no others: (node, x, dy, y) -> the gradient of x, float64. */
export const BACKWARD = {
  ...Object.fromEntries(Object.keys(SLOPES).map((name) => [name, backActivation])),
  Identity: backIdentity,
  Dropout: backIdentity,
  StochasticDepth: backIdentity,
  Flatten: backIdentity,
  Conv: backConvolution,
  ConvTranspose: backConvTranspose,
  MaxPool: backMaxPool,
  AvgPool: backAvgPool,
  BlurPool: backBlurPool,
  Upsample: backUpsample,
  GlobalAvgPool: backGlobalAvgPool,
  GlobalMaxPool: backGlobalMaxPool,
  Dense: backDense,
  PReLU: backPReLU,
  LayerScale: backLayerScale,
  PadChannels: backPadChannels,
  SliceChannels: backSliceChannels,
  ChannelShuffle: backChannelShuffle,
  ChannelConv: backChannelConv,
  BatchNorm: backBatchNorm,
  LayerNorm: backLayerNorm,
  GroupNorm: backGroupNorm,
  InstanceNorm: backInstanceNorm,
  GlobalResponseNorm: backGlobalResponseNorm,
  LocalResponseNorm: backLocalResponseNorm,
  Softmax: backSoftmax,
};

/**
 * The gradients of Σ seed·(map at `path`) with respect to every map before it, down to the top layer that holds `to`.
 * pass  { maps, x, zero } of a pass that kept all maps
 * path  of a top layer; seed  as long as its map; to  a path, or "image" for all the way
 * Gives Map of path -> { shape, data: Float64Array }, "image" among them where it was reached.
 */
export function computeGradients(network, pass, { path, seed, to = IMAGE_PATH }) {
  const scene = new Map([...pass.maps, [IMAGE_PATH, { shape: network.input, data: pass.x }]]);
  const walk = { network, scene, zero: pass.zero ?? {}, found: new Map() };
  const top = to.split(".")[0];
  let dy = Float64Array.from(seed);
  for (let at = network.body.findIndex((node) => node.path === path); at >= 0; at--) {
    const node = network.body[at];
    if (node.path === to) {
      noteGradient(walk, node, dy);
      return walk.found;
    }
    dy = backNode(walk, node, dy);
    if (node.path === top) return walk.found;
  }
  walk.found.set(IMAGE_PATH, { shape: network.input, data: dy });
  return walk.found;
}

/** Keeps the gradient of a node's map, and gives it as it goes on: 0 where a channel was put to zero. */
function noteGradient({ zero, found }, node, dy) {
  found.set(node.path, { shape: node.y, data: dy });
  if (!zero[node.path]) return dy;
  const size = dy.length / node.y[0];
  const rest = dy.slice();
  for (const channel of zero[node.path]) rest.fill(0, channel * size, (channel + 1) * size);
  return rest;
}

function backNode(walk, node, dy) {
  const kind = node.layer.layer;
  dy = noteGradient(walk, node, dy);
  if (kind === "SideHead") return dy; // in evaluation it passes on what reaches it
  if (kind === "Sequence") return node.inside.reduceRight((slope, inner) => backNode(walk, inner, slope), dy);
  if (kind === "Parallel") return backParallel(walk, node, dy);
  const x = walk.scene.get(findFeed(walk.network, node.path)).data;
  return BACKWARD[kind](node, x, dy, walk.scene.get(node.path).data);
}

/** All branches read the same map, so its gradient is the sum of theirs. */
function backParallel(walk, node, dy) {
  const outputs = node.inside.map((branch) => walk.scene.get(resolvePath(walk.network, branch.path)).data);
  const slopes = splitGradient(node, outputs, dy).map((slope, k) => backNode(walk, node.inside[k], slope));
  return slopes.reduce((sum, slope) => sum.map((value, i) => value + slope[i]));
}

/** Each branch's gradient: its own channels of dy, all of dy, or dy times what the other branches gave. */
function splitGradient({ layer }, outputs, dy) {
  if (layer.join === "add") return outputs.map(() => dy);
  if (layer.join === "concat") {
    let first = 0;
    return outputs.map(({ length }) => dy.slice(first, (first += length)));
  }
  return outputs.map((own, k) => {
    const slope = new Float64Array(own.length);
    for (let i = 0; i < dy.length; i++) {
      let product = dy[i];
      outputs.forEach((other, j) => (product *= j === k ? 1 : other[Math.floor((i * other.length) / dy.length)]));
      slope[Math.floor((i * own.length) / dy.length)] += product; // a 1×1 value served every position
    }
    return slope;
  });
}
