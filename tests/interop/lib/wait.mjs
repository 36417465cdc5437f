// Waiting for events with a deadline; nothing here sleeps.

const deadline = Number(process.env.INTEROP_DEADLINE ?? 15000); // milliseconds

// within fails with what's name when the promise takes too long.
export function within(what, promise, ms = deadline) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${ms} ms for ${what}`)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

// next resolves with the arguments of the emitter's next such event.
export function next(emitter, event, ms) {
  return within(event, new Promise((resolve) => emitter.once(event, (...args) => resolve(args))), ms);
}

// call emits with an ack and resolves with the first argument of the answer.
export function call(socket, event, ...args) {
  return callAll(socket, event, ...args).then((answer) => answer[0]);
}

// callAll is call with all arguments of the answer.
export function callAll(socket, event, ...args) {
  const answer = new Promise((resolve) => socket.emit(event, ...args, (...values) => resolve(values)));
  return within(`the ack of ${event}`, answer);
}

// collect keeps what comes of an event, and waits until that is enough.
export function collect(emitter, event, pick = (...args) => args) {
  const items = [];
  let check = () => {};
  const add = (item) => {
    items.push(item);
    check();
  };
  emitter.on(event, (...args) => add(pick(...args)));
  const until = (enough, ms) => {
    const done = new Promise((resolve) => {
      check = () => enough(items) && resolve(items);
      check();
    });
    return within(`enough of ${event}`, done, ms).catch((err) => {
      throw new Error(`${err.message}; ${items.length} came, the last: ${JSON.stringify(items.at(-1))?.slice(0, 200)}`);
    });
  };
  return { items, add, until, count: (n, ms) => until((all) => all.length >= n, ms) };
}
