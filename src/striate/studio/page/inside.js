// The view into a network: one image, the maps of every layer, and where each value comes from.
//
// Of the host it reads `scene` (as striate.studio.look.as_dict gives it), `trace` (the record of the value at `at`, with
// the way `up`), `error` and `language`; it sets `at`, and `picture` for another image where `live` says that the host
// can take one.

import { arithmetic } from "./arithmetic.js";
import { element, fill } from "./element.js";
import { address, parsed, percent, short } from "./numbers.js";
import { pad } from "./pad.js";
import { drawn, field, frame, MANY, operands, plan, rectangle, under } from "./paint.js";
import { unpacked } from "./unpack.js";
import { words } from "./words.js";

const HERE = "#ffb454";
const POINTED = "#ffffff";
const PART = "#7fd1ff";

/** @param {{model: import("./store.js").Model, el: HTMLElement}} host */
async function render({ model, el }) {
  const say = words(model.get("language") ?? "en");
  /** @type {any} */
  let scene = null;
  /** @type {Uint8Array} */
  let levels = new Uint8Array();
  /** @type {Float32Array | null} */
  let values = null;
  /** @type {any[]} */
  let rows = [];
  /** @type {string | null} */
  let pointed = null;
  /** @type {string[]} */
  let way = [];
  let follow = 0;
  let gone = false;

  const image = element("canvas", { class: "image", tabindex: "0", role: "application" });
  const bars = element("div", { class: "bars" });
  const status = element("p", { class: "status", role: "status", "aria-live": "polite" }, say("hint"));
  const river = element("div", { class: "river" });
  const panel = element("div", { class: "panel", tabindex: "-1" });
  const tools = element("div", { class: "tools" });
  const caption = element("p", { class: "caption" });
  const extra = element("div", { class: "extra" });
  fill(
    el,
    element(
      "div",
      { class: "inside" },
      element(
        "section",
        { class: "left", "aria-label": say("image") },
        element("div", { class: "picture" }, image, caption),
        tools,
        element("div", {}, element("h3", {}, say("probabilities")), bars),
        extra,
      ),
      element("section", { class: "middle", "aria-label": say("maps") }, status, river),
      element("section", { class: "right", "aria-label": say("explain") }, panel),
    ),
  );

  /** @param {string} path */
  const layerOf = (path) => scene.layers.find((/** @type {any} */ layer) => layer.path === path);

  /** The value at an address, where the values came with the scene. @param {string} at */
  function valueAt(at) {
    if (!values) return null;
    const [path, index] = parsed(at);
    const layer = layerOf(path);
    return values[
      layer.first + index.reduce((/** @type {number} */ place, i, axis) => place * layer.shape[axis] + i, 0)
    ];
  }

  /** Pin a value. @param {string} at */
  function go(at) {
    if (way[way.length - 1] !== at) way = [...way, at].slice(-60);
    model.set("at", at);
    model.save_changes();
  }

  /** Follow the trace by `key`, "lead" or "up", to its end. @param {"lead" | "up"} key */
  function followAll(key) {
    const mine = ++follow;
    const step = () => {
      const next = model.get("trace")?.[key];
      if (mine !== follow || gone || !next) return;
      const again = () => {
        model.off("change:trace", again);
        setTimeout(step, matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : 420);
      };
      model.on("change:trace", again);
      go(next);
    };
    step();
  }

  function showBars() {
    const { probabilities, classes, top } = scene;
    const order = [...probabilities.keys()].sort((a, b) => probabilities[b] - probabilities[a]).slice(0, 10);
    const inOrder = classes.length <= 10 ? [...probabilities.keys()] : order;
    bars.style.setProperty(
      "--label",
      `${Math.min(14, Math.max(...classes.map((/** @type {string} */ name) => name.length)) + 0.6)}ch`,
    );
    fill(
      bars,
      inOrder.map((k) =>
        element(
          "button",
          {
            type: "button",
            class: k === order[0] ? "class best" : "class",
            title: address(top, [k]),
            onclick: () => {
              follow++;
              go(address(top, [k]));
            },
          },
          element("span", { class: "label" }, classes[k]),
          element("span", { class: "track" }, element("i", { style: { width: `${100 * probabilities[k]}%` } })),
          element("span", { class: "number" }, percent(probabilities[k])),
        ),
      ),
    );
  }

  function showTools() {
    if (!model.get("live")) {
      const said = model.get("said");
      fill(
        tools,
        said
          ? element(
              "p",
              { class: "quiet" },
              say(
                said.traced === said.values ? "allTraced" : "left",
                said.traced.toLocaleString(),
                said.values.toLocaleString(),
              ),
            )
          : null,
      );
      return;
    }
    const file = element("input", {
      type: "file",
      accept: "image/*",
      class: "hidden",
      tabindex: "-1",
      "aria-hidden": "true",
      onchange: () => file.files[0] && give(file.files[0]),
    });
    const drawing = pad({ ink: scene.ink, label: say("padLabel"), drawn: give });
    const place = element(
      "div",
      { class: "drawing", hidden: true },
      drawing.canvas,
      element("button", { type: "button", onclick: drawing.clear }, say("clear")),
    );
    const draw =
      layerOf("image").shape[0] === 1 &&
      element(
        "button",
        {
          type: "button",
          "aria-expanded": "false",
          onclick: () => {
            place.hidden = !place.hidden;
            draw.setAttribute("aria-expanded", String(!place.hidden));
          },
        },
        say("draw"),
      );
    fill(
      tools,
      element("p", { class: "quiet" }, say("dropHere")),
      element(
        "div",
        { class: "buttons" },
        element("button", { type: "button", onclick: () => file.click() }, say("open")),
        draw,
        element(
          "button",
          {
            type: "button",
            onclick: () => {
              model.set("picture", { another: true });
              model.save_changes();
            },
          },
          say("another"),
        ),
      ),
      file,
      place,
    );
  }

  /** @param {Blob} blob */
  function give(blob) {
    model.set("picture", { blob, name: /** @type {any} */ (blob).name ?? "drawing" });
    model.save_changes();
  }

  /** Rows of maps, a layer each. */
  function showRiver() {
    rows = scene.layers
      .filter((/** @type {any} */ layer) => layer.path !== "image")
      .map((/** @type {any} */ layer) => {
        const canvas = element("canvas", {
          class: "maps",
          tabindex: "0",
          role: "application",
          "aria-roledescription": say("maps"),
          "aria-label": `${layer.path}, ${layer.shape.join("×")}. ${say("keys")}`,
          "data-path": layer.path,
        });
        const row = { layer, canvas, all: false, placed: /** @type {any} */ (null), sheet: /** @type {any} */ (null) };
        const many = layer.shape.length === 3 && layer.shape[0] > MANY && layer.shape[1] * layer.shape[2] > 1;
        const more =
          many &&
          element(
            "button",
            {
              type: "button",
              class: "quiet-button",
              onclick: () => {
                row.all = !row.all;
                more.textContent = row.all ? say("few") : say("all", layer.shape[0]);
                lay(row);
              },
            },
            say("all", layer.shape[0]),
          );
        const sheet =
          layer.filters &&
          element(
            "details",
            { class: "filters" },
            element("summary", {}, `${say("filters")} ${layer.filters.shape.join("×")}`),
            element("img", {
              src: layer.filters.src,
              alt: `${layer.path}, ${say("filters")} ${layer.filters.shape.join("×")}`,
              style: {
                width: `${layer.filters.size[0] * Math.max(1, Math.min(6, Math.floor(480 / layer.filters.size[0])))}px`,
              },
            }),
          );
        listen(row);
        const whole = element(
          "div",
          { class: "row" },
          element(
            "div",
            { class: "name" },
            element("span", { class: `dot ${layer.colour}` }),
            element("b", {}, layer.path),
            " ",
            element("span", { class: "shape" }, layer.shape.join("×")),
            element("span", { class: "kind" }, layer.layer),
            more,
            sheet,
          ),
          element("div", { class: "sheet" }, canvas),
        );
        return Object.assign(row, { whole });
      });
    fill(
      river,
      rows.map((row) => row.whole),
    );
    for (const row of rows) lay(row);
  }

  /** Place and draw the maps of a row anew. @param {any} row */
  function lay(row) {
    const width = Math.max(120, Math.floor(row.canvas.parentElement.clientWidth));
    const ratio = window.devicePixelRatio || 1;
    row.placed = plan(row.layer, width, row.all);
    row.canvas.width = Math.round(width * ratio);
    row.canvas.height = Math.max(1, Math.round(row.placed.height * ratio));
    row.canvas.style.height = `${row.placed.height}px`;
    row.sheet = drawn(
      row.layer,
      row.placed,
      levels,
      scene.palettes[row.layer.signed ? "signed" : "rising"],
      width,
      ratio,
    );
    mark(row);
  }

  /** Draw a row's maps with what is marked on them. @param {any} row */
  function mark(row) {
    const { canvas, layer, placed, sheet } = row;
    const context = canvas.getContext("2d");
    const ratio = window.devicePixelRatio || 1;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, canvas.width, canvas.height);
    context.drawImage(sheet, 0, 0);
    context.scale(ratio, ratio);
    for (const at of model.get("traced") ?? []) {
      const [path, index] = parsed(at);
      if (path === layer.path) spot(context, row, index, "rgba(255,180,84,.75)", 1);
    }
    const parts = operands(model.get("trace")).get(layer.path);
    for (const [channel, box] of parts ?? []) {
      const place = rectangle(layer, placed, channel, box);
      if (place && (parts?.size ?? 0) < layer.shape[0] * (layer.shape.length === 1 ? 1 : 2))
        frame(context, place, PART, 1);
    }
    const at = model.get("at");
    if (at && parsed(at)[0] === layer.path) spot(context, row, parsed(at)[1], HERE, 2);
    if (pointed && parsed(pointed)[0] === layer.path) spot(context, row, parsed(pointed)[1], POINTED, 1);
  }

  function spot(
    /** @type {any} */ context,
    /** @type {any} */ row,
    /** @type {number[]} */ index,
    /** @type {string} */ colour,
    /** @type {number} */ width,
  ) {
    const [c, i = 0, j = 0] = index;
    const place = rectangle(row.layer, row.placed, c, [i, i, j, j]);
    if (place) frame(context, place, colour, width);
  }

  /** The image, what the pinned unit sees of it in the light. */
  function showImage() {
    const input = layerOf("image");
    const [, h, w] = input.shape;
    const ratio = window.devicePixelRatio || 1;
    const width = image.parentElement?.clientWidth || 260;
    const times = width / Math.max(h, w);
    const [wide, high] = [Math.round(w * times), Math.round(h * times)];
    Object.assign(image, { width: wide * ratio, height: high * ratio });
    Object.assign(image.style, { width: `${wide}px`, height: `${high}px` });
    const context = /** @type {CanvasRenderingContext2D} */ (image.getContext("2d"));
    context.scale(ratio, ratio);
    context.imageSmoothingEnabled = times < 1;
    if (scene.bitmap) context.drawImage(scene.bitmap, 0, 0, wide, high);
    const boxOf = (/** @type {string | null} */ at) => {
      if (!at) return null;
      const [path, index] = parsed(at);
      const layer = layerOf(path);
      const seen = layer && field(layer, index, [h, w]);
      return (
        seen && [seen[2] * times, seen[0] * times, (seen[3] - seen[2] + 1) * times, (seen[1] - seen[0] + 1) * times]
      );
    };
    const [here, there] = [boxOf(model.get("at")), boxOf(pointed)];
    if (here && (here[2] < wide - 1 || here[3] < high - 1)) {
      context.fillStyle = "rgba(10,12,18,.55)";
      context.beginPath();
      context.rect(0, 0, wide, high);
      context.rect(here[0], here[1], here[2], here[3]);
      context.fill("evenodd");
    }
    if (here) frame(context, [here[0] + 1, here[1] + 1, here[2] - 2, here[3] - 2], HERE, 2);
    if (there) frame(context, [there[0] + 1, there[1] + 1, there[2] - 2, there[3] - 2], POINTED, 1);
  }

  /** What is pointed at, in words. @param {string | null} at */
  function point(at) {
    if (at === pointed) return;
    const before = pointed;
    pointed = at;
    for (const row of rows) if ([before, at].some((text) => text && parsed(text)[0] === row.layer.path)) mark(row);
    showImage();
    if (!at) return;
    const [path, index] = parsed(at);
    const layer = layerOf(path);
    const [, h, w] = layerOf("image").shape;
    const seen = field(layer, index, [h, w]);
    const value = valueAt(at);
    const extent =
      path === "image"
        ? ""
        : seen && (seen[1] - seen[0] + 1 < h || seen[3] - seen[2] + 1 < w)
          ? ` · ${say("sees", ...seen)}`
          : ` · ${say("seesAll")}`;
    fill(status, element("b", {}, at), value === null ? "" : ` = ${short(value)}`, extent);
  }

  /** Pointer and keys on a row of maps. @param {any} row */
  function listen(row) {
    const { canvas, layer } = row;
    const spotOf = (/** @type {PointerEvent} */ event) => {
      const box = canvas.getBoundingClientRect();
      const index = under(layer, row.placed, event.clientX - box.left, event.clientY - box.top);
      return index && address(layer.path, index);
    };
    canvas.addEventListener("pointermove", (/** @type {PointerEvent} */ event) => point(spotOf(event)));
    canvas.addEventListener("pointerleave", () => point(null));
    canvas.addEventListener("click", (/** @type {PointerEvent} */ event) => {
      const at = spotOf(event);
      if (at) {
        follow++;
        go(at);
      }
    });
    keys(canvas, layer, () => row.placed);
  }

  /** Arrow keys move in the map, Page Up and Down between maps, Enter pins. */
  function keys(/** @type {HTMLElement} */ canvas, /** @type {any} */ layer, /** @type {() => any} */ placed) {
    canvas.addEventListener("keydown", (event) => {
      const own =
        pointed && parsed(pointed)[0] === layer.path
          ? parsed(pointed)[1]
          : layer.shape.map((/** @type {number} */ n, /** @type {number} */ axis) =>
              axis === 0 ? (placed()?.channels[0] ?? 0) : n >> 1,
            );
      const next = [...own];
      const vector = next.length === 1;
      const across = placed()?.across || 1;
      const move = /** @type {Record<string, number[]>} */ ({
        ArrowLeft: [vector ? 0 : 2, -1],
        ArrowRight: [vector ? 0 : 2, 1],
        ArrowUp: vector ? [0, -across] : [1, -1],
        ArrowDown: vector ? [0, across] : [1, 1],
        PageUp: [0, -1],
        PageDown: [0, 1],
      })[event.key];
      if (event.key === "Enter" || event.key === " ") {
        event.preventDefault();
        follow++;
        go(address(layer.path, own));
        return;
      }
      if (!move) return;
      event.preventDefault();
      if (pointed && parsed(pointed)[0] === layer.path)
        next[move[0]] = Math.min(layer.shape[move[0]] - 1, Math.max(0, next[move[0]] + move[1]));
      point(address(layer.path, next));
    });
    canvas.addEventListener("blur", () => point(null));
  }

  function showPanel() {
    const [trace, error] = [model.get("trace"), model.get("error")];
    if (error) {
      fill(panel, element("h3", {}, say("explain")), element("pre", { class: "error", role: "alert" }, error));
      return;
    }
    if (!trace) {
      fill(panel, element("h3", {}, say("explain")), element("p", { class: "quiet" }, say("explainHint")));
      return;
    }
    const [path, index] = parsed(trace.address);
    const named = path === scene.top ? ` ${scene.classes[index[0]]}` : "";
    const step = (/** @type {"lead" | "up"} */ key, /** @type {string} */ text) =>
      element(
        "button",
        {
          type: "button",
          class: "step",
          disabled: !trace[key],
          title: trace[key] ?? "",
          "data-step": key,
          onclick: () => {
            follow++;
            go(trace[key]);
          },
        },
        text,
      );
    const trail = way.slice(0, -1).slice(-8);
    fill(
      panel,
      element(
        "div",
        { class: "at" },
        element("h3", {}, trace.address, named && element("span", { class: "class-name" }, named)),
        element("p", { class: "value", "data-value": trace.shown }, trace.shown),
        element("p", { class: "layer-text" }, trace.layer),
      ),
      element(
        "div",
        { class: "buttons" },
        step("lead", say("down")),
        step("up", say("up")),
        element(
          "button",
          { type: "button", disabled: !trace.lead, "data-step": "pixels", onclick: () => followAll("lead") },
          say("pixels"),
        ),
        element("button", { type: "button", disabled: !trace.up, onclick: () => followAll("up") }, say("classUp")),
      ),
      trail.length > 0 &&
        element(
          "nav",
          { class: "way", "aria-label": say("way") },
          trail.map((at, k) => [
            element(
              "button",
              {
                type: "button",
                class: "address",
                onclick: () => {
                  follow++;
                  way = way.slice(0, way.length - 1 - (trail.length - 1 - k));
                  go(at);
                },
              },
              at,
            ),
            element("span", { "aria-hidden": "true" }, "›"),
          ]),
        ),
      arithmetic(trace, say, (at) => {
        follow++;
        go(at);
      }),
    );
  }

  function showAll() {
    for (const row of rows) mark(row);
    showImage();
    showPanel();
    if (model.get("at"))
      fill(status, element("b", {}, model.get("at")), model.get("trace") ? ` = ${model.get("trace").shown}` : "");
    const row = way.length > 1 && rows.find((item) => item.layer.path === parsed(model.get("at"))[0]);
    if (row && matchMedia("(min-width: 1100px)").matches) {
      const [box, space] = [row.whole.getBoundingClientRect(), window.innerHeight];
      if (box.top < 110 || box.bottom > space)
        row.whole.scrollIntoView({
          block: "center",
          behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth",
        });
    }
    el.classList.toggle("explaining", Boolean(model.get("trace") || model.get("error")));
  }

  async function showScene() {
    const next = model.get("scene");
    if (!next) return;
    let first = 0;
    for (const layer of next.layers) {
      layer.first = first;
      first += layer.shape.reduce((/** @type {number} */ a, /** @type {number} */ b) => a * b, 1);
    }
    const picture = new Image();
    picture.src = next.picture;
    [levels, values] = await Promise.all([
      unpacked(next.pictures, Uint8Array),
      next.values ? unpacked(next.values, Float32Array) : null,
      picture.decode(),
    ]);
    if (gone) return;
    scene = next;
    scene.bitmap = picture;
    [way, pointed] = [model.get("at") ? [model.get("at")] : [], null];
    image.setAttribute("aria-label", `${say("image")}, ${scene.name}. ${say("keys")}`);
    fill(caption, element("b", {}, scene.name), element("span", {}, ` ${layerOf("image").shape.join("×")}`));
    showBars();
    if (!tools.firstChild || !model.get("live")) showTools();
    showRiver();
    showAll();
    model.get("attribution") && showExtra();
    el.dataset.ready = scene.name;
  }

  function showExtra() {
    const found = model.get("attribution");
    const [which, how] = [
      element(
        "select",
        { "aria-label": say("speaks") },
        scene.classes.map((/** @type {string} */ name, /** @type {number} */ k) =>
          element(
            "option",
            {
              value: k,
              selected: k === (found.target ?? scene.probabilities.indexOf(Math.max(...scene.probabilities))),
            },
            name,
          ),
        ),
      ),
      element(
        "select",
        { "aria-label": say("method") },
        ["grad-cam", "occlusion", "integrated-gradients"].map((name) =>
          element("option", { value: name, selected: name === found.method }, say(name)),
        ),
      ),
    ];
    const ask = () => {
      model.set("attribute", { target: Number(which.value), method: how.value });
      model.save_changes();
    };
    which.addEventListener("change", ask);
    how.addEventListener("change", ask);
    fill(
      extra,
      element("h3", {}, say("speaks")),
      element("div", { class: "buttons" }, which, how),
      found.src
        ? element("img", {
            class: "over",
            src: found.src,
            alt: `${say("speaks")}: ${scene.classes[found.target]}, ${say(found.method)}`,
          })
        : element("button", { type: "button", onclick: ask }, say("show")),
    );
  }

  image.addEventListener("pointermove", (/** @type {PointerEvent} */ event) => {
    const at = onImage(event);
    point(at);
  });
  image.addEventListener("pointerleave", () => point(null));
  image.addEventListener("click", (/** @type {PointerEvent} */ event) => {
    follow++;
    go(onImage(event));
  });

  /** @param {PointerEvent} event */
  function onImage(event) {
    const box = image.getBoundingClientRect();
    const [, h, w] = layerOf("image").shape;
    const [i, j] = [((event.clientY - box.top) / box.height) * h, ((event.clientX - box.left) / box.width) * w];
    return address("image", [
      0,
      Math.min(h - 1, Math.max(0, Math.floor(i))),
      Math.min(w - 1, Math.max(0, Math.floor(j))),
    ]);
  }

  const drop = (/** @type {DragEvent} */ event) => {
    event.preventDefault();
    const file = event.dataTransfer?.files[0];
    if (event.type === "drop" && file && model.get("live")) give(file);
  };
  let resizing = 0;
  const resize = new ResizeObserver(() => {
    cancelAnimationFrame(resizing);
    resizing = requestAnimationFrame(() => {
      if (scene && !gone) {
        for (const row of rows) lay(row);
        showImage();
      }
    });
  });
  const listeners = /** @type {[string, () => void][]} */ ([
    ["change:scene", showScene],
    ["change:trace", () => scene && showAll()],
    ["change:error", () => scene && showAll()],
    ["change:attribution", () => scene && showExtra()],
  ]);
  for (const [event, listener] of listeners) model.on(event, listener);
  for (const kind of ["dragover", "drop"]) document.addEventListener(kind, /** @type {any} */ (drop));
  await showScene();
  if (scene) keys(image, layerOf("image"), () => null);
  resize.observe(river);
  return () => {
    gone = true;
    resize.disconnect();
    for (const [event, listener] of listeners) model.off(event, listener);
    for (const kind of ["dragover", "drop"]) document.removeEventListener(kind, /** @type {any} */ (drop));
  };
}

export default { render };
