// The studio: the views under one head, and the host that asks the server for what they show.

import architecture from "./architecture.js";
import { ask } from "./ask.js";
import data from "./data.js";
import { element, fill } from "./element.js";
import inside from "./inside.js";
import fixing from "./fixing.js";
import { hostInside } from "./inside_host.js";
import { latest } from "./latest.js";
import { readPlace, remembered, writePlace } from "./place.js";
import results from "./results.js";
import { store } from "./store.js";
import training from "./training.js";
import { words } from "./words.js";

/** @type {Record<string, {render: (host: any) => any}>} */
const VIEWS = { architecture, training, data, results, fixing, inside };
const head = /** @type {HTMLElement} */ (document.getElementById("head"));
const main = /** @type {HTMLElement} */ (document.getElementById("view"));

let language = localStorage.getItem("language") ?? (navigator.language.startsWith("ko") ? "ko" : "en");
let say = words(language);
/** @type {any[]} */
let runs = [];
/** @type {(() => void) | null} */
let leave = null;
let visit = 0;
/** Where Inside was left, to come back to. */
let lastInside = JSON.parse(sessionStorage.getItem("inside") ?? '{"run": "", "hash": ""}');
/** A picture that was dropped on another view, on its way into the network. @type {File | null} */
let dropped = null;

/** The view and the run in the address, and what is chosen there. */
function place() {
  const { view, run, rest, chosen: given } = readPlace(location.hash);
  const withModel = runs.filter((item) => item.model);
  const chosen = runs.find((item) => item.name === run) ?? withModel[withModel.length - 1] ?? runs[runs.length - 1];
  const wanted = view in VIEWS ? view : "inside";
  const possible = chosen?.model || wanted === "architecture" || (chosen && wanted === "data");
  return { view: possible ? wanted : "training", run: chosen, rest, given };
}

/**
 * Write what is chosen in the view that is shown into the address, without going anywhere.
 * @param {Record<string, any>} values
 * @param {string[]} [parts]  what stands behind the run; as it is unless given
 */
function keep(values, parts) {
  const { view, run, rest, given } = place();
  const chosen = { ...given, ...values };
  for (const [name, value] of Object.entries(chosen)) if (value === "" || value === null) delete chosen[name];
  const hash = writePlace({ view, run: run?.name ?? "", rest: parts ?? rest, chosen });
  history.replaceState(null, "", hash);
  if (view !== "inside") return remembered.write(view, chosen);
  lastInside = { run: run?.name ?? "", hash };
  sessionStorage.setItem("inside", JSON.stringify(lastInside));
  head.querySelector("a[aria-current]")?.setAttribute("href", hash);
}

const named = (/** @type {any} */ item) => `${item.name} ${item.model}`;

/** @param {string} view @param {string} run @param {...any} rest */
function to(view, run, ...rest) {
  location.hash = writePlace({ view, run, rest, chosen: remembered.read(view) });
}

/** @param {string} view @param {string} run */
function addressOf(view, run) {
  return view === "inside" && lastInside.run === run ? lastInside.hash : writePlace({ view, run });
}

function showHead() {
  const { view, run } = place();
  document.documentElement.lang = language;
  document.title = `${say(view)} · ${run?.name ?? ""} · striate`;
  fill(
    head,
    element(
      "a",
      {
        class: "skip",
        href: "#view",
        onclick: (/** @type {Event} */ event) => {
          event.preventDefault();
          main.focus();
        },
      },
      say("skip"),
    ),
    element(
      "header",
      { class: "top" },
      element("span", { class: "mark" }, "striate"),
      element(
        "nav",
        { class: "tabs", "aria-label": say("views") },
        element("a", { href: `learn#step-1?lang=${language}` }, say("learn")),
        Object.keys(VIEWS).map((name) =>
          element(
            "a",
            {
              href: addressOf(name, run?.name ?? ""),
              "aria-current": name === view && "page",
              onclick: (/** @type {Event} */ event) => {
                event.preventDefault();
                const there = place().run?.name ?? "";
                if (name === "inside") location.hash = addressOf(name, there);
                else to(name, there);
              },
            },
            say(name),
          ),
        ),
      ),
      element(
        "div",
        { class: "end" },
        runs.length > 0 &&
          element(
            "label",
            {},
            element("span", {}, say("run")),
            element(
              "select",
              {
                "aria-label": say("run"),
                onchange: (/** @type {any} */ event) => {
                  if (view !== "training") remembered.write(view, {}); // it was chosen in the other run
                  to(view, event.target.value);
                },
              },
              runs.map((item) => element("option", { value: item.name, selected: item.name === run?.name }, item.name)),
            ),
          ),
        element(
          "button",
          {
            type: "button",
            lang: language === "en" ? "ko" : "en",
            onclick: () => {
              language = language === "en" ? "ko" : "en";
              localStorage.setItem("language", language);
              say = words(language);
              show();
            },
          },
          say("language"),
        ),
      ),
    ),
  );
  showTab(head.querySelector(".tabs"), head.querySelector("a[aria-current]"));
}

