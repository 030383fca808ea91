// The view of results: the accuracy with its interval, the calibration, the confusion matrix with the pictures behind
// each cell, the most confident mistakes, how steady the answers are, and a line a class.
//
// Of the host it reads `results`, and `pictures` (or {error}) of the `cell` that it sets; `open` is an image to look
// inside with.

import { formatShare } from "./decimals.js";
import { element, fill } from "./element.js";
import { heading, isTransfer } from "./heads.js";
import { invariance } from "./invariance.js";
import { unsureCard } from "./unsure.js";
import { words } from "./words.js";

const NAMED = 30;

/** @param {{model: import("./store.js").Model, el: HTMLElement}} host */
function render({ model, el }) {
  const say = words(model.get("language") ?? "en");
  const r = model.get("results");
  const cells = element("div", {});
  const title = element("h3", { "aria-live": "polite" });
  const names = /** @type {string[]} */ (r.classes);
  const [low, high] = r.accuracy_interval;
  const run = (model.get("runs") ?? []).find((/** @type {any} */ item) => item.name === model.get("run"));
  const facts = [
    [
      [say("f1"), r.macro_f1.toFixed(4), r.meanings.macro_f1],
      [say("ece"), formatShare(r.ece), r.meanings.ece],
      [say("lossShort"), r.loss.toFixed(4), r.meanings.loss],
    ],
    [
      [say("data"), run?.data],
      [say("net"), run?.net],
      [say("params"), run?.params?.toLocaleString("en")],
      [say("macs"), run?.macs?.toLocaleString("en")],
    ].filter(([, value]) => value),
  ];

  function choose(/** @type {number} */ truth, /** @type {number} */ predicted) {
    model.set("cell", [truth, predicted]);
    model.set("keep", { cell: `${truth},${predicted}` });
    model.save_changes();
    for (const button of el.querySelectorAll(".matrix button"))
      button.setAttribute("aria-pressed", String(button.getAttribute("data-cell") === `${truth},${predicted}`));
  }

  function matrix() {
    if (names.length > NAMED) return element("p", { class: "quiet" }, say("frequent"));
    const tall = Math.max(...names.map((name) => name.length)) > 3;
    return element(
      "div",
      { class: "scroll" },
      element("p", { class: "quiet", id: "matrix-hint" }, say("cellHint")),
      element(
        "table",
        { class: "matrix", "aria-describedby": "matrix-hint" },
        element(
          "thead",
          {},
          element(
            "tr",
            {},
            element(
              "td",
              { class: "corner" },
              element("span", {}, `${say("prediction")} →`),
              element("span", {}, `${say("truth")} ↓`),
            ),
            names.map((name) =>
              element("th", { scope: "col", class: tall && "tall", title: name }, element("span", {}, name)),
            ),
          ),
        ),
        element(
          "tbody",
          {},
          names.map((name, i) => {
            const sum = r.confusion[i].reduce((/** @type {number} */ a, /** @type {number} */ b) => a + b, 0) || 1;
            return element(
              "tr",
              {},
              element("th", { scope: "row", title: name }, name),
              r.confusion[i].map((/** @type {number} */ count, /** @type {number} */ j) => {
                const share = 0.5 * (i === j ? count / sum : Math.sqrt(count / sum)); // darker, no ink is read on it
                const text = say(i === j ? "recognised" : "of", name, names[j], count);
                return element(
                  "td",
                  {},
                  element(
                    "button",
                    {
                      type: "button",
                      "data-cell": `${i},${j}`,
                      title: text,
                      "aria-label": text,
                      "aria-pressed": "false",
                      style: {
                        "--share": `${Math.round(100 * share)}%`,
                        "--hue": i === j ? "var(--blue)" : "var(--orange)",
                      },
                      onclick: () => choose(i, j),
                    },
                    count ? String(count) : "",
                  ),
                );
              }),
            );
          }),
        ),
      ),
    );
  }

  function wall(/** @type {any[]} */ pictures) {
    if (!pictures.length) return element("p", { class: "quiet" }, say("none"));
    return element(
      "div",
      { class: "wall" },
      pictures.map((item) =>
        element(
          "figure",
          {},
          element(
            "button",
            {
              type: "button",
              title: say("lookInside"),
              "aria-label": `${say("lookInside")}: ${item.file}`,
              onclick: () => {
                model.set("open", item.index);
                model.save_changes();
              },
            },
            element("img", { src: item.src, alt: item.file, loading: "lazy" }),
          ),
          element(
            "figcaption",
            {},
            element("span", { class: item.truth === item.predicted ? "" : "said-class" }, names[item.predicted]),
            ` ${formatShare(item.probability)}`,
            item.unsure && ` · ${say("unsure")}`,
            item.truth !== item.predicted && [element("br"), say("is", names[item.truth])],
          ),
        ),
      ),
    );
  }

  const frequent =
    r.frequent.length > 0 &&
    element(
      "div",
      {},
      element("h4", {}, say("frequent")),
      element(
        "div",
        { class: "buttons" },
        r.frequent.map((/** @type {any} */ c) =>
          element(
            "button",
            { type: "button", onclick: () => choose(c.truth, c.predicted) },
            `${names[c.truth]} → ${names[c.predicted]} · ${c.images}`,
          ),
        ),
      ),
    );
  const chart = element("div", { class: "calibration" });
  chart.innerHTML = r.calibration; // the library's own drawing
  const steady = invariance(model, say, r.images);
  const head = heading(say);
  fill(
    el,
    element(
      "div",
      { class: "stack" },
      element(
        "section",
        { class: "card verdict-card" },
        element("p", { class: "told" }, r.told.join(" ")),
        r.advice.length > 0 && [
          element("h2", {}, say("toDo")),
          element(
            "ol",
            {},
            r.advice.map((/** @type {string} */ line) => element("li", {}, line)),
          ),
        ],
      ),
      element(
        "div",
        { class: "grid-2" },
        element(
          "section",
          { class: "card" },
          element("p", { class: "result" }, formatShare(r.accuracy).replace(" %", ""), element("small", {}, " %")),
          element("p", {}, say("measuredOn", r.images.toLocaleString("en"))),
          element("p", { class: "quiet" }, say("interval", formatShare(low), formatShare(high))),
          facts.map((line) =>
            element(
              "dl",
              { class: "facts" },
              line.map(([name, value, meaning]) =>
                element(
                  "div",
                  {},
                  element("dt", {}, name),
                  element("dd", {}, value),
                  meaning && element("dd", { class: "meaning" }, meaning),
                ),
              ),
            ),
          ),
          model.get("hasReport") &&
            element(
              "p",
              { class: "link" },
              element(
                "a",
                { href: `api/report?run=${encodeURIComponent(model.get("run"))}`, target: "_blank", rel: "noreferrer" },
                say("report"),
              ),
            ),
        ),
        element(
          "section",
          { class: "card" },
          element("h2", {}, say("calibration")),
          chart,
          element("p", { class: "quiet" }, say("calibrationHint")),
        ),
      ),
      element(
        "section",
        { class: "card" },
        element("h2", {}, say("confusion")),
        element("div", { class: "two" }, element("div", {}, matrix(), frequent), element("div", {}, title, cells)),
      ),
      element(
        "section",
        { class: "card" },
        element("h2", {}, say("mistakes")),
        r.mistakes.length ? wall(r.mistakes) : element("p", { class: "quiet" }, say("noMistakes")),
      ),
      head.el,
      unsureCard(r.abstention, say),
      steady.el,
      element("section", { class: "card" }, element("h2", {}, say("perClass")), perClass(r, say)),
    ),
  );

  head.show(isTransfer(run) ? [{ run, colour: "var(--blue)" }] : []);

  const show = () => {
    const [truth, predicted] = model.get("cell");
    fill(
      title,
      say(truth === predicted ? "recognised" : "of", names[truth], names[predicted], r.confusion[truth][predicted]),
    );
    const { error } = model.get("pictures");
    fill(cells, error ? element("pre", { class: "error", role: "alert" }, error) : wall(model.get("pictures")));
  };
  model.on("change:pictures", show);
  const [worst] = r.frequent;
  const [truth, predicted] = (model.get("kept")?.cell ?? "").split(",").map(Number);
  const known = names[truth] !== undefined && names[predicted] !== undefined;
  if (known) choose(truth, predicted);
  else choose(worst?.truth ?? 0, worst?.predicted ?? 0);
  return () => {
    steady.close();
    head.close();
    model.off("change:pictures", show);
  };
}

/** Precision, recall and F1 of each class. */
function perClass(/** @type {any} */ r, /** @type {any} */ say) {
  const columns = ["precision", "recall", "f1"];
  return element(
    "div",
    { class: "scroll" },
    element(
      "table",
      { class: "per-class" },
      element(
        "thead",
        {},
        element(
          "tr",
          {},
          ["class", ...columns.map((name) => `of_${name}`), "images_"].map((name) =>
            element("th", { scope: "col" }, say(name)),
          ),
        ),
      ),
      element(
        "tbody",
        {},
        r.per_class.map((/** @type {any} */ item) =>
          element(
            "tr",
            {},
            element("th", { scope: "row" }, item.name),
            columns.map((name) =>
              element(
                "td",
                {},
                item[name] === null ? "–" : item[name].toFixed(3),
                element("span", { class: "meter" }, element("i", { style: { width: `${100 * (item[name] ?? 0)}%` } })),
              ),
            ),
            element("td", {}, item.support.toLocaleString("en")),
          ),
        ),
      ),
    ),
  );
}

export default { render };
