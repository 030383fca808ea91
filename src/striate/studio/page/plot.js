// Lines over a number, drawn as SVG: each line's name stands at its end, and what is pointed at is read out below.

import { element, fill } from "./element.js";

/**
 * @typedef {object} Line
 * @property {string} name          as it is read out
 * @property {string} label         at its end; "" for none
 * @property {string} colour
 * @property {boolean} [dotted]
 * @property {number[][]} points    [x, y], in order of x; without what is not finite
 *
 * @typedef {object} Shown
 * @property {Line[]} lines
 * @property {number[]} across      the range of x
 * @property {boolean} [whole]      x is marked at whole numbers alone
 * @property {number[]} [at]        x is marked there alone
 * @property {number[]} marks       the ticks of y, from the lowest to the highest
 * @property {boolean} [log]        y by its logarithm
 * @property {number} [rule]        a level to mark
 */

const SVG = "http://www.w3.org/2000/svg";
const [TOP, BOTTOM, LEFT, LETTER, LINE] = [10, 24, 48, 7.7, 14];

/**
 * A chart that is drawn anew by `show`.
 * @param {{title: string, x: (value: number) => string, y: (value: number) => string, unit?: string, say: (name: string) => string}} words
 * @returns {{el: any, show: (shown: Shown) => void, close: () => void}}
 */
export function plot({ title, x: across, y: up, unit = "", say }) {
  const drawing = document.createElementNS(SVG, "svg");
  const readout = element("p", { class: "readout", role: "status" });
  const el = element("div", { class: "plot" }, drawing, readout);
  /** @type {Shown} */
  let given = { lines: [], across: [0, 1], marks: [0, 1] };
  /** @type {number | null} */
  let at = null;

  function size() {
    const width = Math.max(200, drawing.clientWidth || el.clientWidth || 480);
    const longest = Math.max(0, ...given.lines.map((line) => breadth(line.label)));
    return { width, height: 260, right: Math.min(width / 3, longest ? 14 + LETTER * longest : 12) };
  }

  function scales() {
    const { width, height, right } = size();
    const [first, last] = given.across;
    const [low, high] = [given.marks[0], given.marks[given.marks.length - 1]];
    const level = given.log ? Math.log : (/** @type {number} */ v) => v;
    const span = level(high) - level(low) || 1;
    return {
      px: (/** @type {number} */ x) => LEFT + ((x - first) / (last - first || 1)) * (width - LEFT - right),
      py: (/** @type {number} */ y) => {
        const share = (level(Math.max(y, given.log ? low : y)) - level(low)) / span;
        return height - BOTTOM - share * (height - TOP - BOTTOM);
      },
    };
  }

  function show(/** @type {Shown} */ next) {
    given = next;
    draw();
  }

  function draw() {
    const { width, height, right } = size();
    const { px, py } = scales();
    drawing.setAttribute("viewBox", `0 0 ${width} ${height}`);
    drawing.setAttribute("height", String(height));
    const parts = given.marks.map((y) => [
      shape("line", { x1: LEFT, x2: width - right, y1: py(y), y2: py(y), class: "grid" }),
      shape("text", { x: LEFT - 7, y: py(y) + 4, class: "tick end" }, up(y)),
    ]);
    const [first, last] = given.across;
    const steps = given.at ?? ticks(first, last, Math.max(2, Math.floor((width - LEFT - right) / 52)), given.whole);
    parts.push(
      steps
        .filter((x) => x >= first && x <= last)
        .map((x) => shape("text", { x: px(x), y: height - 6, class: "tick middle" }, across(x))),
    );
    if (given.rule !== undefined)
      parts.push([
        shape("line", { x1: LEFT, x2: width - right, y1: py(given.rule), y2: py(given.rule), class: "rule" }),
      ]);
    for (const line of given.lines)
      if (line.points.length)
        parts.push([
          shape("polyline", {
            points: line.points.map(([x, y]) => `${px(x).toFixed(1)},${py(y).toFixed(1)}`).join(" "),
            class: line.dotted ? "line dotted" : "line",
            stroke: line.colour,
          }),
          ...(line.dotted ? [] : line.points.length > 40 ? line.points.slice(-1) : line.points).map(([x, y]) =>
            shape("circle", { cx: px(x), cy: py(y), r: 2.4, fill: line.colour }),
          ),
        ]);
    parts.push(labels(px, py, height));
    if (at !== null)
      parts.push([shape("line", { x1: px(at), x2: px(at), y1: TOP, y2: height - BOTTOM, class: "here" })]);
    drawing.replaceChildren(...parts.flat());
    drawing.setAttribute("aria-label", [title, ...given.lines.map(ending)].join("; "));
    tell();
  }

  /** The names at the lines' ends, moved apart where they would lie over one another. */
  function labels(/** @type {any} */ px, /** @type {any} */ py, /** @type {number} */ height) {
    const named = given.lines
      .filter((line) => line.label && line.points.length)
      .map((line) => ({
        line,
        x: px(line.points[line.points.length - 1][0]),
        y: py(line.points[line.points.length - 1][1]),
      }))
      .sort((a, b) => a.y - b.y);
    let least = TOP;
    for (const item of named) least = (item.y = Math.max(item.y, least)) + LINE;
    let most = height - BOTTOM;
    for (const item of [...named].reverse()) most = (item.y = Math.min(item.y, most)) - LINE;
    return named.map(({ line, x, y }) =>
      shape("text", { x: x + 8, y: y + 4, class: "name", style: `--hue: ${line.colour}` }, line.label),
    );
  }

  const placed = (/** @type {number} */ x) => `${say(unit)} ${across(x)}`.trim();

  /** What a line comes to, in words. */
  function ending(/** @type {Line} */ line) {
    const end = line.points[line.points.length - 1];
    return end ? `${line.name}: ${up(end[1])}, ${placed(end[0])}` : line.name;
  }

  function tell() {
    if (at === null) return fill(readout);
    const here = at;
    fill(
      readout,
      element("b", {}, placed(here)),
      given.lines
        .map((line) => ({ line, point: line.points.find(([x]) => x === here) }))
        .filter(({ point }) => point)
        .map(({ line, point }) =>
          element(
            "span",
            {},
            element("i", { class: line.dotted ? "key dotted" : "key", style: { "--hue": line.colour } }),
            `${line.name} ${up(/** @type {number[]} */ (point)[1])}`,
          ),
        ),
    );
  }

  const places = () => [...new Set(given.lines.flatMap((line) => line.points.map(([x]) => x)))].sort((a, b) => a - b);
  const point = (/** @type {number | null} */ next) => {
    if (next === at) return;
    at = next;
    draw();
  };
  drawing.setAttribute("class", "chart lines");
  drawing.setAttribute("role", "img");
  drawing.setAttribute("tabindex", "0");
  drawing.addEventListener("pointermove", (event) => {
    const box = drawing.getBoundingClientRect();
    const x = event.clientX - box.left;
    const { px } = scales();
    const near = places().sort((a, b) => Math.abs(px(a) - x) - Math.abs(px(b) - x));
    point(near[0] ?? null);
  });
  drawing.addEventListener("pointerleave", () => point(null));
  drawing.addEventListener("blur", () => point(null));
  drawing.addEventListener("keydown", (event) => {
    const step = /** @type {Record<string, number>} */ ({ ArrowLeft: -1, ArrowRight: 1 })[event.key];
    const all = places();
    if (!step || !all.length) return;
    event.preventDefault();
    const now = at === null ? (step > 0 ? -1 : all.length) : all.indexOf(at);
    point(all[Math.max(0, Math.min(all.length - 1, now + step))]);
  });
  const resize = new ResizeObserver(() => draw());
  resize.observe(el);
  return { el, show, close: () => resize.disconnect() };
}

