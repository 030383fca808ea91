// A trace's parts, as striate/inside/trace_record.py makes them: operands, their groups, and the lines that follow.

import { apportionUnits, countDecimals, countUnits, formatApart, formatUnits } from "./decimals.js";
import { say, toSay } from "./saying.js";

/** Notes of a term by which it is known, too: beyond the map's edge, and the largest under a window. */
export const PADDING = toSay("padding");
export const WON = toSay("won");

/** An operand: what it contributes (`value`), the operand itself (`x`), and its address; null for padding. */
export function makeTerm(value, x, at, more = {}) {
  return { value, x, at, ...more };
}

export function makeConstant(value, at = null, note = "") {
  return makeTerm(value, value, at, note ? { note } : {});
}

export function makePadding(note = PADDING) {
  return makeTerm(0, 0, null, { note });
}

export function makeGroup(name, terms, grid = []) {
  return { name, value: sumUp(terms.map((term) => term.value)), terms, grid };
}

/** What a channel contributes, its terms as they lie. */
export function makeChannel(channel, terms, grid) {
  return makeGroup(say("channel {channel}", { channel }), terms, grid);
}

export function sumUp(values) {
  let sum = 0;
  for (const value of values) sum += value;
  return sum;
}

/** A line of arithmetic that is a sum and adds up as shown. */
export function makeAddition(name, ...parts) {
  return { name, text: "", value: sumUp(parts.map((part) => part.value)), parts, exact: true };
}

/** A line that is no sum; `form`, a text's key, has {0}, {1}, … where the parts go, and settings by their names. */
export function makeStep(name, form, value, parts, settings = {}) {
  const text = say(form, { ...settings, ...formatApart(parts.map((part) => part.value)) });
  return { name, text, value, parts, exact: false };
}

/** A value's parts before rounding for display; `scale` is how large the numbers are that cancel in it. */
export function makeAccount(rule, op, groups, steps, value, scale, lead) {
  return { rule, op, groups, steps, value, scale, lead };
}

export function makeSum(rule, groups) {
  const terms = groups.flatMap((group) => group.terms);
  const scale = sumUp(terms.map((term) => Math.abs(term.value)));
  return makeAccount(rule, "sum", groups, [], sumUp(groups.map((group) => group.value)), scale, findLargest(terms));
}

/** The account of a value that goes on as it came. */
export function explainUnchanged(term) {
  const group = makeGroup(say("input"), [term]);
  return makeAccount(say("{at}, unchanged", { at: term.at }), "same", [group], [], term.x, Math.abs(term.x), term.at);
}

export function explainLargest(terms, rule, channel, grid) {
  let winner = null; // the first of equals, as in the backward pass
  for (const term of terms) if (term.at && (winner === null || term.x > winner.x)) winner = term;
  const told = terms.map((term) => (term === winner ? { ...term, note: WON } : term));
  const window = { name: say("channel {channel}", { channel }), value: winner.x, terms: told, grid };
  return makeAccount(rule, "max", [window], [], winner.x, Math.abs(winner.x), winner.at);
}

export function makeMean(rule, values, count) {
  const y = values.value / count;
  const step = makeStep(say("divided by their number"), `{0} / ${count}`, y, [makeConstant(values.value)]);
  const scale = sumUp(values.terms.map((term) => Math.abs(term.value))) / count;
  return makeAccount(rule, "sum", [values], [step], y, scale, findLargest(values.terms));
}

/** The address of the operand that contributes most, by size. */
export function findLargest(terms) {
  let most = null;
  for (const term of terms) if (term.at && (most === null || Math.abs(term.value) > Math.abs(most.value))) most = term;
  return most && most.at;
}

export function formatAddress(path, index) {
  return `${path}[${[...index].join(",")}]`;
}

// Rounded for display ---------------------------------------------------------------------------------

/** { groups, steps, shown }: the numbers as they are shown, such that sums add up as shown. */
export function roundForDisplay({ groups, steps, op }, value) {
  const numbers = groups.flatMap((group) => [group.value, ...group.terms.map((term) => term.value)]);
  const places = countDecimals(numbers.length ? numbers : [value]);
  const own = groups.map((group) => group.value);
  const combined = op === "sum" && !steps.length ? value : sumUp(own);
  const totals =
    op === "sum" && own.length
      ? apportionUnits(own, countUnits(combined, places), places)
      : own.map((one) => countUnits(one, places));
  const rounded = steps.map(roundStep);
  return {
    groups: groups.map((group, i) => roundGroup(group, totals[i], places, op)),
    steps: rounded,
    shown: rounded.length ? rounded.at(-1).shown : formatUnits(countUnits(value, places), places),
  };
}

function roundGroup(group, total, places, op) {
  const values = group.terms.map((term) => term.value);
  const numbers = op === "sum" ? apportionUnits(values, total, places) : values.map((v) => countUnits(v, places));
  const terms = group.terms.map((term, i) => ({ ...term, shown: formatUnits(numbers[i], places) }));
  return { ...group, terms, shown: formatUnits(total, places) };
}

function roundStep(step) {
  const places = countDecimals(step.exact ? [step.value, ...step.parts.map((part) => part.value)] : [step.value]);
  const total = countUnits(step.value, places);
  if (!step.exact) return { ...step, shown: formatUnits(total, places) };
  const numbers = apportionUnits(
    step.parts.map((part) => part.value),
    total,
    places,
  );
  const parts = step.parts.map((part, i) => ({ ...part, shown: formatUnits(numbers[i], places) }));
  const rest = parts.slice(1).map(({ shown }) => (shown[0] === "-" ? ` − ${shown.slice(1)}` : ` + ${shown}`));
  return { ...step, parts, text: parts[0].shown + rest.join(""), shown: formatUnits(total, places) };
}
