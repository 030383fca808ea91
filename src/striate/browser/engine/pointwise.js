// Activations, value by value. A record's entry makes the function of one value from the layer's fields.

/** Φ, the normal distribution function, at steps of 1/64 from −8 to 8, and its density: between them a cubic. */
const STEPS = 64;
const END = 8;
const DENSITY = Float64Array.from({ length: 2 * END * STEPS + 2 }, (_, i) => computeDensity(i / STEPS - END));
const BELOW = sumDensity();

export function computeDensity(z) {
  return Math.exp((-z * z) / 2) / Math.sqrt(2 * Math.PI);
}

function sumDensity() {
  const below = new Float64Array(DENSITY.length);
  for (let i = 1; i < below.length; i++) {
    // Simpson's rule: wrong by less than 1e-12 a step.
    const middle = computeDensity((i - 0.5) / STEPS - END);
    below[i] = below[i - 1] + (DENSITY[i - 1] + 4 * middle + DENSITY[i]) / (6 * STEPS);
  }
  return below;
}

/** Φ(z), to 1e-9. */
export function computeNormalCdf(z) {
  if (!(z > -END)) return z === z ? 0 : NaN;
  if (z >= END) return 1;
  const at = (z + END) * STEPS;
  const i = Math.floor(at);
  const t = at - i;
  const s = 1 - t;
  const ends = BELOW[i] * s * s * (1 + 2 * t) + BELOW[i + 1] * t * t * (1 + 2 * s);
  return ends + (t * s * (DENSITY[i] * s - DENSITY[i + 1] * t)) / STEPS;
}

export function computeSigmoid(x) {
  return 1 / (1 + Math.exp(-x));
}

/** ln(1 + e^x), such that a large x does not overflow. */
export function computeSoftplus(x) {
  return Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
}

function computeRamp(x) {
  return Math.min(Math.max(x + 3, 0), 6) / 6;
}

// torch's own digits.
export const SELU_ALPHA = 1.6732632423543772848170429916717;
export const SELU_SCALE = 1.0507009873554804934193349852946;

/** Record -> (layer -> the function of one value). */
export const ACTIVATIONS = {
  ReLU: () => (x) => (x < 0 ? 0 : x),
  ReLU6: () => (x) => (x < 0 ? 0 : x > 6 ? 6 : x),
  LeakyReLU: ({ slope }) => (x) => (x > 0 ? x : slope * x),
  ELU: ({ alpha }) => (x) => (x > 0 ? x : alpha * Math.expm1(x)),
  SELU: () => (x) => SELU_SCALE * (x > 0 ? x : SELU_ALPHA * Math.expm1(x)),
  CELU: ({ alpha }) => (x) => (x > 0 ? x : alpha * Math.expm1(x / alpha)),
  GELU: () => (x) => x * computeNormalCdf(x),
  TanhGELU: () => (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x * x * x))),
  Mish: () => (x) => x * Math.tanh(computeSoftplus(x)),
  Softplus: () => computeSoftplus,
  SiLU: () => (x) => x * computeSigmoid(x),
  Sigmoid: () => computeSigmoid,
  Tanh: () => Math.tanh,
  HardSigmoid: () => computeRamp,
  HardSwish: () => (x) => x * computeRamp(x),
};

/** The map with `activate` on each value. */
export function computeActivation(node, x, pass) {
  const activate = ACTIVATIONS[node.layer.layer](node.layer);
  const out = pass.make(x.length);
  for (let i = 0; i < x.length; i++) out[i] = activate(x[i]);
  return out;
}

/** Two activations that most nets consist of, without a call for each value. */
export function computeReLU(node, x, pass) {
  const out = pass.make(x.length);
  for (let i = 0; i < x.length; i++) out[i] = Math.max(x[i], 0);
  return out;
}

export function computeReLU6(node, x, pass) {
  const out = pass.make(x.length);
  for (let i = 0; i < x.length; i++) out[i] = Math.min(Math.max(x[i], 0), 6);
  return out;
}

/** x where it is positive, else its slope times x: one slope, or one a channel. */
export function computePReLU(node, x, pass) {
  const { weight } = node.tensors;
  const out = pass.make(x.length);
  const size = x.length / node.x[0];
  for (let i = 0; i < x.length; i++) {
    out[i] = x[i] > 0 ? x[i] : x[i] * weight[node.layer.per_channel ? Math.floor(i / size) : 0];
  }
  return out;
}

/** The layer's input itself: what does something in training alone. */
export function computeIdentity(node, x) {
  return x;
}

/** e^x over their sum, along the channels at each position, or along the vector. */
export function computeSoftmax(node, x, pass) {
  const [channels] = node.x;
  const size = x.length / channels;
  const out = pass.make(x.length);
  for (let i = 0; i < size; i++) {
    let most = -Infinity, sum = 0;
    for (let j = i; j < x.length; j += size) most = Math.max(most, x[j]);
    for (let j = i; j < x.length; j += size) sum += Math.exp(x[j] - most);
    for (let j = i; j < x.length; j += size) out[j] = Math.exp(x[j] - most) / sum;
  }
  return out;
}