/** Letters of a text, those of Korean as two. @param {string} text */
function breadth(text) {
  return [...text].reduce((sum, letter) => sum + (letter > "\u1100" ? 2 : 1), 0);
}

/**
 * An element of a drawing.
 * @param {string} tag
 * @param {Record<string, any>} attributes
 * @param {string} [text]
 * @returns {SVGElement}
 */
export function shape(tag, attributes, text = "") {
  const made = /** @type {SVGElement} */ (document.createElementNS(SVG, tag));
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, String(value));
  made.textContent = text;
  return made;
}

/**
 * Round numbers from at or below `low` to at or above `high`.
 * @param {number} low
 * @param {number} high
 * @param {number} [about]
 * @param {boolean} [whole]
 */
export function ticks(low, high, about = 5, whole = false) {
  const rough = (high - low) / about || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const found = [1, 2, 5, 10].map((m) => m * power).find((m) => m >= rough * 0.999) ?? rough;
  const step = whole ? Math.max(1, Math.round(found)) : found;
  const [first, last] = [Math.floor(low / step + 1e-9), Math.ceil(high / step - 1e-9)];
  return Array.from({ length: last - first + 1 }, (_, k) => Number(((first + k) * step).toPrecision(12)));
}

/**
 * 1, 2 and 5 times powers of ten from at or below `low` to at or above `high`.
 * @param {number} low
 * @param {number} high
 */
export function logTicks(low, high) {
  const found = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++)
    for (const m of [1, 2, 5]) found.push(Number((m * 10 ** power).toPrecision(3)));
  const first = found.filter((value) => value <= low * 1.0001).length - 1;
  const last = found.findIndex((value) => value >= high * 0.9999);
  return found.slice(Math.max(0, first), last + 1);
}
