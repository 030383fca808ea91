// The maps of every layer, a row each, with what is marked on them.

import { element, fill } from "./element.js";
import { isPicture, openFilters, showFilterSheet } from "./filter_sheet.js";
import { nestRows, placeRows } from "./folds.js";
import { address, parsed } from "./numbers.js";
import { fillLevels } from "./levels.js";
import { drawMaps, frame, HERE, MANY, operands, plan, POINTED, rectangle, under } from "./paint.js";

const PART = "#7fd1ff";
const ZEROED = "#e5484d";

/**
 * @typedef {{layer: any, canvas: any, all: boolean, placed: any, drawFilter?: any, reads: number, sheet: any, whole: any, legend: any, part: any, width: number, visible: boolean, stale: boolean}} Row
 * @typedef {{model: import("./store.js").Model, scene: any, pointed: string | null, say: (name: string, ...values: any[]) => string}} Context
 */

/**
 * A row for each layer, by its containers.
 * @param {Element} river
 * @param {Context} context
 * @param {{point: (at: string | null) => void, go: (at: string) => void, keys: (canvas: HTMLElement, layer: any, placed: () => any) => void, whole: Set<string>, showedAll: () => void, folds: any}} moves
 *   `whole` are the layers of which all maps are shown, and `showedAll` is told when that changes; `folds` as placeRows
 *   takes them
 * @returns {{rows: Row[], nodes: import("./folds.js").Node[]}}
 */
export function showRows(river, context, { point, go, keys, whole, showedAll, folds }) {
  const { scene, say } = context;
  const rows = scene.layers
    .filter((/** @type {any} */ layer) => layer.path !== "image")
    .map((/** @type {any} */ layer) => {
      const canvas = element("canvas", {
        class: "maps",
        tabindex: "0",
        role: "application",
        "aria-roledescription": say("maps"),
        "aria-label": `${layer.path}, ${layer.shape.join("×")}. ${say("keys")}`,
        "data-path": layer.path,
      });
      /** @type {Row} */
      const row = {
        ...{ layer, canvas, all: whole.has(layer.path), placed: null, whole: null, width: 0, visible: false, stale: true },
        legend: element("span", { class: "scale" }),
        part: element("span", { class: "part" }),
        reads: 0,
        sheet: document.createElement("canvas"),
      };
      const many = layer.shape.length === 3 && layer.shape[0] > MANY && layer.shape[1] * layer.shape[2] > 1;
      const more =
        many &&
        element(
          "button",
          {
            type: "button",
            class: "quiet-button",
            onclick: () => {
              row.all = !row.all;
              whole[row.all ? "add" : "delete"](layer.path);
              more.textContent = row.all ? say("few") : say("all", layer.shape[0]);
              showedAll();
              lay(row, context);
            },
          },
          row.all ? say("few") : say("all", layer.shape[0]),
        );
      const sheet = layer.filters && showFilterSheet(layer, scene.palettes.signed, say);
      listen(row, point, go, keys);
      const box = element(
        "div",
        { class: "row" },
        element(
          "div",
          { class: "name" },
          element("span", { class: `dot ${layer.colour}` }),
          element("b", {}, breakPath(layer.path)),
          " ",
          element("span", { class: "shape" }, layer.shape.join("×")),
          element("span", { class: "kind" }, layer.layer),
          row.legend,
          row.part,
          more,
          sheet,
        ),
        element("div", { class: "sheet" }, canvas),
      );
      return Object.assign(row, { whole: box });
    });
  const nodes = nestRows(rows);
  fill(river, placeRows(nodes, rows.length, say, folds));
  for (const row of rows) lay(row, context);
  return { rows, nodes };
}

/** Have a row's filters stand at its maps. @param {Row} row @param {Context} context */
async function drawFilters(row, context) {
  row.drawFilter = () => {}; // until they are there
  row.drawFilter = await openFilters(row.layer.filters, context.scene.palettes.signed);
  lay(row, context);
}

/**
 * Of a convolution's inputs the map whose part of each filter is shown: the one that is pinned, there or in a layer before
 * that keeps its maps apart, or the one that weighs most in what is pinned, else the first.
 * @param {any} layer @param {Context} context
 */
