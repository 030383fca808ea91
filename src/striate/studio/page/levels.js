// Values as the levels of a picture, as striate.report.pictures.scale_to_unit makes them; what is not finite counts as 0.

/**
 * Fill in a layer's `levels`, `signed` and `limit` from its values, unless it has its levels.
 * @param {any} layer
 */
export function fillLevels(layer) {
  if (layer.levels) return;
  const { values } = layer;
  let [least, most] = [0, 0];
  for (const value of values) {
    if (value < least && value > -Infinity) least = value;
    else if (value > most && value < Infinity) most = value;
  }
  layer.signed = least < 0;
  layer.limit = Math.max(most, -least);
  const [zero, scale] = layer.signed ? [0.5, layer.limit * 2] : [0, layer.limit];
  const levels = new Uint8Array(values.length);
  for (let i = 0; i < levels.length; i++) {
    const value = Number.isFinite(values[i]) && scale > 0 ? values[i] / scale : 0;
    levels[i] = Math.round((value + zero) * 255);
  }
  layer.levels = levels;
}

/**
 * A layer's channels, the strongest first: by the mean magnitude of their maps.
 * @param {{values: Float32Array, shape: number[]}} layer
 */
export function orderChannels({ values, shape }) {
  const size = values.length / shape[0];
  const strength = Array.from({ length: shape[0] }, (_, channel) => {
    let sum = 0;
    for (let i = channel * size; i < (channel + 1) * size; i++) sum += Math.abs(values[i]);
    return sum;
  });
  return [...strength.keys()].sort((a, b) => strength[b] - strength[a]);
}

/**
 * Give a scene's layers the values of a pass of the page's engine; their levels are worked out where they are drawn.
 * @param {any} scene
 * @param {{maps: Map<string, {data: Float32Array}>}} found
 * @param {Float32Array} x   the image of that pass
 * @param {boolean} placed   whether the strongest channels come first anew
 */
export function fillMaps(scene, found, x, placed) {
  for (const layer of scene.layers) {
    const values = layer.path === "image" ? x : found.maps.get(layer.path)?.data;
    if (!values) continue; // a pass that kept some of the maps
    layer.values = values;
    layer.levels = null;
    if (placed) layer.order = orderChannels(layer);
  }
}
