// Several workers that answer alike: what is asked of them is shared out, whatever order they end in.

/** Together the workers' weights take no more bytes than this, as float32. */
const ROOM = 256e6;

/** A device has so many workers at most: beyond, they wait for memory and for each other. */
const MOST = 4;

/** Below so many milliseconds a question another worker would cost more than it saves. */
const WORTH = 5;

/** Milliseconds after which workers that nobody asks give their memory back, all but the first. */
const REST = 20_000;

/** How many workers a network may have: a processor's core each, and so many as have room. */
export function countWorkers(tensors, cores = globalThis.navigator?.hardwareConcurrency ?? 1) {
  let bytes = 1;
  for (const { data } of tensors.values()) bytes += data.byteLength;
  return Math.max(1, Math.min(cores, MOST, Math.floor(ROOM / bytes)));
}

/**
 * ask(name, given) -> Promise of an answer by whichever worker is free first.
 * first  { answer(name, given), close() }, a rejection whose error is called NoWorker is its end
 * start  () -> Promise of another one, null or a rejection where there can be none; it is called once questions wait
 * most   how many there may be
 * Where one ends, what it was asked is asked of another; where none is left, every question is rejected.
 */
export function makePool(first, start, most) {
  const members = [{ worker: first, busy: false }];
  const waiting = [];
  let limit = most;
  let usual = 0; // milliseconds that the last question took
  let starting = false;
  let resting = 0;
  let failure = null;

  function shareOut() {
    clearTimeout(resting);
    for (const member of members) if (!member.busy && waiting.length) answer(member, waiting.shift());
    if (!members.length && !starting) for (const { reject } of waiting.splice(0)) reject(failure);
    if (waiting.length && usual > WORTH && !starting && members.length < limit) grow();
    if (members.length > 1 && members.every(({ busy }) => !busy)) resting = setTimeout(shrink, REST);
  }

  async function answer(member, question) {
    const began = performance.now();
    member.busy = true;
    try {
      question.resolve(await member.worker.answer(...question.asked));
      usual = performance.now() - began;
    } catch (error) {
      if (error.name === "NoWorker") {
        drop(member, error);
        waiting.unshift(question);
      } else question.reject(error);
    }
    member.busy = false;
    shareOut();
  }

  /** Go on without a member, and start no other. */
  function drop(member, error) {
    failure = error;
    limit = 0;
    member.worker.close();
    members.splice(members.indexOf(member), 1);
  }

  async function grow() {
    starting = true;
    const worker = await start().catch(() => null);
    starting = false;
    if (worker) members.push({ worker, busy: false });
    else limit = members.length;
    shareOut();
  }

  function shrink() {
    for (const { worker } of members.splice(1)) worker.close();
  }

  return {
    most,
    count: () => members.length,
    ask: (...asked) =>
      new Promise((resolve, reject) => {
        waiting.push({ asked, resolve, reject });
        shareOut();
      }),
    close() {
      clearTimeout(resting);
      shrink();
      first.close();
    },
  };
}

/** work(item) for each of the items, so many at a time, begun in their order; after a rejection no more are begun. */
export async function workThrough(items, lanes, work) {
  const left = items[Symbol.iterator]();
  let failed = false;
  const lane = async () => {
    for (let item = left.next(); !item.done && !failed; item = left.next()) {
      await work(item.value).catch((error) => {
        failed = true;
        throw error;
      });
    }
  };
  await Promise.all(Array.from({ length: lanes }, lane));
}

/** The same function, whose calls wait for one another. */
export function inTurn(call) {
  let last = Promise.resolve();
  return (...given) => {
    const mine = last.then(() => call(...given));
    last = mine.catch(() => {});
    return mine;
  };
}
