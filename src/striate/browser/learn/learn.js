// The course: a column of text that drives a stage, eleven steps, in two languages; the address keeps where one is.

import { sayLearn } from "./learn_words.js";
import { openPayload } from "./open.js";
import { button, fill, make } from "./page_parts.js";
import { drawStrokes, openSight, startPad } from "./sight.js";
import { answer } from "./step_answer.js";
import { breaking } from "./step_break.js";
import { channels } from "./step_channels.js";
import { field } from "./step_field.js";
import { filter } from "./step_filter.js";
import { descend, learning } from "./step_learning.js";
import { one } from "./step_one.js";
import { pixels } from "./step_pixels.js";
import { pooling } from "./step_pooling.js";
import { sharing } from "./step_sharing.js";
import { size } from "./step_size.js";

const STEPS = [pixels, filter, size, channels, sharing, pooling, one, field, answer, learning, breaking];

const find = (id) => document.getElementById(id);
const state = {
  step: 0,
  language: "en",
  values: STEPS.map((step) => ({ ...step.defaults })),
  playing: 0,
  scrolling: 0,
  sight: null,
};
let say = sayLearn("en");

// The address: #step-3?n=7&f=3&lang=ko -----------------------------------------------------------------

function readAddress() {
  const [, number, query] = /^#step-(\d+)(?:\?(.*))?$/.exec(location.hash) ?? [];
  const given = new URLSearchParams(query ?? "");
  state.step = Math.min(STEPS.length, Math.max(1, Number(number ?? 1))) - 1;
  const wanted = given.get("lang") ?? (navigator.language.startsWith("ko") ? "ko" : "en");
  state.language = wanted === "ko" ? "ko" : "en";
  for (const [key, usual] of Object.entries(STEPS[state.step].defaults)) {
    if (!given.has(key)) continue;
    const value = typeof usual === "number" ? Number(given.get(key)) : given.get(key);
    if (typeof usual !== "number" || Number.isFinite(value)) state.values[state.step][key] = value;
  }
}

function writeAddress() {
  const { defaults } = STEPS[state.step];
  const changed = Object.entries(state.values[state.step]).filter(([key, value]) => value !== defaults[key]);
  const query = new URLSearchParams([...changed, ["lang", state.language]].map(([key, value]) => [key, String(value)]));
  history.replaceState(null, "", `#step-${state.step + 1}?${query}`);
}

/** Whether the studio shows the page: then a step leads on to Inside. */
const inStudio = () => document.body.dataset.studio === "yes";

// The stage --------------------------------------------------------------------------------------------

function look() {
  state.sight.x = null;
  Object.assign(state.sight, state.sight.look(find("pad")));
  state.sight.see = (options) => state.sight.look(find("pad"), options);
}

/** What a step is handed: its values, how to change them, its words, the network's sight, and a way to play. */
function giveHost(at = state.step) {
  const { key } = STEPS[at];
  return {
    values: state.values[at],
    sight: state.sight,
    playing: state.playing !== 0,
    say: (name, numbers) => say(`${key}.${name}`, numbers),
    set(more, controls = false) {
      if ("at" in more || "epoch" in more) stopPlaying();
      change(at, more, controls || "kernel" in more || "layer" in more || "back" in more);
    },
    play(next, wait) {
      if (state.playing) stopPlaying();
      else playSteps(at, next, wait);
      drawStage();
    },
  };
}

function change(at, more, controls) {
  Object.assign(state.values[at], more);
  drawStage(controls);
  STEPS[at].moved?.(find("figure"), giveHost(at), more);
}

/** next(values) -> what changes, or null at the end; wait() -> the milliseconds until then. */
function playSteps(at, next, wait) {
  const go = () => {
    const more = state.step === at ? next(state.values[at]) : null;
    state.playing = more ? setTimeout(go, wait()) : 0;
    if (more) change(at, more, false);
    else drawStage();
  };
  go();
}

