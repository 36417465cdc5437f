import assert from "node:assert/strict";

export const patience = 10_000;

/** The next event of that name, as an array of its arguments. */
export function next(emitter, event) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no event ${event} within ${patience} ms`)), patience);
    emitter.once(event, (...args) => {
      clearTimeout(timer);
      resolve(args);
    });
  });
}

/** Repeats check until what it returns is true. */
export async function until(what, check) {
  const end = Date.now() + patience;
  for (;;) {
    if (await check()) return;
    assert.ok(Date.now() < end, `not within ${patience} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

// Of connection state recovery: a Hub's, or an entry of a stream.
const offset = /^([\w-]{8}\.\d+|\d{13}-\d+)$/;
const presence = new Set(["user_joined", "user_left"]);

/** Everything that a socket receives, in order, but for who comes and goes. */
export class Record {
  constructor(socket) {
    this.events = [];
    socket.onAny((...all) => {
      if (presence.has(all[0])) return;
      if (offset.test(all.at(-1))) all.pop();
      this.events.push(all);
    });
  }

  /** The events up to the one of that name, which is waited for; they are taken out. */
  async upTo(event) {
    await until(`event ${event}`, () => this.events.some(([name]) => name === event));
    const end = this.events.findIndex(([name]) => name === event);
    const taken = this.events.splice(0, end + 1);
    return taken.slice(0, -1);
  }
}
