// Traces values of nets that tests/browser_nets.py wrote: node run_traces.mjs ENGINE FOLDER [LANGUAGE]
import { readFileSync, writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [engine, folder, language = "en"] = process.argv.slice(2);
const { openAnswering } = await import(pathToFileURL(`${engine}/answering.js`));
const { buffer } = new Uint8Array(readFileSync(`${folder}/nets.bin`));
const read = (offset, shape) => new Float32Array(buffer, offset, shape.reduce((a, b) => a * b, 1));
const korean = language === "ko" ? JSON.parse(readFileSync(`${folder}/korean.json`, "utf8")) : null;
const values = [];
const made = JSON.parse(readFileSync(`${folder}/nets.json`, "utf8")).map(({ net, tensors, x, zero, texts, pixels, at }) => {
  const named = new Map(tensors.map(({ name, shape, offset }) => [name, { shape, data: read(offset, shape) }]));
  const { answers } = openAnswering({ net, tensors: named, texts, preprocess: pixels, korean });
  const { maps } = answers.look(read(x, net.input), { zero });
  for (const { data } of maps.values()) for (const value of data) values.push(value);
  const records = at.map((address) => {
    try {
      return answers.trace(address, { language });
    } catch (error) {
      return { error: error.message };
    }
  });
  return { records, shapes: [...maps].map(([path, { shape }]) => [path, shape]) };
});
writeFileSync(`${folder}/maps.bin`, new Uint8Array(Float32Array.from(values).buffer));
writeFileSync(`${folder}/traces.json`, JSON.stringify(made));
