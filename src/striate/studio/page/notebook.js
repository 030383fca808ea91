// The host in a notebook: an anywidget whose answers come from Python, by messages.
//
// Of the widget's model it reads `scene`, `at`, `language`; a question goes out as {id, question, values} and comes back
// as {id, answer} or {id, refused}. The view lies in a shadow tree, so that its style and the notebook's stay apart.

import { element } from "./element.js";
import { serve } from "./serving.js";
import view from "./inside.js";
import { store } from "./store.js";

/** @param {{model: any, el: HTMLElement}} host */
async function render({ model, el }) {
  const root = el.shadowRoot ?? el.attachShadow({ mode: "open" });
  const place = element("div", { class: "view" });
  root.replaceChildren(element("style", {}, model.get("css")), element("div", { class: "cell-box" }, place));
  dress(el);
  /** @type {Map<number, {resolve: (answer: any) => void, reject: (error: Error) => void}>} */
  const waiting = new Map();
  let number = 0;

  const heard = (/** @type {any} */ { id, answer, refused }) => {
    const found = waiting.get(id);
    waiting.delete(id);
    if (refused !== undefined) found?.reject(new Error(refused));
    else found?.resolve(answer);
  };
  /** @type {import("./serving.js").Ask} */
  const ask = async (question, values, body) => {
    const id = ++number;
    const answer = new Promise((resolve, reject) => waiting.set(id, { resolve, reject }));
    model.send({ id, question, values }, undefined, body ? [await body.arrayBuffer()] : []);
    return answer;
  };

  const inner = store({ language: model.get("language"), at: model.get("at") || null });
  const pinned = () => {
    if (model.get("at") !== inner.get("at")) inner.set("at", model.get("at"));
  };
  const tell = () => {
    if (!inner.get("at") || model.get("at") === inner.get("at")) return;
    model.set("at", inner.get("at"));
    model.save_changes();
  };
  model.on("msg:custom", heard);
  await serve(inner, model.get("scene"), ask);
  const leave = await view.render({ model: inner, el: place });
  inner.on("change:at", tell);
  model.on("change:at", pinned);
  tell();
  return () => {
    leave();
    model.off("msg:custom", heard);
    model.off("change:at", pinned);
  };
}

/** The notebook's own theme, where it says which it is; else the system's. @param {HTMLElement} el */
function dress(el) {
  const { jpThemeLight, vscodeThemeKind } = document.body.dataset;
  const dark = jpThemeLight === "false" || vscodeThemeKind?.includes("dark");
  if (jpThemeLight || vscodeThemeKind) el.style.colorScheme = dark ? "dark" : "light";
}

export default { render };
