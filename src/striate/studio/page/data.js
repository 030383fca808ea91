// The view of a data set: how many images each class has, with a few of them, and what the audit found, with the
// pictures it is about.
//
// Of the host it reads `audit`, and `thumbnail`, a function from a file's name to the address of its picture.

import { element, fill } from "./element.js";
import { words } from "./words.js";

const SHOWN = 10;

/** @param {{model: import("./store.js").Model, el: HTMLElement}} host */
function render({ model, el }) {
  const say = words(model.get("language") ?? "en");
  const audit = model.get("audit");
  const splits = Object.keys(audit.counts);
  const most = Math.max(
    1,
    ...audit.classes.map((/** @type {string} */ name) =>
      splits.reduce((sum, split) => sum + audit.counts[split][name], 0),
    ),
  );
  const listed = (/** @type {Record<string, number>} */ counts) =>
    Object.entries(counts)
      .slice(0, 6)
      .map(([what, n]) => `${what} (${n.toLocaleString("en")})`)
      .join(", ");

  /** The findings whose pictures are all shown, which the address keeps. @type {Set<string>} */
  const whole = new Set((model.get("kept")?.all ?? "").split(",").filter(Boolean));

  function finding(/** @type {any} */ item, /** @type {number} */ place) {
    const name = String(place + 1);
    const files = element("div", { class: "thumbs" });
    const add = (/** @type {string[]} */ names) =>
      files.append(
        ...names.map((file) =>
          element(
            "figure",
            {},
            item.kind !== "unreadable" &&
              element("img", { src: model.get("thumbnail")(file), alt: "", loading: "lazy" }),
            element("figcaption", {}, file),
          ),
        ),
      );
    add(item.files.slice(0, SHOWN));
    const more =
      item.files.length > SHOWN &&
      element(
        "button",
        {
          type: "button",
          class: "quiet-button",
          onclick: () => {
            addAll();
            model.set("keep", { all: [...whole.add(name)].join(",") });
            model.save_changes();
          },
        },
        say("more", item.files.length),
      );
    const addAll = () => {
      add(item.files.slice(SHOWN, 200));
      more.remove();
    };
    if (more && whole.has(name)) addAll();
    return element(
      "div",
      { class: "finding" },
      element("span", { class: `badge ${item.severity}` }, say(item.severity)),
      element("div", {}, element("b", {}, item.kind), `: ${item.text}`, item.files.length > 0 && files, more),
    );
  }

  const nameSplit = (/** @type {string} */ split) => (split === "all" ? say("undivided") : split);
  fill(
    el,
    element(
      "div",
      { class: "stack" },
      element(
        "section",
        { class: "card" },
        element("h2", {}, audit.name),
        element("p", {}, say("images", audit.images.toLocaleString("en"), audit.classes.length)),
        element(
          "dl",
          { class: "facts" },
          [
            [say("sizes"), listed(audit.sizes)],
            [say("modes"), listed(audit.modes)],
            [say("aspects"), say("aspectsOf", ...[0, 2, 1].map((k) => audit.aspects[k].toFixed(2)))],
          ].map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value))),
        ),
      ),
      element(
        "section",
        { class: "card" },
        element("h2", {}, say("found")),
        audit.findings.length ? audit.findings.map(finding) : element("p", { class: "quiet" }, say("nothing")),
      ),
      element(
        "section",
        { class: "card" },
        element("h2", {}, say("classesOf")),
        element(
          "div",
          { class: "split-keys" },
          splits.map((split, k) => element("span", {}, element("i", { class: `swatch s${k % 3}` }), nameSplit(split))),
        ),
        element(
          "div",
          { class: "counts" },
          audit.classes.map((/** @type {string} */ name) => [
            element("span", {}, name),
            element(
              "span",
              { class: "track" },
              splits.map((split, k) =>
                element("i", {
                  class: `s${k % 3}`,
                  title: `${nameSplit(split)} ${audit.counts[split][name].toLocaleString("en")}`,
                  style: { width: `${(100 * audit.counts[split][name]) / most}%` },
                }),
              ),
            ),
            element(
              "span",
              { class: "n" },
              splits.map((split) => audit.counts[split][name].toLocaleString("en")).join(" · "),
            ),
            element(
              "span",
              { class: "samples" },
              audit.samples[name].map((/** @type {string} */ file) =>
                element("img", { src: model.get("thumbnail")(file), alt: file, title: file, loading: "lazy" }),
              ),
            ),
          ]),
        ),
      ),
    ),
  );
}

export default { render };
