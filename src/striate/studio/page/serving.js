// What stands behind the inside view in any host that can ask the library: it turns what the view sets into questions,
// and the answers into what the view reads.

import { latest } from "./latest.js";

/**
 * @typedef {(question: string, values: Record<string, any>, body?: Blob | null) => Promise<any>} Ask
 */

/**
 * Serve the view's model, beginning with a scene.
 * @param {import("./store.js").Model} model
 * @param {any} first           a scene, with its `id`
 * @param {Ask} ask             "trace", "lesion" and "attribution" of a look; "look" with a picture as its body
 * @param {{another?: () => Promise<any>, busy?: (is: boolean) => void}} [more]  the next test image, where there is one
 */
export async function serve(model, first, ask, { another, busy = () => {} } = {}) {
  const look = () => model.get("scene").id;
  /** A setting that failed is told where the trace would be. @param {string} message */
  const failed = (message) => model.set("error", message);
  const explain = latest(
    (/** @type {any} */ trace) => {
      model.set("error", null);
      model.set("trace", trace);
    },
    (message) => {
      model.set("trace", null);
      failed(message);
    },
  );
  const lesion = latest((/** @type {any} */ found) => model.set("removed", found), failed);
  const withoutChannel = async (/** @type {any} */ channel) => {
    const { probabilities } = await ask("lesion", { look: look(), ...channel });
    return { channels: [channel], probabilities };
  };
  const attribute = latest((/** @type {any} */ found) => model.set("attribution", found), failed);
  /** No answer about the picture before may come any more. */
  const forget = () => {
    explain(null);
    lesion(null);
    attribute({ method: "grad-cam" });
  };
  const begin = latest(
    (/** @type {any} */ scene) => {
      busy(false);
      model.set("at", null);
      forget();
      model.set("scene", scene);
      model.set("at", scene.start);
    },
    (message) => {
      busy(false);
      failed(message);
    },
  );

  forget();
  model.set("another", Boolean(another));
  model.set("scene", first);
  const at = model.get("at") ?? first.start;
  await explain(ask("trace", { look: look(), at }));
  model.set("at", at);
  model.on("change:at", () => model.get("at") && explain(ask("trace", { look: look(), at: model.get("at") })));
  model.on("change:picture", () => {
    const picture = model.get("picture");
    busy(true);
    begin(picture.another ? another?.() : ask("look", { name: picture.name }, /** @type {Blob} */ (picture.blob)));
  });
  model.on("change:remove", () => {
    lesion(withoutChannel(model.get("remove")));
  });
  model.on("change:restore", () => lesion(null));
  model.on("change:attribute", () => attribute(ask("attribution", { look: look(), ...model.get("attribute") })));
}
