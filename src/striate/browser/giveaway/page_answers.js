// The page's engine under node: a payload on the first line, a picture on each other, and its probabilities back.

import { openAnswering } from "./answering.js";
import { openPayload } from "./open.js";
import { prepareImage, standardise } from "./preprocess.js";

let rest = "";
let opened = null;
let answers = null;
let turn = Promise.resolve();

process.stdin.setEncoding("utf8");
process.stdin.on("data", (text) => {
  const lines = (rest + text).split("\n");
  rest = lines.pop();
  for (const line of lines) turn = turn.then(() => take(JSON.parse(line)));
});

async function take(given) {
  if (opened === null) {
    opened = await openPayload(given);
    ({ answers } = openAnswering(opened));
    process.stdout.write("[]\n");
    return;
  }
  const { preprocess, net } = opened;
  const [channels] = net.input;
  const data = Buffer.from(given.data, "base64");
  const { x } = given.sized
    ? { x: standardise({ ...given, channels, data }, preprocess) }
    : prepareImage({ ...given, data }, preprocess, channels);
  process.stdout.write(`${JSON.stringify([...answers.classify(x)])}\n`);
}
