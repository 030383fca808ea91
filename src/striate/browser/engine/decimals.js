// Numbers as text, digit by digit as Python writes them.

export const SIGNIFICANT_DIGITS = 5;

/** A number to five significant digits, as striate/inside/trace_format.py: format_short writes it. */
export function formatShort(value, digits = SIGNIFICANT_DIGITS) {
  if (value === 0) return "0";
  const places = Math.max(0, Math.min(15, digits - 1 - Math.floor(Math.log10(Math.abs(value)))));
  const text = formatFixed(value, places);
  return text.includes(".") ? text.replace(/\.?0+$/, "") : text;
}

/** The operands of one line, to as many digits, five or more, as set different ones apart: 1 / 1.00001, not 1 / 1. */
export function formatApart(values) {
  let texts = [];
  for (let digits = SIGNIFICANT_DIGITS; digits < 10; digits++) {
    texts = values.map((value) => formatShort(value, digits));
    if (new Set(texts).size === new Set(values).size) break;
  }
  return texts;
}

/** A share from 0 to 1 in per cent. Only 1 itself is 100 %, only 0 itself 0 %: what rounds to them is "> 99.9 %", "< 0.1 %". */
export function formatShare(share, places = 1) {
  const least = 10 ** -places;
  const text = (100 * share).toFixed(places);
  if (share < 1 && Number(text) >= 100) return `> ${(100 - least).toFixed(places)} %`;
  if (share > 0 && Number(text) <= 0) return `< ${least.toFixed(places)} %`;
  return `${text} %`;
}

/** As toFixed, but what lies exactly in the middle goes to the even digit, as in Python. */
function formatFixed(value, places) {
  const text = value.toFixed(places);
  const exact = value.toFixed(Math.min(100, places + 60));
  const rest = exact.slice(exact.indexOf(".") + 1 + places);
  if (places > 0 && /^50*$/.test(rest)) {
    const cut = exact.slice(0, exact.length - rest.length);
    if ("02468".includes(cut[cut.length - 1])) return cut;
  }
  return text;
}

/** As Python's :g writes a number: six significant digits, and an exponent for the very small and the very large. */
export function formatGeneral(value) {
  const [digits, power] = value.toExponential(5).split("e");
  if (value !== 0 && (power < -4 || power >= 6)) {
    const tens = String(Math.abs(power)).padStart(2, "0");
    return `${digits.replace(/\.?0+$/, "")}e${power < 0 ? "-" : "+"}${tens}`;
  }
  return String(Number(value.toPrecision(6)));
}

/** As Python rounds: 2.5 is 2. */
export function roundHalfEven(value) {
  const below = Math.floor(value);
  return value - below === 0.5 ? below + Math.abs(below % 2) : Math.round(value);
}

/** How many decimals give the largest of `values` its five significant digits; none where all are whole numbers. */
export function countDecimals(values) {
  let largest = 0,
    whole = true;
  for (const value of values) {
    largest = Math.max(largest, Math.abs(value));
    whole = whole && Number.isInteger(value);
  }
  if (largest >= 1 && whole) return 0;
  if (!(largest > 1e-12)) return SIGNIFICANT_DIGITS;
  return Math.min(15, Math.max(0, SIGNIFICANT_DIGITS - Math.ceil(Math.log10(largest))));
}

export function countUnits(value, places) {
  return roundHalfEven(value * 10 ** places);
}

/** A whole number of units of the last decimal, as text. */
export function formatUnits(number, places) {
  const digits = String(Math.abs(number)).padStart(places + 1, "0");
  const body = places ? `${digits.slice(0, -places)}.${digits.slice(-places)}` : digits;
  return number < 0 ? `-${body}` : body;
}

/** Each value in units of the last decimal, rounded up or down so that they add up to `total` units. */
export function apportionUnits(values, total, places) {
  const scaled = values.map((value) => value * 10 ** places);
  const made = scaled.map(Math.floor);
  const missing = total - made.reduce((a, b) => a + b, 0);
  const [each, more] =
    missing < 0 || missing > made.length
      ? [Math.floor(missing / made.length), modulo(missing, made.length)]
      : [0, missing];
  const order = made.map((_, i) => i).sort((i, j) => made[i] - scaled[i] - (made[j] - scaled[j]));
  order.forEach((i, rank) => (made[i] += each + (rank < more ? 1 : 0)));
  return made;
}

function modulo(value, by) {
  return ((value % by) + by) % by;
}
