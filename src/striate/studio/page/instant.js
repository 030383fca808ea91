// The network in the studio's page, for what must be instant: drawing, pointing and zeroing channels ask nobody. The
// library's own values follow where the pen rests (serving.js), and how far both are apart is told.

import { groupChannels } from "./address_bar.js";
import { openEngine } from "./engine.js";
import { fillMaps } from "./levels.js";
import { makePaper } from "./paper.js";
import { openScene } from "./scene.js";

const BETWEEN_TRACES = 120; // milliseconds, while one draws

/** The engine that was opened last: it stays from one visit to the next. @type {{key: string, engine: any}} */
const kept = { key: "", engine: null };

/**
 * The engine of a run's network, whose weights come as float32, one tensor after another.
 * @param {any} network                         as `Studio.network` describes it
 * @param {string} run
 * @param {() => Promise<ArrayBuffer>} fetchWeights
 */
export function startEngine(network, run, fetchWeights) {
  const key = `${run} ${network.version}`;
  if (kept.key !== key) {
    const before = kept.engine;
    before?.then((/** @type {any} */ engine) => engine.close()).catch(() => {});
    kept.key = key;
    kept.engine = fetchWeights().then((bytes) =>
      openEngine({ ...network, tensors: cutWeights(network.tensors, bytes) }, { url: "page/worker.js" }),
    );
    kept.engine.catch(() => (kept.key = ""));
  }
  return kept.engine;
}

/** Name -> { shape, data }. @param {[string, number[]][]} names @param {ArrayBuffer} bytes */
function cutWeights(names, bytes) {
  let offset = 0;
  return new Map(
    names.map(([name, shape]) => {
      const data = new Float32Array(
        bytes,
        offset,
        shape.reduce((size, n) => size * n, 1),
      );
      offset += data.byteLength;
      return [name, { shape, data }];
    }),
  );
}

/**
 * What computes in the page for the view of `model`.
 * @param {object} given
 * @param {import("./store.js").Model} given.model
 * @param {any} given.network
 * @param {Promise<any>} given.engine
 * @param {any[]} given.zero                     the channels that are zero to begin with
 * @param {(picture: Blob) => void} given.drawn  called after a stroke
 */
