// The view of a network as an architecture: its text to edit, its picture, and the account of every layer. Text, block
// and row belong together by the layer's path: what is chosen in one is lit in the others.
//
// Of the host it reads `text`, `found` (svg, table, title, summary) or `error`, `zoo`, `name`, `hasRun` and `kept`; it
// sets `text`, `start`, `train` to have the net trained, and `keep` to what is chosen.

import { ask } from "./ask.js";
import { letterDrawing } from "./drawing_letters.js";
import { element, fill } from "./element.js";
import { latest } from "./latest.js";
import { layerFields } from "./layer_fields.js";
import { whatIf } from "./what_if.js";
import { words } from "./words.js";

/** The drawing takes the page's ground, and its width from the box: at zoom 1 it fits. */
const DRAWING =
  ":host{display:block}svg{display:block;width:var(--wide);height:auto}.page{fill:none}g:focus-visible{outline:2px solid}g.lit rect,g.lit path,rect.strip.lit{stroke:#d9691a!important;stroke-width:2.5!important}";
const [CLOSER, NEAREST] = [1.5, 12];
const LEGIBLE = 1.2; // so many times its own size a drawing is at most: then its small letters are 12 pixels high

/** @param {{model: import("./store.js").Model, el: HTMLElement}} host */
function render({ model, el }) {
  const say = words(model.get("language") ?? "en");
  const editor = element("textarea", {
    class: "editor",
    spellcheck: "false",
    autocomplete: "off",
    autocapitalize: "off",
    "aria-label": say("netText"),
    "aria-describedby": "verdict",
  });
  const verdict = element("div", { class: "verdict", id: "verdict", role: "status", "aria-live": "polite" });
  const picture = element("div", { class: "drawing-box", tabindex: "0", role: "region", "aria-label": say("picture") });
  const totals = element("p", { class: "totals", "aria-live": "polite" });
  const lens = [
    { name: "zoomOut", sign: "−", to: () => zoom / CLOSER },
    { name: "zoomFit", sign: say("zoomFit"), to: () => 1 },
    { name: "zoomIn", sign: "+", to: () => zoom * CLOSER },
  ].map(({ name, sign, to }) =>
    element("button", { type: "button", "aria-label": say(name), title: say(name), onclick: () => magnify(to()) }, sign),
  );
  let zoom = Math.min(NEAREST, Math.max(1, Number(model.get("kept")?.zoom) || 1));
  const account = element("div", {
    class: "card summary-box",
    tabindex: "0",
    role: "region",
    "aria-label": say("summary"),
  });
  const bar = element("div", { class: "totals-bar" }, totals, element("div", { class: "buttons" }, lens));
  const result = element("div", {}, bar, picture, account);
  const shadow = picture.attachShadow({ mode: "open" });
  const start = element(
    "select",
    {
      "aria-label": say("start"),
      onchange: () => {
        model.set("start", start.value);
        model.save_changes();
      },
    },
    model.get("hasRun") && element("option", { value: "" }, say("ofRun")),
    (model.get("zoo") ?? []).map((/** @type {string} */ name) =>
      element("option", { value: name, selected: name === model.get("name") }, name),
    ),
  );
  const train = element(
    "button",
    {
      type: "button",
      onclick: () => {
        model.set("train", true);
        model.save_changes();
      },
    },
    say("trainNet"),
  );
  el.classList.add("architecture");
  let typing = 0;
  editor.addEventListener("input", () => {
    clearTimeout(typing);
    fill(verdict, element("p", { class: "quiet" }, say("working"))); // what stood there was said of another text
    typing = setTimeout(() => {
      if (editor.value === model.get("text")) show();
      take(editor.value);
    }, 150);
  });
  const changed = latest(
    (/** @type {any} */ { text }) => changes.remember(text),
    (/** @type {string} */ message) => chosen.refuse(message),
  );
  const chosen = layerFields(say, (path, field, value) =>
    changed(ask("field", { path, field, value }, model.get("text"))),
  );
  const changes = whatIf(say, take);

  /** Have this be the network's text, here and in the address. @param {string} text */
  function take(text) {
    model.set("keep", { net: text });
    model.set("text", text);
    model.save_changes();
  }
  fill(
    el,
    element(
      "div",
      {},
      element(
        "div",
        { class: "buttons heading" },
        element("label", { class: "quiet" }, `${say("start")} `, start),
        train,
      ),
      editor,
      verdict,
      chosen.el,
      changes.el,
    ),
    result,
  );

  function show() {
    const [error, found] = [model.get("error"), model.get("found")];
    editor.setAttribute("aria-invalid", String(Boolean(error)));
    train.disabled = Boolean(error);
    result.className = error ? "stale" : "";
    fill(
      verdict,
      error
        ? element("pre", { class: "error" }, error)
        : element("p", { class: "quiet" }, `✓ ${say("fits")} ${found?.title ?? ""}`),
    );
    if (error || !found) return;
    // Both are the library's own markup: a drawing and a table with styles of their own.
    shadow.innerHTML = `${found.svg}<style>${DRAWING}</style>`;
    account.innerHTML = found.table;
    const { params, macs, input } = found.summary;
    const counted = (/** @type {number} */ n) => n.toLocaleString("en");
    fill(totals, element("b", {}, counted(params)), ` ${say("params")} · `, element("b", {}, counted(macs)), ` ${say("macs")} · ${input.join("×")}`);
    magnify(zoom);
    const drawing = shadow.firstElementChild;
    const over = (/** @type {any} */ event) =>
      /** @type {Element} */ (event.target)
        .closest("g, rect.strip")
        ?.querySelector("title")
        ?.textContent?.split(":")[0];
    drawing?.addEventListener("pointerover", (/** @type {Event} */ event) => light(over(event) ?? null));
    drawing?.addEventListener("pointerleave", () => light(null));
    drawing?.addEventListener("click", (/** @type {Event} */ event) => select(over(event) ?? null));
    const paths = new Set(rows().map(pathOf));
    for (const block of blocks()) if (paths.has(pathIn(block))) reach(block, () => pathIn(block));
    for (const row of rows()) reach(row, () => pathOf(row));
    for (const row of rows()) row.addEventListener("click", () => select(pathOf(row)));
    changes.show(model.get("text"));
    showFields(chosen.path() ?? model.get("kept")?.layer ?? null);
  }

  /** Light a layer, and show the fields of one that has some. @param {string | null} path */
  function showFields(path) {
    const { fields, summary } = model.get("found") ?? {};
    const row = summary?.rows.find((/** @type {any} */ one) => one.path === path);
    chosen.show(path, fields?.[path ?? ""], row);
    light(path);
  }

  /** Choose a layer, which the address keeps. @param {string | null} path */
  function choose(path) {
    showFields(path);
    model.set("keep", { layer: chosen.path() ?? "" });
    model.save_changes();
  }

  const rows = () => [...account.querySelectorAll("tbody tr")];
  const pathOf = (/** @type {Element} */ row) => row.firstElementChild?.getAttribute("title") ?? "";
  const blocks = () => [...shadow.querySelectorAll("g, rect.strip")].filter((block) => block.querySelector(":scope > title"));
  const pathIn = (/** @type {Element} */ block) => block.querySelector("title")?.textContent?.split(":")[0] ?? "";

  /** Have a row or a block be reached by Tab, lit when it is, and selected by Enter. */
  function reach(/** @type {any} */ item, /** @type {() => string} */ path) {
    item.setAttribute("tabindex", "0");
    item.addEventListener("focus", () => light(path()));
    item.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      select(path());
    });
  }

  /** Draw at `wanted` times the width that fits. @param {number} wanted */
  function magnify(wanted) {
    const before = zoom;
    zoom = Math.min(NEAREST, Math.max(1, wanted));
    const whole = Number(shadow.firstElementChild?.getAttribute("width")) || 0;
    picture.style.setProperty("--wide", `min(${100 * zoom}%, ${zoom * Math.max(LEGIBLE * whole, 1)}px)`);
    [lens[0].disabled, lens[2].disabled] = [zoom <= 1, zoom >= NEAREST];
    letterDrawing(shadow.firstElementChild);
    if (zoom === before) return;
    model.set("keep", { zoom: zoom === 1 ? "" : zoom.toPrecision(3) });
    model.save_changes();
  }

  /** The row and the block of a layer. @param {string | null} path */
  function light(path) {
    for (const row of rows()) row.classList.toggle("lit", pathOf(row) === path);
    for (const block of blocks()) block.classList.toggle("lit", pathIn(block) === path);
  }

  /** Light the layer whose name stands in the line of the caret. */
  function lightAtCaret() {
    const at = editor.selectionStart;
    const first = editor.value.lastIndexOf("\n", at - 1) + 1;
    const last = (editor.value + "\n").indexOf("\n", at);
    const found = rows()
      .map(pathOf)
      .find((path) => ((place) => place >= first && place < last)(placeInText(path)));
    if (found) choose(found);
  }

  /** Where a layer's own name stands in the text; -1 where not each layer of that name is named there. @param {string} path */
  function placeInText(path) {
    const last = (/** @type {string} */ one) => one.split(".").pop();
    const needle = `name='${last(path)}'`;
    const named = [...account.querySelectorAll("tbody tr")]
      .map((row) => row.firstElementChild?.getAttribute("title") ?? "")
      .filter((one) => last(one) === last(path));
    const places = [...editor.value.matchAll(new RegExp(needle, "g"))].map((match) => match.index);
    return named.length === places.length ? places[named.indexOf(path)] : -1;
  }

  /** Select the layer's name in the text, where the text has it, and light its row. @param {string | null} path */
  function select(path) {
    choose(path);
    const at = path === null ? -1 : placeInText(path);
    if (at < 0) return;
    const first = editor.value.lastIndexOf("\n", at) + 1;
    const last = editor.value.indexOf("\n", at);
    editor.focus();
    editor.setSelectionRange(first, last < 0 ? editor.value.length : last);
    const line = editor.value.slice(0, first).split("\n").length - 1;
    editor.scrollTop = Math.max(0, line * parseFloat(getComputedStyle(editor).lineHeight) - editor.clientHeight / 2);
  }

  for (const kind of ["keyup", "click"]) editor.addEventListener(kind, lightAtCaret);
  const load = () => {
    if (editor.value !== model.get("text")) editor.value = model.get("text");
  };
  const resize = new ResizeObserver(() => letterDrawing(shadow.firstElementChild));
  resize.observe(picture);
  for (const event of ["change:found", "change:error"]) model.on(event, show);
  model.on("change:text", load);
  load();
  show();
  return () => {
    resize.disconnect();
    for (const event of ["change:found", "change:error"]) model.off(event, show);
    model.off("change:text", load);
  };
}

export default { render };
