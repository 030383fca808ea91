// The words of a drawing that is shrunk to fit: none smaller than can be read, none over another. What has no room is
// left out until one zooms in; its block's title tells it meanwhile.

const LEAST = 12; // pixels on the screen

/** Give each word of an SVG a size that can be read, and hide those that have no room. @param {Element | null} drawing */
export function letterDrawing(drawing) {
  if (!(drawing instanceof SVGSVGElement)) return;
  const { width, height } = drawing.viewBox.baseVal;
  const scale = drawing.getBoundingClientRect().width / width;
  if (!scale) return;
  const words = [...drawing.querySelectorAll("text")];
  for (const word of words) {
    word.style.fontSize = word.style.visibility = "";
    if (parseFloat(getComputedStyle(word).fontSize) * scale < LEAST) word.style.fontSize = `${LEAST / scale}px`;
  }
  // The names of blocks and frames have their place before what is only said of them.
  const ranked = [...words].sort((a, b) => Number(a.matches(".soft")) - Number(b.matches(".soft")));
  /** @type {DOMRect[]} */
  const taken = [];
  for (const word of ranked) {
    const box = word.getBBox();
    const outside = box.x < 0 || box.y < 0 || box.x + box.width > width || box.y + box.height > height;
    if (outside || taken.some((other) => overlap(box, other))) word.style.visibility = "hidden";
    else taken.push(box);
  }
}

/** @param {DOMRect} a @param {DOMRect} b */
function overlap(a, b) {
  return a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height;
}