function stopPlaying() {
  if (!state.playing) return;
  clearTimeout(state.playing);
  state.playing = 0;
  find("controls").querySelector("button.main").textContent = say(`${STEPS[state.step].key}.play`);
}

function drawStage(controls = true) {
  const step = STEPS[state.step];
  const host = giveHost();
  find("penbox").hidden = !step.pad;
  const within = find("figure").contains(document.activeElement);
  const place = listControls().indexOf(document.activeElement);
  if (controls) find("controls").replaceChildren(...step.controls(host).filter(Boolean));
  find("figure").replaceChildren(...step.figure(host).filter(Boolean));
  if (within) find("figure").querySelector("[tabindex]")?.focus({ preventScroll: true });
  if (controls && place >= 0) listControls()[place]?.focus(); // what was drawn anew had the focus
  fillNumbers(state.step);
  writeAddress();
}

const listControls = () => [...find("controls").querySelectorAll("input, select, textarea, button")];

// The text ---------------------------------------------------------------------------------------------

function writeText() {
  document.documentElement.lang = state.language;
  document.title = say("title");
  find("lead").textContent = say("lead");
  find("language").textContent = say("language");
  find("copy").textContent = say("copy");
  find("wipe").textContent = say("wipe");
  find("four").textContent = say("four");
  find("pad").setAttribute("aria-label", say("padlabel"));
  find("dots").replaceChildren(
    ...STEPS.map(({ key }, i) =>
      button(String(i + 1), () => goTo(i), {
        title: say(`${key}.title`),
        className: "dot",
        "aria-label": `${i + 1}. ${say(`${key}.title`)}`,
      }),
    ),
  );
  find("steps").replaceChildren(...STEPS.map(writeStep));
  STEPS.forEach((_, i) => fillNumbers(i));
}

function writeStep({ key }, i) {
  const paragraphs = say(`${key}.text`)
    .split("\n")
    .map((text) => make("p", { dataset: { text } }, text));
  return make(
    "section",
    { id: `text-${i + 1}`, dataset: { step: i } },
    make("h2", {}, `${i + 1}. ${say(`${key}.title`)}`),
    paragraphs,
    STEPS[i].tasks.map((task) => writeTask(key, task)),
    writePlace(STEPS[i].place),
  );
}

/** Where the same is seen in one's own net: in the studio's Inside, or by a command. */
function writePlace({ studio, command }) {
  const name = make("span", {}, say("yournet"));
  if (inStudio()) return make("p", { className: "place" }, make("a", { href: `./#inside///${studio}` }, name));
  return make("p", { className: "place" }, name, " ", make("code", {}, command));
}

/** The live numbers in a step's paragraphs, each in its slider's colour. */
function fillNumbers(at) {
  const numbers = STEPS[at].numbers(giveHost(at));
  for (const paragraph of find(`text-${at + 1}`).querySelectorAll("p[data-text]"))
    paragraph.replaceChildren(...fill(paragraph.dataset.text, numbers));
}

/** A question with a field; its answer counts as right within `near`. */
function writeTask(key, [name, answer, near = 0]) {
  const question = say(`${key}.${name}`);
  const said = make("output", { className: "verdict" });
  const id = `${key}-${name}`;
  const input = make("input", { id, inputMode: "decimal", autocomplete: "off" });
  return make(
    "form",
    {
      className: "task",
      onsubmit: (event) => {
        event.preventDefault();
        const given = input.value.replaceAll(",", "").replace("−", "-").trim();
        const right = given !== "" && Math.abs(Number(given) - answer()) <= near;
        said.textContent = say(right ? "right" : "wrong");
        said.dataset.right = right;
      },
    },
    make("label", { htmlFor: id }, question),
    input,
    make("button", { type: "submit" }, say("check")),
    said,
  );
}

// Moving through it ------------------------------------------------------------------------------------

