// The host of the living page: the network is in the page, and computes what the view shows while one draws.

import { groupChannels, readAddress, writeAddress } from "./address_bar.js";
import { formatShare } from "./decimals.js";
import { element, fill } from "./element.js";
import { openEngine } from "./engine.js";
import view from "./inside.js";
import { fillMaps } from "./levels.js";
import { drawHeat, showLivingTools, showOverlayChoice } from "./living_tools.js";
import { livingWords } from "./living_words.js";
import { latest } from "./latest.js";
import { parsed } from "./numbers.js";
import { openPayload, parsePayload } from "./open.js";
import { makePaper } from "./paper.js";
import { climbHere } from "./serving.js";
import { store } from "./store.js";

const BETWEEN_TRACES = 120; // milliseconds, while one draws
const SMALL = 64; // pixels of a side: gray nets up to here are drawn for

const [payload, data] = readFile();
const { scene, examples } = data;
const [channels, ...size] = payload.net.input;
const kept = readAddress(location.hash);

const place = /** @type {HTMLElement} */ (document.getElementById("view"));
/** What the page knows beside the view's model. @type {any} */
const page = {
  language: kept.language ?? chooseLanguage(),
  drawing: channels === 1 && Math.max(...size) <= SMALL,
  examples,
  classes: scene.classes,
  overlay: { method: "nothing", label: 0, working: "" },
  zero: chooseZero(kept.zero),
  name: { word: "blank" },
  placed: true,
  looks: 0,
  asked: 0,
};

/** What the file holds: the network, and what is known of its layers. */
function readFile() {
  try {
    return ["payload", "data"].map((id) => parsePayload(document.getElementById(id)?.textContent));
  } catch (error) {
    showBroken(livingWords(chooseLanguage())("altered"));
    throw error;
  }
}

function chooseLanguage() {
  return navigator.language.startsWith("ko") ? "ko" : "en";
}

function showBroken(/** @type {string} */ text) {
  document.body.dataset.state = "broken";
  const view = /** @type {Element} */ (document.getElementById("view"));
  fill(view, element("pre", { class: "error", role: "alert" }, text));
}

/** @type {any} */
let engine = null;
/** @type {() => void} */
let leave = () => {};
let explained = 0;

const paper = makePaper({
  input: payload.net.input,
  preprocess: payload.preprocess,
  ink: scene.ink,
  changed: () => look(),
  ended: () => settle({ word: "drawing" }),
});
scene.bitmap = paper.canvas;

const host = {
  probe: (/** @type {string} */ at) => trace(at),
  pen: () => page.drawing && { move: startStroke, end: paper.pen.end },
  tools: (/** @type {Element} */ tools, /** @type {any} */ _, /** @type {any} */ __, /** @type {any} */ ___, give) =>
    showLivingTools(tools, { ...page, give }),
  extra: (/** @type {Element} */ extra) => showOverlayChoice(extra, page),
};

const model = store({ scene: null, at: null, trace: null, error: null, removed: null, heat: null, attribution: {}, host });
model.set("climb", (/** @type {string} */ at, /** @type {"lead" | "up"} */ key) => climbHere(engine.trace, at, key));
model.set("link", () => location.href);

/** Those of the channels that there are. @param {import("./address_bar.js").Channel[]} zero */
function chooseZero(zero) {
  return zero.filter(({ path, channel }) => path !== "image" && channel < (layerOf(path)?.shape[0] ?? 0));
}

function layerOf(/** @type {string} */ path) {
  return scene.layers.find((/** @type {any} */ layer) => layer.path === path);
}

// The image --------------------------------------------------------------------------------------------

/** A stroke on a gray net's example begins a new drawing; a photograph is drawn over. */
function startStroke(/** @type {number[]} */ spot) {
  if (channels === 1 && page.name.word !== "drawing") paper.clear();
  page.name = { word: "drawing" };
  paper.pen.move(spot);
}

page.clear = () => {
  paper.clear();
  settle({ word: "blank" });
};

