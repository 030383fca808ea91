// What follows a convolution in the same step: its bias, and where nobody asks for the maps between, the batch norm and
// the ReLU behind it.

/** How values are finished, one scale and one shift a channel: min(max(v·scale + shift, low), high). */
export function makeFinish(node, followers = []) {
  const { filters } = node.layer;
  const finish = { low: -Infinity, high: Infinity };
  finish.scale = new Float64Array(filters).fill(1);
  finish.shift = Float64Array.from({ length: filters }, (_, f) => node.tensors.bias?.[f] ?? 0);
  for (const { layer, tensors } of followers) {
    if (layer.layer === "BatchNorm") foldNorm(finish, layer, tensors);
    else finish.low = 0;
    if (layer.layer === "ReLU6") finish.high = 6;
  }
  return finish;
}

function foldNorm({ scale, shift }, layer, { weight, bias, running_mean: mean, running_var: variance }) {
  for (let c = 0; c < scale.length; c++) {
    const factor = (weight?.[c] ?? 1) / Math.sqrt(variance[c] + layer.eps);
    scale[c] *= factor;
    shift[c] = (shift[c] - mean[c]) * factor + (bias?.[c] ?? 0);
  }
}

/** The layers after the convolution `inside[at]` that can be computed with it: a batch norm, then a ReLU. */
export function findFollowers(inside, at) {
  const found = [];
  const next = () => inside[at + 1 + found.length];
  if (inside[at].layer.layer !== "Conv") return found;
  if (next()?.layer.layer === "BatchNorm") found.push(next());
  if (["ReLU", "ReLU6"].includes(next()?.layer.layer)) found.push(next());
  return found;
}

/** `count` values of the memory from `from` on, to `out`. */
export function copyValues(values, from, count, out, to) {
  if (count >= 32) out.set(values.subarray(from, from + count), to);
  else for (const end = from + count; from < end; from++, to++) out[to] = values[from];
}
