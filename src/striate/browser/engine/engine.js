// The engine as a page uses it: it computes in a Web Worker, so that the page stays awake.

import { openAnswering } from "./answering.js";

/**
 * Opens an engine for a network.
 * opened  { net, tensors, views, texts, preprocess, korean }, as openPayload gives it and openAnswering takes it
 * source  worker.js with all that it imports as one script, from which a worker is made at file:// too; or
 * url     where worker.js is served as a module. With neither, and where no worker may be made, the page computes.
 */
export async function openEngine(opened, { source = "", url = "", plain = false } = {}) {
  const ask = (await startWorker(opened, { source, url, plain })) ?? answerHere(opened, { plain });
  return {
    ...ask.about,
    place: ask.place,
    look: keepLatest((x, options) => ask.answer("look", [x, options])),
    classify: (x) => ask.answer("classify", [x]),
    trace: (address, options) => ask.answer("trace", [address, options]),
    cam: (x, options) => ask.answer("cam", [x, options]),
    saliency: (x, options) => ask.answer("saliency", [x, options]),
    occlude: (x, { onProgress, ...options } = {}) => ask.answer("occlude", [x, options], onProgress),
    close: ask.close,
  };
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

/** answer(name, given, onProgress) -> Promise of what the worker says; onProgress(share) is called on the way. */
function connect(worker) {
  const waiting = new Map();
  let next = 0;
  worker.onmessage = ({ data: { id, answer, error, progress } }) => {
    const { resolve, reject, onProgress } = waiting.get(id);
    if (progress !== undefined) return onProgress?.(progress);
    waiting.delete(id);
    if (error === undefined) resolve(answer);
    else reject(new Error(error));
  };
  worker.onerror = () => {
    const error = Object.assign(new Error("the worker could not be started"), { name: "NoWorker" });
    for (const { reject } of waiting.values()) reject(error);
    waiting.clear();
  };
  return (name, given, onProgress) =>
    new Promise((resolve, reject) => {
      waiting.set(next, { resolve, reject, onProgress });
      worker.postMessage({ id: next, name, given });
      next += 1;
    });
}

function answerHere(opened, options) {
  const { about, answers } = openAnswering(opened, options);
  const answer = async (name, given, onProgress) => answers[name](...given, onProgress);
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
