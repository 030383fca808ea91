// The page's engine under node: a payload on the first line, a picture on each other, and its probabilities back.

import { openAnswering } from "./answering.js";
import { openPayload } from "./open.js";
import { prepareImage, standardise } from "./preprocess.js";

let rest = "";
let answer = null;
let turn = Promise.resolve();

process.stdin.setEncoding("utf8");
process.stdin.on("data", (text) => {
  const lines = (rest + text).split("\n");
  rest = lines.pop();
  for (const line of lines) turn = turn.then(() => take(JSON.parse(line)));
});

async function take(given) {
  if (answer === null) {
    const opened = await openPayload(given);
    const { answers } = openAnswering(opened);
    answer = (x) => answers.classify(x);
    given.classes.length && process.stdout.write("[]\n");
    take.preprocess = given.preprocess;
    take.channels = given.net.input[0];
    return;
  }
  const data = Buffer.from(given.data, "base64");
  const { x } = given.sized
    ? { x: standardise({ ...given, channels: take.channels, data }, take.preprocess) }
    : prepareImage({ ...given, data }, take.preprocess, take.channels);
  process.stdout.write(`${JSON.stringify([...answer(x)])}\n`);
}