page.choose = async (/** @type {{name: string, src: string}} */ example) => {
  await paper.lay(example.src);
  await settle({ text: example.name });
};

page.setDrawing = (/** @type {boolean} */ on) => {
  page.drawing = on;
  place.classList.toggle("drawing", on);
  model.set("heat", model.get("heat"));
};

async function openPicture() {
  const { blob, name } = model.get("picture");
  try {
    await paper.open(blob);
  } catch {
    model.set("error", page.say("unread"));
    return;
  }
  await settle({ text: name });
}

/** The image is whole: its strongest maps come first, and what lies over it is worked out anew. */
function settle(/** @type {any} */ name) {
  page.name = name;
  page.placed = true;
  model.set("heat", null);
  explained = 0;
  return look().then(() => {
    showOverlay();
    showFacts();
  });
}

// What the network makes of it -------------------------------------------------------------------------

/** Send what lies on the paper through the network. While that is at work, of further calls only the last is answered. */
async function look() {
  const x = paper.read();
  page.asked += 1;
  try {
    const found = await engine.look(x, { zero: groupChannels(page.zero) });
    if (found) show(found, x, Array.from(page.zero.length ? await engine.classify(x) : found.probabilities));
  } catch (error) {
    model.set("error", /** @type {Error} */ (error).message);
  } finally {
    page.asked -= 1;
  }
}

function show(/** @type {any} */ found, /** @type {Float32Array} */ x, /** @type {number[]} */ whole) {
  fillMaps(scene, found, x, page.placed);
  scene.name = page.name.text ?? page.say(page.name.word);
  scene.probabilities = whole;
  const probabilities = Array.from(found.probabilities);
  const removed = page.zero.length ? { channels: page.zero, probabilities } : null;
  if (removed && model.get("removed")?.channels === removed.channels) Object.assign(model.get("removed"), removed);
  else if (removed || model.get("removed")) model.set("removed", removed);
  page.looks += 1;
  page.milliseconds = found.milliseconds;
  model.set("maps", { placed: page.placed });
  page.placed = false;
  if (performance.now() - explained > BETWEEN_TRACES) explain();
}

const take = latest(
  (/** @type {any} */ trace) => {
    model.set("error", null);
    model.set("trace", trace);
  },
  (message) => model.set("error", message),
);

function trace(/** @type {string} */ at) {
  return engine.trace(at, { language: page.language });
}

/** Where the pinned value comes from. */
function explain() {
  explained = performance.now();
  if (model.get("at")) take(trace(model.get("at")));
}

function setZero(/** @type {any[]} */ zero) {
  page.zero = zero;
  keep();
  settle(page.name);
}

// What lies over the image ------------------------------------------------------------------------------

page.setOverlay = (/** @type {any} */ overlay) => {
  const chosen = page.overlay.chosen || overlay.label !== page.overlay.label;
  page.overlay = { ...overlay, working: "", chosen };
  showOverlay();
};

const layOver = latest(
  (/** @type {any} */ found) => {
    page.overlay.working = "";
    page.found = found;
    model.set("heat", found && drawHeat(found));
    model.set("attribution", {});
  },
  (message) => {
    page.overlay.working = "";
    model.set("attribution", {});
    model.set("error", message);
  },
);

/** Grad-CAM or occlusion for the chosen class, or the most probable one while none was chosen. */
function showOverlay() {
  const { overlay } = page;
  if (!overlay.chosen) overlay.label = scene.probabilities.indexOf(Math.max(...scene.probabilities));
  if (overlay.method === "nothing") {
    layOver(null);
    return;
  }
  const asked = { label: overlay.label, zero: groupChannels(page.zero) };
  showWorking(0);
  if (overlay.method === "grad-cam") layOver(engine.cam(undefined, asked));
  else layOver(engine.occlude(undefined, { ...asked, onProgress: showWorking }));
}

/** How far a long occlusion is. @param {number} share */
function showWorking(share) {
  page.overlay.working = `${Math.round(100 * share)} %`;
  model.set("attribution", {});
}

// The page ----------------------------------------------------------------------------------------------