export function makeInstant({ model, network, engine: opening, zero, drawn }) {
  /** @type {any} */
  let engine = null;
  const state = {
    ...{ zero, placed: false, explained: 0, looks: 0, turn: 0 },
    ready: false, // the engine's maps are those of the picture shown
    drawing: false, // the pen is down
    fresh: false, // the picture was drawn here
    exact: false, // the server has it
  };
  const [channels] = network.net.input;
  const paper = makePaper({
    input: network.net.input,
    preprocess: network.preprocess,
    ink: model.get("scene").ink,
    changed: () => look(),
    ended: () => settle(),
  });
  opening.then(
    (opened) => {
      engine = opened;
      if (state.fresh) look();
      else adopt();
    },
    () => {}, // the server goes on alone
  );

  /** The picture of a scene that the server gave. */
  async function adopt() {
    const turn = ++state.turn;
    Object.assign(state, { ready: false, drawing: false, exact: true });
    const scene = model.get("scene");
    if (!engine) return;
    await paper.lay(scene.picture);
    const asked = state.zero;
    const found = await engine.look(paper.read(), { zero: groupChannels(asked) });
    if (!found || turn !== state.turn) return;
    if (asked !== state.zero) return adopt();
    const whole = asked.length ? await engine.classify(paper.read()) : found.probabilities;
    await openScene(scene); // the values that came with it are unpacked before they are compared or replaced
    if (turn !== state.turn) return;
    if (asked !== state.zero) return adopt();
    state.ready = true;
    tell(scene.probabilities, whole);
    if (asked.length) show(found, paper.read(), scene.probabilities);
    else for (const layer of scene.layers) layer.values ??= found.maps.get(layer.path)?.data ?? paper.read();
    model.set("arrived", scene.layers);
  }

  /** Send what lies on the paper through the network. While it is at work, of further calls only the last is answered. */
  async function look() {
    if (!engine) return;
    const x = paper.read();
    const found = await engine.look(x, { zero: groupChannels(state.zero), keep: choosePaths() });
    if (found) show(found, x, Array.from(state.zero.length ? await engine.classify(x) : found.probabilities));
  }

  /** The maps to compute: all, but under the pen of a large network only those that are in view. */
  function choosePaths() {
    const partly = state.drawing && !model.get("scene").few && !state.zero.length;
    return partly ? new Set(model.get("shown")?.()) : "all";
  }

  function show(/** @type {any} */ found, /** @type {Float32Array} */ x, /** @type {number[]} */ whole) {
    const scene = model.get("scene");
    fillMaps(scene, found, x, state.placed);
    scene.probabilities = whole;
    const probabilities = Array.from(found.probabilities);
    const removed = state.zero.length ? { channels: state.zero, probabilities } : null;
    if (removed && model.get("removed")?.channels === removed.channels) Object.assign(model.get("removed"), removed);
    else if (removed || model.get("removed")) model.set("removed", removed);
    state.ready = found.maps.size >= scene.layers.length - 1; // else a trace would be of the maps before
    state.looks += 1;
    model.set("maps", { placed: state.placed, milliseconds: found.milliseconds, looks: state.looks });
    state.placed = false;
    if (state.ready && performance.now() - state.explained > BETWEEN_TRACES) {
      state.explained = performance.now();
      model.set("again", true);
    }
  }

  /** The pen rests: the strongest maps come first, and the library is asked for its own values. */
  function settle() {
    state.drawing = false;
    state.placed = true;
    state.explained = 0;
    look().then(() => paper.canvas.toBlob((/** @type {any} */ blob) => drawn(blob), "image/png"));
  }

  /** A stroke on a gray net's image begins a new drawing; a photograph is drawn over. */
  function move(/** @type {number[]} */ spot) {
    const scene = model.get("scene");
    if (channels === 1 && !state.fresh) paper.clear();
    if (!state.drawing) state.turn += 1;
    Object.assign(state, { fresh: true, drawing: true, exact: false });
    scene.bitmap = paper.canvas;
    paper.pen.move(spot);
  }

  /**
   * The library's look at what was drawn: its probabilities take the place of the page's own.
   * @param {any} exact
   * @returns {boolean}  whether the page has the maps of that drawing
   */
  function confirm(exact) {
    if (!state.ready) return false;
    if (state.drawing) return true;
    const scene = model.get("scene");
    tell(exact.probabilities, scene.probabilities);
    const { id, start, picture, name, index, probabilities } = exact;
    Object.assign(scene, { id, start, picture, name, index, probabilities });
    state.exact = true;
    model.set("maps", { placed: true, exact: true, looks: state.looks });
    return true;
  }

  /** How far the page's probabilities are from the library's. */
  function tell(/** @type {ArrayLike<number>} */ exact, /** @type {ArrayLike<number>} */ own) {
    const apart = Math.max(...Array.from(exact, (p, k) => Math.abs(p - own[k])));
    model.set("apart", apart);
  }

  return {
    /** The scene is another, all of it. */
    adopt() {
      Object.assign(state, { fresh: false, zero: [] });
      return adopt();
    },
    confirm,
    ready: () => state.ready,
    /** Whether the server has the picture and the maps that the page shows. */
    exact: () => state.ready && state.exact && !state.zero.length,
    trace: (/** @type {string} */ at, language = model.get("language")) => engine.trace(at, { language }),
    pen: { move, end: paper.pen.end },
    zero: () => state.zero,
    setZero(/** @type {any[]} */ channelsOfZero) {
      state.zero = channelsOfZero;
      if (!state.ready && !state.fresh) return Promise.resolve(); // the engine takes them when it has the picture
      Object.assign(state, { placed: true, explained: 0 });
      return look();
    },
    clear() {
      paper.clear();
      Object.assign(state, { fresh: true, exact: false, turn: state.turn + 1 });
      model.get("scene").bitmap = paper.canvas;
      settle();
    },
  };
}
