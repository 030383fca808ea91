// The matrix product under every convolution, on one block of memory that is taken once and used by every pass.

import { MATMUL_BYTES } from "./matmul_bytes.js";

/** Rows of A and columns of B that are multiplied at once; the block of the depth that stays in the cache. */
export const ROWS = 4;
export const COLUMNS = 8;
export const DEPTH = 256;

/**
 * Memory of `floats` float32 values, and the product on it.
 * multiply(a, b, c, quads, depth, panels): C += A·B on parts laid out as matmul.wat says; addresses count floats.
 * slide(from, offsets, weights, out, taps, rows, step, parts, bias): one channel's convolution, as it stands there.
 * finish(at, fours, scale, shift, low, high): min(max(v·scale + shift, low), high) in place, on 4·fours values.
 * values, places: the memory as float32 and as int32 numbers.
 * kind: "wasm" where the browser has WebAssembly SIMD and may compile, else "plain".
 */
export function openMatmul(floats, plain = false) {
  return (plain ? null : openWasm(floats)) ?? openPlain(floats);
}

function openWasm(floats) {
  try {
    const bytes = Uint8Array.from(atob(MATMUL_BYTES), (letter) => letter.charCodeAt(0));
    const module = new WebAssembly.Module(bytes);
    const memory = new WebAssembly.Memory({ initial: Math.max(1, Math.ceil(floats / 16384)) });
    const { multiply, slide, finish } = new WebAssembly.Instance(module, { env: { memory } }).exports;
    return {
      kind: "wasm",
      values: new Float32Array(memory.buffer),
      places: new Int32Array(memory.buffer),
      multiply: (a, b, c, quads, depth, panels) => multiply(4 * a, 4 * b, 4 * c, quads, depth, panels),
      slide: (from, offsets, weights, out, taps, rows, step, parts, bias) =>
        slide(4 * from, 4 * offsets, 4 * weights, 4 * out, taps, rows, 4 * step, parts, bias),
      finish: (at, fours, ...rest) => finish(4 * at, fours, ...rest),
    };
  } catch {
    return null; // no WebAssembly, no SIMD, or a page whose policy forbids it
  }
}

function openPlain(floats) {
  const values = new Float32Array(floats);
  const places = new Int32Array(values.buffer);
  return {
    kind: "plain",
    values,
    places,
    slide: (...given) => slidePlain(values, places, ...given),
    finish: (...given) => finishPlain(values, ...given),
    multiply: (a, b, c, quads, depth, panels) => multiplyPlain(values, a, b, c, quads, depth, panels),
  };
}

/** As matmul.wat does it, 2 rows by 4 columns at a time: so many sums a processor holds without SIMD. */
function multiplyPlain(values, a, b, c, quads, depth, panels) {
  const width = panels * COLUMNS;
  for (let quad = 0; quad < quads; quad++) {
    for (let panel = 0; panel < panels; panel++) {
      for (let row = 0; row < ROWS; row += 2) {
        for (let column = 0; column < COLUMNS; column += 4) {
          const at = c + (quad * ROWS + row) * width + panel * COLUMNS + column;
          multiplyEight(
            values, a + quad * depth * ROWS + row, b + panel * depth * COLUMNS + column, at, at + width, depth,
          );
        }
      }
    }
  }
}

function multiplyEight(values, a, b, c0, c1, depth) {
  let s0 = values[c0], s1 = values[c0 + 1], s2 = values[c0 + 2], s3 = values[c0 + 3];
  let t0 = values[c1], t1 = values[c1 + 1], t2 = values[c1 + 2], t3 = values[c1 + 3];
  for (let k = 0; k < depth; k++, a += ROWS, b += COLUMNS) {
    const w = values[a], v = values[a + 1];
    const b0 = values[b], b1 = values[b + 1], b2 = values[b + 2], b3 = values[b + 3];
    s0 += w * b0;
    s1 += w * b1;
    s2 += w * b2;
    s3 += w * b3;
    t0 += v * b0;
    t1 += v * b1;
    t2 += v * b2;
    t3 += v * b3;
  }
  values[c0] = s0;
  values[c0 + 1] = s1;
  values[c0 + 2] = s2;
  values[c0 + 3] = s3;
  values[c1] = t0;
  values[c1 + 1] = t1;
  values[c1 + 2] = t2;
  values[c1 + 3] = t3;
}

/** As matmul.wat does it, one value at a time. Offsets are in bytes there, so here too. */
function slidePlain(values, places, from, offsets, weights, out, taps, rows, step, parts, bias) {
  const width = parts * COLUMNS;
  for (let row = 0; row < rows; row++, from += step, out += width) {
    for (let column = 0; column < width; column++) {
      let sum = bias;
      for (let t = 0; t < taps; t++) sum += values[weights + t] * values[from + column + (places[offsets + t] >> 2)];
      values[out + column] = sum;
    }
  }
}

function finishPlain(values, at, fours, scale, shift, low, high) {
  for (const end = at + 4 * fours; at < end; at++) {
    values[at] = Math.min(Math.max(values[at] * scale + shift, low), high);
  }
}