/** Write into the address what a reload is to keep. */
function keep() {
  const language = page.switched || kept.language ? page.language : null;
  history.replaceState(null, "", writeAddress({ at: model.get("at"), zero: page.zero, language }));
}

function showHead() {
  page.say = livingWords(page.language);
  document.documentElement.lang = page.language;
  const other = page.language === "en" ? "ko" : "en";
  fill(
    /** @type {Element} */ (document.getElementById("head")),
    element("h1", {}, scene.net),
    element("p", { class: "quiet" }, page.say("lead")),
    element("button", { type: "button", id: "language", lang: other, onclick: switchLanguage }, page.say("language")),
  );
  showFacts();
}

function showFacts() {
  const facts = listFacts().map((text) => element("p", {}, text));
  fill(/** @type {Element} */ (document.getElementById("facts")), facts);
}

function listFacts() {
  const { accuracy, interval, images, split } = payload.card;
  const { say } = page;
  const facts = [say("network", data.params.toLocaleString(page.language), data.bits)];
  if (accuracy !== undefined) {
    const which = say(split);
    facts.push(say("measured", formatShare(accuracy), images, which, formatShare(interval[0]), formatShare(interval[1])));
  }
  if (page.milliseconds) facts.push(say("pass", page.milliseconds.toPrecision(2)));
  return facts;
}

async function switchLanguage() {
  page.language = page.language === "en" ? "ko" : "en";
  page.switched = true;
  await showPage();
  explain();
  keep();
  document.getElementById("language")?.focus();
}

/** The view, in the page's language. */
async function showPage() {
  leave();
  showHead();
  scene.name = page.name.text ?? page.say(page.name.word);
  model.set("language", page.language);
  leave = await view.render({ model, el: place });
}

async function start() {
  showHead();
  fill(place, element("p", { class: "quiet", role: "status" }, page.say("waking")));
  const source = ["engine", "worker"].map((id) => document.getElementById(id)?.textContent).join("");
  const opened = await openPayload(payload);
  for (const { path, filters } of scene.layers)
    if (filters) filters.weights = opened.tensors.get(`${path}.weight`)?.data;
  engine = await openEngine({ ...opened, korean: data.korean }, { source });
  page.methods = engine.lastMap ? ["nothing", "grad-cam", "occlusion"] : ["nothing", "occlusion"];
  if (examples.length) await page.choose(examples[0]);
  else await settle({ word: "blank" });
  model.set("scene", scene);
  place.classList.toggle("drawing", page.drawing);
  await showPage();
  const wanted = kept.at ?? data.start;
  if (wanted && layerOf(parsed(wanted)[0])) model.set("at", wanted);
}

function listen() {
  model.on("change:at", () => {
    explain();
    keep();
  });
  model.on("change:picture", openPicture);
  model.on("change:remove", () => setZero([...page.zero, model.get("remove")]));
  model.on("change:restore", () => setZero(page.zero.filter((/** @type {any} */ item) => item !== model.get("restore"))));
  addEventListener("hashchange", () => {
    const { at, zero } = readAddress(location.hash);
    if (at !== model.get("at") && at && layerOf(parsed(at)[0])) model.set("at", at);
    else if (writeAddress({ at, zero, language: null }) !== writeAddress({ at, zero: page.zero, language: null }))
      setZero(chooseZero(zero));
  });
}

/** For the browser's console: the numbers that the page shows. */
Object.assign(globalThis, {
  living: {
    image: () => paper.readLevels(),
    values: (/** @type {string} */ path) =>
      scene.layers.find((/** @type {any} */ layer) => layer.path === path)?.values,
    probabilities: () => model.get("removed")?.probabilities ?? scene.probabilities,
    overlay: () => page.found,
    looks: () => page.looks,
    busy: () => page.asked > 0,
    milliseconds: () => page.milliseconds,
  },
});

listen();
start().then(
  () => (document.body.dataset.state = "ready"),
  (error) => {
    showBroken(error.name === "Altered" ? page.say("altered") : page.say("broken", error.message));
    throw error;
  },
);
