// The view of trainings: the form that starts one, the curves of the chosen runs as they grow, a line a run, and the
// chosen runs compared.
//
// Of the host it reads `runs`, anew as they grow, `run`, the one to begin with, `choices`, `refused` and `kept`; it sets
// `start`, `stop` and `resume` to a run's name, and `keep` to what is chosen.

import { comparing } from "./comparing.js";
import { formatShare } from "./decimals.js";
import { element, fill } from "./element.js";
import { clock } from "./numbers.js";
import { heading, isTransfer } from "./heads.js";
import { logTicks, plot, ticks } from "./plot.js";
import { starting } from "./starting.js";
import { words } from "./words.js";

const HUES = ["#3f7fd0", "#d9691a", "#3b9160", "#a366c9", "#ad8a12", "#cf5a78", "#2b95a0", "#8a8f99"];
const UNDER_WAY = ["starting", "live", "stopping"];

/** @param {{model: import("./store.js").Model, el: HTMLElement}} host */
function render({ model, el }) {
  const say = words(model.get("language") ?? "en");
  /** @type {Set<string>} */
  const chosen = new Set(model.get("kept")?.show?.split(",") ?? [model.get("run")]);
  /** @type {Map<string, {tr: any, update: (run: any) => void}>} */
  const lines = new Map();
  /** @type {Set<string>} */
  const known = new Set();
  const keep = (/** @type {any} */ values) => {
    model.set("keep", values);
    model.save_changes();
  };
  const log = element("input", {
    type: "checkbox",
    checked: model.get("kept")?.log === "1",
    onchange: () => {
      keep({ log: log.checked ? 1 : "" });
      show();
    },
  });
  const options = { x: String, unit: "epoch", say };
  const plots = {
    loss: plot({ ...options, title: say("loss"), y: (value) => String(Number(value.toPrecision(3))) }),
    accuracy: plot({ ...options, title: say("accuracy"), y: (value) => formatShare(value).replace(".0 %", " %") }),
  };
  const head = [say("show"), say("run"), say("progress"), say("best"), say("time"), say("state"), ""];
  const body = element("tbody");
  const compared = element("div", { class: "scroll" });
  const heads = heading(say);
  const curves = element(
    "div",
    { class: "grid-2" },
    element(
      "figure",
      { class: "card" },
      element("div", { class: "heading" }, element("h3", {}, say("loss")), element("label", {}, log, say("log"))),
      plots.loss.el,
    ),
    element("figure", { class: "card" }, element("h3", {}, say("accuracy")), plots.accuracy.el),
  );
  const legend = element("p", { class: "quiet legend" }, say("dotted"));
  const list = element(
    "section",
    { class: "card" },
    element(
      "div",
      { class: "scroll" },
      element(
        "table",
        { class: "runs" },
        element(
          "thead",
          {},
          element(
            "tr",
            {},
            head.map((text) => element("th", { scope: "col" }, text)),
          ),
        ),
        body,
      ),
    ),
  );
  const comparison = element("section", { class: "card" }, element("h2", {}, say("comparison")), compared);
  const empty = element(
    "section",
    { class: "card empty-runs" },
    element("h2", {}, say("noRuns")),
    element("p", {}, element("a", { href: `learn#step-1?lang=${model.get("language")}` }, say("learnFirst"))),
    element(
      "p",
      { class: "buttons" },
      element("span", {}, say("trainDigits")),
      element(
        "button",
        {
          type: "button",
          class: "main",
          onclick: (/** @type {any} */ event) => {
            event.target.disabled = true;
            model.set("start", { data: "digits", net: "lenet5" });
            model.save_changes();
          },
        },
        say("startRun"),
      ),
    ),
  );
  fill(
    el,
    element(
      "div",
      { class: "stack" },
      empty,
      element("section", { class: "card" }, element("h2", {}, say("startTitle")), starting(model, say)),
      curves,
      legend,
      heads.el,
      list,
      comparison,
    ),
  );

  /** How many epochs are done; of a transfer those of fine-tuning, since its epoch 0 is the head. */
  function done(/** @type {any} */ run) {
    if (!isTransfer(run)) return `${run.epochs.length} / ${run.planned || "…"}`;
    return run.epochs.length > 1 ? say("headTuned", run.epochs.length - 1) : say("headAlone");
  }

  /** A run's line, made once and then brought up to date, so that a click is not lost to a change. */
  function line(/** @type {any} */ first, /** @type {string} */ colour) {
    const box = element("input", {
      type: "checkbox",
      checked: chosen.has(first.name),
      "aria-label": `${say("show")} ${first.name}`,
      style: { "accent-color": colour },
      onchange: () => {
        chosen.has(first.name) ? chosen.delete(first.name) : chosen.add(first.name);
        keep({ show: [...chosen].join(",") });
        show();
      },
    });
    const [progress, best, time, state] = [1, 2, 3, 4].map(() => element("td"));
    const what = element("span", { class: "quiet" });
    const ask = (/** @type {string} */ name) =>
      element(
        "button",
        {
          type: "button",
          "aria-label": `${say(name)} ${first.name}`,
          onclick: () => {
            model.set(name, first.name);
            model.save_changes();
          },
        },
        say(name),
      );
    const [stop, resume] = [ask("stop"), ask("resume")];
    const said = element("pre", { class: "said" });
    const output = element("details", { class: "output" }, element("summary", {}, say("output")), said);
    const tr = element(
      "tr",
      { "data-run": first.name },
      element("td", {}, box),
      element("td", {}, element("b", {}, first.name), what, output),
      progress,
      best,
      time,
      state,
      element("td", { class: "acts" }, stop, resume),
    );
    const update = (/** @type {any} */ run) => {
      box.checked = chosen.has(run.name);
      what.textContent = [run.data, run.net].filter(Boolean).join(" · ");
      const share = run.planned ? run.epochs.length / run.planned : 0;
      fill(
        progress,
        done(run),
        element("span", { class: "meter" }, element("i", { style: { width: `${100 * share}%`, background: colour } })),
      );
      best.textContent = run.best === null ? "" : formatShare(run.best);
      time.textContent = run.epochs.length ? clock(run.seconds) : "";
      fill(
        state,
        element("span", { class: `state ${run.state}` }, say(run.state)),
        run.left !== null && UNDER_WAY.includes(run.state) && element("small", {}, say("leftTime", clock(run.left))),
      );
      stop.hidden = !run.own;
      stop.disabled = run.state === "stopping";
      resume.hidden = UNDER_WAY.includes(run.state) || run.state === "done" || !run.begun;
      output.hidden = !run.said;
      if (run.state === "failed" && !known.has(`${run.name} failed`)) {
        known.add(`${run.name} failed`);
        output.open = true;
      }
      if (run.state !== "failed") known.delete(`${run.name} failed`);
      if (said.textContent !== run.said) said.textContent = run.said;
    };
    return { tr, update };
  }

  function show() {
    const runs = /** @type {any[]} */ (model.get("runs"));
    for (const run of runs.filter(({ name, state }) => UNDER_WAY.includes(state) && !known.has(name))) {
      known.add(run.name);
      chosen.add(run.name);
    }
    const coloured = runs.map((run, k) => ({ run, colour: HUES[k % HUES.length] }));
    for (const { run, colour } of coloured) {
      let item = lines.get(run.name);
      if (!item) {
        item = line(run, colour);
        lines.set(run.name, item);
        body.prepend(item.tr);
      }
      item.update(run);
    }
    for (const [name, item] of lines) if (!runs.some((run) => run.name === name)) item.tr.remove();
    const shown = coloured.filter(({ run }) => chosen.has(run.name));
    const grown = shown.filter(({ run }) => run.epochs.some((/** @type {any} */ row) => row.epoch > 0));
    empty.hidden = runs.length > 0;
    heads.show(shown.filter(({ run }) => isTransfer(run)));
    curves.hidden = legend.hidden = grown.length === 0;
    list.hidden = runs.length === 0;
    comparison.hidden = shown.length === 0;
    draw("loss", "loss", "valid_loss", grown);
    draw("accuracy", "acc", "valid_acc", grown);
    fill(compared, comparing(shown, say));
  }

  function draw(
    /** @type {"loss" | "accuracy"} */ kind,
    /** @type {string} */ train,
    /** @type {string} */ valid,
    /** @type {{run: any, colour: string}[]} */ grown,
  ) {
    const alone = grown.length === 1;
    const made = grown.flatMap(({ run, colour }) =>
      [
        { key: train, dotted: true, label: alone ? say("train") : "", name: say("train") },
        { key: valid, dotted: false, label: alone ? say("valid") : run.name, name: say("valid") },
      ].map(({ key, dotted, label, name }) => ({
        name: alone ? name : `${run.name}, ${name}`,
        label,
        colour,
        dotted,
        points: run.epochs
          .map((/** @type {any} */ row) => [row.epoch, row[key]])
          .filter((/** @type {number[]} */ [, value]) => Number.isFinite(value)),
      })),
    );
    const all = made.flatMap(({ points }) => points.map((/** @type {number[]} */ [, y]) => y));
    if (!all.length) return;
    const last = Math.max(2, ...grown.map(({ run }) => Math.max(run.planned, run.epochs.length)));
    const above = all.filter((value) => value > 0);
    const logged = kind === "loss" && log.checked && above.length > 0;
    const marks =
      kind === "accuracy"
        ? ticks(Math.min(...all, 0.99), 1)
        : logged
          ? logTicks(Math.min(...above), Math.max(...above))
          : ticks(0, Math.max(...all));
    const first = Math.min(1, ...grown.map(({ run }) => run.epochs[0].epoch));
    plots[kind].show({ lines: made, across: [first, last], whole: true, marks, log: logged });
  }

  const again = () => (empty.querySelector("button").disabled = false);
  model.on("change:refused", again);
  model.on("change:runs", show);
  show();
  return () => {
    for (const item of [...Object.values(plots), heads]) item.close();
    model.off("change:runs", show);
    model.off("change:refused", again);
  };
}

export default { render };
