// The slope of each activation, by which the gradient of its output is multiplied; at a kink torch's, 0 for ReLU at 0.

import { SELU_ALPHA, SELU_SCALE, computeDensity, computeNormalCdf, computeSigmoid, computeSoftplus } from "./pointwise.js";

const BEND = Math.sqrt(2 / Math.PI);

function computeTanhGeluSlope(x) {
  const bend = Math.tanh(BEND * (x + 0.044715 * x ** 3));
  return 0.5 * (1 + bend) + 0.5 * x * (1 - bend * bend) * BEND * (1 + 3 * 0.044715 * x * x);
}

function computeMishSlope(x) {
  const share = Math.tanh(computeSoftplus(x));
  return share + x * (1 - share * share) * computeSigmoid(x);
}

function computeSiluSlope(x) {
  const share = computeSigmoid(x);
  return share * (1 + x * (1 - share));
}

/** Record -> (layer -> the slope at one value). */
export const SLOPES = {
  ReLU: () => (x) => (x > 0 ? 1 : 0),
  ReLU6: () => (x) => (x > 0 && x < 6 ? 1 : 0),
  LeakyReLU:
    ({ slope }) =>
    (x) =>
      x > 0 ? 1 : slope,
  ELU:
    ({ alpha }) =>
    (x) =>
      x > 0 ? 1 : alpha * Math.exp(x),
  SELU: () => (x) => SELU_SCALE * (x > 0 ? 1 : SELU_ALPHA * Math.exp(x)),
  CELU:
    ({ alpha }) =>
    (x) =>
      x > 0 ? 1 : Math.exp(x / alpha),
  GELU: () => (x) => computeNormalCdf(x) + x * computeDensity(x),
  TanhGELU: () => computeTanhGeluSlope,
  Mish: () => computeMishSlope,
  Softplus: () => computeSigmoid,
  SiLU: () => computeSiluSlope,
  Sigmoid: () => (x) => computeSigmoid(x) * (1 - computeSigmoid(x)),
  Tanh: () => (x) => 1 - Math.tanh(x) ** 2,
  HardSigmoid: () => (x) => (x > -3 && x < 3 ? 1 / 6 : 0),
  HardSwish: () => (x) => (x <= -3 ? 0 : x < 3 ? x / 3 + 0.5 : 1),
};
