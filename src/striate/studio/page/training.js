// The view of trainings: the curves of the chosen runs, as they grow, and a line a run.
//
// Of the host it reads `runs`, anew as they grow, and `run`, the one to begin with.

import { element, fill } from "./element.js";
import { percent } from "./numbers.js";
import { words } from "./words.js";

const HUES = ["#3f7fd0", "#e0782a", "#4aa36b", "#a366c9", "#c9a227", "#cf5a78", "#3aa6b0", "#8a8f99"];

/** @param {{model: import("./store.js").Model, el: HTMLElement}} host */
function render({ model, el }) {
  const say = words(model.get("language") ?? "en");
  /** @type {Set<string>} */
  const chosen = new Set([
    model.get("run"),
    ...model
      .get("runs")
      .filter((/** @type {any} */ item) => item.state === "live")
      .map((/** @type {any} */ item) => item.name),
  ]);
  const plots = [
    ["loss", "loss", "valid_loss"],
    ["accuracy", "acc", "valid_acc"],
  ].map(([title, train, valid]) => ({
    title,
    train,
    valid,
    canvas: element("canvas", { class: "plot", role: "img" }),
  }));
  const keys = element("div", { class: "keys" });
  const table = element("div", { class: "scroll" });
  fill(
    el,
    element(
      "div",
      { class: "stack" },
      element(
        "div",
        { class: "grid-2" },
        plots.map(({ title, canvas }) =>
          element("figure", { class: "card", style: { margin: 0 } }, element("h3", {}, say(title)), canvas),
        ),
      ),
      keys,
      element(
        "div",
        { class: "card" },
        table,
        element("p", { class: "quiet", style: { "margin-top": "12px" } }, say("noStart")),
      ),
    ),
  );

  const hue = (/** @type {number} */ k) => HUES[k % HUES.length];
  const clock = (/** @type {number} */ seconds) =>
    seconds < 90
      ? `${seconds.toFixed(1)} s`
      : seconds < 5400
        ? `${Math.round(seconds / 60)} min`
        : `${(seconds / 3600).toFixed(1)} h`;

  function show() {
    const runs = /** @type {any[]} */ (model.get("runs"));
    const shown = runs
      .map((run, k) => ({ run, colour: hue(k) }))
      .filter(({ run }) => chosen.has(run.name) && run.epochs.length);
    for (const plot of plots) curves(plot, shown);
    fill(
      keys,
      element("span", {}, `┈┈ ${say("train")}`),
      element("span", {}, `── ${say("valid")}`),
      shown.map(({ run, colour }) =>
        element("span", {}, element("i", { class: "swatch", style: { background: colour } }), run.name),
      ),
    );
    const focused = document.activeElement?.getAttribute("data-run");
    fill(
      table,
      element(
        "table",
        { class: "runs" },
        element(
          "thead",
          {},
          element(
            "tr",
            {},
            [say("show"), say("run"), say("data"), say("net"), say("epochs"), say("best"), say("time"), ""].map(
              (text) => element("th", { scope: "col" }, text),
            ),
          ),
        ),
        element(
          "tbody",
          {},
          runs.map((run, k) =>
            element(
              "tr",
              {},
              element(
                "td",
                {},
                element("input", {
                  type: "checkbox",
                  checked: chosen.has(run.name),
                  "data-run": run.name,
                  "aria-label": `${say("show")} ${run.name}`,
                  style: { "accent-color": hue(k) },
                  onchange: () => {
                    chosen.has(run.name) ? chosen.delete(run.name) : chosen.add(run.name);
                    show();
                  },
                }),
              ),
              element("td", {}, element("b", {}, run.name)),
              element("td", {}, run.data ?? ""),
              element("td", {}, run.net),
              element("td", {}, `${run.epochs.length} / ${run.planned}`),
              element("td", {}, run.best === null ? "" : percent(run.best)),
              element("td", {}, clock(run.seconds)),
              element(
                "td",
                {},
                run.state === "live"
                  ? [
                      element("span", { class: "live-dot" }),
                      say("live"),
                      run.left ? ` · ${say("leftTime", clock(run.left))}` : "",
                    ]
                  : say(run.state),
              ),
            ),
          ),
        ),
      ),
    );
    if (focused)
      /** @type {HTMLElement | null} */ (table.querySelector(`[data-run="${CSS.escape(focused)}"]`))?.focus();
  }

  /** Lines over epochs: dotted in training, full in validation. */
  function curves(/** @type {any} */ plot, /** @type {{run: any, colour: string}[]} */ shown) {
    const { canvas, train, valid, title } = plot;
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth || 500, canvas.clientHeight || 280];
    [canvas.width, canvas.height] = [width * ratio, height * ratio];
    const context = canvas.getContext("2d");
    context.scale(ratio, ratio);
    const all = shown
      .flatMap(({ run }) => run.epochs.flatMap((/** @type {any} */ row) => [row[train], row[valid]]))
      .filter((value) => Number.isFinite(value));
    canvas.setAttribute(
      "aria-label",
      `${say(title)}: ${shown
        .map(({ run }) => {
          const last = run.epochs[run.epochs.length - 1];
          return `${run.name}, ${say("epoch")} ${last.epoch}: ${say("train")} ${last[train]?.toPrecision(4)}, ${say("valid")} ${last[valid]?.toPrecision(4) ?? ""}`;
        })
        .join("; ")}`,
    );
    if (!all.length) return;
    const share = title === "accuracy";
    const marks = share ? ticks(Math.min(...all, 0.99), 1) : ticks(0, Math.max(...all));
    const [low, high] = [marks[0], marks[marks.length - 1]];
    const last = Math.max(2, ...shown.map(({ run }) => Math.max(run.planned, run.epochs.length)));
    const style = getComputedStyle(el);
    const [left, right, top, bottom] = [44, 10, 10, 26];
    const x = (/** @type {number} */ epoch) => left + ((epoch - 1) / (last - 1)) * (width - left - right);
    const y = (/** @type {number} */ value) =>
      height - bottom - ((value - low) / (high - low || 1)) * (height - top - bottom);
    context.font = "11px system-ui, sans-serif";
    context.fillStyle = style.getPropertyValue("--quiet");
    context.strokeStyle = style.getPropertyValue("--rule");
    context.textAlign = "right";
    for (const value of marks) {
      context.beginPath();
      context.moveTo(left, y(value));
      context.lineTo(width - right, y(value));
      context.stroke();
      context.fillText(
        share ? `${Number((100 * value).toPrecision(4))} %` : String(Number(value.toPrecision(4))),
        left - 6,
        y(value) + 4,
      );
    }
    context.textAlign = "center";
    const every = Math.max(1, Math.ceil(last / 10));
    for (let epoch = 1; epoch <= last; epoch += every) context.fillText(String(epoch), x(epoch), height - 8);
    for (const { run, colour } of shown)
      for (const [name, dash] of /** @type {[string, number[]][]} */ ([
        [train, [2, 4]],
        [valid, []],
      ])) {
        context.strokeStyle = context.fillStyle = colour;
        context.lineWidth = 2;
        context.lineJoin = "round";
        context.setLineDash(dash);
        context.beginPath();
        for (const row of run.epochs) if (Number.isFinite(row[name])) context.lineTo(x(row.epoch), y(row[name]));
        context.stroke();
        context.setLineDash([]);
        const end = run.epochs[run.epochs.length - 1];
        if (Number.isFinite(end[name])) {
          context.beginPath();
          context.arc(x(end.epoch), y(end[name]), 3, 0, 7);
          context.fill();
        }
      }
  }

  model.on("change:runs", show);
  const resize = new ResizeObserver(show);
  resize.observe(el);
  show();
  return () => {
    resize.disconnect();
    model.off("change:runs", show);
  };
}

/** Round numbers from at or below `low` to at or above `high`. @param {number} low @param {number} high */
function ticks(low, high) {
  const rough = (high - low) / 5 || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((m) => m >= rough * 0.999) ?? rough;
  const [first, last] = [Math.floor(low / step + 1e-9), Math.ceil(high / step - 1e-9)];
  return Array.from({ length: last - first + 1 }, (_, k) => (first + k) * step);
}

export default { render };
