// Dense layers: a vector times a matrix, 8 units at a time where the matrix is small enough to be laid out for that.

import { COLUMNS, ROWS } from "./matmul.js";

/** Larger matrices are read where they lie: to lay them out would double the network's memory. */
const MOST_WEIGHTS = 4_000_000;

/** What a dense layer takes of the memory, in floats: its weights for good, and the room for its input and sums. */
export function measureDense(layer, x) {
  const width = COLUMNS * Math.ceil(layer.units / COLUMNS);
  if (width * x[0] > MOST_WEIGHTS) return { weights: 0, scratch: 0 };
  return { weights: width * x[0], scratch: ROWS * (x[0] + width) };
}

/** The weights at `place`: for 8 units at a time, input after input, the units' weights side by side. */
export function packDense(layer, x, weight, values, place) {
  if (!measureDense(layer, x).weights) return;
  for (let first = 0; first < layer.units; first += COLUMNS) {
    for (let k = 0; k < x[0]; k++) {
      for (let unit = first; unit < first + COLUMNS; unit++) {
        values[place++] = unit < layer.units ? weight[unit * x[0] + k] : 0;
      }
    }
  }
}

/** Σ weight·x + bias for each unit. */
export function computeDense(node, x, pass) {
  const out = pass.make(node.layer.units);
  if (measureDense(node.layer, node.x).weights) multiplyPacked(node, x, out, pass.matmul);
  else multiplyRows(node, x, out);
  const { bias } = node.tensors;
  if (bias) for (let unit = 0; unit < out.length; unit++) out[unit] += bias[unit];
  return out;
}

/** The input is the first of the product's four rows; the others are 0. */
function multiplyPacked({ place, scratch }, x, out, matmul) {
  const { values } = matmul;
  const panels = Math.ceil(out.length / COLUMNS);
  const sums = scratch + ROWS * x.length;
  values.fill(0, scratch, sums + ROWS * COLUMNS * panels);
  for (let k = 0; k < x.length; k++) values[scratch + ROWS * k] = x[k];
  matmul.multiply(scratch, place, sums, 1, x.length, panels);
  out.set(values.subarray(sums, sums + out.length));
}

function multiplyRows({ tensors: { weight } }, x, out) {
  const inputs = x.length;
  for (let unit = 0; unit < out.length; unit++) {
    let s0 = 0, s1 = 0, s2 = 0, s3 = 0;
    let w = unit * inputs, i = 0;
    for (; i + 3 < inputs; i += 4, w += 4) {
      s0 += weight[w] * x[i];
      s1 += weight[w + 1] * x[i + 1];
      s2 += weight[w + 2] * x[i + 2];
      s3 += weight[w + 3] * x[i + 3];
    }
    for (; i < inputs; i++, w++) s0 += weight[w] * x[i];
    out[unit] = s0 + s1 + s2 + s3;
  }
}
