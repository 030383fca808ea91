// Differentiates nets that tests/browser_nets.py wrote: node run_gradients.mjs ENGINE FOLDER
import { readFileSync, writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [engine, folder] = process.argv.slice(2);
const load = (name) => import(pathToFileURL(`${engine}/${name}`));
const [{ openEngine }, { openNetwork }, { computeGradients }, { findLogits }, { backWeights }, { backDenseWeights }] =
  await Promise.all(["engine.js", "network.js", "backward.js", "explain.js", "backward_windows.js", "backward_layers.js"].map(load));
const { buffer } = new Uint8Array(readFileSync(`${folder}/nets.bin`));
const read = (offset, shape) => new Float32Array(buffer, offset, shape.reduce((a, b) => a * b, 1));
const given = JSON.parse(readFileSync(`${folder}/nets.json`, "utf8"));
const values = [];
const add = (map) => [...map].map(([path, { shape, data }]) => {
  for (const value of data) values.push(value);
  return [path, shape];
});

const made = [];
for (const { net, tensors, x, zero, seed, to, label } of given) {
  const named = new Map(tensors.map(({ name, shape, offset }) => [name, { shape, data: read(offset, shape) }]));
  const image = read(x, net.input);
  if (label !== undefined) {
    const opened = await openEngine({ net, tensors: named });
    const [cam, occlusion, saliency] = await Promise.all(
      ["cam", "occlude", "saliency"].map((name) => opened[name](image, { label })),
    );
    add([["cam", cam], ["occlusion", occlusion], ["saliency", saliency]].map(([name, found]) => [name, { shape: [], ...found }]));
    made.push({ at: cam.at, side: occlusion.side, stride: occlusion.stride });
    continue;
  }
  const network = openNetwork(net, named);
  const pass = { x: image, zero, maps: network.forward(image, { zero }).maps };
  const path = findLogits(network).path;
  const found = computeGradients(network, pass, { path, seed, to });
  const weights = [...found].flatMap(([at, { data }]) => {
    const node = network.nodes.get(at);
    const back = { Conv: backWeights, Dense: backDenseWeights }[node?.layer.layer];
    if (!back || node.path.includes(".")) return [];
    const before = network.body[network.body.indexOf(node) - 1];
    return [[at, { shape: [], data: back(node, before ? pass.maps.get(before.path).data : image, data) }]];
  });
  made.push({ path, maps: add(pass.maps), found: add(found), weights: add(weights) });
}
writeFileSync(`${folder}/gradients.json`, JSON.stringify(made));
writeFileSync(`${folder}/gradients.bin`, new Uint8Array(Float64Array.from(values).buffer));
