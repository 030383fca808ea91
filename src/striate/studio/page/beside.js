// What stands beside the image: the class probabilities, where another image comes from, what speaks for a class.

import { formatShare } from "./decimals.js";
import { element, fill } from "./element.js";
import { address } from "./numbers.js";
import { pad } from "./pad.js";

const LISTED = 10;

/**
 * The probability of each class, or of the ten most probable; a click asks where it comes from.
 * @param {HTMLElement} bars
 * @param {any} scene
 * @param {(at: string) => void} go
 * @param {{probabilities: number[]} | null} removed  what is left once channels are put to zero
 */
export function showBars(bars, scene, go, removed) {
  const { classes, top } = scene;
  const probabilities = removed?.probabilities ?? scene.probabilities;
  const order = rankClasses(probabilities);
  const shown = classes.length <= LISTED ? [...order].sort((a, b) => a - b) : order;
  if (bars.dataset.shown !== shown.join()) {
    const widest = Math.max(...classes.map((/** @type {string} */ name) => name.length));
    bars.style.setProperty("--label", `${Math.min(14, widest + 0.6)}ch`);
    fill(
      bars,
      shown.map((k) => makeBar(classes[k], address(top, [k]), go)),
    );
    bars.dataset.shown = shown.join();
  }
  shown.forEach((k, place) => {
    const bar = /** @type {HTMLElement} */ (bars.children[place]);
    const [fillOf, was] = /** @type {any} */ (bar.querySelector(".track")).children;
    bar.classList.toggle("best", k === order[0]);
    fillOf.style.width = `${100 * probabilities[k]}%`;
    was.style.left = `${100 * scene.probabilities[k]}%`;
    was.hidden = !removed;
    /** @type {any} */ (bar.querySelector(".number")).textContent = formatShare(probabilities[k]);
  });
}

/** The most probable classes, best first. @param {number[]} probabilities */
export function rankClasses(probabilities) {
  return [...probabilities.keys()].sort((a, b) => probabilities[b] - probabilities[a]).slice(0, LISTED);
}

function makeBar(/** @type {string} */ name, /** @type {string} */ at, /** @type {(at: string) => void} */ go) {
  return element(
    "button",
    { type: "button", class: "class", title: at, onclick: () => go(at) },
    element("span", { class: "label" }, name),
    element("span", { class: "track" }, element("i"), element("b", { class: "was" })),
    element("span", { class: "number" }),
  );
}

/**
 * Where another image comes from.
 * @param {Element} tools
 * @param {import("./store.js").Model} model
 * @param {any} scene
 * @param {(name: string, ...values: any[]) => string} say
 * @param {(picture: Blob) => void} give
 */
export function showTools(tools, model, scene, say, give) {
  const file = element("input", {
    type: "file",
    accept: "image/*",
    class: "hidden",
    tabindex: "-1",
    "aria-hidden": "true",
    onchange: () => file.files[0] && give(file.files[0]),
  });
  const drawing = pad({ ink: scene.ink, label: say("padLabel"), drawn: give });
  const place = element(
    "div",
    { class: "drawing", hidden: true },
    drawing.canvas,
    element("button", { type: "button", onclick: drawing.clear }, say("clear")),
  );
  const draw =
    scene.layers[0].shape[0] === 1 &&
    element(
      "button",
      {
        type: "button",
        "aria-expanded": "false",
        onclick: () => {
          place.hidden = !place.hidden;
          draw.setAttribute("aria-expanded", String(!place.hidden));
          picture.classList.toggle("padded", !place.hidden);
        },
      },
      say("draw"),
    );
  // The pad stands where the image was, so that it pushes nothing out of view.
  const picture = /** @type {Element} */ (tools.parentElement?.querySelector(".picture"));
  picture.prepend(place);
  fill(
    tools,
    element("p", { class: "quiet" }, say("dropHere")),
    element(
      "div",
      { class: "buttons" },
      element("button", { type: "button", onclick: () => file.click() }, say("open")),
      draw,
      model.get("another") &&
        element(
          "button",
          {
            type: "button",
            onclick: () => {
              model.set("picture", { another: true });
              model.save_changes();
            },
          },
          say("another"),
        ),
    ),
    file,
  );
}

