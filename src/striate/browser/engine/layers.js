// The layers: for each record its kind, the fields that its JSON leaves out, its output's shape and its function.

import { computeConvolution } from "./convolution.js";
import { computeDense } from "./dense.js";
import { computeConvTranspose, computeUpsample, growMap, resizeMap } from "./growing.js";
import { computeBatchNorm, computeChannelConv, computeChannelShuffle, computeGlobalResponseNorm, computeGroupNorm, computeInstanceNorm, computeLayerNorm, computeLayerScale, computeLocalResponseNorm, computePadChannels, computeSliceChannels } from "./norms.js";
import { computeActivation, computeIdentity, computePReLU, computeReLU, computeReLU6, computeSoftmax } from "./pointwise.js";
import { computeAvgPool, computeBlurPool, computeGlobalAvgPool, computeGlobalMaxPool, computeMaxPool, slideBlur } from "./pooling.js";
import { slideWindow } from "./window.js";

/** A record: (kind, defaults, out(layer, x) -> y, compute(node, x, pass) -> y's values). */
function describe(kind, compute, defaults = {}, out = (_, x) => x) {
  return { kind, compute, defaults, out };
}

function findWindowed(layer, x) {
  const [rows, columns] = slideWindow(layer, x);
  return [layer.filters ?? x[0], rows.size, columns.size];
}

function findBlurred(layer, x) {
  const [rows, columns] = slideBlur(layer, x);
  return [x[0], rows.size, columns.size];
}

function collapseMap(layer, x) {
  return layer.keepdims ? [x[0], 1, 1] : [x[0]];
}

const CONV = { stride: 1, padding: "valid", dilation: 1, groups: 1, bias: true, init: "glorot_uniform" };
const TURNED = { stride: 1, padding: 0, output_padding: 0, dilation: 1, groups: 1, bias: true, init: "glorot_uniform" };
const UP = { factor: 2, mode: "nearest", align_corners: false };
const POOL = { stride: null, padding: "valid", ceil: false };
const FLATTEN = [{}, (_, x) => [x.reduce((a, b) => a * b)]];

/** Every record that this engine computes and that holds no others. */
export const LAYERS = {
  Conv: describe("conv", computeConvolution, CONV, findWindowed),
  ConvTranspose: describe("convt", computeConvTranspose, TURNED, growMap),
  MaxPool: describe("pool", computeMaxPool, { ...POOL, dilation: 1 }, findWindowed),
  AvgPool: describe("pool", computeAvgPool, { ...POOL, count_padding: false }, findWindowed),
  BlurPool: describe("pool", computeBlurPool, { kernel: 4, stride: 2 }, findBlurred),
  Upsample: describe("up", computeUpsample, UP, resizeMap),
  GlobalAvgPool: describe("gap", computeGlobalAvgPool, { keepdims: false }, collapseMap),
  GlobalMaxPool: describe("gmp", computeGlobalMaxPool, { keepdims: false }, collapseMap),
  Flatten: describe("flatten", computeIdentity, ...FLATTEN),
  Dense: describe("dense", computeDense, { bias: true, init: "glorot_uniform" }, (layer) => [layer.units]),
  ReLU: describe("relu", computeReLU),
  ReLU6: describe("relu", computeReLU6),
  LeakyReLU: describe("relu", computeActivation, { slope: 0.01 }),
  PReLU: describe("relu", computePReLU, { per_channel: false, start: 0.25 }),
  ELU: describe("elu", computeActivation, { alpha: 1 }),
  SELU: describe("selu", computeActivation),
  CELU: describe("celu", computeActivation, { alpha: 1 }),
  GELU: describe("gelu", computeActivation),
  TanhGELU: describe("gelu", computeActivation),
  Mish: describe("mish", computeActivation),
  Softplus: describe("softplus", computeActivation),
  SiLU: describe("silu", computeActivation),
  Sigmoid: describe("sigmoid", computeActivation),
  Tanh: describe("tanh", computeActivation),
  HardSigmoid: describe("sigmoid", computeActivation),
  HardSwish: describe("swish", computeActivation),
  Softmax: describe("softmax", computeSoftmax),
  Dropout: describe("dropout", computeIdentity, { rate: 0.5 }),
  StochasticDepth: describe("drop", computeIdentity, { rate: 0.1 }),
  LayerScale: describe("scale", computeLayerScale, { start: 1e-6 }),
  Identity: describe("identity", computeIdentity),
  PadChannels: describe("pad", computePadChannels, {}, (layer, x) => [layer.before + x[0] + layer.after, x[1], x[2]]),
  SliceChannels: describe("slice", computeSliceChannels, {}, (layer, x) => [layer.length, ...x.slice(1)]),
  ChannelShuffle: describe("shuffle", computeChannelShuffle),
  ChannelConv: describe("chconv", computeChannelConv),
  BatchNorm: describe("bn", computeBatchNorm, { eps: 1e-5, momentum: 0.1, affine: true }),
  GroupNorm: describe("gn", computeGroupNorm, { eps: 1e-5, affine: true }),
  InstanceNorm: describe("in", computeInstanceNorm, { eps: 1e-5, affine: false }),
  GlobalResponseNorm: describe("grn", computeGlobalResponseNorm, { eps: 1e-6 }),
  LayerNorm: describe("ln", computeLayerNorm, { eps: 1e-6, affine: true }),
  LocalResponseNorm: describe("lrn", computeLocalResponseNorm, { size: 5, alpha: 1e-4, beta: 0.75, k: 2 }),
};

/** The records that hold others: network.js walks through them. */
export const CONTAINERS = {
  Sequence: { kind: "sequence", inside: "layers", defaults: {} },
  Parallel: { kind: "parallel", inside: "branches", defaults: { join: "concat" } },
  SideHead: { kind: "aux", inside: "layers", defaults: { weight: 0.3 } },
};
