// What stands behind the inside view in any host that can ask the library: it turns what the view sets into questions,
// and the answers into what the view reads.

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
  let asked = 0;
  const look = () => model.get("scene").id;
  /** A setting that failed is told where the trace would be. @param {() => Promise<void>} work */
  const told = async (work) => {
    try {
      await work();
    } catch (error) {
      model.set("error", /** @type {Error} */ (error).message);
    }
  };
  const explain = async () => {
    const [mine, at] = [++asked, model.get("at")];
    try {
      const trace = await ask("trace", { look: look(), at });
      if (mine !== asked) return;
      model.set("error", null);
      model.set("trace", trace);
    } catch (error) {
      if (mine === asked) model.set("error", /** @type {Error} */ (error).message);
    }
  };
  model.set("attribution", { method: "grad-cam" });
  model.set("another", Boolean(another));
  model.set("scene", first);
  const at = model.get("at") ?? first.start;
  await told(async () => model.set("trace", await ask("trace", { look: look(), at })));
  model.set("at", at);
  model.on("change:at", () => model.get("at") && explain());
  model.on("change:picture", async () => {
    const picture = model.get("picture");
    busy(true);
    await told(async () => {
      const scene = picture.another
        ? await another?.()
        : await ask("look", { name: picture.name }, /** @type {Blob} */ (picture.blob));
      for (const name of ["at", "trace", "error", "removed"]) model.set(name, null);
      model.set("attribution", { method: "grad-cam" });
      model.set("scene", scene);
      model.set("at", scene.start);
    });
    busy(false);
  });
  model.on("change:remove", () =>
    told(async () => {
      const remove = model.get("remove");
      model.set("removed", remove && (await ask("lesion", { look: look(), ...remove })));
    }),
  );
  model.on("change:attribute", () =>
    told(async () => {
      model.set("attribution", await ask("attribution", { look: look(), ...model.get("attribute") }));
    }),
  );
}
