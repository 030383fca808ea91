// The view into a network: one image, the maps of every layer, and where each value comes from.
//
// Of the host it reads `scene` (as striate.studio.look.as_dict gives it), `trace` (the record of the value at `at`, with
// the way `up`), `error`, `language` and `kept`; it sets `at`, `keep` to what is chosen, and `picture` for another image. A host that computes in the page
// sets `maps` when the layers of the scene have new values, and gives a `host`: what stands beside the image is its own.
// `probe` of that traces what is pointed at.

import { lightKin } from "./arithmetic.js";
import { showAttribution, showBars, showFacts, showLink, showRemoved, showTools } from "./beside.js";
import { formatShort } from "./decimals.js";
import { element, fill } from "./element.js";
import { openTo } from "./folds.js";
import { drawImage } from "./image.js";
import { listenToKeys } from "./keys.js";
import { address, parsed } from "./numbers.js";
import { drawOverview, markCurrent, showOverview } from "./overview.js";
import { field } from "./paint.js";
import { showPanel } from "./panel.js";
import { hasMaps, lay, mark, repaint, showRows, showWanted, watchRows } from "./river.js";
import { openScene } from "./scene.js";
import { showStrip } from "./strip.js";
import { words } from "./words.js";

const PACE = 260; // milliseconds between two places of a window that slides
const COLOURS = ["red", "green", "blue"];

/**
 * What stands beside the image, of a host that does not have its own; `pen` takes strokes on the image.
 * @type {{tools: typeof showTools, extra: typeof showAttribution, pen?: () => any, probe?: (at: string) => any}}
 */
const USUAL = { tools: showTools, extra: showAttribution };

/** @param {string | undefined} text  paths with commas between them @returns {Set<string>} */
const readPaths = (text) => new Set((text ?? "").split(",").filter(Boolean));

