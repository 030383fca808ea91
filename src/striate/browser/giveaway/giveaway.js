// The page to give away: pictures in, answers out, all of it in the page.

import { formatShare } from "./decimals.js";
import { openEngine } from "./engine.js";
import { sayIn } from "./giving_words.js";
import { openPayload, parsePayload } from "./open.js";
import { inTurn, workThrough } from "./pool.js";
import { placeImage, prepareImage } from "./preprocess.js";

const SHOWN = 4; // answers a picture
const NAMED = 12; // classes at the top
const MOST_SIDE = 4096; // of a picture; a larger one is read smaller

const payload = readPayload();
const state = { language: chooseLanguage(), rows: [], opened: null, engine: null };
const find = (id) => document.getElementById(id);
let say = sayIn(state.language);

function chooseLanguage() {
  return (navigator.languages ?? [navigator.language]).some((name) => name.startsWith("ko")) ? "ko" : "en";
}

/** What the page holds; where the file is not whole, its reader is told so. */
function readPayload() {
  try {
    return parsePayload(document.getElementById("payload")?.textContent);
  } catch (error) {
    document.body.dataset.state = "broken";
    document.getElementById("trouble").textContent = sayIn(chooseLanguage())("altered");
    throw error;
  }
}

function make(name, given = {}, ...inside) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(given)) {
    if (key in element && key !== "list") element[key] = value;
    else element.setAttribute(key, value);
  }
  element.append(...inside);
  return element;
}

// What stands still ----------------------------------------------------------------------------------

function writePage() {
  say = sayIn(state.language);
  document.documentElement.lang = state.language;
  document.title = payload.card.title ?? payload.name;
  find("title").textContent = say("question");
  find("lead").textContent = say("lead", { n: payload.classes.length.toLocaleString(state.language) });
  const names = payload.classes.slice(0, NAMED).map((name) => make("li", {}, name));
  const rest = payload.classes.length - NAMED;
  if (rest > 0) names.push(make("li", { className: "quiet" }, say("more", { n: rest.toLocaleString(state.language) })));
  find("classes").replaceChildren(...names);
  find("choose").textContent = say("choose");
  find("camera").textContent = say("camera");
  find("hint").textContent = say("drop");
  find("private").textContent = say("private");
  find("language").textContent = say("language");
  find("language").lang = state.language === "en" ? "ko" : "en";
  find("all").textContent = say("all");
  find("save").textContent = say("download");
  find("clear").textContent = say("clear");
  find("heads").replaceChildren(...["file", "label", "probability"].map((key) => make("th", { scope: "col" }, say(key))));
  find("facts").replaceChildren(...writeFacts().map((text) => make("p", {}, text)));
  state.rows.forEach(writeRow);
  writeTable();
}

function writeFacts() {
  const { accuracy, interval, images, split, licence, date } = payload.card;
  const measured = accuracy === undefined ? say("unmeasured") : say("accuracy", {
    images, split: say(split), right: formatShare(accuracy),
    low: formatShare(interval[0]), high: formatShare(interval[1]),
  });
  const facts = [`${say("network")}: ${payload.name}`];
  if (date) facts.push(`${say("made")}: ${date}`);
  if (licence) facts.push(`${say("licence")}: ${licence}`);
  const silent = payload.abstention ? [writeAbstention(payload.abstention), ...(payload.untold ? [say("untold")] : [])] : [];
  return [measured, ...silent, facts.join(" · ")];
}

function writeAbstention({ tested, calibrated }) {
  const [images, answered, wrong] = tested ?? calibrated;
  return say("abstains", { images, answered, wrong, share: formatShare(wrong / Math.max(answered, 1)) });
}

// A picture ------------------------------------------------------------------------------------------

async function takeFiles(files) {
  await ready;
  await workThrough(files, state.engine.workers.most, takeFile);
}

async function takeFile(file) {
  const row = { name: file.name || "picture", status: "looking", card: make("article", { className: "card" }) };
  state.rows.push(row);
  find("results").prepend(row.card);
  writeRow(row);
  try {
    row.x = await readNext(file, row);
    row.status = await answerPicture(row).then(() => "done", () => "failed");
  } catch {
    row.status = "unread";
  }
  writeRow(row);
  writeTable();
}

/** One at a time: a photograph takes a hundred megabytes while it is read. */
const readNext = inTurn(readPicture);

async function readPicture(file, row) {
  const bitmap = await createImageBitmap(file, { imageOrientation: "from-image" });
  const scale = Math.min(1, MOST_SIDE / Math.max(bitmap.width, bitmap.height));
  const canvas = make("canvas", { width: Math.round(bitmap.width * scale), height: Math.round(bitmap.height * scale) });
  const drawing = canvas.getContext("2d", { willReadFrequently: true });
  drawing.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  const pixels = drawing.getImageData(0, 0, canvas.width, canvas.height);
  row.picture = URL.createObjectURL(file);
  row.size = [canvas.height, canvas.width];
  return prepareImage(pixels, payload.preprocess, state.engine.input[0]).x;
}

async function answerPicture(row) {
  row.probabilities = await state.engine.classify(row.x);
  row.order = [...row.probabilities.keys()].sort((a, b) => row.probabilities[b] - row.probabilities[a]);
  row.unsure = row.probabilities[row.order[0]] < (payload.abstention?.thresholds[row.order[0]] ?? 0);
}

