// The form that starts a training: what the command `striate train` would be told, and nothing else.

import { element, fill } from "./element.js";

/**
 * Of the host it reads `choices` (as striate.studio.jobs.choices gives them), `net` to begin with, and `refused`, the
 * library's words; it sets `start`.
 * @param {import("./store.js").Model} model
 * @param {(name: string, ...values: any[]) => string} say
 */
export function starting(model, say) {
  const choices = model.get("choices");
  const { usual } = choices;
  const lists = ["data", "net", "augment"].map((name) =>
    element(
      "datalist",
      { id: `known-${name}` },
      choices[name].map((/** @type {string} */ value) => element("option", { value })),
    ),
  );
  const named = (/** @type {string} */ name, /** @type {any} */ control) =>
    element("label", { class: `field ${name}` }, element("span", {}, say(`set_${name}`)), control);
  const field = (/** @type {string} */ name, /** @type {Record<string, any>} */ more = {}) =>
    named(name, element("input", { name, autocomplete: "off", spellcheck: "false", ...more }));
  const number = (/** @type {string} */ name, /** @type {Record<string, any>} */ more = {}) =>
    field(name, { type: "number", placeholder: usual[name] ?? say("ownRate"), ...more });
  const message = element("div", { role: "alert" });
  const button = element("button", { type: "submit", class: "main" }, say("startRun"));
  const form = element(
    "form",
    { class: "starting", "aria-label": say("startTitle") },
    element(
      "div",
      { class: "fields" },
      field("data", { list: "known-data", required: true, placeholder: say("dataHint") }),
      field("net", { list: "known-net", value: model.get("net") ?? "", placeholder: "auto" }),
      number("epochs", { min: 1, step: 1 }),
      field("name", { placeholder: say("nameHint") }),
      button,
    ),
    element(
      "details",
      { class: "more" },
      element("summary", {}, say("moreSettings")),
      element(
        "div",
        { class: "fields" },
        number("batch", { min: 2, step: 1 }),
        named(
          "optimizer",
          element(
            "select",
            { name: "optimizer" },
            choices.optimizer.map((/** @type {string} */ value) =>
              element("option", { value, selected: value === usual.optimizer }, value),
            ),
          ),
        ),
        number("lr", { min: 0, step: "any" }),
        field("augment", { list: "known-augment", placeholder: usual.augment }),
        field("size", { type: "number", min: 1, step: 1, placeholder: say("ownSize") }),
        number("seed", { min: 0, step: 1 }),
      ),
    ),
    lists,
    message,
  );
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
