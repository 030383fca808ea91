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

const STEPS = [
  { ...pixels, pad: true },
  filter,
  size,
  channels,
  sharing,
  pooling,
  one,
  { ...field, pad: true },
  answer,
  learning,
  breaking,
];

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
    say: (name, numbers) => say(`${key}.${name}`, numbers),
    set(more, controls = false) {
      Object.assign(state.values[at], more);
      drawStage(controls || "kernel" in more || "layer" in more || "back" in more);
    },
    play: (next, wait) => playSteps(at, next, wait),
  };
}

function playSteps(at, next, wait) {
  clearTimeout(state.playing);
  const go = () => {
    const more = state.step === at ? next(state.values[at]) : null;
    if (!more) return;
    Object.assign(state.values[at], more);
    drawStage(false);
    state.playing = setTimeout(go, wait());
  };
  go();
}

function drawStage(controls = true) {
  const step = STEPS[state.step];
  const host = giveHost();
  find("penbox").hidden = !step.pad;
  if (controls) find("controls").replaceChildren(...step.controls(host).filter(Boolean));
  find("figure").replaceChildren(...step.figure(host).filter(Boolean));
  fillNumbers(state.step);
  writeAddress();
}

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
    writeTask(key, i),
  );
}

/** The live numbers in a step's paragraphs, each in its slider's colour. */
function fillNumbers(at) {
  const numbers = STEPS[at].numbers(giveHost(at));
  for (const paragraph of find(`text-${at + 1}`).querySelectorAll("p[data-text]"))
    paragraph.replaceChildren(...fill(paragraph.dataset.text, numbers));
}

function writeTask(key, i) {
  const said = make("output", { className: "verdict" });
  const input = make("input", { inputMode: "decimal", autocomplete: "off", "aria-label": say(`${key}.task`) });
  const form = make(
    "form",
    {
      className: "task",
      onsubmit: (event) => {
        event.preventDefault();
        const right =
          Number(input.value.replace(",", "").replace("−", "-")) === STEPS[i].task.answer() &&
          input.value.trim() !== "";
        said.textContent = say(right ? "right" : "wrong");
        said.dataset.right = right;
      },
    },
    make("label", {}, say(`${key}.task`), input),
    make("button", { type: "submit" }, say("check")),
    said,
  );
  return form;
}

// Moving through it ------------------------------------------------------------------------------------

function goTo(i, { scroll = true, smooth = true } = {}) {
  if (i < 0 || i >= STEPS.length) return;
  clearTimeout(state.playing);
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
  state.sight = openSight(payload, JSON.parse(find("training").textContent));
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
