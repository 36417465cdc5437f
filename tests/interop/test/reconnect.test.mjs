import assert from "node:assert/strict";
import { test } from "node:test";
import { call, callAll, collect, next } from "../lib/wait.mjs";
import { connect, kinds } from "../lib/clients.mjs";
import { startServer } from "../lib/server.mjs";

// heardOf is next, and names the kind when it fails.
const heardOf = (i, socket, event) =>
  next(socket, event).catch((err) => Promise.reject(new Error(`${kinds[i].name}: ${err.message}`)));

test("all kinds come back when the server was killed and returns", async (t) => {
  let server = await startServer();
  const sockets = await Promise.all(kinds.map((kind) => connect(kind, server.url)));
  const lost = Promise.all(sockets.map((socket, i) => heardOf(i, socket, "disconnect")));
  await server.kill();
  await lost;

  const back = Promise.all(sockets.map((socket, i) => heardOf(i, socket, "connect")));
  server = await startServer(`-addr=127.0.0.1:${server.port}`);
  t.after(() => server.stop());
  await back;
  for (const [i, socket] of sockets.entries()) {
    const echoed = await callAll(socket, "message-with-ack", "ü", Buffer.from([1]));
    assert.deepEqual(echoed, ["ü", Buffer.from([1])], kinds[i].name);
    assert.equal((await call(socket, "join_room", { room: "again" })).ok, true);
  }
  const heard = sockets.map((socket) => collect(socket, "alert", (v) => v));
  await call(sockets[0], "say", "again", "alert", "back");
  for (const alerts of heard) assert.deepEqual(await alerts.count(1), ["back"]);
});

test("all kinds come back when the server shuts down and returns", async (t) => {
  let server = await startServer();
  const sockets = await Promise.all(kinds.map((kind) => connect(kind, server.url)));
  const lost = Promise.all(sockets.map((socket, i) => heardOf(i, socket, "disconnect")));
  await server.stop();
  await lost;
  const back = Promise.all(sockets.map((socket, i) => heardOf(i, socket, "connect")));
  server = await startServer(`-addr=127.0.0.1:${server.port}`);
  t.after(() => server.stop());
  await back;
  const answers = await Promise.all(sockets.map((socket) => call(socket, "message-with-ack", 1)));
  assert.deepEqual(answers, sockets.map(() => 1));
});