/**
 * Which pixels speak for a class: the library's picture, by class and method.
 * @param {Element} extra
 * @param {import("./store.js").Model} model
 * @param {any} scene
 * @param {(name: string, ...values: any[]) => string} say
 */
export function showAttribution(extra, model, scene, say) {
  const found = model.get("attribution");
  const [which, how] = [
    element(
      "select",
      { "aria-label": say("speaks") },
      scene.classes.map((/** @type {string} */ name, /** @type {number} */ k) =>
        element(
          "option",
          {
            value: k,
            selected: k === (found.target ?? scene.probabilities.indexOf(Math.max(...scene.probabilities))),
          },
          name,
        ),
      ),
    ),
    element(
      "select",
      { "aria-label": say("method") },
      ["grad-cam", "occlusion", "integrated-gradients"].map((name) =>
        element("option", { value: name, selected: name === found.method }, say(name)),
      ),
    ),
  ];
  const ask = () => {
    model.set("attribute", { target: Number(which.value), method: how.value });
    model.save_changes();
  };
  which.addEventListener("change", ask);
  how.addEventListener("change", ask);
  fill(
    extra,
    element("h3", {}, say("speaks")),
    element("div", { class: "buttons" }, which, how),
    found.src
      ? element("img", {
          class: "over",
          src: found.src,
          alt: `${say("speaks")}: ${scene.classes[found.target]}, ${say(found.method)}`,
        })
      : element("button", { type: "button", onclick: ask }, say("show")),
  );
}

/**
 * Which channels are put to zero, and the way back of each.
 * @param {Element} note
 * @param {import("./store.js").Model} model
 * @param {(name: string, ...values: any[]) => string} say
 */
export function showRemoved(note, model, say) {
  const channels = /** @type {any[]} */ (model.get("removed")?.channels ?? []);
  fill(
    note,
    channels.map((item) =>
      element(
        "div",
        { class: "lesion" },
        element("p", { class: "quiet", role: "status" }, say("removed", item.path, item.channel)),
        element(
          "button",
          {
            type: "button",
            onclick: () => {
              model.set("restore", item);
              model.save_changes();
            },
          },
          say("restore"),
        ),
      ),
    ),
  );
}

/**
 * Who computed what is shown, and how far the page and the library are apart.
 * @param {Element} place
 * @param {import("./store.js").Model} model  its `apart`, and `refused`: why the page computes nothing
 * @param {(name: string, ...values: any[]) => string} say
 */
export function showFacts(place, model, say) {
  const [apart, refused] = [model.get("apart"), model.get("refused")];
  const known = apart !== undefined && apart !== null;
  fill(
    place,
    known && element("p", {}, say("apart", apart === 0 ? "0" : apart.toExponential(0))),
    refused && element("p", {}, say("byServer", refused)),
  );
}

/**
 * The address to copy, and of a coloured image which of its channels is pointed at.
 * @param {Element} place
 * @param {{link?: () => string, names: string[], colour: number, pick: (channel: number) => void}} given
 * @param {(name: string, ...values: any[]) => string} say
 */
export function showLink(place, { link, names, colour, pick }, say) {
  const copy = async (/** @type {any} */ { target }) => {
    try {
      await navigator.clipboard.writeText(link?.() ?? "");
    } catch {
      prompt(say("copyLink"), link?.()); // a page without leave to copy shows it
      return;
    }
    target.textContent = say("copied");
    setTimeout(() => (target.textContent = say("copyLink")), 1200);
  };
  fill(
    place,
    link && element("button", { type: "button", class: "quiet-button", "data-do": "link", onclick: copy }, say("copyLink")),
    names.length > 0 &&
      element(
        "div",
        { class: "colours", role: "group", "aria-label": say("colour") },
        names.map((name, k) =>
          element(
            "button",
            { type: "button", "aria-pressed": String(k === colour), "data-colour": name, title: say(name), onclick: () => pick(k) },
            "RGB"[k],
          ),
        ),
      ),
  );
}
