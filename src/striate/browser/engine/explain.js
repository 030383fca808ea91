// Which pixels speak for a class: Grad-CAM, occlusion and the gradient of the image, as striate/inside/attribution.py.

import { computeGradients } from "./backward.js";
import { endsInShares } from "./network.js";
import { workThrough } from "./pool.js";
import { IMAGE_PATH } from "./trace_place.js";

/** The layer that gives the logits: the last, or the one before a final softmax, or before the mean of several. */
export function findLogits(network) {
  const tops = network.body.filter((node) => node.layer.layer !== "SideHead");
  return tops.at(endsInShares(tops) ? -2 : -1);
}

/** The path of the last layer whose output has more than one position; null where none has. */
export function findLastMap(network) {
  const found = network.body.filter(({ y }) => y.length === 3 && y[1] * y[2] > 1);
  return found.length ? found.at(-1).path : null;
}

function differentiateClass(network, pass, label, to) {
  const logits = findLogits(network);
  const seed = new Float64Array(logits.y[0]);
  seed[label] = 1;
  return computeGradients(network, pass, { path: logits.path, seed, to });
}

/**
 * The maps of the layer `at`, each weighed by the mean of its gradient, summed, what is negative cut off, and stretched
 * over the image bilinearly (Selvaraju et al. 2017). { height, width, data, at }.
 */
export function computeGradCam(network, pass, label, at = findLastMap(network)) {
  if (at === null) throw new Error("no layer of this network has maps of more than one position");
  const { shape, data } = pass.maps.get(at);
  if (shape.length !== 3) throw new Error(`${at}: Grad-CAM weighs the maps of a layer, and this one gives a vector`);
  const slope = differentiateClass(network, pass, label, at).get(at).data;
  const size = shape[1] * shape[2];
  const seen = new Float64Array(size);
  for (let c = 0; c < shape[0]; c++) {
    let weight = 0;
    for (let i = c * size; i < (c + 1) * size; i++) weight += slope[i] / size;
    for (let i = 0; i < size; i++) seen[i] += weight * data[c * size + i];
  }
  const [, height, width] = network.input;
  return {
    height,
    width,
    data: stretchMap(
      seen.map((v) => Math.max(v, 0)),
      shape.slice(1),
      [height, width],
    ),
    at,
  };
}

/** How much the class's logit changes with each value of the image: { shape, data }. */
export function computeSaliency(network, pass, label) {
  const { shape, data } = differentiateClass(network, pass, label, IMAGE_PATH).get(IMAGE_PATH);
  return { shape, data: Float32Array.from(data) };
}

/** Bilinear, the outermost values kept beyond the outermost centres. */
function stretchMap(values, [h, w], [height, width]) {
  const rows = findOverlaps(h, height);
  const columns = findOverlaps(w, width);
  const made = new Float32Array(height * width);
  rows.forEach(([r0, r1, down], i) =>
    columns.forEach(([c0, c1, right], j) => {
      const upper = values[r0 * w + c0] * (1 - right) + values[r0 * w + c1] * right;
      const lower = values[r1 * w + c0] * (1 - right) + values[r1 * w + c1] * right;
      made[i * width + j] = upper * (1 - down) + lower * down;
    }),
  );
  return made;
}

/** For each new pixel the two old ones beside its centre, and the second's share. */
function findOverlaps(old, size) {
  return Array.from({ length: size }, (_, i) => {
    const place = Math.min(Math.max(((i + 0.5) * old) / size - 0.5, 0), old - 1);
    const low = Math.min(Math.floor(place), Math.max(old - 2, 0));
    return [low, Math.min(low + 1, old - 1), place - low];
  });
}

/** Milliseconds of work that are asked for at once, and so many squares at most. */
const PIECE = 60;
const MOST_SQUARES = 16;

/**
 * How far the class's probability falls when a square of the mean colour covers a pixel, meaned over the squares
 * (Zeiler and Fergus 2014): { height, width, data, side, stride }.
 * hide(squares)  a promise of the probability behind each of them, as hideSquares gives it
 * lanes          for how many pieces of the work it is asked at once; what comes out is the same
 * goesOn()       whether to go on; where not, the work ends with null
 * onProgress(share)  is told how much is done
 */
export async function computeOcclusion(input, hide, { lanes = 1, goesOn = () => true, onProgress } = {}) {
  const { side, stride, squares } = layOutSquares(input);
  const [before] = await hide([{ top: 0, left: 0, side: 0 }]);
  const hidden = new Float64Array(squares.length);
  let [done, each] = [0, PIECE];
  function* listPieces() {
    for (let first = 0, end = 0; first < squares.length && goesOn(); first = end) {
      end = Math.min(squares.length, first + Math.max(1, Math.min(MOST_SQUARES, Math.round(PIECE / each))));
      yield [first, end];
    }
  }
  await workThrough(listPieces(), lanes, async ([first, end]) => {
    const began = performance.now();
    hidden.set(await hide(squares.slice(first, end)), first);
    each = (performance.now() - began) / (end - first);
    done += end - first;
    if (goesOn()) onProgress?.(done / squares.length);
  });
  return done === squares.length && goesOn() ? { ...meanFalls(input, squares, before, hidden), side, stride } : null;
}

function layOutSquares([, height, width]) {
  const side = Math.max(1, Math.floor(Math.min(height, width) / 5));
  const stride = Math.max(1, Math.floor(side / 3));
  const squares = placeSquares(height, side, stride).flatMap((top) =>
    placeSquares(width, side, stride).map((left) => ({ top, left, side })),
  );
  return { side, stride, squares };
}

/** What `classify` gives of the image behind each of the squares. */
export function hideSquares([channels, height, width], x, squares, classify) {
  return squares.map((square) => {
    const hidden = x.slice();
    for (let c = 0; c < channels; c++) visitSquare(square, width, (i) => (hidden[c * height * width + i] = 0));
    return classify(hidden);
  });
}

function meanFalls([, height, width], squares, before, hidden) {
  const falls = new Float64Array(height * width);
  const covered = new Float64Array(height * width);
  squares.forEach((square, k) =>
    visitSquare(square, width, (i) => {
      falls[i] += before - hidden[k];
      covered[i] += 1;
    }),
  );
  return { height, width, data: Float32Array.from(falls, (fall, i) => fall / covered[i]) };
}

function visitSquare({ top, left, side }, width, visit) {
  for (let row = top; row < top + side; row++)
    for (let i = row * width + left; i < row * width + left + side; i++) visit(i);
}

/** Where a square begins along one axis, so that every pixel is covered. */
function placeSquares(n, side, stride) {
  const last = Math.max(0, n - side);
  const places = [];
  for (let place = 0; place < last; place += stride) places.push(place);
  return [...places, last];
}
