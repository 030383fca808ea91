// Questions that overtake one another: a slow answer to an old question may not stand over the answer to a new one.

/**
 * A taker of answers that gives only the answer to the last question on, whatever order they come in.
 * @template T
 * @param {(found: T) => void} then              what to do with the answer
 * @param {(message: string) => void} failed     what to do with an error's text
 * @returns {(answer: T | Promise<T>) => Promise<void>}  what is no promise is given on at once
 */
export function latest(then, failed) {
  let asked = 0;
  return async (answer) => {
    const mine = ++asked;
    try {
      const found = answer instanceof Promise ? await answer : answer;
      if (mine === asked) then(found);
    } catch (error) {
      if (mine === asked) failed(error instanceof Error ? error.message : String(error));
    }
  };
}
