// What the steps are made of: elements, grids of numbers, sliders, sums in words.

import { formatShare } from "./decimals.js";
import { fillKorean } from "./saying.js";

export function make(name, given = {}, ...inside) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(given)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "dataset") Object.assign(element.dataset, value);
    else if (key in element && key !== "list") element[key] = value;
    else element.setAttribute(key, value);
  }
  element.append(...inside.flat().filter((part) => part !== null && part !== undefined && part !== false));
  return element;
}

/** A number as short as it can be: four significant digits, a true minus, a power of ten where it is far from 1. */
export function show(value) {
  if (Number.isInteger(value)) return value.toLocaleString("en-US").replace("-", "−");
  const text = Math.abs(value) < 1e7 ? String(Number(value.toPrecision(4))) : value.toExponential(3);
  const [digits, power] = text.replace("-", "−").split("e");
  return power ? `${digits}·10${raise(Number(power.replace("−", "-")))}` : digits;
}

function raise(power) {
  return [...String(power)].map((digit) => (digit === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[digit])).join("");
}

/** The same as a factor: a negative one in brackets. */
export function showFactor(value) {
  return value < 0 ? `(${show(value)})` : show(value);
}

/** "(7 + 2·0 − 3)" with {n}, {p}, … put in, each in the colour of its slider, and "[을/를]" as the number before it asks. */
export function fill(text, numbers = {}) {
  return text.split(/\{(\w+)\}/).map((part, i, parts) => {
    if (i % 2) return make("b", { className: `value ${part}` }, String(numbers[part]));
    const before = i ? String(numbers[parts[i - 1]]) : "";
    return fillKorean(`{before}${part}`, { before }).slice(before.length);
  });
}

/**
 * Rows of numbers as a table of cells.
 * mark(row, column) -> class names; colour(value) -> a colour, or null; kind is a class of the table
 * on(row, column)   is told of a click and of the arrow keys, which start from the cell marked "here"
 */
export function drawGrid(rows, { name = "", kind = "", mark = () => "", colour = () => null, on = null } = {}) {
  const body = rows.map((row, i) =>
    make(
      "tr",
      {},
      row.map((value, j) => {
        const cell = make("td", { className: mark(i, j) }, value === null ? "" : show(value));
        const paint = value === null ? null : colour(value);
        if (paint) cell.style.background = paint;
        if (on) listenToCell(cell, [i, j], [rows.length, row.length], on);
        return cell;
      }),
    ),
  );
  const table = make("table", { className: `cells ${kind}`, "aria-label": name }, make("tbody", {}, body));
  return make("figure", { className: "grid" }, table, name ? make("figcaption", {}, name) : null);
}

const ARROWS = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] };

/** One cell of a grid can be reached by Tab, the chosen one; from there the arrows go to its neighbours. */
function listenToCell(cell, [i, j], [height, width], on) {
  cell.addEventListener("click", () => on(i, j));
  if (!cell.classList.contains("here")) return;
  cell.tabIndex = 0;
  cell.addEventListener("keydown", (event) => {
    const by = ARROWS[event.key];
    if (!by) return;
    event.preventDefault();
    event.stopPropagation();
    const clip = (value, most) => Math.min(most - 1, Math.max(0, value));
    on(clip(i + by[0], height), clip(j + by[1], width));
  });
}

/** Flat values of a map C×H×W as rows, of one channel. */
export function takeRows({ shape, data }, channel = 0) {
  const [height, width] = shape.length === 3 ? shape.slice(1) : [1, shape[0]];
  return Array.from({ length: height }, (_, i) =>
    Array.from({ length: width }, (_, j) => data[(channel * height + i) * width + j]),
  );
}

/** Blue below 0, orange above, the stronger the farther from it. */
export function tint(most) {
  return (value) => {
    const share = Math.min(1, Math.abs(value) / (most || 1)) * 0.55;
    return `color-mix(in srgb, ${value < 0 ? "var(--cold)" : "var(--warm)"} ${Math.round(100 * share)}%, var(--raised))`;
  };
}

export function findMost(values) {
  let most = 0;
  for (const value of values) most = Math.max(most, Math.abs(value));
  return most;
}

/** A slider with its name and its number. */
export function slider(key, label, [least, most, by = 1], value, change) {
  const shown = make("output", { className: `value ${key}` }, show(value));
  const input = make("input", {
    type: "range",
    min: least,
    max: most,
    step: by,
    value,
    name: key,
    "aria-label": label,
    oninput: () => {
      shown.textContent = show(Number(input.value));
      change({ [key]: Number(input.value) });
    },
  });
  return make("label", { className: `control ${key}` }, make("span", {}, label), input, shown);
}

export function choice(key, label, options, value, change) {
  const select = make(
    "select",
    { name: key, onchange: () => change({ [key]: select.value }) },
    options.map(([name, text]) => make("option", { value: name, selected: name === value }, text)),
  );
  return make("label", { className: "control" }, make("span", {}, label), select);
}

