// What the network sees of the drawing: its pixels, its maps and its answer, computed in the page.

import { openNetwork } from "./network.js";
import { prepareImage } from "./preprocess.js";

/** A digit as pen strokes, x and y from 0 to 1. */
const STROKES = {
  0: [
    [
      [0.5, 0.15],
      [0.3, 0.25],
      [0.25, 0.5],
      [0.3, 0.75],
      [0.5, 0.85],
      [0.7, 0.75],
      [0.75, 0.5],
      [0.7, 0.25],
      [0.5, 0.15],
    ],
  ],
  1: [
    [
      [0.38, 0.3],
      [0.52, 0.15],
      [0.52, 0.85],
    ],
  ],
  4: [
    [
      [0.36, 0.15],
      [0.3, 0.52],
      [0.72, 0.52],
    ],
    [
      [0.66, 0.15],
      [0.62, 0.88],
    ],
  ],
  7: [
    [
      [0.26, 0.18],
      [0.74, 0.18],
      [0.44, 0.86],
    ],
  ],
};

/** The digits whose losses step 9 averages. */
export const BATCH = ["0", "1", "4", "7"];

export function drawStrokes(canvas, name) {
  const pen = startPad(canvas);
  for (const stroke of STROKES[name]) {
    pen.beginPath();
    stroke.forEach(([x, y], i) => pen[i ? "lineTo" : "moveTo"](x * canvas.width, y * canvas.height));
    pen.stroke();
  }
}

/** A black pad with a white pen, as wide as a pen on MNIST's digits. */
export function startPad(canvas) {
  Object.assign(canvas, { width: 280, height: 280 });
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  pen.fillRect(0, 0, 280, 280);
  Object.assign(pen, { strokeStyle: "#fff", lineWidth: 24, lineCap: "round", lineJoin: "round" });
  return pen;
}

/** So many of the pad's pixels are one of the network's. */
const PIXEL = 280 / 32;

/** payload, opened; measured: what bench/learn_model.py found out, { training, exciting, strides }. */
export function openSight({ net, tensors, preprocess }, measured) {
  const network = openNetwork(net, tensors);
  const hidden = document.createElement("canvas");
  const look = (canvas, { right = 0, down = 0, turn = 0, scale = 1, zero = {} } = {}) => {
    const pen = startPad(hidden);
    pen.setTransform(
      scale * Math.cos((turn * Math.PI) / 180),
      scale * Math.sin((turn * Math.PI) / 180),
      -scale * Math.sin((turn * Math.PI) / 180),
      scale * Math.cos((turn * Math.PI) / 180),
      140 + right * PIXEL,
      140 + down * PIXEL,
    );
    pen.drawImage(canvas, -140, -140);
    pen.resetTransform();
    const { x, image } = prepareImage(pen.getImageData(0, 0, 280, 280), preprocess, 1);
    const { maps, output } = network.forward(x, { zero });
    const powers = Array.from(output, (value) => Math.exp(value - Math.max(...output)));
    const sum = powers.reduce((a, b) => a + b, 0);
    return {
      x,
      levels: image.data,
      found: { maps, logits: output, probabilities: powers.map((power) => power / sum) },
    };
  };
  const batch = BATCH.map((name) => {
    const canvas = document.createElement("canvas");
    drawStrokes(canvas, name);
    return { name, logits: look(canvas).found.logits };
  });
  return { network, net, tensors, preprocess, ...measured, batch, look };
}
