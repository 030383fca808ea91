// The engine as a page uses it: it computes in Web Workers, so that the page stays awake.

import { openAnswering } from "./answering.js";
import { computeOcclusion } from "./explain.js";
import { countWorkers, makePool } from "./pool.js";

/**
 * Opens an engine for a network.
 * opened  { net, tensors, views, texts, preprocess, korean }, as openPayload gives it and openAnswering takes it
 * source  worker.js with all that it imports as one script, from which a worker is made at file:// too; or
 * url     where worker.js is served as a module. With neither, and where no worker may be made, the page computes.
 * workers how many share out what is asked of `classify` and `occlude`, at most; the others start when that is much
 * An answer is rejected where its worker failed.
 */
export async function openEngine(opened, { source = "", url = "", plain = false, workers } = {}) {
  const start = () => startWorker(opened, { source, url, plain });
  const first = (await start()) ?? answerHere(opened, { plain });
  const most = first.place === "worker" ? (workers ?? countWorkers(opened.tensors)) : 1;
  const pool = makePool(first, () => startAlike(start, first.about.kernel), most);
  const seen = { x: null, turn: 0 }; // what was looked at last, and how often something newer was asked for
  return {
    ...first.about,
    place: first.place,
    workers: { most, count: pool.count },
    look: keepLatest((x, options) => {
      Object.assign(seen, { x, turn: seen.turn + 1 });
      return first.answer("look", [x, options]);
    }),
    classify: (x) => pool.ask("classify", [x]),
    trace: (address, options) => first.answer("trace", [address, options]),
    cam: (x, options) => first.answer("cam", [x, options]),
    saliency: (x, options) => first.answer("saliency", [x, options]),
    async occlude(x = seen.x, { label, zero, onProgress } = {}) {
      if (!x) throw new Error("an image is covered piece by piece: look at one first, or give it");
      const mine = (seen.turn += 1);
      const goesOn = () => seen.turn === mine;
      const hide = (squares) => pool.ask("hide", [x, { label, zero, squares }]);
      return computeOcclusion(first.about.input, hide, { lanes: most, goesOn, onProgress });
    },
    close: pool.close,
  };
}

/** Another worker, whose product is the same; null where there is none. */
async function startAlike(start, kernel) {
  const worker = await start();
  if (!worker || worker.about.kernel === kernel) return worker;
  worker.close();
  return null;
}

async function startWorker(opened, { source, url, plain }) {
  if (!(source || url) || typeof Worker === "undefined") return null;
  const address = url || URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
  let worker;
  try {
    worker = new Worker(address, { type: url ? "module" : "classic" });
  } catch {
    return null; // the page's policy forbids it
  }
  const answer = connect(worker);
  const { net, tensors, views, texts, preprocess, korean } = opened;
  try {
    const about = await answer("open", [{ net, tensors, views, texts, preprocess, korean }, { plain }]);
    return { about, answer, place: "worker", close: () => worker.terminate() };
  } catch (error) {
    worker.terminate();
    if (error.name === "NoWorker") return null;
    throw error;
  } finally {
    if (source) URL.revokeObjectURL(address);
  }
}

/** answer(name, given) -> Promise of what the worker says; one that failed says nothing any more. */
function connect(worker) {
  const waiting = new Map();
  let next = 0;
  let failure = null;
  worker.onmessage = ({ data: { id, answer, error } }) => {
    const { resolve, reject } = waiting.get(id);
    waiting.delete(id);
    if (error === undefined) resolve(answer);
    else reject(new Error(error));
  };
  worker.onerror = worker.onmessageerror = (event) => {
    event.preventDefault();
    failure = Object.assign(new Error(`the page's worker failed: ${event.message}`), { name: "NoWorker" });
    for (const { reject } of waiting.values()) reject(failure);
    waiting.clear();
  };
  return (name, given) =>
    new Promise((resolve, reject) => {
      if (failure) return reject(failure);
      waiting.set(next, { resolve, reject });
      worker.postMessage({ id: next, name, given });
      next += 1;
    });
}

function answerHere(opened, options) {
  const { about, answers } = openAnswering(opened, options);
  const answer = async (name, given) => {
    await new Promise((resolve) => setTimeout(resolve)); // the page's breath
    return answers[name](...given);
  };
  return { about, answer, place: "page", close() {} };
}

/** Of several calls while one is at work only the last is begun; those between resolve to null. */
export function keepLatest(call) {
  let busy = false;
  let waiting = null;
  async function begin({ given, resolve, reject }) {
    busy = true;
    try {
      resolve(await call(...given));
    } catch (error) {
      reject(error);
    }
    busy = false;
    const next = waiting;
    waiting = null;
    if (next) begin(next);
  }
  return (...given) =>
    new Promise((resolve, reject) => {
      const turn = { given, resolve, reject };
      if (!busy) return begin(turn);
      waiting?.resolve(null);
      waiting = turn;
    });
}
