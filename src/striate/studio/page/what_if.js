// What if: changes that would save parameters or MACs, each taken by one click, and taken back by another.

import { ask } from "./ask.js";
import { element, fill } from "./element.js";
import { latest } from "./latest.js";

/**
 * @param {(name: string, ...values: any[]) => string} say
 * @param {(text: string) => void} take  have this be the network's text
 */
export function whatIf(say, take) {
  const list = element("ul", { class: "what-if-list" });
  const undo = element("button", { type: "button", disabled: true, onclick: takeBack }, say("undo"));
  const el = element(
    "section",
    { class: "what-if", "aria-label": say("whatIf") },
    element("div", { class: "heading" }, element("h2", {}, say("whatIf")), undo),
    list,
  );
  /** The texts before each change that was taken. @type {string[]} */
  const before = [];
  let [current, offered] = ["", ""];

  const offer = latest(
    (/** @type {any[]} */ found) =>
      fill(
        list,
        found.length ? found.map(item) : element("li", { class: "quiet" }, say("nothingSaves")),
      ),
    (/** @type {string} */ message) => fill(list, element("li", { class: "quiet" }, message)),
  );

  function item(/** @type {any} */ change) {
    return element(
      "li",
      {},
      element("p", {}, change.text),
      element(
        "button",
        { type: "button", "aria-label": `${say("take")}: ${change.text}`, onclick: () => remember(change.net) },
        say("take"),
      ),
    );
  }

  /** Take a text that can be taken back. @param {string} net */
  function remember(net) {
    before.push(current);
    current = net;
    undo.disabled = false;
    take(net);
  }

  function takeBack() {
    const last = before.pop();
    undo.disabled = !before.length;
    current = last ?? current;
    take(current);
  }

  /** Offer what would save work in this network. @param {string} now  its text */
  function show(now) {
    current = now;
    if (now === offered) return;
    offered = now;
    offer(ask("changes", {}, now));
  }

  return { el, show, remember };
}
