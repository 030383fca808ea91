// The studio: the views under one head, and the host that asks the server for what they show.

import architecture from "./architecture.js";
import { ask } from "./ask.js";
import data from "./data.js";
import { element, fill } from "./element.js";
import inside from "./inside.js";
import results from "./results.js";
import { store } from "./store.js";
import training from "./training.js";
import { words } from "./words.js";

/** @type {Record<string, {render: (host: any) => any}>} */
const VIEWS = { architecture, training, data, results, inside };
const head = /** @type {HTMLElement} */ (document.getElementById("head"));
const main = /** @type {HTMLElement} */ (document.getElementById("view"));

let language = localStorage.getItem("language") ?? (navigator.language.startsWith("ko") ? "ko" : "en");
let say = words(language);
/** @type {any[]} */
let runs = [];
/** @type {(() => void) | null} */
let leave = null;
let visit = 0;

/** The view and the run in the address. */
function place() {
  const [view, run, ...rest] = location.hash.slice(1).split("/").map(decodeURIComponent);
  const withModel = runs.filter((item) => item.model);
  const chosen = runs.find((item) => item.name === run) ?? withModel[withModel.length - 1] ?? runs[runs.length - 1];
  return { view: view in VIEWS ? view : "inside", run: chosen, rest };
}

/** @param {string} view @param {string} run @param {...any} rest */
function to(view, run, ...rest) {
  location.hash = [view, run, ...rest].map(encodeURIComponent).join("/");
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
        Object.keys(VIEWS).map((name) =>
          element(
            "a",
            { href: `#${name}/${encodeURIComponent(run?.name ?? "")}`, "aria-current": name === view && "page" },
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
                onchange: (/** @type {any} */ event) => to(place().view, event.target.value),
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
  const { view, run, rest } = place();
  if (!run) {
    fill(
      main,
      element(
        "div",
        { class: "empty" },
        element("p", {}, say("noRuns")),
        element("code", {}, "striate train digits --net lenet5 --epochs 20"),
      ),
    );
    return;
  }
  main.className = "waiting";
  fill(main, element("p", { class: "quiet", role: "status" }, say("working")));
  const model = store({ language, run: run.name, runs, live: true });
  const el = element("div", { class: "view" });
  try {
    await HOSTS[view](model, run, rest);
    if (mine !== visit) return;
    fill(main, el);
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
/** @type {Record<string, (model: any, run: any, rest: string[]) => any>} */
const HOSTS = {
  async inside(model, run, [index]) {
    const first = await ask("look", { run: run.name, index: index ?? 0 });
    let number = first.index;
    let asked = 0;
    const explain = async () => {
      const [mine, at] = [++asked, model.get("at")];
      try {
        const trace = await ask("trace", { look: model.get("scene").id, at });
        if (mine !== asked) return;
        model.set("error", null);
        model.set("trace", trace);
      } catch (error) {
        if (mine !== asked) return;
        model.set("error", /** @type {Error} */ (error).message);
      }
    };
    const taken = (/** @type {any} */ scene) => {
      for (const name of ["at", "trace", "error", "removed"]) model.set(name, null);
      model.set("attribution", { method: "grad-cam" });
      model.set("scene", scene);
      model.set("at", scene.start);
    };
    model.set("attribution", { method: "grad-cam" });
    model.set("scene", first);
    model.set("trace", await ask("trace", { look: first.id, at: first.start }));
    model.set("at", first.start);
    model.on("change:at", () => model.get("at") && explain());
    model.on("change:picture", async () => {
      const picture = model.get("picture");
      main.className = "waiting";
      try {
        taken(
          picture.another
            ? await ask("look", { run: run.name, index: ++number })
            : await ask("look", { run: run.name, name: picture.name }, picture.blob),
        );
      } catch (error) {
        model.set("error", /** @type {Error} */ (error).message);
      }
      main.className = "";
    });
    model.on("change:remove", async () => {
      const remove = model.get("remove");
      try {
        model.set("removed", remove && (await ask("lesion", { look: model.get("scene").id, ...remove })));
      } catch (error) {
        model.set("error", /** @type {Error} */ (error).message);
      }
    });
    model.on("change:attribute", async () => {
      try {
        model.set("attribution", await ask("attribution", { look: model.get("scene").id, ...model.get("attribute") }));
      } catch (error) {
        model.set("error", /** @type {Error} */ (error).message);
      }
    });
  },

  async architecture(model, run) {
    model.set("zoo", await ask("zoo"));
    model.set(
      "text",
      run.model ? (await ask("text", { run: run.name })).text : (await ask("text", { name: "lenet5" })).text,
    );
    let asked = 0;
    const check = async () => {
      const mine = ++asked;
      try {
        const found = await ask("net", {}, model.get("text"));
        if (mine !== asked) return;
        model.set("error", null);
        model.set("found", found);
      } catch (error) {
        if (mine === asked) model.set("error", /** @type {Error} */ (error).message);
      }
    };
    model.on("change:text", check);
    model.on("change:start", async () => {
      const name = model.get("start");
      model.set("text", (await ask("text", name ? { name } : { run: run.name })).text);
    });
    await check();
  },

  training(model) {
    const mine = visit;
    const poll = setInterval(async () => {
      if (mine !== visit) return clearInterval(poll);
      if (document.hidden) return;
      try {
        model.set("runs", await ask("runs"));
      } catch {
        clearInterval(poll);
      }
    }, 2000);
  },

  async results(model, run) {
    model.set("results", await ask("results", { run: run.name }));
    model.set("hasReport", run.report);
    model.on("change:cell", async () => {
      const [truth, predicted] = model.get("cell");
      model.set("pictures", await ask("cell", { run: run.name, truth, predicted }));
    });
    model.on("change:open", () => to("inside", run.name, model.get("open")));
  },

  async data(model, run) {
    model.set("audit", await ask("audit", { run: run.name }));
    model.set(
      "thumbnail",
      (/** @type {string} */ file) => `api/thumbnail?${new URLSearchParams({ run: run.name, file })}`,
    );
  },
};

addEventListener("hashchange", show);
show();
