// The panel that explains one value: its trace, and the ways from it down to the pixels and up to the class.

import { arithmetic } from "./arithmetic.js";
import { element, fill } from "./element.js";
import { parsed } from "./numbers.js";
import { describeValue } from "./sentence.js";

/**
 * @param {HTMLElement} panel
 * @param {import("./store.js").Model} model
 * @param {any} scene
 * @param {(name: string, ...values: any[]) => string} say
 * @param {{way: string[], rungs: any[], go: (at: string) => void, back: (steps: number) => void, climb: (key: "lead" | "up") => void, slide: () => void}} moves
 */
export function showPanel(panel, model, scene, say, { way, rungs, go, back, climb, slide }) {
  const active = /** @type {Document | ShadowRoot} */ (panel.getRootNode()).activeElement;
  const focused = panel.contains(active) ? (active?.getAttribute("data-step") ?? "") : null;
  const [trace, error] = [model.get("trace"), model.get("error")];
  if (error) {
    fill(panel, element("h3", {}, say("explain")), element("pre", { class: "error", role: "alert" }, error));
    return;
  }
  if (!trace) {
    fill(panel, element("h3", {}, say("explain")), element("p", { class: "quiet" }, say("explainHint")));
    return;
  }
  const [path, index] = parsed(trace.address);
  const named = path === scene.top ? ` ${scene.classes[index[0]]}` : "";
  const step = (/** @type {"lead" | "up"} */ key, /** @type {string} */ text) =>
    element(
      "button",
      {
        type: "button",
        class: "step",
        disabled: !trace[key],
        title: trace[key] ?? "",
        "data-step": key,
        onclick: () => go(trace[key]),
      },
      text,
    );
  const channel = { path, channel: index[0] };
  const gone = (model.get("removed")?.channels ?? []).find(
    (/** @type {any} */ item) => item.path === path && item.channel === index[0],
  );
  const remove =
    path !== "image" &&
    path !== scene.top &&
    element(
      "button",
      {
        type: "button",
        "data-step": "remove",
        onclick: () => {
          model.set(gone ? "restore" : "remove", gone ?? channel);
          model.save_changes();
        },
      },
      say(gone ? "restore" : "remove"),
    );
  const foldName = () => say(panel.classList.contains("folded") ? "unfold" : "fold");
  const fold = element(
    "button",
    {
      type: "button",
      class: "fold",
      "data-step": "fold",
      onclick: () => {
        panel.classList.toggle("folded");
        fold.textContent = foldName();
      },
    },
    foldName(),
  );
  const windows = trace.groups.some((/** @type {any} */ { grid }) => grid.length === 2) && index.length === 3;
  const ladder = rungs.some(({ address }) => address === trace.address) && rungs;
  const trail = way.slice(0, -1).slice(-8);
  const same = panel.dataset.at === trace.address;
  const [scrolled, opened] = same ? [panel.scrollTop, listOpen(panel)] : [0, null];
  fill(
    panel,
    element(
      "div",
      { class: "at" },
      element("h3", {}, trace.address, named && element("span", { class: "class-name" }, named)),
      element("p", { class: "value", "data-value": trace.shown }, trace.shown),
      element("p", { class: "layer-text" }, trace.layer),
      fold,
    ),
    element(
      "div",
      { class: "buttons" },
      step("lead", say("down")),
      step("up", say("up")),
      element(
        "button",
        { type: "button", disabled: !trace.lead, "data-step": "pixels", onclick: () => climb("lead") },
        say("pixels"),
      ),
      element(
        "button",
        { type: "button", disabled: !trace.up, "data-step": "class", onclick: () => climb("up") },
        say("classUp"),
      ),
      windows && element("button", { type: "button", "data-step": "slide", onclick: slide }, say("slide")),
      remove,
    ),
    ladder && showLadder(ladder, trace.address, go, say),
    !ladder &&
      trail.length > 0 &&
      element(
        "nav",
        { class: "way", "aria-label": say("way") },
        trail.map((at, k) => [
          element(
            "button",
            {
              type: "button",
              class: "address",
              onclick: () => back(trail.length - k),
            },
            at,
          ),
          element("span", { "aria-hidden": "true" }, "›"),
        ]),
      ),
    element("p", { class: "sentence" }, describeValue(trace, scene, say)),
    arithmetic(trace, say, go),
  );
  panel.dataset.at = trace.address;
  panel.querySelectorAll("details").forEach((part, k) => (part.open = opened?.[k] ?? part.open));
  panel.scrollTop = scrolled;
  // The pressed button is gone with the old content: its successor takes the focus, or else the panel.
  if (focused !== null) {
    const next = focused && panel.querySelector(`[data-step="${focused}"]:not(:disabled)`);
    /** @type {HTMLElement} */ (next || panel).focus();
  }
}

/** Each value on the way, the first one first. */
function showLadder(
  /** @type {any[]} */ rungs,
  /** @type {string} */ here,
  /** @type {(at: string) => void} */ go,
  /** @type {(name: string) => string} */ say,
) {
  return element(
    "ol",
    { class: "ladder", "aria-label": say("ladder") },
    rungs.map(({ address, shown }) =>
      element(
        "li",
        { "aria-current": address === here && "step" },
        element("button", { type: "button", class: "address", onclick: () => go(address) }, address),
        element("span", { class: "number" }, shown),
      ),
    ),
  );
}

/** Which parts of the sum are open. @param {HTMLElement} panel */
function listOpen(panel) {
  return [...panel.querySelectorAll("details")].map((part) => part.open);
}
