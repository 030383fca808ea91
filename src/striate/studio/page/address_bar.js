// What the address keeps after "#", so that a page that is loaded again is as it was:
// #at=conv1[2,3,4]&zero=conv1:2,conv2:5&lang=ko

/**
 * @typedef {{path: string, channel: number}} Channel
 * @typedef {{at: string | null, zero: Channel[], language: string | null}} Kept
 */

/** @param {string} hash @returns {Kept} */
export function readAddress(hash) {
  const given = new URLSearchParams(hash.replace(/^#/, ""));
  const zero = (given.get("zero") ?? "").split(",").filter(Boolean);
  return {
    at: given.get("at"),
    zero: zero.map((text) => {
      const [path, channel] = text.split(":");
      return { path, channel: Number(channel) };
    }),
    language: given.get("lang"),
  };
}

/** @param {Kept} kept */
export function writeAddress({ at, zero, language }) {
  const parts = [
    at && `at=${at}`,
    zero.length && `zero=${zero.map(({ path, channel }) => `${path}:${channel}`).join(",")}`,
    language && `lang=${language}`,
  ];
  return `#${parts.filter(Boolean).join("&")}`;
}
