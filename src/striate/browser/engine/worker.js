// The engine in a Web Worker: joined into one script, or loaded as a module.

import { openAnswering } from "./answering.js";

let answers = null;

self.onmessage = ({ data: { id, name, given } }) => {
  try {
    let answer;
    if (name === "open") {
      const opened = openAnswering(...given);
      answers = opened.answers;
      answer = opened.about;
    } else answer = answers[name](...given);
    self.postMessage({ id, answer });
  } catch (error) {
    self.postMessage({ id, error: error.message });
  }
};