/** A box to tick; its value is 1 or 0. */
export function toggle(key, label, value, change, given = {}) {
  const input = make("input", {
    type: "checkbox",
    name: key,
    checked: value === 1,
    onchange: () => change({ [key]: input.checked ? 1 : 0 }),
    ...given,
  });
  return make("label", { className: "control tick" }, input, make("span", {}, label));
}

export function button(text, act, given = {}) {
  return make("button", { type: "button", onclick: act, ...given }, text);
}

/** Bars with a name and a share each; `best` is set off. */
export function drawBars(names, shares, best = null) {
  return make(
    "div",
    { className: "bars" },
    names.map((name, i) => {
      const fillBar = make("i");
      fillBar.style.width = `${Math.max(0.5, 100 * shares[i])}%`;
      return make(
        "div",
        { className: i === best ? "bar best" : "bar" },
        make("span", {}, name),
        make("span", { className: "track" }, fillBar),
        make("span", { className: "share" }, formatShare(shares[i])),
      );
    }),
  );
}

/** Bars of numbers with their names; share(number) -> 0 to 1, how long. */
export function drawCounts(rows, share, best = null) {
  return make(
    "div",
    { className: "bars wide" },
    rows.map(([name, count], i) => {
      const bar = make("i");
      bar.style.width = `${100 * share(count)}%`;
      return make(
        "div",
        { className: i === best ? "bar best" : "bar" },
        make("span", {}, name),
        make("span", { className: "track" }, bar),
        make("span", { className: "share" }, show(count)),
      );
    }),
  );
}

/** A table of words: heads, and rows of cells, each a text or an element. */
export function drawTable(heads, rows, { className = "words", mark = () => "" } = {}) {
  return make(
    "table",
    { className },
    make(
      "thead",
      {},
      make(
        "tr",
        {},
        heads.map((name) => make("th", { scope: "col" }, name)),
      ),
    ),
    make(
      "tbody",
      {},
      rows.map((cells, i) =>
        make(
          "tr",
          { className: mark(i) },
          cells.map((cell) => make("td", {}, cell)),
        ),
      ),
    ),
  );
}

/** Every channel of a layer as a small picture, with its name; at most so many. */
export function drawMaps(found, path, { most = 24, here = -1, name = path } = {}) {
  const { shape, data } = found.maps.get(path);
  const [channels, height, width] = shape.length === 3 ? shape : [1, 1, shape[0]];
  const size = height * width;
  const maps = Array.from({ length: Math.min(channels, most) }, (_, c) => {
    const className = `map${c === here ? " here" : ""}${shape.length === 1 ? " strip" : ""}`;
    const canvas = make("canvas", { className });
    return paintMap(canvas, data.subarray(c * size, (c + 1) * size), height, width, { signed: true });
  });
  return make("div", { className: "maps" }, make("span", { className: "quiet" }, name), maps);
}

/** A picture of 32×32 gray levels; framed: [top, bottom, left, right] with a class each. */
export function drawSeen(levels, label, frames = []) {
  const canvas = make("canvas", { className: "picture", role: "img", "aria-label": label });
  paintMap(canvas, levels, 32, 32, { low: 0, high: 255 });
  const boxes = frames.map(([[top, bottom, left, right], className]) => {
    const frame = make("span", { className: `frame ${className}` });
    Object.assign(frame.style, {
      left: `${left / 0.32}%`,
      top: `${top / 0.32}%`,
      width: `${(right - left + 1) / 0.32}%`,
      height: `${(bottom - top + 1) / 0.32}%`,
    });
    return frame;
  });
  return make("div", { className: "seen" }, canvas, boxes);
}

/** The numbers of a sum, "1 + 2 − 3". */
export function joinSum(values) {
  return values.map(show).join(" + ").replaceAll("+ −", "− ");
}

/** A map H×W on a canvas: black to white, or blue and orange about 0 where `signed`. */
export function paintMap(canvas, values, height, width, { signed = false, low = null, high = null } = {}) {
  Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  const most = findMost(values) || 1;
  const [from, to] = [low ?? Math.min(0, ...values), high ?? (Math.max(...values) || 1)];
  for (let i = 0; i < height * width; i++) {
    const share = signed ? Math.abs(values[i]) / most : (values[i] - from) / (to - from || 1);
    const level = Math.round(255 * Math.min(1, Math.max(0, share)));
    const [r, g, b] = !signed
      ? [level, level, level]
      : values[i] < 0
        ? [255 - level, 255 - level / 2, 255]
        : [255, 255 - level / 2, 255 - level];
    image.data.set([r, g, b, 255], 4 * i);
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

/** The text of a matrix, "[[1,2],[3,4]]" or rows of numbers, as rows; null for what is none, or too large. */
export function readMatrix(text, most = 12) {
  const rows = text.trim().startsWith("[")
    ? readJson(text)
    : text
        .trim()
        .split(/\n/)
        .map((line) =>
          line
            .trim()
            .split(/[\s,;]+/)
            .map(Number),
        );
  if (!Array.isArray(rows) || !rows.length || rows.length > most) return null;
  const width = rows[0]?.length;
  const good =
    width > 0 &&
    width <= most &&
    rows.every((row) => Array.isArray(row) && row.length === width && row.every(Number.isFinite));
  return good ? rows : null;
}

function readJson(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
