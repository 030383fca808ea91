// What the address keeps after "#", so that a page that is loaded again is as it was:
// #at=conv1[2,3,4]&zero=conv1:2,conv2:5&lang=ko            of the living page
// #inside/RUN/IMAGE/conv1[2,3,4]?zero=conv1:2,conv2:5      of the studio

/**
 * @typedef {{path: string, channel: number}} Channel
 * @typedef {{at: string | null, zero: Channel[], language: string | null}} Kept
 * @typedef {{view: string, run: string, image: string, at: string | null, zero: Channel[]}} Place
 */

/** @param {string} hash @returns {Kept} */
export function readAddress(hash) {
  const given = new URLSearchParams(hash.replace(/^#/, ""));
  return { at: given.get("at"), zero: readChannels(given.get("zero")), language: given.get("lang") };
}

/** @param {string | null} text  "conv1:2,conv2:5" @returns {Channel[]} */
function readChannels(text) {
  return (text ?? "")
    .split(",")
    .filter(Boolean)
    .map((one) => {
      const [path, channel] = one.split(":");
      return { path, channel: Number(channel) };
    });
}

/** @param {Channel[]} zero */
function writeChannels(zero) {
  return `zero=${zero.map(({ path, channel }) => `${path}:${channel}`).join(",")}`;
}

/** @param {Kept} kept */
export function writeAddress({ at, zero, language }) {
  const parts = [
    at && `at=${at}`,
    zero.length && writeChannels(zero),
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

/** @param {string} hash @returns {Place} */
export function readPlace(hash) {
  const [path, query] = hash.replace(/^#/, "").split("?");
  const [view = "", run = "", image = "", at] = path.split("/").map(decodePart);
  return { view, run, image, at: at || null, zero: readChannels(new URLSearchParams(query).get("zero")) };
}

function decodePart(/** @type {string} */ part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part; // a stray "%" that somebody wrote
  }
}

/** @param {Place} place */
export function writePlace({ view, run, image, at, zero }) {
  const path = [view, encodeURIComponent(run), image, ...(at ? [at] : [])].join("/");
  return `#${path}${zero.length ? `?${writeChannels(zero)}` : ""}`;
}
