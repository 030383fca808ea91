// What stands behind the inside view in any host that can ask the library: it turns what the view sets into questions,
// and the answers into what the view reads. Where the page computes too (instant.js), its own answer comes first.

import { latest } from "./latest.js";

/**
 * @typedef {(question: string, values: Record<string, any>, body?: Blob | null) => Promise<any>} Ask
 */

/**
 * The values from one on by `key`, "lead" or "up", to the end: { address, shown }.
 * @param {(at: string) => Promise<any>} trace
 * @param {string} at
 * @param {"lead" | "up"} key
 */
export async function climbHere(trace, at, key) {
  const rungs = [];
  for (let next = at; next; ) {
    const found = await trace(next);
    rungs.push({ address: found.address, shown: found.shown });
    next = found[key];
  }
  return rungs;
}

/**
 * Serve the view's model, beginning with a scene.
 * @param {import("./store.js").Model} model
 * @param {any} first           a scene, with its `id`
 * @param {Ask} ask             "trace", "lesion" and "attribution" of a look; "look" with a picture as its body
 * @param {{another?: () => Promise<any>, busy?: (is: boolean) => void, start?: (drawn: (picture: Blob) => void) => any, zero?: any[]}} [more]
 *                              the next test image, where there is one; `start` begins what computes in the page; the
 *                              channels that are zero at the beginning
 */
export async function serve(model, first, ask, { another, busy = () => {}, start, zero = [] } = {}) {
  const look = () => model.get("scene").id;
  /** A setting that failed is told where the trace would be. @param {string} message */
  const failed = (message) => model.set("error", message);
  /** @type {any} */
  let here = null;
  const show = (/** @type {any} */ trace) => {
    model.set("error", null);
    model.set("trace", trace);
  };
  const explain = latest(show, (message) => {
    model.set("trace", null);
    failed(message);
  });
  const confirm = latest(
    (/** @type {any} */ trace) => trace && show(trace),
    () => {}, // the page's own trace stays, which says who computed it
  );
  /** The page's own trace at once, and the library's after it. @param {string} at */
  const explainAt = (at) => {
    if (!here?.ready()) return explain(ask("trace", { look: look(), at }));
    const own = here.trace(at);
    confirm(here.exact() ? Promise.all([ask("trace", { look: look(), at }), own]).then(([exact]) => exact) : null);
    return explain(own);
  };
  const lesion = latest((/** @type {any} */ found) => model.set("removed", found), failed);
  const withoutChannel = async (/** @type {any} */ channel) => {
    const { probabilities } = await ask("lesion", { look: look(), ...channel });
    return { channels: [channel], probabilities };
  };
  /** @param {any[]} channels  those to be zero; of several the server alone takes the last */
  const setZero = (channels) => {
    model.set("zero", channels);
    const ready = here?.ready();
    here?.setZero(channels).catch((/** @type {Error} */ error) => failed(error.message));
    if (!ready) lesion(channels.length ? withoutChannel(channels[channels.length - 1]) : null);
  };
  const attribute = latest((/** @type {any} */ found) => model.set("attribution", found), failed);
  /** No answer about the picture before may come any more. */
  const forget = () => {
    explain(null);
    confirm(null);
    lesion(null);
    attribute({ method: "grad-cam" });
  };
  const begin = latest(
    (/** @type {any} */ scene) => {
      busy(false);
      model.set("at", null);
      forget();
      model.set("zero", []);
      model.set("scene", scene);
      here?.adopt();
      model.set("at", scene.start);
    },
    (message) => {
      busy(false);
      failed(message);
    },
  );
  const send = (/** @type {any} */ picture) => ask("look", { name: picture.name }, /** @type {Blob} */ (picture.blob));
  /** The library's look at a drawing that the page has shown already. */
  const settle = latest((/** @type {any} */ exact) => {
    if (!here.confirm(exact)) return begin(exact);
    attribute({ method: "grad-cam" });
    if (model.get("at")) explainAt(model.get("at"));
  }, failed);

  forget();
  model.set("another", Boolean(another));
  model.set("climb", (/** @type {string} */ at, /** @type {"lead" | "up"} */ key) =>
    here?.ready() ? climbHere(here.trace, at, key) : ask("ladder", { look: look(), at, key }),
  );
  model.set("scene", first);
  model.set("zero", zero);
  here = start?.((blob) => settle(send({ blob, name: "drawing" })));
  const wanted = model.get("at") ?? first.start;
  await explain(ask("trace", { look: look(), at: wanted }));
  if (!model.get("trace") && wanted !== first.start) {
    model.set("error", null);
    model.set("at", first.start);
    await explain(ask("trace", { look: look(), at: first.start }));
  } else model.set("at", wanted);
  if (zero.length && !here) setZero(zero);
  model.on("change:at", () => model.get("at") && explainAt(model.get("at")));
  model.on("change:again", () => model.get("at") && explain(here.trace(model.get("at"))));
  model.on("change:picture", () => {
    const picture = model.get("picture");
    busy(true);
    begin(picture.another ? another?.() : send(picture));
  });
  model.on("change:remove", () => setZero([...(here ? model.get("zero") : []), model.get("remove")]));
  model.on("change:restore", () => {
    const { path, channel } = model.get("restore");
    setZero(model.get("zero").filter((/** @type {any} */ one) => one.path !== path || one.channel !== channel));
  });
  model.on("change:attribute", () => attribute(ask("attribution", { look: look(), ...model.get("attribute") })));
}