/** Bring the tab of the view into the middle, where not all have room. @param {any} tabs @param {any} tab */
function showTab(tabs, tab) {
  if (tab) tabs.scrollTo({ left: tab.offsetLeft - tabs.offsetLeft - (tabs.clientWidth - tab.offsetWidth) / 2 });
}

async function show() {
  const mine = ++visit;
  leave?.();
  leave = null;
  try {
    runs = await ask("runs");
  } catch {
    fill(
      main,
      element("div", { class: "empty" }, element("p", {}, say("gone")), element("code", {}, "striate studio")),
    );
    return;
  }
  showHead();
  const { view, run, rest, given } = place();
  const [, query = ""] = location.hash.split("?");
  const kept = view === "inside" || query ? given : remembered.read(view);
  main.className = "waiting";
  fill(main, element("p", { class: "quiet", role: "status" }, say("working")));
  const model = store({ language, run: run?.name, runs, kept });
  model.on("change:keep", () => mine === visit && keep(model.get("keep")));
  const el = element("div", { class: "view" });
  const title = element("h1", { class: view === "inside" ? "unseen" : "title" }, [say(view), run?.name].filter(Boolean).join(" · "));
  try {
    await HOSTS[view](model, run, rest);
    if (mine !== visit) return;
    fill(main, title, el);
    if (!query && Object.keys(kept).length) keep(kept);
    leave = (await VIEWS[view].render({ model, el })) ?? null;
  } catch (error) {
    if (mine === visit)
      fill(
        main,
        element("pre", { class: "error", role: "alert" }, error instanceof Error ? error.message : String(error)),
      );
  }
  if (mine === visit) {
    main.className = "";
    main.dataset.shown = view;
  }
}