function goTo(i, { scroll = true, smooth = true } = {}) {
  if (i < 0 || i >= STEPS.length) return;
  stopPlaying();
  state.step = i;
  mark();
  drawStage();
  if (!scroll) return;
  state.scrolling = Date.now() + 900; // what this moves is no choice of the reader's
  find(`text-${i + 1}`).scrollIntoView({ behavior: smooth && !isStill() ? "smooth" : "auto", block: "start" });
}

const isStill = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

function mark() {
  find("dots")
    .querySelectorAll(".dot")
    .forEach((dot, i) => dot.setAttribute("aria-current", i === state.step ? "step" : "false"));
  find("steps")
    .querySelectorAll("section")
    .forEach((section, i) => section.classList.toggle("now", i === state.step));
}

/** The step whose text is nearest to the column's upper third. */
function followScroll() {
  if (Date.now() < state.scrolling) return;
  const column = find("column").getBoundingClientRect();
  const line = column.top + column.height / 3;
  const sections = [...find("steps").querySelectorAll("section")];
  const now = sections.findLastIndex((section) => section.getBoundingClientRect().top <= line);
  if (now >= 0 && now !== state.step) goTo(now, { scroll: false });
}

function listen() {
  let waiting = 0;
  find("column").addEventListener("scroll", () => {
    clearTimeout(waiting);
    waiting = setTimeout(followScroll, 80);
  });
  addEventListener("keydown", (event) => {
    if (event.target.closest("input, textarea, select") || event.altKey || event.ctrlKey || event.metaKey) return;
    const by = { ArrowRight: 1, ArrowDown: 1, PageDown: 1, ArrowLeft: -1, ArrowUp: -1, PageUp: -1 }[event.key];
    if (!by) return;
    event.preventDefault();
    goTo(state.step + by);
  });
  find("language").addEventListener("click", () => {
    state.language = state.language === "en" ? "ko" : "en";
    say = sayLearn(state.language);
    writeText();
    goTo(state.step);
  });
  find("copy").addEventListener("click", () => navigator.clipboard?.writeText(location.href));
  addEventListener("hashchange", () => {
    stopPlaying();
    readAddress();
    say = sayLearn(state.language);
    writeText();
    goTo(state.step);
  });
  find("wipe").addEventListener("click", () => redraw(() => startPad(find("pad"))));
  find("four").addEventListener("click", () => redraw(() => drawStrokes(find("pad"), "4")));
  listenToPen(find("pad"));
}

function redraw(draw) {
  draw();
  look();
  drawStage(false);
}

function listenToPen(pad) {
  let last = null;
  const place = ({ clientX, clientY }) => {
    const box = pad.getBoundingClientRect();
    return [((clientX - box.left) / box.width) * 280, ((clientY - box.top) / box.height) * 280];
  };
  const stroke = (event) => {
    const next = place(event);
    const pen = pad.getContext("2d");
    pen.beginPath();
    pen.moveTo(...(last ?? [next[0] - 0.01, next[1]])); // a line without a length is not drawn
    pen.lineTo(...next);
    pen.stroke();
    last = next;
    look();
    drawStage(false);
  };
  pad.addEventListener("pointerdown", (event) => {
    pad.setPointerCapture(event.pointerId);
    stroke(event);
  });
  pad.addEventListener("pointermove", (event) => last && stroke(event));
  for (const end of ["pointerup", "pointercancel"]) pad.addEventListener(end, () => (last = null));
}

async function start() {
  const payload = await openPayload(JSON.parse(find("payload").textContent));
  state.sight = openSight(payload, JSON.parse(find("measured").textContent));
  readAddress();
  say = sayLearn(state.language);
  drawStrokes(find("pad"), "4");
  look();
  writeText();
  listen();
  goTo(state.step, { smooth: false });
  Object.assign(globalThis, { striateLearn: { state, steps: STEPS, descend } });
  document.body.dataset.state = "ready";
}

start();