function findRead(layer, { model, scene }) {
  const pinned = [model.get("at"), model.get("trace")?.lead].filter(Boolean).map(parsed);
  for (let [path] = layer.sources; path; ) {
    const found = pinned.find(([at]) => at === path);
    if (found) return found[1][0];
    const { colour, sources } = findLayer(scene, path);
    path = APART.includes(colour) ? sources[0] : null;
  }
  return 0;
}

const APART = ["act", "pool", "norm"];

/** @param {any} scene @param {string} path */
const findLayer = (scene, path) => scene.layers.find((/** @type {any} */ layer) => layer.path === path);

/** Choose which part of its filters a row shows, and say so. @param {Row} row @param {Context} context */
function chooseParts(row, context) {
  const { filters, sources } = row.layer;
  if (!row.placed.filter || isPicture(filters)) return;
  row.reads = findRead(row.layer, context);
  row.part.textContent = context.say("filterPart", row.reads, sources[0]);
}

/** A layer's path, with a place to break the line after each point. @param {string} path */
function breakPath(path) {
  return path.split(/(?<=\.)/).flatMap((name) => [name, element("wbr")]);
}

/** The channels of a row that are pinned, or zero. @param {Row} row @param {Context} context */
function listWanted({ layer }, { model }) {
  const at = model.get("at") && parsed(model.get("at"));
  const pinned = at?.[0] === layer.path ? [at[1][0]] : [];
  const zero = (model.get("removed")?.channels ?? []).filter((/** @type {any} */ one) => one.path === layer.path);
  return [...pinned, ...zero.map((/** @type {any} */ one) => one.channel)];
}

/** Place a row anew where what is pinned in it is not shown, or its filters are drawn for another map. @param {Row} row @param {Context} context */
export function showWanted(row, context) {
  const { layer, placed, reads } = row;
  const missing = !placed.vector && listWanted(row, context).some((channel) => !placed.channels.includes(channel));
  const other = placed.filter && !isPicture(layer.filters) && findRead(layer, context) !== reads;
  if (missing || other) lay(row, context);
}

/** Place the maps of a row, and draw them anew. @param {Row} row @param {Context} context */
export function lay(row, context) {
  row.width = Math.max(120, Math.floor(row.canvas.parentElement.clientWidth));
  row.placed = plan(row.layer, row.width, row.all, context.model.get("strongest"), listWanted(row, context));
  chooseParts(row, context);
  const inputs = row.layer.filters && findLayer(context.scene, row.layer.sources[0]).shape[0];
  row.placed.drawFilter = (/** @type {any[]} */ ...at) => row.drawFilter?.(...at, row.reads, inputs);
  row.canvas.style.height = `${row.placed.height}px`;
  repaint(row, context);
}

/** Draw the maps of a row anew, if it is in view, or else as soon as it is. @param {Row} row @param {Context} context */
export function repaint(row, context) {
  row.stale = !row.visible || !hasMaps(row.layer, context.model);
  if (row.stale) return;
  const ratio = window.devicePixelRatio || 1;
  const size = [Math.round(row.width * ratio), Math.max(1, Math.round(row.placed.height * ratio))];
  for (const canvas of [row.canvas, row.sheet])
    if (canvas.width !== size[0] || canvas.height !== size[1]) [canvas.width, canvas.height] = size;
  fillLevels(row.layer);
  if (row.placed.filter && !row.drawFilter) drawFilters(row, context);
  drawMaps(row.layer, row.placed, row.sheet, context.scene.palettes[row.layer.signed ? "signed" : "rising"], ratio);
  showLegend(row, context.scene.palettes);
  mark(row, context);
}

/** Whether a layer's maps are there; else the host is told that they are needed. @param {any} layer @param {any} model */
export function hasMaps(layer, model) {
  if (layer.levels || layer.values) return true;
  model.get("need")?.(layer);
  return false;
}

