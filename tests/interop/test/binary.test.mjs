import assert from "node:assert/strict";
import { test } from "node:test";
import { call, callAll, collect } from "../lib/wait.mjs";
import { connect, each, kinds, serve, unique } from "../lib/clients.mjs";

// Recovery would append its offset to the arguments.
const server = serve("-recovery=false");

const all256 = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
const big = Buffer.alloc(100_000, 7);

const payloads = {
  "at the top": [Buffer.from("asdf")],
  "every byte": [all256],
  nested: [{ a: { b: [1, Buffer.from([0, 255])] }, text: "ü" }],
  "two, among others": ["x", Buffer.from([1, 2, 3]), { y: Buffer.from([4, 5, 6]) }, null],
  empty: [Buffer.alloc(0), "after"],
  large: [{ big }],
};

// Clients in Node give Buffers, newer ones sometimes typed arrays or ArrayBuffers.
function plain(value) {
  if (value instanceof ArrayBuffer) return Buffer.from(value);
  if (ArrayBuffer.isView(value)) return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  if (Array.isArray(value)) return value.map(plain);
  if (value && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, plain(v)]));
  }
  return value;
}

each("binary in events, both ways", async (kind) => {
  const socket = await connect(kind, server.url);
  const back = collect(socket, "message-back", (...args) => plain(args));
  for (const args of Object.values(payloads)) socket.emit("message", ...args);
  const got = await back.count(Object.keys(payloads).length);
  Object.entries(payloads).forEach(([name, args], i) => assert.deepEqual(got[i], args, name));
});

each("binary in acks, both ways", async (kind) => {
  const socket = await connect(kind, server.url);
  socket.on("question", (data, ack) => ack({ echo: data, more: Buffer.from("more") }));
  for (const [name, args] of Object.entries(payloads)) {
    assert.deepEqual(plain(await callAll(socket, "message-with-ack", ...args)), args, name);
    const answer = plain(await call(socket, "ask", "question", args[0]));
    assert.deepEqual(answer, { echo: args[0], more: Buffer.from("more") }, name);
  }
});

each("text and binary keep their order", async (kind) => {
  const socket = await connect(kind, server.url);
  const back = collect(socket, "message-back", (...args) => plain(args));
  const sent = Array.from({ length: 60 }, (_, i) => (i % 3 ? [i] : [i, Buffer.from([i, 255 - i])]));
  for (const args of sent) socket.emit("message", ...args);
  assert.deepEqual(await back.count(sent.length), sent);
});

test("binary from each kind to all kinds", async () => {
  const sockets = await Promise.all(kinds.map((kind) => connect(kind, server.url)));
  for (const [i, from] of sockets.entries()) {
    const event = unique("binary");
    const heard = sockets.map((socket) => collect(socket, event, (...args) => plain(args)));
    from.emit("broadcast", event, { data: all256 }, "and text");
    for (const [j, events] of heard.entries()) {
      const got = await events.count(1);
      assert.deepEqual(got, [[{ data: all256 }, "and text"]], `from ${kinds[i].name} to ${kinds[j].name}`);
    }
  }
});
