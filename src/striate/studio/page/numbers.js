// Numbers as the library writes them. Nothing is worked out here.

/**
 * A time as people say it.
 * @param {number} seconds
 */
export function clock(seconds) {
  if (seconds < 90) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

/**
 * A layer's path and an index from an address, "conv1[3,10,12]".
 * @param {string} text
 * @returns {[string, number[]]}
 */
export function parsed(text) {
  const open = text.lastIndexOf("[");
  return [
    text.slice(0, open),
    text
      .slice(open + 1, -1)
      .split(",")
      .map(Number),
  ];
}

/**
 * @param {string} path
 * @param {number[]} index
 */
export function address(path, index) {
  return `${path}[${index.join(",")}]`;
}
