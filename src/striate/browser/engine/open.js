// A payload, as Python packs a model for a page -> what the engine opens.

import { readFromText } from "./text_bytes.js";

/** The payload that stands in a page as text. Throws an error called Altered where it is not whole. */
export function parsePayload(text) {
  try {
    return JSON.parse(text);
  } catch {
    throw makeAltered();
  }
}

function makeAltered() {
  return Object.assign(new Error("this file was altered or cut off on its way"), { name: "Altered" });
}

/**
 * payload  { net, classes, preprocess, views, tensors: [{ name, shape, kind, offset, bytes, scale }], bytes, data, … }
 * Gives the same with `tensors` as a Map of name -> { shape, data: Float32Array }, without `data`. Rejects with an error
 * called Altered where the weights are not those that were packed: gzip has their checksum.
 */
export async function openPayload(payload) {
  if (payload.form !== 2) throw new Error(`this page reads payloads of form 2, and this is ${payload.form}`);
  const bytes = await inflate(readFromText(payload.data, payload.bytes)).catch(() => {
    throw makeAltered();
  });
  const tensors = new Map(
    payload.tensors.map((entry) => [entry.name, { shape: entry.shape, data: unpackTensor(entry, bytes) }]),
  );
  const { data, ...rest } = payload;
  return { ...rest, tensors };
}

async function inflate(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

function unpackTensor({ kind, offset, bytes: length, scale }, bytes) {
  const part = bytes.subarray(offset, offset + length);
  if (kind === "float32") return new Float32Array(joinPlanes(part, 4).buffer);
  if (kind === "float16") return readHalves(new Uint16Array(joinPlanes(part, 2).buffer));
  const whole = new Int8Array(part.slice().buffer);
  const made = new Float32Array(whole.length);
  const each = whole.length / scale.length;
  for (let i = 0; i < whole.length; i++) made[i] = whole[i] * scale[Math.floor(i / each)];
  return made;
}

/** The bytes of each number together again: they came as all first bytes, then all second ones, … */
export function joinPlanes(planes, size) {
  const joined = new Uint8Array(planes.length);
  const count = planes.length / size;
  for (let plane = 0, i = 0; plane < size; plane++) for (let j = plane; i < (plane + 1) * count; i++, j += size) joined[j] = planes[i];
  return joined;
}

/** What each 16 bits mean, once a float16 has been read: a table is ten times as fast as the rule. */
let halves = null;

function readHalves(numbers) {
  halves ??= Float32Array.from({ length: 1 << 16 }, (_, bits) => readHalf(bits));
  const made = new Float32Array(numbers.length);
  for (let i = 0; i < made.length; i++) made[i] = halves[numbers[i]];
  return made;
}

/** The number that the 16 bits of a float16 mean. */
export function readHalf(bits) {
  const sign = bits & 0x8000 ? -1 : 1;
  const power = (bits >> 10) & 31;
  const rest = bits & 1023;
  if (power === 0) return sign * rest * 2 ** -24;
  if (power === 31) return rest ? NaN : sign * Infinity;
  return sign * (1 + rest / 1024) * 2 ** (power - 15);
}
