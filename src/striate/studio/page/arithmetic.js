// A trace as arithmetic: partial sums, the window, the filter, the products, and what is done after. All of it is the
// library's record; a cell that names an operand leads to its own trace, and all that belongs to one operand lights up
// together (`lightKin`).

import { element } from "./element.js";
import { formatShort } from "./decimals.js";

const WIDE = 7;
const [CLOSE, NARROW] = [6, 7]; // columns from which cells are narrow, and the signs that one holds
const LISTED = 10;

/**
 * @param {any} trace
 * @param {(name: string, ...values: any[]) => string} say
 * @param {(at: string) => void} go
 */
export function arithmetic(trace, say, go) {
  const several = trace.groups.filter((/** @type {any} */ g) => g.terms.length > 1);
  const first = [...several].sort((a, b) => Math.abs(b.value) - Math.abs(a.value))[0];
  const most = Math.max(...trace.groups.map((/** @type {any} */ g) => Math.abs(g.value)), 1e-30);
  const one = trace.groups.length === 1;
  const parts = trace.groups.map((/** @type {any} */ group) =>
    group.terms.length === 1
      ? single(group, most, one && trace.op !== "sum", say, go)
      : opening(group, trace.op, most, one || group === first, say, go),
  );
  const total = trace.groups.length > 1 && trace.op === "sum" && !trace.steps.length;
  return element(
    "div",
    { class: "arithmetic" },
    element("p", { class: "rule" }, trace.rule),
    trace.groups.length > 1 && element("h4", {}, say("partial")),
    element(
      "div",
      { class: "groups" },
      parts,
      total && element("div", { class: "group total" }, line(say("sum"), trace.shown, null, most)),
    ),
    trace.steps.length > 0 &&
      element(
        "table",
        { class: "steps" },
        element(
          "tbody",
          {},
          trace.steps.map((/** @type {any} */ step) =>
            element(
              "tr",
              {},
              element("th", { scope: "row" }, step.name),
              element("td", {}, step.text),
              element("td", { class: "n" }, `${step.exact ? "=" : "≈"} ${step.shown}`),
            ),
          ),
        ),
      ),
    element("p", { class: "checked" }, say("checked", plain(trace.value), trace.checked_by, plain(trace.computed))),
  );
}

/** @param {number} value */
function plain(value) {
  return String(Number(value.toPrecision(9)));
}

/**
 * @param {any} name
 * @param {string} shown
 * @param {number | null} value
 * @param {number} most
 */
function line(name, shown, value, most) {
  const share = value === null ? 0 : (50 * Math.abs(value)) / most;
  const bar =
    value !== null &&
    element("i", {
      class: value < 0 ? "less" : "more",
      style: value < 0 ? { right: "50%", width: `${share}%` } : { left: "50%", width: `${share}%` },
    });
  return [
    element("span", { class: "label" }, name),
    element("span", { class: "bar", "aria-hidden": "true" }, bar),
    element("span", { class: "number" }, shown),
  ];
}

function single(
  /** @type {any} */ group,
  /** @type {number} */ most,
  /** @type {boolean} */ alone,
  /** @type {any} */ say,
  /** @type {any} */ go,
) {
  const [term] = group.terms;
  const own = noteOf(term, say);
  const named = term.at ?? term.weight_at ?? own;
  const note = own && own !== named && own !== group.name ? ` (${own})` : "";
  const name = term.at ? link(term.at, go) : named;
  return element(
    "div",
    { class: "group" },
    line(
      [!alone && group.name !== say("input") && group.name !== named ? `${group.name} ` : null, name, note],
      term.shown,
      term.value,
      most,
    ),
  );
}

/** A term's note for a reader: two are kept as they are known by, as in striate/inside/trace_format.py. */
function noteOf(/** @type {any} */ term, /** @type {any} */ say) {
  return ["padding", "won"].includes(term.note) ? say(term.note) : term.note;
}

function opening(
  /** @type {any} */ group,
  /** @type {string} */ op,
  /** @type {number} */ most,
  /** @type {boolean} */ open,
  /** @type {any} */ say,
  /** @type {any} */ go,
) {
  const details = element(
    "details",
    { class: "group", open },
    element("summary", {}, line(group.name, op === "max" ? group.shown : group.shown, group.value, most)),
  );
  const show = () => details.open && details.children.length < 2 && details.append(inside(group, op, say, go));
  details.addEventListener("toggle", show);
  show();
  return details;
}

