// The network: a net's JSON and its tensors -> passes forward, with every layer's map on demand.

import { measureConvolution, packWeights } from "./convolution.js";
import { measureDense, packDense } from "./dense.js";
import { findFollowers, makeFinish } from "./finish.js";
import { CONTAINERS, LAYERS } from "./layers.js";
import { openMatmul } from "./matmul.js";

/**
 * Opens a network.
 * net      as striate writes it: { input: [C, H, W], layers: [{ layer: "Conv", … }, …] }
 * tensors  Map of name -> { shape, data: Float32Array }
 * plain    whether to do without WebAssembly
 * Throws an Error that names the layer or the tensor where the engine lacks it.
 */
export function openNetwork(net, tensors, { plain = false } = {}) {
  const nodes = new Map();
  const body = makeChain(net.layers, net.input, "", nodes, tensors, true);
  const leaves = [...nodes.values()].filter((node) => node.used && PLACED[node.layer.layer]);
  const matmul = placeWeights(leaves, plain);
  const pool = new Map();
  return {
    input: net.input,
    kernel: matmul.kind,
    shapes: new Map([...nodes].filter(([, node]) => node.used).map(([path, node]) => [path, node.y])),
    output: body.length ? body.at(-1).y : net.input,
    logits: body.length && !endsInShares(body) ? body.at(-1).path : null,
    body,
    nodes,
    forward: (x, options = {}) => runForward(body, nodes, matmul, pool, x, options),
  };
}

/** Whether layers one after another give probabilities: a Softmax is last, or the mean of several that end so. */
export function endsInShares(nodes) {
  const [before, last] = [nodes.at(-2), nodes.at(-1)];
  if (last?.layer.layer === "Softmax") return true;
  if (last?.layer.layer !== "LayerScale" || before?.layer.layer !== "Parallel" || before.layer.join !== "add") return false;
  return before.inside.every((node) => endsInShares(node.layer.layer === "Sequence" ? node.inside : [node]));
}

// What is known before an image comes ---------------------------------------------------------------

/** The layers one after another: their nodes, each with its shapes and tensors, entered into `nodes` by their paths. */
function makeChain(layers, x, path, nodes, tensors, used) {
  const chain = nameLayers(layers).map(([name, layer]) => {
    const node = makeNode(layer, x, path ? `${path}.${name}` : name, nodes, tensors, used);
    x = node.y;
    return node;
  });
  chain.forEach((node, at) => {
    node.followers = used ? findFollowers(chain, at) : [];
  });
  return chain;
}

/** Each layer with its name: its own, or its kind and how many of that kind came so far. */
function nameLayers(layers, kind = null) {
  const seen = {};
  return layers.map((layer) => {
    const record = LAYERS[layer.layer] ?? CONTAINERS[layer.layer];
    const stem = kind ?? record?.kind;
    seen[stem] = (seen[stem] ?? 0) + 1;
    return [layer.name ?? `${stem}${seen[stem]}`, layer];
  });
}

function makeNode(given, x, path, nodes, tensors, used) {
  const record = LAYERS[given.layer] ?? CONTAINERS[given.layer];
  if (!record) throw new Error(`${path}: this engine has no layer ${given.layer}`);
  const layer = { ...record.defaults, ...given };
  const node = { path, layer, x, y: x, used, tensors: {} };
  nodes.set(path, node);
  if (layer.layer === "Parallel") fillParallel(node, nodes, tensors);
  else if (record.inside) fillChain(node, nodes, tensors);
  else fillLeaf(node, record, tensors);
  return node;
}

function fillLeaf(node, record, tensors) {
  node.compute = record.compute;
  node.y = record.out(node.layer, node.x);
  for (const name of ["weight", "bias", "running_mean", "running_var"]) {
    const found = tensors.get(`${node.path}.${name}`);
    if (found) node.tensors[name] = found.data;
  }
}

function fillChain(node, nodes, tensors) {
  const side = node.layer.layer === "SideHead";
  node.inside = makeChain(node.layer.layers, node.x, node.path, nodes, tensors, node.used && !side);
  node.compute = side ? (_, x) => x : (own, x, pass) => runChain(own.inside, x, pass);
  if (!side && node.inside.length) node.y = node.inside.at(-1).y;
}

function fillParallel(node, nodes, tensors) {
  node.inside = nameLayers(node.layer.branches, "branch").map(([name, branch]) =>
    makeNode(branch, node.x, `${node.path}.${name}`, nodes, tensors, node.used),
  );
  node.compute = runParallel;
  const shapes = node.inside.map((branch) => branch.y);
  const size = (shape) => shape.reduce((a, b) => a * b, 1);
  if (node.layer.join === "concat") node.y = [shapes.reduce((sum, shape) => sum + shape[0], 0), ...shapes[0].slice(1)];
  else node.y = shapes.reduce((most, shape) => (size(shape) > size(most) ? shape : most));
}

/** What has its weights in the product's memory. */
const PLACED = {
  Conv: { measure: measureConvolution, pack: packWeights },
  Dense: { measure: measureDense, pack: packDense },
};

