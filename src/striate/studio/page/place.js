// Where the studio is: view, run and what is chosen in it, all in the address after "#":
// #architecture/digits-1?net=vgg16&zoom=2
// #inside/RUN/IMAGE/conv1[2,3,4]?zero=conv1:2,conv2:5&order=byStrength&folds=layer3,layer3.block1

/**
 * @typedef {{view: string, run: string, rest: string[], chosen: Record<string, string>}} Place
 */

/** @param {string} hash @returns {Place} */
export function readPlace(hash) {
  const [path, query = ""] = hash.replace(/^#/, "").split("?");
  const [view = "", run = "", ...rest] = path.split("/").map(decodePart);
  return { view, run, rest, chosen: Object.fromEntries(new URLSearchParams(query)) };
}

function decodePart(/** @type {string} */ part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part; // a stray "%" that somebody wrote
  }
}

/** Encoded, but for what the address of a value consists of, which stays legible. */
const encodePart = (/** @type {any} */ part) => encodeURIComponent(part).replace(/%(?:5B|5D|2C|3A)/g, decodeURIComponent);

/** @param {{view: string, run: string, rest?: any[], chosen?: Record<string, any>}} place  what is "" or null is left out */
export function writePlace({ view, run, rest = [], chosen = {} }) {
  const given = Object.entries(chosen).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const query = given.map((pair) => pair.map(encodePart).join("=")).join("&");
  return `#${[view, run, ...rest].map(encodePart).join("/")}${query && `?${query}`}`;
}

/** What was chosen in each view, so that it is there when the view is come back to; for as long as the tab is open. */
export const remembered = {
  /** @param {string} view @returns {Record<string, string>} */
  read: (view) => JSON.parse(sessionStorage.getItem(`chosen in ${view}`) ?? "{}"),
  /** @param {string} view @param {Record<string, any>} chosen */
  write: (view, chosen) => sessionStorage.setItem(`chosen in ${view}`, JSON.stringify(chosen)),
};