function inside(/** @type {any} */ group, /** @type {string} */ op, /** @type {any} */ say, /** @type {any} */ go) {
  if (group.grid.length !== 2) return list(group, say, go);
  const weighted = group.terms.some((/** @type {any} */ t) => t.weight !== null && t.weight !== undefined);
  const sign = op === "max" ? say("largest") : say("sum");
  const grids = [
    grid(
      say("window"),
      group,
      (/** @type {any} */ t) => (t.at ? (weighted ? formatShort(t.x) : t.shown) : "·"),
      (/** @type {any} */ t) => t.x,
      (/** @type {any} */ t) => t.at ?? say("padding"),
      go,
    ),
  ];
  if (weighted) {
    grids.push(
      grid(
        `× ${say("filter")}`,
        group,
        (/** @type {any} */ t) => formatShort(t.weight ?? 0),
        (/** @type {any} */ t) => t.weight ?? 0,
        (/** @type {any} */ t) => t.weight_at ?? "",
        null,
      ),
    );
    grids.push(
      grid(
        `= ${say("products")}`,
        group,
        (/** @type {any} */ t) => t.shown,
        (/** @type {any} */ t) => t.value,
        (/** @type {any} */ t) => t.at ?? say("padding"),
        null,
      ),
    );
  }
  return element(
    "div",
    { class: "grids" },
    grids,
    element("p", { class: "sum" }, `${sign} `, element("b", {}, group.shown)),
  );
}

/**
 * A number as a narrow cell holds it, whose title has it whole: rounded, or one digit and the power of ten.
 * @param {string} text
 */
function shorten(text) {
  const value = Number(text);
  if (text.length <= NARROW || !Number.isFinite(value)) return text;
  if (Math.abs(value) < 0.001) return value.toExponential(0);
  const whole = (value < 0 ? "-" : "").length + String(Math.trunc(Math.abs(value))).length;
  return value.toFixed(Math.max(0, NARROW - whole - 1));
}

/** A square of cells, coloured from blue (negative) to orange (positive), with their numbers where they fit. */
function grid(
  /** @type {string} */ name,
  /** @type {any} */ group,
  /** @type {(t: any) => string} */ text,
  /** @type {(t: any) => number} */ value,
  /** @type {(t: any) => string} */ title,
  /** @type {any} */ go,
) {
  const columns = group.grid[1];
  const most = Math.max(...group.terms.map((/** @type {any} */ t) => Math.abs(value(t))), 1e-30);
  const [numbers, close] = [columns <= WIDE, columns >= CLOSE];
  const cells = group.terms.map((/** @type {any} */ term) => {
    const share = value(term) / most;
    const style = {
      "--share": `${Math.round(88 * Math.abs(share))}%`,
      "--hue": share < 0 ? "var(--less)" : "var(--more)",
    };
    const kinds = ["cell", term.note === "won" ? "won" : "", term.at ? "" : "out"].filter(Boolean).join(" ");
    const label = `${title(term)}: ${text(term)}`;
    const kin = { "data-at": term.at };
    const content = !numbers ? "" : close ? shorten(text(term)) : text(term);
    if (go && term.at)
      return element(
        "button",
        { type: "button", class: kinds, style, title: label, "aria-label": label, ...kin, onclick: () => go(term.at) },
        content,
      );
    return element("span", { class: kinds, style, title: label, ...kin }, content);
  });
  return element(
    "figure",
    { class: numbers ? "grid" : "grid bare", style: { "--columns": columns } },
    element("figcaption", {}, name),
    element("div", { class: close ? "cells close" : "cells", style: { "--columns": columns } }, cells),
  );
}

function list(/** @type {any} */ group, /** @type {any} */ say, /** @type {any} */ go) {
  const terms = [...group.terms].sort((a, b) => Math.abs(b.value) - Math.abs(a.value));
  const row = (/** @type {any} */ t) =>
    element(
      "tr",
      {},
      element("td", {}, t.at ? link(t.at, go) : (t.weight_at ?? noteOf(t, say)), t.note && t.at ? ` ${noteOf(t, say)}` : ""),
      element(
        "td",
        {},
        t.weight !== null && t.weight !== undefined && t.at ? `${formatShort(t.x)} × ${formatShort(t.weight)}` : "",
      ),
      element("td", { class: "n" }, t.shown),
    );
  const body = element("tbody", {}, terms.slice(0, LISTED).map(row));
  const more =
    terms.length > LISTED &&
    element(
      "button",
      {
        type: "button",
        class: "quiet-button",
        onclick: (/** @type {any} */ event) => {
          body.append(...terms.slice(LISTED).map(row));
          event.target.remove();
        },
      },
      say("more", terms.length),
    );
  return element("div", { class: "list" }, element("table", {}, body), more);
}

/**
 * Light the cells of one operand: in the window, the filter and the products, and its partial sum.
 * @param {Element} panel
 * @param {string | null} at  its address
 */
export function lightKin(panel, at) {
  for (const lit of panel.querySelectorAll(".kin")) lit.classList.remove("kin");
  if (!at) return;
  for (const cell of panel.querySelectorAll(`[data-at="${at}"]`)) {
    cell.classList.add("kin");
    cell.closest("details")?.querySelector("summary")?.classList.add("kin");
  }
}

/**
 * @param {string} at
 * @param {(at: string) => void} go
 */
export function link(at, go) {
  return element("button", { type: "button", class: "address", onclick: () => go(at) }, at);
}
