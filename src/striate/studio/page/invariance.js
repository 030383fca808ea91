// How steady the answers are when the images are shifted, turned, scaled and mirrored: the record of
// striate.metrics.invariance, asked for when the user wants it and drawn.

import { formatShare } from "./decimals.js";
import { element, fill } from "./element.js";
import { plot, shape, ticks } from "./plot.js";

const [BLUE, ORANGE] = ["var(--line-blue)", "var(--line-orange)"];

/**
 * Of the host it reads `invariance` ({found} or {error}) and `progress` ([done, of all]); it sets `measure`.
 * @param {import("./store.js").Model} model
 * @param {(name: string, ...values: any[]) => string} say
 * @param {number} available   images to measure on
 */
export function invariance(model, say, available) {
  const field = (
    /** @type {string} */ name,
    /** @type {number} */ value,
    /** @type {number} */ min,
    /** @type {number} */ max,
  ) =>
    element(
      "label",
      { class: "field" },
      element("span", {}, say(name)),
      element("input", { type: "number", name, value, min, max, step: 1, required: true }),
    );
  const button = element("button", { type: "submit", class: "main" }, say("measure"));
  const bar = element("progress", { max: 1, value: 0, hidden: true, "aria-label": say("working") });
  const result = element("div", { "aria-live": "polite" });
  const kept = model.get("kept") ?? {};
  const form = element(
    "form",
    { class: "fields", oninput: () => keep() },
    field("images_", Math.min(available, Number(kept.images_) || 200), 1, available),
    field("shifts", kept.shifts === undefined ? 4 : Number(kept.shifts), 0, 16),
    button,
    bar,
  );
  /** @type {{el: any, close: () => void}[]} */
  let drawn = [];
  const away = () => {
    for (const item of drawn) item.close();
    drawn = [];
  };

  /** What is filled in stays in the address. */
  const keep = () => {
    model.set("keep", Object.fromEntries(new FormData(form)));
    model.save_changes();
  };
  form.addEventListener("submit", (/** @type {Event} */ event) => {
    event.preventDefault();
    const given = new FormData(form);
    button.disabled = true;
    [bar.hidden, bar.value] = [false, 0];
    model.set("measure", { images: Number(given.get("images_")), shifts: Number(given.get("shifts")) });
    model.save_changes();
  });

  const progressed = () => {
    const now = model.get("progress");
    if (now) bar.value = now[0] / now[1];
  };
  const show = () => {
    const { found, error } = model.get("invariance");
    [button.disabled, bar.hidden] = [false, true];
    away();
    if (error) return fill(result, element("pre", { class: "error", role: "alert" }, error));
    const lined = found.changes.filter((/** @type {any} */ c) => c.unit && c.points.length > 1);
    const charts = lined.map((/** @type {any} */ change) => chart(change, found.accuracy, say));
    drawn = charts;
    fill(
      result,
      table(found, say),
      element(
        "div",
        { class: "steadiness" },
        charts.map((/** @type {any} */ item, /** @type {number} */ k) =>
          element("figure", {}, element("h3", {}, say(`change_${lined[k].name}`)), item.el),
        ),
        found.offsets.length > 1 && element("figure", {}, element("h3", {}, say("offsets")), heat(found.offsets, say)),
      ),
    );
  };
  model.on("change:progress", progressed);
  model.on("change:invariance", show);
  const el = element(
    "section",
    { class: "card" },
    element("h2", {}, say("invariance")),
    element("p", { class: "quiet" }, say("invarianceHint")),
    form,
    result,
  );
  return { el, close: away };
}