/** What each view is given before it is drawn, and what the host does when the view sets something. */
/** @type {Record<string, (model: any, run: any, rest: any) => any>} */
const HOSTS = {
  async inside(model, run, rest) {
    const mine = visit;
    await hostInside(model, run, rest, {
      busy: (is) => (main.className = is ? "waiting" : ""),
      wrote: (values, parts) => mine === visit && keep(values, parts),
    });
    if (dropped) model.set("picture", { blob: dropped, name: dropped.name });
    dropped = null;
  },

  async architecture(model, run) {
    model.set("zoo", await ask("zoo"));
    const { net } = model.get("kept");
    const named = (/** @type {string} */ name) => ask("text", name ? { name } : { run: run.name });
    const listed = model.get("zoo").includes(net) ? net : run?.model ? "" : "lenet5";
    const own = net && net !== listed;
    model.set("name", own ? null : listed);
    model.set("text", own ? net : (await named(listed)).text);
    const failed = (/** @type {string} */ message) => model.set("error", message);
    const checked = latest((/** @type {any} */ found) => {
      model.set("error", null);
      model.set("found", found);
    }, failed);
    const check = () => checked(ask("net", {}, model.get("text")));
    const begin = latest((/** @type {any} */ found) => {
      keep({ net: found.name });
      model.set("text", found.text);
    }, failed);
    model.on("change:text", check);
    model.on("change:start", () => {
      const name = model.get("start");
      begin(named(name).then(({ text }) => ({ name, text })));
    });
    model.on("change:train", () => {
      const net = model.get("text").replace(/\s*\n\s*/g, " ");
      remembered.write("training", { ...remembered.read("training"), net });
      to("training", run?.name ?? "");
    });
    model.set("hasRun", Boolean(run?.model));
    await check();
  },

  async training(model) {
    const mine = visit;
    const given = (/** @type {any[]} */ found) => {
      const names = runs.map(named).join();
      runs = found;
      if (mine !== visit) return;
      if (runs.map(named).join() !== names) showHead();
      model.set("runs", runs);
    };
    const follow = async () => {
      if (mine !== visit) return;
      try {
        if (!document.hidden) given(await ask("runs"));
      } catch {
        return;
      }
      setTimeout(follow, runs.some((item) => item.state !== "done" && item.state !== "stopped") ? 700 : 2000);
    };
    model.set("choices", await ask("choices"));
    const told = async (/** @type {() => Promise<any>} */ work) => {
      try {
        await work();
        model.set("refused", null);
        given(await ask("runs"));
      } catch (error) {
        model.set("refused", /** @type {Error} */ (error).message);
      }
    };
    model.on("change:start", () => told(() => ask("start", {}, JSON.stringify(model.get("start")))));
    for (const question of ["stop", "resume"])
      model.on(`change:${question}`, () => told(() => ask(question, { run: model.get(question) }, "")));
    setTimeout(follow, 700);
  },

  async results(model, run) {
    model.set("results", await ask("results", { run: run.name }));
    model.set("hasReport", run.report);
    const pictured = latest(
      (/** @type {any} */ found) => model.set("pictures", found),
      (message) => model.set("pictures", { error: message }),
    );
    model.on("change:cell", () => {
      const [truth, predicted] = model.get("cell");
      pictured(ask("cell", { run: run.name, truth, predicted }));
    });
    model.on("change:open", () => to("inside", run.name, model.get("open")));
    model.on("change:measure", async () => {
      const mine = visit;
      let working = true;
      const tell = async () => {
        if (!working || mine !== visit) return;
        model.set("progress", await ask("progress", { run: run.name }));
        setTimeout(tell, 300);
      };
      setTimeout(tell, 300);
      try {
        model.set("invariance", { found: await ask("invariance", { run: run.name, ...model.get("measure") }) });
      } catch (error) {
        model.set("invariance", { error: /** @type {Error} */ (error).message });
      }
      working = false;
    });
  },

  async fixing(model, run) {
    const address = (/** @type {string} */ question) => (/** @type {string} */ file) =>
      `api/${question}?${new URLSearchParams({ run: run.name, file })}`;
    model.set("doubtful", await ask("doubtful", { run: run.name }));
    model.set("picture", address("picture"));
    model.set("thumbnail", address("thumbnail"));
    model.set("say", (/** @type {string} */ file, /** @type {string} */ label, /** @type {string} */ reason) =>
      ask("correct", { run: run.name, file, label, reason }, ""),
    );
    model.set("undo", () => ask("undo", { run: run.name }, ""));
    model.set("same", () => ask("same", { run: run.name }));
    model.set("again", async () => to("training", (await ask("again", { run: run.name }, "")).run));
  },

  async data(model, run) {
    model.set("audit", await ask("audit", { run: run.name }));
    model.set(
      "thumbnail",
      (/** @type {string} */ file) => `api/thumbnail?${new URLSearchParams({ run: run.name, file })}`,
    );
  },
};

// A file that is dropped beside every target would otherwise be opened in the studio's place.
for (const kind of ["dragover", "drop"])
  addEventListener(kind, (event) => {
    const { view, run } = place();
    const [file] = /** @type {DragEvent} */ (event).dataTransfer?.files ?? [];
    if (event.defaultPrevented) return;
    event.preventDefault();
    if (kind !== "drop" || !file || !run?.model || view === "inside") return;
    dropped = file;
    to("inside", run.name);
  });

addEventListener("hashchange", show);
show();
