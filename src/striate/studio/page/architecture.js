// The view of a network as an architecture: its text to edit, its picture, and the account of every layer.
//
// Of the host it reads `text`, `found` (svg, table, title) or `error`, and `zoo`; it sets `text` and `start`.

import { element, fill } from "./element.js";
import { words } from "./words.js";

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
    element("option", { value: "" }, say("ofRun")),
    (model.get("zoo") ?? []).map((/** @type {string} */ name) => element("option", { value: name }, name)),
  );
  el.classList.add("architecture");
  let typing = 0;
  editor.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(() => {
      model.set("text", editor.value);
      model.save_changes();
    }, 150);
  });
  fill(
    el,
    element(
      "div",
      {},
      element("div", { class: "buttons" }, element("label", { class: "quiet" }, `${say("start")} `, start)),
      editor,
      verdict,
    ),
    result,
  );

  function show() {
    const [error, found] = [model.get("error"), model.get("found")];
    editor.setAttribute("aria-invalid", String(Boolean(error)));
    result.className = error ? "stale" : "";
    fill(
      verdict,
      error
        ? element("pre", { class: "error" }, error)
        : element("p", { class: "quiet" }, `✓ ${say("fits")} ${found?.title ?? ""}`),
    );
    if (error || !found) return;
    // Both are the library's own markup: a drawing and a table with styles of their own.
    shadow.innerHTML = found.svg;
    account.innerHTML = found.table;
    shadow.firstElementChild?.addEventListener("pointerover", (/** @type {any} */ event) => {
      const block = /** @type {Element} */ (event.target).closest("g, rect.strip");
      light(block?.querySelector("title")?.textContent?.split(":")[0] ?? null);
    });
    shadow.firstElementChild?.addEventListener("pointerleave", () => light(null));
  }

  /** The row of the layer that is pointed at in the picture. @param {string | null} path */
  function light(path) {
    for (const row of account.querySelectorAll("tbody tr"))
      row.classList.toggle("lit", path !== null && row.firstElementChild?.getAttribute("title") === path);
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
