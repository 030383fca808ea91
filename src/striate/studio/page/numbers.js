// Numbers as the library writes them. Nothing is worked out here.

/**
 * A number to five significant digits, as striate.inside.trace_record.short writes it.
 * @param {number} value
 */
export function short(value) {
  if (value === 0) return "0";
  const places = Math.max(0, Math.min(15, 4 - Math.floor(Math.log10(Math.abs(value)))));
  const text = fixed(value, places);
  return text.includes(".") ? text.replace(/\.?0+$/, "") : text;
}

/**
 * As toFixed, but what lies exactly in the middle goes to the even digit, as in Python.
 * @param {number} value
 * @param {number} places
 */
function fixed(value, places) {
  const text = value.toFixed(places);
  const exact = value.toFixed(Math.min(100, places + 60));
  const rest = exact.slice(exact.indexOf(".") + 1 + places);
  if (places > 0 && /^50*$/.test(rest)) {
    const cut = exact.slice(0, exact.length - rest.length);
    if ("02468".includes(cut[cut.length - 1])) return cut;
  }
  return text;
}

/**
 * A whole number of units of the last decimal.
 * @param {number} number
 * @param {number} places
 */
export function written(number, places) {
  const digits = String(Math.abs(number)).padStart(places + 1, "0");
  const body = places ? `${digits.slice(0, -places)}.${digits.slice(-places)}` : digits;
  return number < 0 ? `-${body}` : body;
}

/** @param {number} share  0 to 1 */
export function percent(share) {
  return share > 0.9995 && share < 1
    ? "> 99.9 %"
    : share < 0.0005 && share > 0
      ? "< 0.1 %"
      : `${(100 * share).toFixed(1)} %`;
}

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
