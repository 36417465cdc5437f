import assert from "node:assert/strict";
import { test } from "node:test";
import { call, callAll, within } from "../lib/wait.mjs";
import { connect, each, kinds, serve, unique } from "../lib/clients.mjs";
import { shapes, texts } from "../lib/samples.mjs";

const server = serve();

each("the server acknowledges with what it was sent", async (kind) => {
  const socket = await connect(kind, server.url);
  const answers = await Promise.all(shapes.map((args) => callAll(socket, "message-with-ack", ...args)));
  answers.forEach((got, i) => assert.deepEqual(got, shapes[i], `shape ${i}`));
});

each("the client acknowledges to the server", async (kind) => {
  const socket = await connect(kind, server.url);
  socket.on("question", (text, ack) => ack({ heard: text }));
  for (const text of texts) assert.deepEqual(await call(socket, "ask", "question", text), { heard: text });
});

each("an ack is called once, with many under way", async (kind) => {
  const socket = await connect(kind, server.url);
  const n = 200;
  const got = [];
  const all = new Promise((resolve) => {
    for (let i = 0; i < n; i++) {
      socket.emit("message-with-ack", i, (v) => got.push(v) === n && resolve());
    }
  });
  await within("all acks", all);
  assert.deepEqual(got, Array.from({ length: n }, (_, i) => i));
});

test("the server asks a room of all kinds", async () => {
  const room = unique("room");
  const sockets = await Promise.all(kinds.map((kind) => connect(kind, server.url)));
  for (const [i, socket] of sockets.entries()) {
    socket.on("roll-call", (prefix, ack) => ack(prefix + kinds[i].name));
    assert.equal((await call(socket, "join_room", { room })).ok, true);
  }
  const answers = await call(sockets[0], "ask-room", room, "roll-call", "I am ");
  assert.deepEqual(answers.sort(), kinds.map((kind) => "I am " + kind.name).sort());
});