/** What the colours of a row mean, with the place of zero. */
function showLegend(/** @type {Row} */ { layer, legend }, /** @type {Record<string, number[][]>} */ palettes) {
  const most = String(Number(layer.limit.toPrecision(2)));
  if (legend.dataset.most === `${layer.signed} ${most}`) return;
  legend.dataset.most = `${layer.signed} ${most}`;
  const palette = palettes[layer.signed ? "signed" : "rising"];
  const stops = [0, 64, 128, 191, 255].map((level) => `rgb(${palette[level].join()})`);
  const ends = layer.signed ? [`−${most}`, "0", most] : ["0", most];
  fill(
    legend,
    element("i", { style: { background: `linear-gradient(90deg, ${stops.join()})` } }),
    ends.map((text) => element("span", {}, text)),
  );
}

/**
 * Draw each row when it comes into view, or near it.
 * @param {() => Row[]} rows
 * @param {() => Context} context
 */
export function watchRows(rows, context) {
  return new IntersectionObserver(
    (entries) => {
      for (const { target, isIntersecting } of entries) {
        const row = rows().find((item) => item.whole === target);
        if (!row) continue;
        row.visible = isIntersecting;
        if (row.visible && row.stale) repaint(row, context());
      }
    },
    { rootMargin: "400px" },
  );
}

/** Draw a row's maps with what is marked on them. @param {Row} row @param {Context} around */
export function mark(row, around) {
  if (row.stale) return;
  const { model, pointed } = around;
  const { canvas, layer, placed, sheet } = row;
  const context = canvas.getContext("2d");
  const ratio = window.devicePixelRatio || 1;
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.drawImage(sheet, 0, 0);
  context.scale(ratio, ratio);
  for (const { path, channel } of model.get("removed")?.channels ?? []) {
    const whole = [0, (layer.shape[1] ?? 1) - 1, 0, (layer.shape[2] ?? 1) - 1];
    const place = path === layer.path && rectangle(layer, placed, channel, whole);
    if (place) frame(context, place, ZEROED, 2);
  }
  const parts = operands(model.get("trace")).get(layer.path);
  for (const [channel, box] of parts ?? []) {
    const place = rectangle(layer, placed, channel, box);
    if (place && (parts?.size ?? 0) < layer.shape[0] * (layer.shape.length === 1 ? 1 : 2))
      frame(context, place, PART, 1);
  }
  for (const [channel, box] of operands(model.get("glance")).get(layer.path) ?? []) {
    const place = pointed && rectangle(layer, placed, channel, box);
    if (place && layer.shape.length > 1) frame(context, place, POINTED, 1);
  }
  const at = model.get("at");
  if (at && parsed(at)[0] === layer.path) spot(context, row, parsed(at)[1], HERE, 2);
  if (pointed && parsed(pointed)[0] === layer.path) spot(context, row, parsed(pointed)[1], POINTED, 1);
}

function spot(
  /** @type {any} */ context,
  /** @type {any} */ row,
  /** @type {number[]} */ index,
  /** @type {string} */ colour,
  /** @type {number} */ width,
) {
  const [c, i = 0, j = 0] = index;
  const place = rectangle(row.layer, row.placed, c, [i, i, j, j]);
  if (place) frame(context, place, colour, width);
}

/** Pointer and keys on a row of maps. */
function listen(
  /** @type {Row} */ row,
  /** @type {(at: string | null) => void} */ point,
  /** @type {(at: string) => void} */ go,
  /** @type {(canvas: HTMLElement, layer: any, placed: () => any) => void} */ keys,
) {
  const { canvas, layer } = row;
  const spotOf = (/** @type {PointerEvent} */ event) => {
    const box = canvas.getBoundingClientRect();
    const index = under(layer, row.placed, event.clientX - box.left, event.clientY - box.top);
    return index && address(layer.path, index);
  };
  canvas.addEventListener("pointermove", (/** @type {PointerEvent} */ event) => point(spotOf(event)));
  canvas.addEventListener("pointerleave", () => point(null));
  canvas.addEventListener("click", (/** @type {PointerEvent} */ event) => {
    const at = spotOf(event);
    if (at) go(at);
  });
  keys(canvas, layer, () => row.placed);
}
