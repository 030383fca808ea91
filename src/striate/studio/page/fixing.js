// The view Fix: one doubtful image at a time, large, and a key for each class. What is chosen is written at once.
//
// Of the host it reads `doubtful` (the items and what was said so far), `picture` and `thumbnail`, functions from a
// file's name to an address, and calls `say`, `undo`, `same`, `unlabelled` and `again`, which ask the server.

import { element, fill } from "./element.js";
import { fixingWords } from "./fixing_words.js";

const DIGITS = "1234567890";
const AHEAD = 24;
const NO_CLASS = "-";

/** @param {{model: import("./store.js").Model, el: HTMLElement}} host */
function render({ model, el }) {
  const say = fixingWords(model.get("language") ?? "en");
  let said = model.get("doubtful");
  /** @type {any[]} */
  let items = said.items;
  let kind = model.get("kept")?.kind ?? "";
  /** @type {string | null} */
  let searched = null;
  let busy = false;

  const stage = element("section", { class: "card fixing", tabindex: "-1" });
  const status = element("p", { class: "quiet", role: "status" });
  const failed = element("pre", { class: "error hidden", role: "alert" });
  const side = element("div", { class: "stack" });
  const shown = () => items.filter((item) => !kind || item.kind === kind);
  const left = () => shown().filter((item) => item.corrected === null).length;
  const firstOpen = (from = 0) => {
    const list = shown();
    for (let k = 0; k < list.length; k++) if (list[(from + k) % list.length].corrected === null) return (from + k) % list.length;
    return -1;
  };
  const kept = shown().findIndex((item) => item.file === model.get("kept")?.file);
  let at = kept >= 0 ? kept : Math.max(0, firstOpen());

  /** The classes that the digits stand for: all where there are digits enough, else the likeliest of this image. */
  const keyed = (/** @type {any} */ item) =>
    said.classes.length <= DIGITS.length
      ? said.classes
      : [...new Set([item.suggested, item.label, ...item.likely])].filter(Boolean).slice(0, DIGITS.length - 1);

  const describeSaid = (/** @type {any} */ item) =>
    item.corrected === null
      ? ""
      : item.corrected === NO_CLASS
        ? say("nowNothing")
        : item.corrected === item.label
          ? say("nowConfirmed")
          : say("nowLabel", item.corrected);

  function draw() {
    const list = shown();
    at = Math.min(at, Math.max(0, list.length - 1));
    const item = list[at];
    if (!item) {
      fill(stage, element("p", {}, say("none")));
      drawSide();
      return;
    }
    model.set("keep", { file: item.file, kind });
    const open = left();
    fill(
      stage,
      element(
        "div",
        { class: "fixing-picture" },
        element("img", { fetchpriority: "high", src: model.get("picture")(item.file), alt: item.label ? say("large", item.file, item.label) : item.file }),
      ),
      element(
        "div",
        { class: "fixing-words" },
        element("p", { class: "quiet" }, say("position", at + 1, list.length, open)),
        open === 0 && element("p", { class: "done" }, say("finished")),
        element("h2", { title: item.file }, item.name ?? item.file),
        element(
          "p",
          { class: "fixing-label" },
          item.label ? say("labelled", item.label) : say("noLabel"),
          item.corrected !== null && element("b", {}, ` · ${describeSaid(item)}`),
        ),
        element("ul", { class: "quiet" }, item.label && element("li", {}, say(item.kind)), item.texts.map((/** @type {string} */ text) => element("li", {}, text))),
        element("h3", {}, say("what")),
        element(
          "div",
          { class: "buttons fixing-classes" },
          keyed(item).map((/** @type {string} */ name, /** @type {number} */ k) =>
            element(
              "button",
              {
                type: "button",
                class: name === item.suggested && "main",
                "aria-pressed": String(item.corrected === name),
                "aria-keyshortcuts": DIGITS[k],
                onclick: () => choose(name),
              },
              element("kbd", {}, DIGITS[k]),
              name,
            ),
          ),
          said.classes.length > DIGITS.length &&
            element(
              "select",
              { "aria-label": say("other"), "aria-keyshortcuts": "/", onchange: (/** @type {any} */ event) => event.target.value && choose(event.target.value) },
              element("option", { value: "" }, say("choose")),
              said.classes.map((/** @type {string} */ name) => element("option", { value: name }, name)),
            ),
        ),
        element(
          "div",
          { class: "buttons" },
          act("x", say("leave"), () => choose(NO_CLASS), item.corrected === NO_CLASS),
          act("→", say("skipIt"), () => move(1)),
          act("←", say("backIt"), () => move(-1)),
          act("u", say("undo"), undo),
        ),
        item.suggested && element("p", { class: "quiet" }, element("kbd", {}, "Enter"), say("suggestion", item.suggested)),
        item.others.length > 0 && [
          element("h3", {}, say("others")),
          element(
            "div",
            { class: "thumbs" },
            item.others.map((/** @type {string} */ file) =>
              element("figure", {}, element("img", { src: model.get("thumbnail")(file), alt: "" }), element("figcaption", {}, file)),
            ),
          ),
        ],
      ),
    );
    const next = list[(at + 1) % list.length];
    if (next) new Image().src = model.get("picture")(next.file);
    drawSide();
  }

  function act(/** @type {string} */ key, /** @type {string} */ text, /** @type {() => void} */ then, pressed = false) {
    return element(
      "button",
      { type: "button", "aria-pressed": String(pressed), "aria-keyshortcuts": key, onclick: then },
      element("kbd", {}, key),
      text,
    );
  }

  function drawSide() {
    const list = shown();
    const count = said.changed + said.left_out + said.confirmed + said.labelled;
    const kinds = [...new Set(items.map((item) => item.kind))];
    fill(
      side,
      element(
        "section",
        { class: "card" },
        element("p", {}, count ? say("saidSoFar", said.changed, said.left_out, said.confirmed, said.labelled) : say("nothingYet")),
        count > 0 && [
          said.refused
            ? element("pre", { class: "error" }, said.refused)
            : element("p", {}, element("button", { type: "button", class: "main", onclick: again }, say("again"))),
          element("p", { class: "quiet" }, say("byCommand")),
          element("code", { class: "fixing-command" }, said.command),
        ],
      ),
      element(
        "section",
        { class: "card" },
        element(
          "div",
          { class: "buttons", role: "group", "aria-label": say("kinds") },
          ["", ...kinds].map((name) =>
            element(
              "button",
              {
                type: "button",
                "aria-pressed": String(name === kind),
                onclick: () => {
                  kind = name;
                  at = Math.max(0, firstOpen());
                  draw();
                },
              },
              `${name ? say(name) : say("all")} · ${items.filter((item) => !name || item.kind === name).length}`,
            ),
          ),
          searched === null && element("button", { type: "button", class: "quiet-button", onclick: search }, say("findSame")),
          searched !== null && element("span", { class: "quiet" }, searched),
        ),
        element(
          "div",
          { class: "fixing-queue", role: "group", "aria-label": say("queue") },
          list.slice(Math.max(0, at - 2), at + AHEAD).map((item) =>
            element(
              "button",
              {
                type: "button",
                "aria-current": item === list[at] && "true",
                "aria-label": `${item.file} ${describeSaid(item)}`,
                title: `${item.file} ${describeSaid(item)}`,
                class: item.corrected !== null && "said",
                onclick: () => {
                  at = list.indexOf(item);
                  draw();
                  stage.focus();
                },
              },
              element("img", { src: model.get("thumbnail")(item.file), alt: "", loading: "lazy" }),
            ),
          ),
        ),
      ),
    );
  }

  const folder = element("input", {
    type: "text",
    id: "unlabelled-folder",
    placeholder: say("folderExample"),
    spellcheck: "false",
  });
  const told = element("p", { class: "quiet", role: "status" });
  const teaching = element(
    "form",
    {
      class: "card fixing-unlabelled",
      onsubmit: (/** @type {Event} */ event) => {
        event.preventDefault();
        suggest();
      },
    },
    element("label", { for: "unlabelled-folder" }, say("unlabelledFolder")),
    folder,
    element("button", { type: "submit" }, say("suggest")),
    told,
  );

  /** The unlabelled pictures of a folder, those first that teach most, before all others. */
  async function suggest() {
    fill(told, say("looking"));
    const found = await working(() => model.get("unlabelled")(/** @type {HTMLInputElement} */ (folder).value));
    fill(told, found ? say("suggested", found.items.length, found.pictures, found.skipped) : "");
    if (!found) return;
    const fresh = new Set(found.items.map((/** @type {any} */ item) => item.file));
    items = [...found.items, ...items.filter((item) => !fresh.has(item.file))];
    kind = "unlabelled";
    at = 0;
    draw();
    stage.focus();
  }

  function move(/** @type {number} */ by) {
    const list = shown();
    if (!list.length) return;
    at = (at + by + list.length) % list.length;
    draw();
    stage.focus();
  }

  /** Ask the server for something, one thing at a time; what it refuses is shown. */
  async function working(/** @type {() => Promise<any>} */ work) {
    if (busy) return null;
    busy = true;
    try {
      const found = await work();
      failed.classList.add("hidden");
      return found;
    } catch (error) {
      fill(failed, error instanceof Error ? error.message : String(error));
      failed.classList.remove("hidden");
      return null;
    } finally {
      busy = false;
    }
  }

  function take(/** @type {any} */ found) {
    said = { ...said, ...found };
    for (const item of items) if (item.file === found.file) item.corrected = found.corrected;
  }

  async function choose(/** @type {string} */ label) {
    const item = shown()[at];
    if (!item) return;
    const found = await working(() => model.get("say")(item.file, label, item.kind));
    if (!found) return;
    take(found);
    fill(status, say("saved", item.file, describeSaid(item)));
    const next = firstOpen(at + 1);
    if (next >= 0) at = next;
    draw();
    stage.focus();
  }

  async function undo() {
    const found = await working(() => model.get("undo")());
    if (!found) return;
    take(found);
    fill(status, say("takenBack", found.file));
    if (!shown().some((item) => item.file === found.file)) kind = "";
    at = Math.max(0, shown().findIndex((item) => item.file === found.file));
    draw();
    stage.focus();
  }

  async function search() {
    searched = say("searching");
    drawSide();
    const found = await working(() => model.get("same")());
    searched = found ? (found.items.length ? "" : say("noSame")) : null;
    if (found) {
      const known = new Map(items.map((item) => [item.file, item]));
      for (const item of found.items) {
        const own = known.get(item.file);
        if (own) Object.assign(own, { texts: [...own.texts, ...item.texts], others: item.others });
        else items.push(item);
      }
    }
    draw();
  }

  const again = () => working(() => model.get("again")());

  function press(/** @type {KeyboardEvent} */ event) {
    const target = /** @type {HTMLElement} */ (event.target);
    if (event.ctrlKey || event.metaKey || event.altKey || target.closest("select, input, textarea")) return;
    if (target.closest("button, a, summary") && (event.key === " " || event.key === "Enter")) return;
    const item = shown()[at];
    if (!item) return;
    const digit = DIGITS.indexOf(event.key);
    const name = digit >= 0 ? keyed(item)[digit] : undefined;
    const list = el.querySelector(".fixing-classes select");
    if (name !== undefined) choose(name);
    else if (event.key === "x") choose(NO_CLASS);
    else if (event.key === "u") undo();
    else if (event.key === " " || event.key === "ArrowRight") move(1);
    else if (event.key === "ArrowLeft") move(-1);
    else if (event.key === "Enter" && item.suggested) choose(item.suggested);
    else if (event.key === "/" && list) /** @type {HTMLElement} */ (list).focus();
    else return;
    event.preventDefault();
  }

  fill(
    el,
    element("p", { class: "quiet fixing-lead" }, say("lead"), " ", say("keysHint")),
    failed,
    element("div", { class: "fixing-grid" }, element("div", {}, stage, status), element("div", { class: "stack" }, teaching, side)),
  );
  draw();
  document.addEventListener("keydown", press);
  return () => document.removeEventListener("keydown", press);
}

export default { render };
