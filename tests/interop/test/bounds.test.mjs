import assert from "node:assert/strict";
import { test } from "node:test";
import { call, collect, next } from "../lib/wait.mjs";
import { connect, each, kinds, serve, unique } from "../lib/clients.mjs";
import { startServer } from "../lib/server.mjs";

const server = serve();
const limit = 1_000_000;

// Clients of 4.x emit what a packet brings a microtask later, but take a close at once: what comes with one in the answer to a poll they keep, and tell
// when they are connected again.
const later = (kind) => kind.major === 4 && kind.transport === "polling";

each("a page hears TOO_LARGE and the close of its connection, and comes back by itself", async (kind) => {
  const socket = await connect(kind, server.url);
  await call(socket, "message-with-ack", "all that connecting brings has come, and a poll waits");
  const order = [];
  for (const event of ["error", "disconnect", "connect"]) socket.on(event, (v) => order.push(v?.code ?? event));
  const [left, back] = [next(socket, "disconnect"), next(socket, "connect")];
  socket.emit("message", "x".repeat(limit + 1000));
  assert.match((await left)[0], /^transport (close|error)$/);
  await back;
  const told = later(kind) ? ["disconnect", "TOO_LARGE"] : ["TOO_LARGE", "disconnect"];
  assert.deepEqual(order, [...told, "connect"]);
  assert.equal(await call(socket, "message-with-ack", "as ever"), "as ever");
});

test("each page hears a hint of its own before a server stops", async () => {
  const server = await startServer();
  const sockets = await Promise.all(kinds.map((kind) => connect(kind, server.url, { reconnection: false })));
  const hints = Promise.all(sockets.map((socket) => next(socket, "server_draining").then(([hint]) => hint.reconnect_after_ms)));
  const lost = Promise.all(sockets.map((socket) => next(socket, "disconnect").then(([reason]) => reason)));
  const stopped = server.stop();
  const all = await hints;
  assert.equal(new Set(all).size, all.length, `${all}`);
  for (const ms of all) assert.ok(ms >= 1000 && ms < 1000 + 5 * kinds.length, `${all}`); // 200 a second
  for (const reason of await lost) assert.equal(reason, "transport close");
  await stopped;
});

each("one room by path, by namespace and by neither", async (kind) => {
  const room = unique("room");
  const pages = await Promise.all([
    connect(kind, server.url),
    connect(kind, server.url, { path: "/ws/socket.io" }),
    connect(kind, server.url + "/ws"),
    connect(kind, server.url + "/ws", { path: "/ws/socket.io" }),
  ]);
  const heard = pages.map((page) => collect(page, "new_message", (m) => m.text));
  for (const page of pages) {
    assert.equal((await call(page, "join_room", { room })).ok, true);
    assert.equal((await call(page, "whoami")).namespace, "/");
  }
  for (const [i, page] of pages.entries()) {
    assert.equal((await call(page, "chat_message", { room, text: `from ${i}` })).ok, true);
  }
  for (const [i, messages] of heard.entries()) {
    assert.deepEqual(await messages.count(3), [0, 1, 2, 3].filter((n) => n !== i).map((n) => `from ${n}`));
  }
  const binary = pages.map((page) => next(page, "blob"));
  await call(pages[0], "say", room, "blob", Buffer.from([1, 2, 3]));
  for (const got of binary) assert.deepEqual(Buffer.from((await got)[0]), Buffer.from([1, 2, 3]));
});
