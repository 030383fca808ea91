// What the living page's address keeps after "#", so that a page that is loaded again is as it was:
// #at=conv1[2,3,4]&zero=conv1:2,conv2:5&lang=ko
// and channels as text, as the studio's address has them too (place.js).

/**
 * @typedef {{path: string, channel: number}} Channel
 * @typedef {{at: string | null, zero: Channel[], language: string | null}} Kept
 */

/** @param {string} hash @returns {Kept} */
export function readAddress(hash) {
  const given = new URLSearchParams(hash.replace(/^#/, ""));
  return { at: given.get("at"), zero: readChannels(given.get("zero")), language: given.get("lang") };
}

/** @param {string | null | undefined} text  "conv1:2,conv2:5" @returns {Channel[]} */
export function readChannels(text) {
  return (text ?? "")
    .split(",")
    .filter(Boolean)
    .map((one) => {
      const [path, channel] = one.split(":");
      return { path, channel: Number(channel) };
    });
}

/** @param {Channel[]} zero */
export function writeChannels(zero) {
  return zero.map(({ path, channel }) => `${path}:${channel}`).join(",");
}

/** @param {Kept} kept */
export function writeAddress({ at, zero, language }) {
  const parts = [
    at && `at=${at}`,
    zero.length && `zero=${writeChannels(zero)}`,
    language && `lang=${language}`,
  ];
  return `#${parts.filter(Boolean).join("&")}`;
}

/** The channels of each layer: { path: [channel, …] }. @param {Channel[]} zero */
export function groupChannels(zero) {
  /** @type {Record<string, number[]>} */
  const grouped = {};
  for (const { path, channel } of zero) (grouped[path] ??= []).push(channel);
  return grouped;
}
