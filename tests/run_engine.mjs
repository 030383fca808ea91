// Runs nets that tests/browser_nets.py wrote: node run_engine.mjs ENGINE FOLDER plain|wasm
import { readFileSync, writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [engine, folder, kind] = process.argv.slice(2);
const { runNets } = await import("./run_nets.mjs");
const { openNetwork } = await import(pathToFileURL(`${engine}/network.js`));
const { buffer } = new Uint8Array(readFileSync(`${folder}/nets.bin`));
const given = JSON.parse(readFileSync(`${folder}/nets.json`, "utf8"));
const made = runNets(openNetwork, given, buffer, kind === "plain");
writeFileSync(`${folder}/${kind}.json`, JSON.stringify(made.list));
writeFileSync(`${folder}/${kind}.bin`, new Uint8Array(Float32Array.from(made.values).buffer));
