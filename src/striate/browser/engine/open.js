// A payload, as Python packs a model for a page -> what the engine opens.

/**
 * payload  { net, classes, preprocess, views, tensors: [{ name, shape, kind, offset, bytes, scale }], data, … }
 * Gives the same with `tensors` as a Map of name -> { shape, data: Float32Array }, without `data`.
 */
export async function openPayload(payload) {
  if (payload.form !== 1) throw new Error(`this page reads payloads of form 1, and this is ${payload.form}`);
  const bytes = await inflate(readBase64(payload.data));
  const tensors = new Map(
    payload.tensors.map((entry) => [entry.name, { shape: entry.shape, data: unpackTensor(entry, bytes) }]),
  );
  const { data, ...rest } = payload;
  return { ...rest, tensors };
}

function readBase64(text) {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

async function inflate(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

function unpackTensor({ kind, offset, bytes: length, scale }, bytes) {
  const part = bytes.slice(offset, offset + length);
  if (kind === "float32") return new Float32Array(part.buffer);
  if (kind === "float16") return Float32Array.from(new Uint16Array(part.buffer), readHalf);
  const whole = new Int8Array(part.buffer);
  const each = whole.length / scale.length;
  return Float32Array.from(whole, (value, i) => value * scale[Math.floor(i / each)]);
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
