// Where a network looked: a class activation map where a global mean pooling comes before the last dense layer.

/**
 * opened  { net, tensors }; shapes  Map of path -> shape in the order of the way
 * Gives { path, weight } for `mapAttention`: whose maps count, and the dense layer's weights; or null.
 */
export function findAttention({ net, tensors }, shapes) {
  const tops = [...shapes.keys()].filter((path) => !path.includes("."));
  const layers = net.layers.filter((layer) => layer.layer !== "SideHead");
  if (tops.length !== layers.length) return null;
  const dense = layers.findLastIndex((layer) => layer.layer === "Dense");
  let place = dense - 1;
  while (place > 0 && ["Dropout", "Flatten", "Identity"].includes(layers[place].layer)) place -= 1;
  if (dense < 0 || place < 1 || layers[place].layer !== "GlobalAvgPool") return null;
  return { path: tops[place - 1], weight: tensors.get(`${tops[dense]}.weight`).data };
}

/**
 * The maps weighed by what each counts for the class (Zhou et al. 2016): { height, width, data } from 0 to 1, what speaks
 * against the class at 0.
 */
export function mapAttention({ weight }, { shape: [channels, height, width], data }, label) {
  const size = height * width;
  const heat = new Float32Array(size);
  for (let c = 0; c < channels; c++) {
    const w = weight[label * channels + c];
    for (let i = 0; i < size; i++) heat[i] += w * data[c * size + i];
  }
  const most = Math.max(...heat, 1e-12);
  return { height, width, data: heat.map((value) => Math.max(0, value) / most) };
}
