import assert from "node:assert/strict";
import { test } from "node:test";
import { call, callAll, collect, next } from "../lib/wait.mjs";
import { connect, each, kinds, serve, unique } from "../lib/clients.mjs";
import { shapes, texts } from "../lib/samples.mjs";

// Recovery would append its offset to the arguments.
const server = serve("-recovery=false");

each("arguments of every shape come back as they were", async (kind) => {
  const socket = await connect(kind, server.url);
  const back = collect(socket, "message-back");
  for (const args of shapes) socket.emit("message", ...args);
  const got = await back.count(shapes.length);
  shapes.forEach((args, i) => assert.deepEqual(got[i], args, `shape ${i}`));
});

each("an event that nobody takes is answered", async (kind) => {
  const socket = await connect(kind, server.url);
  const answer = await call(socket, "no-such-event", 1);
  assert.equal(answer.ok, false);
  assert.equal(answer.error.code, "UNKNOWN_EVENT");
  const failed = next(socket, "error");
  socket.emit("no-such-event", 1);
  const [err] = await failed;
  assert.equal(err.code, "UNKNOWN_EVENT");
  assert.equal(err.event, "no-such-event");
});

each("a bad payload and a panic are answered, and the connection stays", async (kind) => {
  const socket = await connect(kind, server.url);
  const bad = await call(socket, "add", "text");
  assert.deepEqual([bad.ok, bad.error.code], [false, "INVALID_PAYLOAD"]);
  const failed = next(socket, "error");
  socket.emit("add", { a: [] });
  assert.equal((await failed)[0].code, "INVALID_PAYLOAD");
  const panicked = await call(socket, "panic");
  assert.deepEqual([panicked.ok, panicked.error.code], [false, "INTERNAL"]);
  assert.deepEqual(await call(socket, "add", { a: 1, b: 2 }), { ok: true, result: { sum: 3 } });
});

each("event names with signs of the protocol in them", async (kind) => {
  const socket = await connect(kind, server.url);
  for (const name of ["a,b", "x]y", 'quo"te', "back\\slash", "ünï 💬", "1-2", "/a,"]) {
    assert.deepEqual(await callAll(socket, name, "v"), [name, "v"]);
  }
});

test("texts of any script between all kinds", async () => {
  const sockets = await Promise.all(kinds.map((kind) => connect(kind, server.url)));
  for (const [i, from] of sockets.entries()) {
    const event = unique("text");
    const heard = sockets.map((socket) => collect(socket, event, (text) => text));
    for (const text of texts) from.emit("broadcast", event, text);
    for (const [j, events] of heard.entries()) {
      const got = await events.count(texts.length);
      assert.deepEqual(got, texts, `from ${kinds[i].name} to ${kinds[j].name}`);
    }
  }
});
