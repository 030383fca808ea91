// Arrays as the library packs them: base64 of zlib, all first bytes first, then all second ones, and so on.

import { joinPlanes } from "./open.js";

/**
 * @param {string} text
 * @param {any} Type    the typed array's constructor
 * @returns {Promise<any>}
 */
export async function unpacked(text, Type) {
  const packed = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const planes = new Uint8Array(await new Response(stream).arrayBuffer());
  return new Type(joinPlanes(planes, Type.BYTES_PER_ELEMENT).buffer);
}
