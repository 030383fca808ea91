// The view of a network as an architecture: its text to edit, its picture, and the account of every layer.
//
// Of the host it reads `text`, `found` (svg, table, title) or `error`, `zoo` and `hasRun`; it sets `text`, `start`, and
// `train` to have the net trained.

import { element, fill } from "./element.js";
import { words } from "./words.js";

/** The drawing takes the page's ground, and keeps its size where the page is narrow. */
const DRAWING = ":host{display:block}svg{display:block}.page{fill:none}";

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
  const account = element("div", {
    class: "card summary-box",
    tabindex: "0",
    role: "region",
    "aria-label": say("summary"),
  });
  const result = element("div", {}, picture, account);
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
    (model.get("zoo") ?? []).map((/** @type {string} */ name) => element("option", { value: name }, name)),
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
      model.set("text", editor.value);
      model.save_changes();
    }, 150);
  });
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
    const drawing = shadow.firstElementChild;
    const over = (/** @type {any} */ event) =>
      /** @type {Element} */ (event.target)
        .closest("g, rect.strip")
        ?.querySelector("title")
        ?.textContent?.split(":")[0];
    drawing?.addEventListener("pointerover", (/** @type {Event} */ event) => light(over(event) ?? null));
    drawing?.addEventListener("pointerleave", () => light(null));
    drawing?.addEventListener("click", (/** @type {Event} */ event) => select(over(event) ?? null));
    for (const row of account.querySelectorAll("tbody tr"))
      row.addEventListener("click", () => select(row.firstElementChild?.getAttribute("title") ?? null));
  }

  /** The row of the layer that is pointed at in the picture. @param {string | null} path */
  function light(path) {
    for (const row of account.querySelectorAll("tbody tr"))
      row.classList.toggle("lit", path !== null && row.firstElementChild?.getAttribute("title") === path);
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
    light(path);
    const at = path === null ? -1 : placeInText(path);
    if (at < 0) return;
    const first = editor.value.lastIndexOf("\n", at) + 1;
    const last = editor.value.indexOf("\n", at);
    editor.focus();
    editor.setSelectionRange(first, last < 0 ? editor.value.length : last);
    const line = editor.value.slice(0, first).split("\n").length - 1;
    editor.scrollTop = Math.max(0, line * parseFloat(getComputedStyle(editor).lineHeight) - editor.clientHeight / 2);
  }

  const load = () => {
    if (editor.value !== model.get("text")) editor.value = model.get("text");
  };
  for (const event of ["change:found", "change:error"]) model.on(event, show);
  model.on("change:text", load);
  load();
  show();
  return () => {
    for (const event of ["change:found", "change:error"]) model.off(event, show);
    model.off("change:text", load);
  };
}

export default { render };
