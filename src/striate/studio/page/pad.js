// A pad to draw a digit on.

import { element } from "./element.js";

/**
 * @param {object} options
 * @param {string} options.ink     "light" on a dark ground, or "dark" on a light one
 * @param {string} options.label
 * @param {(picture: Blob) => void} options.drawn  called after each stroke
 */
export function pad({ ink, label, drawn }) {
  const canvas = element("canvas", { width: 224, height: 224, class: "pad", role: "img", "aria-label": label });
  const context = canvas.getContext("2d");
  const [ground, pen] = ink === "light" ? ["#000", "#fff"] : ["#fff", "#000"];
  /** @type {number[] | null} */
  let last = null;

  function clear() {
    context.fillStyle = ground;
    context.fillRect(0, 0, canvas.width, canvas.height);
  }

  /** @param {PointerEvent} event */
  function place(event) {
    const box = canvas.getBoundingClientRect();
    return [
      ((event.clientX - box.left) / box.width) * canvas.width,
      ((event.clientY - box.top) / box.height) * canvas.height,
    ];
  }

  /** @param {PointerEvent} event */
  function stroke(event) {
    const next = place(event);
    Object.assign(context, { strokeStyle: pen, lineWidth: 20, lineCap: "round", lineJoin: "round" });
    context.beginPath();
    context.moveTo(...(last ?? next));
    context.lineTo(next[0] + 0.01, next[1]); // some browsers draw nothing of a stroke of no length
    context.stroke();
    last = next;
  }

  canvas.addEventListener("pointerdown", (/** @type {PointerEvent} */ event) => {
    canvas.setPointerCapture(event.pointerId);
    stroke(event);
  });
  canvas.addEventListener("pointermove", (/** @type {PointerEvent} */ event) => last && stroke(event));
  for (const end of ["pointerup", "pointercancel"])
    canvas.addEventListener(end, () => {
      if (!last) return;
      last = null;
      canvas.toBlob((/** @type {Blob} */ blob) => drawn(blob), "image/png");
    });
  clear();
  return { canvas, clear };
}
