// What stands beside the image where the page computes: where another one comes from, and what is laid over it.

import { element, fill } from "./element.js";

/**
 * Drawing, opening, the camera and the examples.
 * @param {Element} place
 * @param {any} page  what living.js gives: { say, drawing, examples, setDrawing, clear, give, choose }, and
 *                     `another` where there is a next image
 */
export function showLivingTools(place, { say, drawing, examples, setDrawing, clear, give, choose, another }) {
  const mode = (/** @type {string} */ name, /** @type {boolean} */ on) =>
    element(
      "button",
      {
        type: "button",
        "aria-pressed": String(drawing === on),
        onclick: () => {
          setDrawing(on);
          place.querySelectorAll("[aria-pressed]").forEach((one) => one.setAttribute("aria-pressed", "false"));
          place.querySelector(`[data-mode=${name}]`)?.setAttribute("aria-pressed", "true");
        },
        "data-mode": name,
        title: say(on ? "drawHint" : "pointHint"),
      },
      say(name),
    );
  const [files, shots] = [{}, { capture: "environment" }].map((more) => makeInput(more, give));
  fill(
    place,
    element(
      "div",
      { class: "modes" },
      element("div", { class: "switch", role: "group" }, mode("drawMode", true), mode("pointMode", false)),
      element("button", { type: "button", "data-do": "clear", onclick: clear }, say("clear")),
    ),
    element(
      "div",
      { class: "buttons" },
      element("button", { type: "button", "data-do": "open", onclick: () => files.click() }, say("open")),
      element("button", { type: "button", "data-do": "camera", onclick: () => shots.click() }, say("camera")),
      another && element("button", { type: "button", onclick: another }, say("another")),
    ),
    examples.length > 1 && showExamples(examples, say, choose),
    element("p", { class: "quiet" }, say("dropAnywhere")),
    files,
    shots,
  );
}

function makeInput(/** @type {any} */ more, /** @type {(picture: Blob) => void} */ give) {
  const input = element("input", {
    type: "file",
    accept: "image/*",
    class: "hidden",
    tabindex: "-1",
    "aria-hidden": "true",
    onchange: () => {
      if (input.files[0]) give(input.files[0]);
      input.value = "";
    },
    ...more,
  });
  return input;
}

function showExamples(
  /** @type {{name: string, src: string}[]} */ examples,
  /** @type {(name: string) => string} */ say,
  /** @type {(example: any) => void} */ choose,
) {
  return element(
    "div",
    { class: "examples", role: "group", "aria-label": say("examples") },
    examples.map((example) =>
      element(
        "button",
        { type: "button", title: example.name, "aria-label": example.name, onclick: () => choose(example) },
        element("img", { src: example.src, alt: "" }),
      ),
    ),
  );
}

/**
 * What is laid over the image: nothing, Grad-CAM or occlusion, for a class.
 * @param {Element} place
 * @param {any} page  { say, classes, methods, overlay: { method, label, working }, setOverlay }
 */
export function showOverlayChoice(place, { say, classes, methods, overlay, setOverlay }) {
  if (!place.firstChild) {
    const ask = () => setOverlay({ method: method.value, label: Number(label.value) });
    const named = methods.map((/** @type {string} */ name) => [name, say(name)]);
    const method = makeChoice("overlay", say("overlay"), named, ask);
    const label = makeChoice("ofClass", say("ofClass"), [...classes.entries()], ask);
    fill(
      place,
      element("div", { class: "overlay" }, element("span", { class: "quiet" }, say("evidence")), method, label),
      element("p", { class: "quiet", role: "status" }),
    );
  }
  const [method, label] = place.querySelectorAll("select");
  [method.value, label.value] = [overlay.method, String(overlay.label)];
  const found = overlay.method === "nothing" ? "" : say("heat", classes[overlay.label], say(overlay.method));
  /** @type {any} */ (place.lastChild).textContent = overlay.working ? say("working", overlay.working) : found;
}

function makeChoice(
  /** @type {string} */ name,
  /** @type {string} */ label,
  /** @type {any[]} */ options,
  /** @type {() => void} */ onchange,
) {
  return element(
    "select",
    { "aria-label": label, "data-choice": name, onchange },
    options.map(([value, text]) => element("option", { value }, text)),
  );
}

/**
 * Values as a picture to lie over the image: orange for the class, blue against it.
 * @param {{height: number, width: number, data: ArrayLike<number>}} found
 */
export function drawHeat({ height, width, data }) {
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width, height });
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const image = context.createImageData(width, height);
  const most = Math.max(...Array.from(data, Math.abs), 1e-30);
  Array.from(data).forEach((value, i) => {
    const share = Math.abs(value) / most;
    const colour = value < 0 ? [60, 130, 235] : [255, Math.round(170 - 80 * share), 20];
    image.data.set([...colour, Math.round(215 * share)], 4 * i);
  });
  context.putImageData(image, 0, 0);
  return canvas;
}