function writeRow(row) {
  const { card, status } = row;
  card.dataset.status = status;
  if (status !== "done") {
    card.replaceChildren(make("h2", {}, row.name), make("p", { className: "quiet" }, say(status)));
    return;
  }
  const frame = make("div", { className: "frame" }, make("img", { src: row.picture, alt: row.name }));
  if (row.heat) frame.append(row.heat);
  const bars = row.order.slice(0, SHOWN).map((place) => writeBar(payload.classes[place], row.probabilities[place]));
  const said = make("div", { className: "said" });
  said.append(make("h2", {}, payload.classes[row.order[0]]));
  if (row.unsure) said.append(make("p", { className: "unsure" }, say("unsure")));
  said.append(make("div", { className: "bars" }, ...bars), make("p", { className: "name quiet" }, row.name));
  if (state.engine.lastMap) {
    const show = make("button", { type: "button" }, say(row.heat ? "hide" : "where"));
    show.addEventListener("click", () => switchHeat(row));
    said.append(show);
  }
  card.replaceChildren(frame, said);
}

function writeBar(name, share) {
  const fill = make("span", { className: "fill" });
  fill.style.width = `${100 * share}%`;
  return make("div", { className: "bar" }, make("span", { className: "what" }, name),
    make("span", { className: "track" }, fill), make("span", { className: "share" }, formatShare(share)));
}

async function switchHeat(row) {
  if (row.heat) row.heat = null;
  else row.heat = drawHeat(await state.engine.cam(row.x, { label: row.order[0] }), row.size);
  writeRow(row);
}

/** Grad-CAM over the picture: the network's frame may hold bars, or only the picture's middle. */
function drawHeat({ height, width, data: weights }, size) {
  const most = weights.reduce((a, b) => Math.max(a, b), 1e-12);
  const data = weights.map((weight) => weight / most);
  const canvas = make("canvas", { width, height, className: "heat" });
  const drawing = canvas.getContext("2d");
  const image = drawing.createImageData(width, height);
  data.forEach((value, i) => image.data.set([255, Math.round(190 * (1 - value)), 0, Math.round(190 * value)], 4 * i));
  drawing.putImageData(image, 0, 0);
  const frame = payload.preprocess.size;
  const at = placeImage(size, frame, payload.preprocess.fit);
  Object.assign(canvas.style, {
    left: `${(-100 * at.left) / at.width}%`, top: `${(-100 * at.top) / at.height}%`,
    width: `${(100 * frame[1]) / at.width}%`, height: `${(100 * frame[0]) / at.height}%`,
  });
  return canvas;
}

// All of them ----------------------------------------------------------------------------------------

const listAnswers = () => state.rows.filter((row) => row.status === "done");

function writeTable() {
  const rows = listAnswers();
  find("table").hidden = rows.length === 0;
  find("rows").replaceChildren(...rows.map((row) => make("tr", {}, make("td", {}, row.name),
    make("td", {}, payload.classes[row.order[0]], row.unsure ? ` (${say("unsure")})` : ""),
    make("td", { className: "n" }, formatShare(row.probabilities[row.order[0]], 2)))));
}

/** As `striate predict --csv` writes it: file, label, probability, and of a calibrated model whether it is unsure. */
function writeCsv() {
  const quote = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const lines = listAnswers().map((row) =>
    [quote(row.name), quote(payload.classes[row.order[0]]), row.probabilities[row.order[0]].toFixed(6),
      ...(payload.abstention ? [row.unsure] : [])].join(","));
  return [`file,label,probability${payload.abstention ? ",unsure" : ""}`, ...lines, ""].join("\r\n");
}

function save() {
  const address = URL.createObjectURL(new Blob(["\ufeff", writeCsv()], { type: "text/csv" }));
  make("a", { href: address, download: "answers.csv" }).click();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}

function clear() {
  for (const row of state.rows) if (row.picture) URL.revokeObjectURL(row.picture);
  state.rows = [];
  find("results").replaceChildren();
  writeTable();
}

// From here it runs ----------------------------------------------------------------------------------

async function start() {
  state.opened = await openPayload(payload);
  state.engine = await openEngine(state.opened, { source: find("engine").textContent + find("worker").textContent });
}

function listen() {
  for (const id of ["files", "shots"]) {
    find(id).addEventListener("change", ({ target }) => takeFiles([...target.files]).then(() => (target.value = "")));
  }
  find("choose").addEventListener("click", () => find("files").click());
  find("camera").addEventListener("click", () => find("shots").click());
  find("save").addEventListener("click", save);
  find("clear").addEventListener("click", clear);
  find("language").addEventListener("click", () => {
    state.language = state.language === "en" ? "ko" : "en";
    writePage();
  });
  addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.add("over");
  });
  addEventListener("dragleave", ({ relatedTarget }) => relatedTarget ?? document.body.classList.remove("over"));
  addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("over");
    takeFiles([...event.dataTransfer.files]);
  });
  addEventListener("paste", ({ clipboardData }) => takeFiles([...clipboardData.files]));
}

writePage();
listen();
const ready = start().then(
  () => (document.body.dataset.state = "ready"),
  (error) => {
    document.body.dataset.state = "broken";
    find("trouble").textContent = error.name === "Altered" ? say("altered") : say("engine", { why: error.message });
    throw error;
  },
);
