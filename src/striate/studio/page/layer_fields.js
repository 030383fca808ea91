// The layer that is chosen in a network: its record's fields as numbers to change, and its size rule, live.

import { element, fill } from "./element.js";

/**
 * @param {(name: string, ...values: any[]) => string} say
 * @param {(path: string, field: string, value: string) => void} change  ask for the text with a field changed
 */
export function layerFields(say, change) {
  const el = element("fieldset", { class: "card layer-fields", hidden: true });
  const rule = element("p", { class: "size-rule", role: "status" });
  const wrong = element("p", { class: "wrong", role: "alert" });
  /** @type {string | null} */
  let shown = null;
  let waiting = 0;

  /** @param {string} path @param {string} name @param {string | number} value */
  function input(path, name, value) {
    const word = name === "padding"; // which may be "same"; all others are numbers
    return element(
      "label",
      { class: "field" },
      name,
      element("input", {
        type: word ? "text" : "number",
        step: word || Number.isInteger(value) ? 1 : "any",
        inputmode: word ? "text" : "numeric",
        value,
        "data-field": name,
        oninput: (/** @type {any} */ event) => {
          clearTimeout(waiting);
          const given = event.target.value.trim();
          waiting = given === "" ? 0 : setTimeout(() => change(path, name, given), 200);
        },
      }),
    );
  }

  /**
   * Show the layer at `path`; null: none.
   * @param {string | null} path
   * @param {Record<string, string | number> | undefined} values
   * @param {any} row  its line of the summary
   */
  function show(path, values, row) {
    fill(wrong);
    el.hidden = !path || !values || !row;
    if (!path || !values || !row) return void (shown = null);
    if (path !== shown || !same(values)) {
      const at = document.activeElement?.getAttribute("data-field");
      fill(
        el,
        element("legend", {}, element("b", {}, path), ` ${row.kind}`),
        element("div", { class: "buttons" }, Object.entries(values).map(([name, value]) => input(path, name, value))),
        rule,
        wrong,
      );
      if (path === shown && at) /** @type {any} */ (el.querySelector(`[data-field="${at}"]`))?.focus();
    }
    shown = path;
    fill(rule, `${row.input.join("×")} → ${row.output.join("×")}`, row.size_rule ? ` · ${row.size_rule}` : "", row.params_rule ? ` · ${row.params_rule} ${say("params")}` : "");
  }

  /** Whether the fields hold these values already: then none is drawn anew under somebody's hands. */
  function same(/** @type {Record<string, string | number>} */ values) {
    const inputs = /** @type {HTMLInputElement[]} */ ([...el.querySelectorAll("input")]);
    return (
      inputs.length === Object.keys(values).length &&
      inputs.every((one) => String(values[one.dataset.field ?? ""]) === one.value.trim())
    );
  }

  /** Say why a change was refused; what was typed stays. */
  const refuse = (/** @type {string} */ message) => fill(wrong, element("pre", { class: "error" }, message));

  return { el, show, refuse, path: () => shown };
}