/** One memory for all: the packed weights, and the room in which each tile is computed. */
function placeWeights(leaves, plain) {
  let place = 0, scratch = 0;
  for (const node of leaves) {
    const needs = PLACED[node.layer.layer].measure(node.layer, node.x);
    node.place = place;
    place += needs.weights;
    scratch = Math.max(scratch, needs.scratch);
  }
  const matmul = openMatmul(place + scratch, plain);
  for (const node of leaves) {
    node.scratch = place;
    if (node.layer.layer === "Conv") node.finish = makeFinish(node);
    node.whole = node.followers?.length ? makeFinish(node, node.followers) : null;
    PLACED[node.layer.layer].pack(node.layer, node.x, needTensor(node, "weight"), matmul.values, node.place);
  }
  return matmul;
}

function needTensor(node, name) {
  if (!node.tensors[name]) throw new Error(`${node.path}.${name}: the network needs this tensor, but it is missing`);
  return node.tensors[name];
}

// A pass ---------------------------------------------------------------------------------------------

/**
 * One image through the network.
 * x     Float32Array of C·H·W values
 * keep  whose maps are returned: "all", "last" for none but the output, or a Set of paths
 * zero  { path: [channels] } that are put to 0 before anything reads them
 * Gives { maps: Map of path -> { shape, data }, output }. Layers that change nothing share their input's data.
 */
function runForward(body, nodes, matmul, pool, x, { keep = "all", zero = {} }) {
  for (const path of Object.keys(zero)) if (!nodes.get(path)?.used) throw new Error(`${path}: there is no such layer`);
  const pass = makePass(matmul, pool, keep, zero);
  const output = runChain(body, x, pass);
  const maps = new Map();
  for (const [path, { y }] of nodes) if (pass.maps.has(path)) maps.set(path, { shape: y, data: pass.maps.get(path) });
  return { maps, output: output === x ? x.slice() : output };
}

/** make(length) gives room for a map, release(data) takes it back for the next one unless it is to be returned. */
function makePass(matmul, pool, keep, zero) {
  const maps = new Map();
  const wanted = (path) => keep === "all" || (keep !== "last" && keep.has(path));
  if (keep === "all") {
    return { matmul, maps, zero, wanted, make: (length) => new Float32Array(length), release() {}, hold() {} };
  }
  const lent = new Set();
  return {
    matmul,
    maps,
    zero,
    wanted,
    make(length) {
      const data = pool.get(length)?.pop() ?? new Float32Array(length);
      lent.add(data);
      return data;
    },
    hold: (data) => lent.delete(data),
    release(data) {
      if (!lent.delete(data)) return;
      if (!pool.has(data.length)) pool.set(data.length, []);
      pool.get(data.length).push(data);
    },
  };
}

function runNode(node, x, pass) {
  return noteMap(node, node.compute(node, x, pass), pass);
}

/** The layer's output, with what the pass wants of it. */
function noteMap(node, y, pass) {
  if (pass.zero[node.path]) y = zeroChannels(node, y, pass.zero[node.path]);
  if (pass.wanted(node.path)) {
    pass.hold(y);
    pass.maps.set(node.path, y);
  }
  return y;
}

function zeroChannels(node, values, channels) {
  const y = values.slice(); // the layer before may have the same data
  const size = y.length / node.y[0];
  for (const channel of channels) y.fill(0, channel * size, (channel + 1) * size);
  return y;
}

function runChain(inside, x, pass) {
  let value = x;
  for (let i = 0; i < inside.length; i++) {
    const node = inside[i];
    let y;
    if (runsWhole(node, pass)) {
      i += node.followers.length;
      y = noteMap(inside[i], node.compute(node, value, pass, node.whole), pass);
    } else y = runNode(node, value, pass);
    if (y !== value && value !== x) pass.release(value);
    value = y;
  }
  return value;
}

/** Whether a convolution is computed with its followers: nobody asks for a map between, or changes it. */
function runsWhole(node, pass) {
  if (!node.whole) return false;
  return [node, ...node.followers.slice(0, -1)].every(({ path }) => !pass.wanted(path) && !pass.zero[path]);
}

function runParallel(node, x, pass) {
  const ends = node.inside.map((branch) => runNode(branch, x, pass));
  const y = pass.make(node.y.reduce((a, b) => a * b, 1));
  if (node.layer.join === "concat") concatenate(ends, y);
  else joinValues(ends, y, node.layer.join === "add");
  for (const end of new Set(ends)) if (end !== x) pass.release(end);
  return y;
}

function concatenate(ends, y) {
  let place = 0;
  for (const end of ends) {
    y.set(end, place);
    place += end.length;
  }
}

/** Value by value; a branch of C×1×1 stretches over the map. */
function joinValues(ends, y, add) {
  y.fill(add ? 0 : 1);
  for (const end of ends) {
    if (end.length === y.length && add) for (let i = 0; i < y.length; i++) y[i] += end[i];
    else if (end.length === y.length) for (let i = 0; i < y.length; i++) y[i] *= end[i];
    else stretchValues(end, y);
  }
}

function stretchValues(end, y) {
  const size = y.length / end.length;
  for (let c = 0; c < end.length; c++) for (let i = c * size; i < (c + 1) * size; i++) y[i] *= end[c];
}
