// What the studio does for its Inside view: the run's network in the page where it fits, the server's answers, and the
// address that keeps the image, the value and the zeroed channels.

import { readChannels, writeChannels } from "./address_bar.js";
import { ask, fetchBytes } from "./ask.js";
import { makeInstant, startEngine } from "./instant.js";
import { showLivingTools } from "./living_tools.js";
import { livingWords } from "./living_words.js";
import { findPlace } from "./matching.js";
import { cutMaps } from "./scene.js";
import { serve } from "./serving.js";

const KEPT = "kept-"; // before the number of a look at a drawing or a file, which the server keeps for a while

/**
 * Serve the view's model.
 * @param {import("./store.js").Model} model
 * @param {any} run
 * @param {string[]} place  the image and the value that the address names, if it does
 * @param {{busy: (is: boolean) => void, wrote: (values: Record<string, any>, parts: string[]) => void}} told
 */
export async function hostInside(model, run, [image = "", at = ""], { busy, wrote }) {
  const [network, first] = await Promise.all([ask("network", { run: run.name }), lookAgain(run, image)]);
  const kept = model.get("kept");
  const layerOf = (/** @type {string} */ path) =>
    first.layers.find((/** @type {any} */ layer) => layer.path === path && path !== "image");
  const zero = readChannels(kept.zero).filter(({ path, channel }) => channel < (layerOf(path)?.shape[0] ?? 0));
  let number = first.index ?? 0;
  model.set("at", at ? findPlace(first, at) : null);
  model.set("refused", network.refused ?? null);
  model.set("host", {});
  model.set("link", () => location.href);
  model.set("need", makeFetcher(model));
  await serve(model, first, (question, values, body) => ask(question, { run: run.name, ...values }, body), {
    another: () => ask("look", { run: run.name, index: ++number }),
    busy,
    zero,
    start: network.refused === undefined ? (drawn) => begin(model, run, network, drawn) : undefined,
  });
  const write = () => {
    const { id, index } = model.get("scene");
    const seen = index === undefined ? `${KEPT}${id}` : String(index);
    wrote({ zero: writeChannels(model.get("zero")) }, model.get("at") ? [seen, model.get("at")] : [seen]);
  };
  for (const name of ["at", "zero", "scene", "maps"]) model.on(`change:${name}`, write);
  write();
  keepAttribution(model, kept.speaks, first.classes);
}

/**
 * Have the attribution that is shown in the address, and show the one that it names.
 * @param {import("./store.js").Model} model
 * @param {string | undefined} named  "4:occlusion"
 * @param {string[]} classes
 */
function keepAttribution(model, named, classes) {
  model.on("change:attribute", () => {
    const { target, method } = model.get("attribute");
    model.set("keep", { speaks: `${target}:${method}` });
  });
  model.on("change:picture", () => model.set("keep", { speaks: "" }));
  const [target, method] = (named ?? "").split(":");
  if (method && classes[Number(target)] !== undefined) model.set("attribute", { target: Number(target), method });
}

/** Asks for the maps of the layers that are shown, several at a time. @param {import("./store.js").Model} model */
function makeFetcher(model) {
  const asked = new WeakSet();
  /** @type {any[]} */
  let wanted = [];
  const send = async () => {
    const layers = wanted;
    wanted = [];
    try {
      await fetchMaps(model.get("scene"), layers);
      model.set("arrived", layers);
    } catch (error) {
      model.set("error", /** @type {Error} */ (error).message);
    }
  };
  return (/** @type {any} */ layer) => {
    if (asked.has(layer)) return;
    asked.add(layer);
    if (!wanted.length) setTimeout(send);
    wanted.push(layer);
  };
}

/** The server's maps of some layers of a scene; those that the page has computed meanwhile stay. */
async function fetchMaps(/** @type {any} */ scene, /** @type {any[]} */ layers) {
  const paths = layers.map(({ path }) => path).join();
  const bytes = await fetchBytes("maps", { look: scene.id, paths, values: String(scene.few) });
  const found = layers.map(({ shape }) => ({ shape }));
  if (scene.few) cutMaps(found, null, new Float32Array(bytes));
  else cutMaps(found, new Uint8Array(bytes), null);
  layers.forEach((layer, k) => layer.values || Object.assign(layer, found[k]));
}

/** The image in the address: a test image, or a drawing or file that the server still keeps, else the first one. */
async function lookAgain(/** @type {any} */ run, /** @type {string} */ image) {
  const query = image.startsWith(KEPT) ? { kept: image.slice(KEPT.length) } : { index: Number.parseInt(image, 10) || 0 };
  try {
    return await ask("look", { run: run.name, ...query });
  } catch (error) {
    if (!query.kept) throw error;
    return ask("look", { run: run.name });
  }
}

/** What computes in the page, and the tools that draw on the image itself. */
function begin(
  /** @type {import("./store.js").Model} */ model,
  /** @type {any} */ run,
  /** @type {any} */ network,
  /** @type {(picture: Blob) => void} */ drawn,
) {
  const engine = startEngine(network, run.name, () => fetchBytes("weights", { run: run.name }));
  const here = makeInstant({ model, network, engine, zero: model.get("zero"), drawn });
  const say = livingWords(model.get("language"));
  let drawing = false;
  const setDrawing = (/** @type {boolean} */ on) => {
    drawing = on;
    model.set("drawing", on);
  };
  const another = () => {
    model.set("picture", { another: true });
    model.save_changes();
  };
  model.set("host", {
    pen: () => drawing && here.pen,
    probe: (/** @type {string} */ at) => (here.ready() ? here.trace(at) : null),
    tools: (
      /** @type {Element} */ tools,
      /** @type {any} */ _,
      /** @type {any} */ __,
      /** @type {any} */ ___,
      /** @type {any} */ give,
    ) =>
      showLivingTools(tools, { say, drawing, examples: [], setDrawing, clear: here.clear, give, choose() {}, another }),
  });
  /** For the browser's console: the numbers that the page shows. */
  Object.assign(globalThis, {
    inside: {
      trace: here.trace,
      ready: here.ready,
      values: (/** @type {string} */ path) =>
        model.get("scene").layers.find((/** @type {any} */ layer) => layer.path === path)?.values,
    },
  });
  return here;
}
