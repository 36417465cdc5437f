// Who does not read what his room sends.
import assert from "node:assert/strict";
import { after, afterEach, before } from "node:test";
import { call, collect, next } from "../lib/wait.mjs";
import { connect, each, kinds, serve, unique } from "../lib/clients.mjs";
import { startProxy } from "../lib/proxy.mjs";
import { seen, stats } from "../lib/seen.mjs";

const server = serve("-write-buffer=16384", "-limits", JSON.stringify({ Outbox: 100_000 }));
let proxy;
before(async () => (proxy = await startProxy(server)));
after(() => proxy?.stop());
afterEach(() => proxy.flow());

const helper = kinds.find((kind) => kind.name === "4.8.4 websocket");
const text = "x".repeat(20_000);
const most = 300; // events of such a text; the systems on the way hold much less of a connection

// overflow has a room talk until the outbox of the one who is stalled has been nearly full, and nothing is added to it any more.
async function overflow(speaker, room, heard) {
  for (let said = 0, full = 0, last = 0, still = 0; said < most; said++) {
    await call(speaker, "say", room, "news", said, text);
    await heard.count(said + 1);
    const now = (await stats(server)).OutboxDeepest;
    full = Math.max(full, now);
    still = full >= 60_000 && now <= last ? still + 1 : 0;
    if (still === 6) return said + 1;
    last = now;
  }
  throw new Error(`no outbox has overflown after ${most} events`);
}

// stall makes a client slow and lets it read again after a while. It gives what the client was told, in order.
async function stall(kind, until) {
  const [user, room] = [unique("user"), unique("room")];
  const evicted = (await stats(server)).Evicted["slow consumer"];
  const [good, speaker] = [await connect(kind, server.url), await connect(helper, server.url)];
  const slow = await connect(kind, proxy.url, { [kind.legacy ? "query" : "auth"]: { user } });
  for (const socket of [good, slow]) await call(socket, "join_room", { room });
  const told = [];
  slow.on("error", (err) => err.code && told.push(err));
  for (const event of ["disconnect", "connect"]) slow.on(event, () => told.push(event));
  const [some, all] = [slow, good].map((socket) => collect(socket, "news", (i) => i));

  proxy.stall();
  const said = await overflow(speaker, room, all);
  assert.deepEqual(told, []);
  const [gone, back] = [next(slow, "disconnect"), next(slow, "connect")];
  await until(user);
  proxy.flow();
  assert.match((await gone)[0], /^transport (close|error)$/);
  await back;
  assert.equal((await call(slow, "whoami")).user, user);
  assert.deepEqual(some.items, Array.from({ length: some.items.length }, (_, i) => i));
  const hooks = await seen(server, { user }, (all) => all.length >= 3);
  assert.deepEqual(hooks, ["left slow consumer", "error SLOW_CONSUMER", "limit Outbox disconnect per client"]);
  assert.equal((await stats(server)).Evicted["slow consumer"], evicted + 1);
  assert.match(server.log(), new RegExp(`WARN chat: disconnected reason="slow consumer" .*user_id=${user}\\b`));
  await call(speaker, "say", room, "news", said, text);
  assert.deepEqual(await all.count(said + 1), Array.from({ length: said + 1 }, (_, i) => i));
  return told;
}

const code = { code: "SLOW_CONSUMER", message: "what was sent was not read in time" };

each("SLOW_CONSUMER: who reads again hears of it, and comes back; the others of his room hear all", async (kind) => {
  // Over polling there is a second for it: once more, where this machine took so long.
  let told;
  for (let turn = 0; turn < 3 && !told?.some((v) => v.code); turn++) told = await stall(kind, () => {});
  // See later in bounds.test.mjs.
  assert.deepEqual(told, kind.major === 4 && kind.transport === "polling" ? ["disconnect", code, "connect"] : [code, "disconnect", "connect"]);
});

each("who reads again too late hears of it no more, but comes back as well", async (kind) => {
  const told = await stall(kind, (user) => seen(server, { user }, (all) => all.includes("left slow consumer")));
  assert.deepEqual(told, ["disconnect", "connect"]);
}, (kind) => ["1.7.4 polling", "4.8.4 polling"].includes(kind.name));
