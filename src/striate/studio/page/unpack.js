// Arrays as the library packs them: base64 of zlib, all first bytes first, then all second ones, and so on.

/**
 * @param {string} text
 * @param {any} Type    the typed array's constructor
 * @returns {Promise<any>}
 */
export async function unpacked(text, Type) {
  const packed = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const planes = new Uint8Array(await new Response(stream).arrayBuffer());
  const wide = Type.BYTES_PER_ELEMENT;
  const count = planes.length / wide;
  const bytes = new Uint8Array(planes.length);
  for (let plane = 0; plane < wide; plane++)
    for (let i = 0; i < count; i++) bytes[i * wide + plane] = planes[plane * count + i];
  return new Type(bytes.buffer);
}