/** Accuracy and agreement against the size of a change; the dashed line is the accuracy on untouched images. */
function chart(/** @type {any} */ change, /** @type {number} */ untouched, /** @type {any} */ say) {
  const sizes = change.points.map((/** @type {any} */ point) => point.value);
  const units = /** @type {Record<string, string>} */ ({ px: " px", degrees: "°", factor: "×" });
  const unit = units[change.unit] ?? "";
  const made = plot({
    title: say(`change_${change.name}`),
    x: (value) => (unit === "×" ? `×${value}` : `${value}${unit}`),
    y: (value) => formatShare(value).replace(".0 %", " %"),
    say,
  });
  const line = (/** @type {string} */ name, /** @type {string} */ colour) => ({
    name: say(name),
    label: say(name),
    colour,
    points: change.points.map((/** @type {any} */ point) => [point.value, point[name]]),
  });
  const lowest = Math.min(untouched, ...change.points.flatMap((/** @type {any} */ p) => [p.accuracy, p.agreement]));
  made.show({
    lines: [line("accuracy", BLUE), line("agreement", ORANGE)],
    across: [Math.min(...sizes), Math.max(...sizes)],
    whole: change.unit === "px",
    marks: ticks(Math.min(lowest, 0.95), 1),
    rule: untouched,
  });
  return made;
}

/** All kinds of change with their intervals, a flip's directions on lines of their own. */
function table(/** @type {any} */ found, /** @type {any} */ say) {
  const share = (/** @type {number} */ value, /** @type {number[] | null} */ interval) =>
    element(
      "td",
      {},
      formatShare(value),
      interval && element("small", { class: "quiet" }, ` ${say("between", formatShare(interval[0]), formatShare(interval[1]))}`),
    );
  const rows = found.changes.flatMap((/** @type {any} */ c) => [
    element(
      "tr",
      {},
      element("th", { scope: "row" }, say(`change_${c.name}`)),
      share(c.accuracy, c.accuracy_interval),
      share(c.agreement, c.agreement_interval),
    ),
    ...(c.unit ? [] : c.points).map((/** @type {any} */ point) =>
      element(
        "tr",
        { class: "under" },
        element("th", { scope: "row" }, say(point.name)),
        share(point.accuracy, null),
        share(point.agreement, null),
      ),
    ),
  ]);
  const heads = ["", say("accuracy"), say("agreementLong")];
  return element(
    "div",
    { class: "scroll" },
    element(
      "table",
      { class: "changes" },
      element(
        "thead",
        {},
        element(
          "tr",
          {},
          heads.map((text) => element(text ? "th" : "td", text ? { scope: "col" } : {}, text)),
        ),
      ),
      element(
        "tbody",
        {},
        element(
          "tr",
          {},
          element("th", { scope: "row" }, say("untouched", found.images.toLocaleString("en"))),
          share(found.accuracy, found.accuracy_interval),
          element("td"),
        ),
        rows,
        element(
          "tr",
          {},
          element("th", { scope: "row" }, say("consistency", ...found.room)),
          element("td"),
          share(found.consistency, found.consistency_interval),
        ),
      ),
    ),
  );
}

/** The agreement at every offset, the untouched image in the middle. */
function heat(/** @type {number[][]} */ offsets, /** @type {any} */ say) {
  const reach = (offsets.length - 1) / 2;
  const least = Math.min(...offsets.flat());
  const [side, edge] = [200 / offsets.length, 30];
  const svg = shape("svg", { viewBox: `0 0 ${200 + edge} ${200 + edge}`, class: "chart heat", role: "img" });
  svg.setAttribute("aria-label", say("offsetsHint", formatShare(least), reach));
  offsets.forEach((row, i) =>
    row.forEach((share, j) => {
      const cell = shape("rect", {
        x: edge + j * side,
        y: i * side,
        width: side - 0.6,
        height: side - 0.6,
        fill: `color-mix(in oklab, var(--line-blue) ${(100 * (share - least)) / (1 - least || 1)}%, var(--pale))`,
      });
      cell.append(shape("title", {}, say("offset", i - reach, j - reach, formatShare(share))));
      svg.append(cell);
    }),
  );
  for (const [k, at] of [-reach, 0, reach].entries()) {
    const place = [side / 2, 100, 200 - side / 2][k];
    svg.append(
      shape("text", { x: edge + place, y: 216, class: "tick middle" }, String(at)),
      shape("text", { x: edge - 6, y: place + 4, class: "tick end" }, String(at)),
    );
  }
  return [svg, element("p", { class: "quiet" }, say("offsetsHint", formatShare(least), reach))];
}
