// The words of a drawing that is shrunk to fit: none smaller than can be read, none over another. What has no room is
// left out until one zooms in; its block's title tells it meanwhile. The key takes as many lines as it needs.

const LEAST = 12; // pixels on the screen
const ROOM = 3; // and between two words
// The size of most words in the drawing's own units, and how many times as large those of each rank may be before they
// would cover the blocks.
const [OWN, MOST_GROWN] = [10, [Infinity, 2.2, 1.5]];
const AIR = 0.3; // the share of a line's height that no letter fills

/** Give each word of an SVG a size that can be read, and hide those that have no room. @param {Element | null} drawing */
export function letterDrawing(drawing) {
  if (!(drawing instanceof SVGSVGElement)) return;
  const { width, height } = drawing.viewBox.baseVal;
  const scale = drawing.getBoundingClientRect().width / width;
  if (!scale) return;
  drawing.dataset.height ??= String(height);
  const words = [...drawing.querySelectorAll("text")];
  for (const word of words) enlarge(word, scale);
  const below = Math.max(Number(drawing.dataset.height), layKey(drawing, width));
  drawing.setAttribute("viewBox", `0 0 ${width} ${below}`);
  drawing.setAttribute("height", String(below));
  const ranked = [...words].sort((a, b) => rank(a) - rank(b));
  /** @type {DOMRect[]} */
  const taken = [];
  for (const word of ranked) {
    const box = word.getBBox();
    const large = LEAST / scale / OWN > MOST_GROWN[rank(word)];
    const outside = box.x < 0 || box.y < 0 || box.x + box.width > width || box.y + box.height > below;
    if (large || outside || taken.some((other) => overlap(box, other, ROOM / scale))) word.style.visibility = "hidden";
    else taken.push(box);
  }
}

/** Who has its place first: the key, then the names of frames and blocks, then what is said of them. */
function rank(/** @type {Element} */ word) {
  return word.matches(".key, .head, .times, .sign") ? 0 : word.matches(".soft") ? 2 : 1;
}

/** A word at its own size, or the least that can be read; what stands below a block is moved down by what it grew. */
function enlarge(/** @type {SVGTextElement} */ word, /** @type {number} */ scale) {
  word.style.fontSize = word.style.visibility = "";
  const own = parseFloat(getComputedStyle(word).fontSize);
  const size = Math.max(own, LEAST / scale);
  word.style.fontSize = `${size}px`;
  const down = word.matches(".key, .times") ? 0 : word.matches(".sign") ? 0.3 : 0.8 + 1.2 * countLinesAbove(word);
  word.setAttribute("dy", String(down * (size - own)));
}

/** Of the lines below a block, how many stand above this one. @param {Element} word @returns {number} */
function countLinesAbove(word) {
  const above = word.previousElementSibling;
  return word.matches(".soft") && above?.matches("text") ? 1 + countLinesAbove(above) : 0;
}

/** Set the key's colours and words anew, in lines. Returns where it ends. */
function layKey(/** @type {SVGSVGElement} */ drawing, /** @type {number} */ width) {
  const keys = [...drawing.querySelectorAll("text")].filter((word) => word.matches(".key"));
  if (!keys.length) return 0;
  const size = parseFloat(getComputedStyle(keys[0]).fontSize);
  keys[0].dataset.y ??= keys[0].getAttribute("y") ?? "0";
  let [x, y] = [20, Number(keys[0].dataset.y)];
  for (const word of keys) {
    const colour = word.matches(".soft") ? null : word.previousElementSibling;
    const before = colour ? 1.4 * size : 0;
    const wide = before + word.getBBox().width;
    if (!colour || (x > 20 && x + wide > width - 8)) [x, y] = [20, y + 1.4 * size];
    const side = { x, y: y - 0.9 * size, width: size, height: size };
    for (const [name, value] of Object.entries(side)) colour?.setAttribute(name, String(value));
    word.setAttribute("x", String(x + before));
    word.setAttribute("y", String(y));
    x += wide + size;
  }
  return y + 0.7 * size;
}

/** Whether two words touch; a line's box is higher than its letters. @param {DOMRect} a @param {DOMRect} b @param {number} room */
function overlap(a, b, room) {
  const across = a.x < b.x + b.width + room && b.x < a.x + a.width + room;
  return across && a.y + AIR * a.height < b.y + b.height && b.y + AIR * b.height < a.y + a.height;
}
