// The host of the page that opens from a file: everything is in it, and nothing is asked for.

import view from "./inside.js";
import { stored } from "./packed.js";
import { element } from "./element.js";
import { store } from "./store.js";
import { unpacked } from "./unpack.js";
import { words } from "./words.js";

const data = JSON.parse(document.getElementById("data")?.textContent ?? "{}");
const language = navigator.language.startsWith("ko") ? "ko" : "en";
document.documentElement.lang = language;
const say = words(language);
const place = /** @type {HTMLElement} */ (document.getElementById("view"));
const scene = data.scene;

const model = store({
  scene: null,
  at: null,
  trace: null,
  error: null,
  language,
  live: false,
  said: data.said,
  traced: [],
});

/** @type {(at: string) => any} */
let find = () => null;

model.on("change:at", () => {
  const found = find(model.get("at"));
  model.set(
    "error",
    found
      ? null
      : `${say("untraced", data.said.traced, data.said.values.toLocaleString())}\n\nstriate trace RUN IMAGE --at '${model.get("at")}'`,
  );
  model.set("trace", found ?? null);
});

async function start() {
  document.body.prepend(
    element(
      "header",
      { class: "masthead" },
      element("h1", {}, scene.name, element("span", {}, ` · ${scene.net}`)),
      element("p", { class: "quiet" }, say("hint")),
    ),
  );
  if (data.traces) {
    const traces = JSON.parse(new TextDecoder().decode(await unpacked(data.traces, Uint8Array)));
    find = (at) => traces[at];
    model.set("traced", Object.keys(traces));
  }
  if (data.every) find = await stored(data.every, scene.layers, await unpacked(scene.values, Float32Array));
  model.set("scene", scene);
  await view.render({ model, el: place });
  model.set("at", scene.start);
}

start();