/** @param {{model: import("./store.js").Model, el: HTMLElement}} host */
async function render({ model, el }) {
  const say = words(model.get("language") ?? "en");
  const host = { ...USUAL, ...model.get("host") };
  /** @type {any} */
  let scene = null;
  /** @type {any[]} */
  let rows = [];
  /** The rows by their containers. @type {import("./folds.js").Node[]} */
  let nodes = [];
  /** @type {import("./overview.js").Overview} */
  let thumbnails;
  /** @type {string | null} */
  let pointed = null;
  /** @type {string[]} */
  let way = [];
  /** The values on the last way to an end. @type {any[]} */
  let rungs = [];
  let follow = 0;
  let sliding = false;
  const kept = model.get("kept") ?? {};
  const keep = (/** @type {Record<string, any>} */ values) => {
    model.set("keep", values);
    model.save_changes();
  };
  /** Which channel of the image is pointed at. */
  let colour = Math.max(0, COLOURS.indexOf(kept.colour));
  if (kept.order) model.set("strongest", kept.order === "byStrength");
  /** The layers of which all maps are shown. @type {Set<string>} */
  const whole = readPaths(kept.all);
  const turned = readPaths(kept.folds);
  const folds = { turned, folded: () => keep({ folds: [...turned].join(",") }) };
  let gone = false;
  /** What follows the pointer on the image. @type {any} */
  let stroke = null;
  /** The address that was last scrolled to. @type {string | null} */
  let reached = null;

  const image = element("canvas", { class: "image", tabindex: "0", role: "application" });
  const bars = element("div", { class: "bars" });
  const status = element("p", { class: "status", role: "status", "aria-live": "polite" }, say("hint"));
  const river = element("div", { class: "river" });
  const panel = element("div", { class: "panel", tabindex: "-1" });
  const tools = element("div", { class: "tools" });
  const caption = element("p", { class: "caption" });
  const under = element("div", { class: "under" });
  const removed = element("div", { class: "removed" });
  const extra = element("div", { class: "extra" });
  const strip = element("div", { class: "strip", "aria-hidden": "true" });
  const facts = element("div", { class: "computed quiet" });
  const overview = element("nav", { class: "overview" });
  const order = element(
    "select",
    {
      "aria-label": say("order"),
      onchange: () => {
        model.set("strongest", order.value === "byStrength");
        keep({ order: model.get("strongest") ? order.value : "" });
        for (const row of rows) lay(row, context());
      },
    },
    ["byNumber", "byStrength"].map((name) =>
      element("option", { value: name, selected: (name === "byStrength") === Boolean(model.get("strongest")) }, say(name)),
    ),
  );
  fill(
    el,
    element(
      "div",
      { class: "inside" },
      element(
        "section",
        { class: "left", "aria-label": say("image") },
        element("div", { class: "picture" }, image, caption, under),
        element("div", { class: "answer" }, element("h3", {}, say("probabilities")), bars, removed, facts),
        tools,
        extra,
      ),
      element(
        "section",
        { class: "middle", "aria-label": say("maps") },
        element("div", { class: "above" }, strip, overview, element("div", { class: "line" }, status, order)),
        river,
      ),
      element("section", { class: "right", "aria-label": say("explain") }, panel),
    ),
  );

  /** @param {string} path */
  const layerOf = (path) => scene.layers.find((/** @type {any} */ layer) => layer.path === path);

  /** The value at an address, where the values came with the scene. @param {string} at */
  function valueAt(at) {
    const [path, index] = parsed(at);
    const { shape, values } = layerOf(path);
    return values && values[index.reduce((/** @type {number} */ place, i, axis) => place * shape[axis] + i, 0)];
  }

  const context = () => ({ model, scene, pointed, say });

  /** Pin a value that the user chose. @param {string} at */
  function choose(at) {
    panel.classList.remove("folded");
    follow++;
    sliding = false;
    go(at);
  }

  /** Pin a value. @param {string} at */
  function go(at) {
    if (way[way.length - 1] !== at) way = [...way, at].slice(-60);
    model.set("at", at);
    model.save_changes();
  }

  /** Go back by so many values. @param {number} steps */
  function back(steps) {
    way = way.slice(0, way.length - steps);
    choose(way[way.length - 1]);
  }

  /** Go by `key`, "lead" or "up", to the end: all values on the way come in one answer. @param {"lead" | "up"} key */
  async function climb(key) {
    const mine = ++follow;
    const found = await model.get("climb")(model.get("at"), key);
    if (mine !== follow || gone || !found.length) return;
    rungs = found;
    way = [...way, ...found.slice(0, -1).map((/** @type {any} */ rung) => rung.address)];
    go(found[found.length - 1].address);
  }

  /** Move the window over its map, place by place, until something else is chosen. */
  function slide() {
    if (sliding) {
      follow++;
      sliding = false;
      return;
    }
    const mine = ++follow;
    sliding = true;
    const step = () => {
      if (mine !== follow || gone) return;
      const [path, [channel, i, j]] = parsed(model.get("at"));
      const [, h, w] = layerOf(path).shape;
      const next = i * w + j + 1;
      if (next === h * w) sliding = false;
      if (!sliding) return;
      model.set("at", address(path, [channel, Math.floor(next / w), next % w]));
      setTimeout(step, PACE);
    };
    step();
  }

  /** @param {Blob} blob */
  function give(blob) {
    model.set("picture", { blob, name: /** @type {any} */ (blob).name ?? "drawing" });
    model.save_changes();
  }

  function showImage() {
    drawImage(image, scene, { at: model.get("at"), pointed, heat: model.get("heat"), pen: Boolean(host.pen?.()) });
  }

  /** What is pointed at, in words. @param {string | null} at */
  function point(at) {
    if (at === pointed) return;
    const before = pointed;
    pointed = at;
    lightKin(panel, at);
    if (model.get("glance")) {
      model.set("glance", null);
      for (const row of rows) mark(row, context());
    }
    for (const row of rows)
      if ([before, at].some((text) => text && parsed(text)[0] === row.layer.path)) mark(row, context());
    showImage();
    if (!at) return;
    const [path, index] = parsed(at);
    const layer = layerOf(path);
    const [, h, w] = layerOf("image").shape;
    const seen = field(layer, index, [h, w]);
    const value = valueAt(at);
    const extent =
      path === "image"
        ? ""
        : seen && (seen[1] - seen[0] + 1 < h || seen[3] - seen[2] + 1 < w)
          ? ` · ${say("sees", ...seen)}`
          : ` · ${say("seesAll")}`;
    fill(status, element("b", {}, at), value === null ? "" : ` = ${formatShort(value)}`, extent);
    glance(at);
  }

  /** Trace what is pointed at, where the page computes: its operands are marked. @param {string} at */
  async function glance(at) {
    const asked = host.probe?.(at);
    if (!asked) return;
    const found = await asked.catch(() => null);
    if (gone || at !== pointed) return;
    model.set("glance", found);
    for (const row of rows) mark(row, context());
  }

  function keys(/** @type {HTMLElement} */ canvas, /** @type {any} */ layer, /** @type {() => any} */ placed) {
    listenToKeys(canvas, layer, { placed, pointed: () => pointed, point, choose, pen: () => host.pen?.() });
  }

  function showAll() {
    for (const row of rows) mark(row, context());
    showImage();
    explain();
    scrollToRow();
    el.classList.toggle("explaining", Boolean(model.get("trace") || model.get("error")));
  }

  function explain() {
    showPanel(panel, model, scene, say, { way, rungs, go: choose, back, climb, slide });
    const at = model.get("at");
    if (at) fill(status, element("b", {}, at), isOf(model.get("trace"), at) ? ` = ${model.get("trace").shown}` : "");
  }

  /** Whether a trace is that of the value at an address: the one before stays until its answer has come. */
  function isOf(/** @type {any} */ trace, /** @type {string} */ at) {
    if (!trace) return false;
    return trace.address === at || (at.startsWith("probability[") && parsed(trace.address)[0] === scene.top);
  }

  /** Bring the row of a value that was gone to into view. */
  function scrollToRow() {
    const at = model.get("at");
    if (at && at !== reached) openTo(nodes, parsed(at)[0]);
    for (const row of rows) showWanted(row, context());
    const row = way.length > 1 && at !== reached && rows.find((item) => item.layer.path === parsed(at)[0]);
    reached = at;
    if (row && ground === document && el.clientWidth > 1040) {
      const [box, space] = [row.whole.getBoundingClientRect(), window.innerHeight];
      if (box.top < 110 || box.bottom > space)
        row.whole.scrollIntoView({
          block: "center",
          behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth",
        });
    }
  }

  function showLeft() {
    showUnder();
    showAnswer();
    showRemoved(removed, model, say);
  }

  function showUnder() {
    const names = layerOf("image").shape[0] === 3 ? COLOURS : [];
    const pick = (/** @type {number} */ channel) => {
      colour = channel;
      keep({ colour: channel ? COLOURS[channel] : "" });
      showUnder();
    };
    showLink(under, { link: model.get("link"), names, colour, pick }, say);
  }

  /** What the image is called, and what the network says of it. */
  function showAnswer() {
    fill(caption, element("b", {}, scene.name === "drawing" ? say("drawing") : scene.name), element("span", {}, ` ${layerOf("image").shape.join("×")}`));
    const left = model.get("removed");
    showBars(bars, scene, choose, left);
    showStrip(strip, scene.classes, left?.probabilities ?? scene.probabilities);
    showFacts(facts, model, say);
  }

  async function showScene() {
    const next = model.get("scene") && (await openScene(model.get("scene")));
    if (!next || gone) return;
    scene = next;
    [way, pointed] = [model.get("at") ? [model.get("at")] : [], null];
    image.setAttribute("aria-label", `${say("image")}, ${scene.name}. ${say("keys")}`);
    showLeft();
    if (!tools.firstChild) host.tools(tools, model, scene, say, give);
    ({ rows, nodes } = showRows(
      river,
      {
        ...context(),
        get pointed() {
          return pointed;
        },
      },
      { point, go: choose, keys, whole, folds, showedAll: () => keep({ all: [...whole].join(",") }) },
    ));
    hasMaps(layerOf("image"), model);
    model.set("shown", () => rows.filter((row) => row.visible && row.whole.offsetParent).map((row) => row.layer.path));
    thumbnails = showOverview(overview, nodes, say);
    drawOverview(thumbnails, scene, model);
    markCurrent(thumbnails);
    watch.disconnect();
    for (const row of rows) watch.observe(row.whole);
    showAll();
    if (model.get("attribution")) host.extra(extra, model, scene, say);
    el.dataset.ready = scene.name;
  }

  /** Maps that were asked for are there. */
  function showArrived() {
    for (const row of rows) if (row.stale && row.visible) repaint(row, context());
    drawOverview(thumbnails, scene, model);
  }

  /** The same layers with new values, in their places. */
  function showMaps() {
    for (const row of rows)
      if (model.get("maps").placed) lay(row, context());
      else repaint(row, context());
    showImage();
    showAnswer();
    drawOverview(thumbnails, scene, model);
    Object.assign(el.dataset, { ready: scene.name, looks: String(model.get("maps").looks ?? "") });
  }

  image.addEventListener("pointerdown", (/** @type {PointerEvent} */ event) => {
    stroke = host.pen?.();
    if (!stroke) return;
    image.setPointerCapture(event.pointerId);
    stroke.move(placeOnImage(event));
  });
  image.addEventListener("pointermove", (/** @type {PointerEvent} */ event) => {
    const all = event.getCoalescedEvents();
    if (stroke) for (const one of all.length ? all : [event]) stroke.move(placeOnImage(one));
    else if (!host.pen?.()) point(onImage(event));
  });
  for (const end of ["pointerup", "pointercancel"])
    image.addEventListener(end, () => {
      stroke?.end();
      stroke = null;
    });
  image.addEventListener("pointerleave", () => point(null));
  for (const kind of ["pointerover", "focusin"])
    panel.addEventListener(kind, (/** @type {any} */ { target }) =>
      point(target.closest?.("[data-at]")?.getAttribute("data-at") ?? null),
    );
  panel.addEventListener("pointerleave", () => point(null));
  image.addEventListener("click", (/** @type {PointerEvent} */ event) => {
    if (!host.pen?.()) choose(onImage(event));
  });

  /** The row and column under the pointer, with their fractions. @param {PointerEvent} event */
  function placeOnImage(event) {
    const box = image.getBoundingClientRect();
    const [, h, w] = layerOf("image").shape;
    return [((event.clientY - box.top) / box.height) * h, ((event.clientX - box.left) / box.width) * w];
  }

  /** @param {PointerEvent} event */
  function onImage(event) {
    const [, h, w] = layerOf("image").shape;
    const [i, j] = placeOnImage(event);
    return address("image", [
      colour,
      Math.min(h - 1, Math.max(0, Math.floor(i))),
      Math.min(w - 1, Math.max(0, Math.floor(j))),
    ]);
  }

  const ground = el.getRootNode() === document ? document : el; // in a notebook only the view's own cell
  const drop = (/** @type {DragEvent} */ event) => {
    event.preventDefault();
    const file = event.dataTransfer?.files[0];
    if (event.type === "drop" && file) give(file);
  };
  const paste = (/** @type {ClipboardEvent} */ event) => {
    const file = event.clipboardData?.files[0];
    if (file) give(file);
  };
  const watch = watchRows(() => rows, context);
  let resizing = 0;
  const resize = new ResizeObserver(() => {
    cancelAnimationFrame(resizing);
    resizing = requestAnimationFrame(() => {
      if (scene && !gone) {
        for (const row of rows) if (row.whole.offsetParent) lay(row, context());
        showImage();
        markCurrent(thumbnails);
      }
    });
  });
  let scrolling = 0;
  const scrolled = () => {
    cancelAnimationFrame(scrolling);
    scrolling = requestAnimationFrame(() => scene && !gone && markCurrent(thumbnails));
  };
  const scrolledOn = () => thumbnails && (thumbnails.chosen = null);
  const listeners = /** @type {[string, () => void][]} */ ([
    ["change:scene", showScene],
    ["change:trace", () => scene && showAll()],
    ["change:error", () => scene && showAll()],
    ["change:maps", () => scene && showMaps()],
    ["change:arrived", () => scene && showArrived()],
    ["change:heat", () => scene && showImage()],
    ["change:apart", () => scene && showFacts(facts, model, say)],
    ["change:drawing", () => scene && (el.classList.toggle("drawing", Boolean(host.pen?.())), showImage())],
    ["change:removed", () => scene && (showLeft(), showAll())],
    ["change:attribution", () => scene && host.extra(extra, model, scene, say)],
  ]);
  for (const [event, listener] of listeners) model.on(event, listener);
  for (const kind of ["dragover", "drop"]) ground.addEventListener(kind, /** @type {any} */ (drop));
  ground.addEventListener("paste", /** @type {any} */ (paste));
  addEventListener("scroll", scrolled, { capture: true, passive: true });
  for (const kind of ["wheel", "touchmove", "keydown"]) addEventListener(kind, scrolledOn, { passive: true });
  panel.classList.toggle("folded", el.clientWidth < 720); // where it would lie over the maps until it is wanted
  await showScene();
  if (scene) keys(image, layerOf("image"), () => null);
  resize.observe(river);
  return () => {
    gone = true;
    resize.disconnect();
    watch.disconnect();
    for (const [event, listener] of listeners) model.off(event, listener);
    for (const kind of ["dragover", "drop"]) ground.removeEventListener(kind, /** @type {any} */ (drop));
    ground.removeEventListener("paste", /** @type {any} */ (paste));
    removeEventListener("scroll", scrolled, { capture: true });
    for (const kind of ["wheel", "touchmove", "keydown"]) removeEventListener(kind, scrolledOn);
  };
}

export default { render };
