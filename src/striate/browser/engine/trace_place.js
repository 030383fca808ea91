// Where a traced value stands: which map its layer reads, and the operands in it.

import { formatAddress, makePadding, makeTerm } from "./trace_record.js";

/** The address of the network's input. */
export const IMAGE_PATH = "image";

/** What every classifier has: the softmax of its logits. Its path where the network does not end in one. */
export const PROBABILITY_PATH = "probability";

/** The path whose map this node's is: a Sequence's is that of its last layer, a side head's that of its input. */
export function resolvePath(network, path) {
  const node = network.nodes.get(path);
  if (!node || !["Sequence", "SideHead"].includes(node.layer.layer)) return path;
  const last = node.layer.layer === "Sequence" && node.inside.at(-1);
  return last ? resolvePath(network, last.path) : findFeed(network, path);
}

/** The path of the map that the layer at `path` reads. */
export function findFeed(network, path) {
  const parent = path.slice(0, Math.max(0, path.lastIndexOf(".")));
  const holder = parent ? network.nodes.get(parent) : { layer: { layer: "Sequence" }, inside: network.body };
  const place = holder.layer.layer === "Parallel" ? 0 : holder.inside.findIndex((node) => node.path === path);
  if (place > 0) return resolvePath(network, holder.inside[place - 1].path);
  return parent ? findFeed(network, parent) : IMAGE_PATH;
}

/** The paths of all maps that the values of a node are made of: one, or for joined branches one each. */
export function listSources(network, path) {
  const node = network.nodes.get(path);
  if (node.layer.layer === "Parallel") return node.inside.map((branch) => resolvePath(network, branch.path));
  return [findFeed(network, path)];
}

/** One value of one layer: { node, layer, path, index, source, shape and data of the map that it reads }. */
export function placeValue(network, maps, node, index) {
  const source = node.source ?? listSources(network, node.path)[0];
  return { network, maps, node, layer: node.layer, path: node.path, index, source, ...maps.get(source) };
}

/** Where a value lies in its map's data. */
export function findOffset(shape, index) {
  return index.reduce((place, i, axis) => place * shape[axis] + i, 0);
}

/** The operand at `index` of the layer's input, as it is. */
export function readInput(at, index) {
  const x = at.data[findOffset(at.shape, index)];
  return makeTerm(x, x, formatAddress(at.source, index));
}

/** The same, or padding where the place is outside the map. */
export function readTap(at, channel, row, column) {
  const [, height, width] = at.shape;
  if (row < 0 || row >= height || column < 0 || column >= width) return makePadding();
  return readInput(at, [channel, row, column]);
}

/** A number of the layer's own tensor, which is a vector, as a constant with its address. */
export function readTensor(at, name, index, note) {
  const value = at.node.tensors[name][index.at(-1)];
  return makeTerm(value, value, formatAddress(`${at.path}.${name}`, index), { note });
}

/** A bias, a slope or a scale: a number that is its own weight. */
export function readWeight(at, name, place, note) {
  const w = at.node.tensors[name][place];
  return makeTerm(w, w, null, { weight: w, weight_at: formatAddress(`${at.path}.${name}`, [place]), note });
}

/** An operand times its weight. */
export function weigh(term, weight, weightAt, note = term.note) {
  const told = note ? { note } : {};
  return { ...term, value: term.x * weight, weight, ...(weightAt ? { weight_at: weightAt } : {}), ...told };
}
