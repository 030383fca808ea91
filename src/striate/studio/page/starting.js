// The form that starts a training: what the command `striate train` would be told, and nothing else.

import { element, fill } from "./element.js";

/** @param {string} name @param {string[]} values */
const suggestions = (name, values) =>
  element("datalist", { id: `known-${name}` }, values.map((value) => element("option", { value })));

/**
 * The input of a setting, as striate.studio.jobs.list_choices describes it; empty is its default, which it shows.
 * @param {any} setting
 */
function control({ name, kind, choices, any, usual }, /** @type {(name: string) => string} */ say) {
  if (choices.length && !any) {
    const told = (/** @type {string} */ value) => (value === "yes" || value === "no" ? say(value) : value);
    const values = choices.map((/** @type {string} */ value) => element("option", { value }, told(value)));
    return element("select", { name }, element("option", { value: "" }, `(${told(usual)})`), values);
  }
  const given = { name, placeholder: usual, autocomplete: "off", spellcheck: "false" };
  if (kind === "text") return element("input", { ...given, list: any ? `known-${name}` : undefined });
  return element("input", { ...given, type: "number", min: 0, step: kind === "int" ? 1 : "any" });
}

/**
 * Of the host it reads `choices` (as striate.studio.jobs.choices gives them), `kept`, what the fields held, and `refused`,
 * the library's words; it sets `start`, and `keep` to what the fields hold.
 * @param {import("./store.js").Model} model
 * @param {(name: string, ...values: any[]) => string} say
 */
export function starting(model, say) {
  const choices = model.get("choices");
  const lists = ["data", "net"].map((name) => suggestions(name, choices[name]));
  const named = (/** @type {string} */ name, /** @type {any} */ control, help = "") =>
    element("label", { class: `field ${name}`, title: help }, element("span", {}, say(`set_${name}`)), control);
  const field = (/** @type {string} */ name, /** @type {Record<string, any>} */ more = {}) =>
    named(name, element("input", { name, autocomplete: "off", spellcheck: "false", ...more }));
  const listed = (/** @type {boolean} */ reading) =>
    choices.settings
      .filter((/** @type {any} */ setting) => setting.reading === reading)
      .map((/** @type {any} */ setting) => {
        if (setting.any) lists.push(suggestions(setting.name, setting.choices));
        return named(setting.name, control(setting, say), setting.help);
      });
  const settings = listed(false);
  const more = (/** @type {string} */ title, /** @type {any[]} */ fields) =>
    element(
      "details",
      { class: "more" },
      element("summary", {}, say(title)),
      element("div", { class: "fields" }, fields),
    );
  const message = element("div", { role: "alert" });
  const button = element("button", { type: "submit", class: "main" }, say("startRun"));
  const form = element(
    "form",
    { class: "starting", "aria-label": say("startTitle") },
    element(
      "div",
      { class: "fields" },
      field("data", { list: "known-data", required: true, placeholder: say("dataHint") }),
      field("net", { list: "known-net", placeholder: "auto" }),
      settings.shift(),
      field("name", { placeholder: say("nameHint") }),
      button,
    ),
    more("moreSettings", settings),
    more("readingSettings", listed(true)),
    lists,
    message,
  );
  const kept = model.get("kept") ?? {};
  for (const input of form.elements) if (input.name && input.name in kept) input.value = kept[input.name];
  for (const part of form.querySelectorAll("details"))
    part.open = [...part.querySelectorAll("[name]")].some((input) => input.value !== "");
  form.addEventListener("input", () => {
    model.set("keep", Object.fromEntries(new FormData(form)));
    model.save_changes();
  });
  form.addEventListener("submit", (/** @type {Event} */ event) => {
    event.preventDefault();
    button.disabled = true;
    fill(message);
    const given = [...new FormData(form)].filter(([, value]) => value !== "");
    const numbers = [...form.querySelectorAll("input[type=number]")].map((input) => input.getAttribute("name"));
    model.set(
      "start",
      Object.fromEntries(given.map(([name, value]) => [name, numbers.includes(name) ? Number(value) : value])),
    );
    model.save_changes();
  });
  model.on("change:refused", () => {
    const refused = model.get("refused");
    button.disabled = false;
    fill(message, refused && element("pre", { class: "error" }, refused));
  });
  return form;
}
