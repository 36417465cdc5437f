import assert from "node:assert/strict";
import { call, callAll, next } from "../lib/wait.mjs";
import { connect, each, kinds, serve } from "../lib/clients.mjs";
import { http, polling } from "../lib/http.mjs";

const server = serve("-recovery=false");
const limit = 1_000_000;
const helper = kinds.find((kind) => kind.name === "4.8.4 websocket");

each("close to the limit is taken", async (kind) => {
  const socket = await connect(kind, server.url);
  const text = "x".repeat(limit - 1000);
  assert.ok((await call(socket, "message-with-ack", text)) === text);
  // Over polling old clients and new ones send binary as base64.
  const data = Buffer.alloc(700_000, 0xfe);
  const [got] = await callAll(socket, "message-with-ack", data);
  assert.ok(data.equals(Buffer.from(got)));
});

each("beyond the limit ends that client alone", async (kind) => {
  const other = await connect(helper, server.url);
  const socket = await connect(kind, server.url, { reconnection: false });
  const left = next(socket, "disconnect");
  socket.emit("message", "x".repeat(limit + 1000));
  await left;
  assert.equal(await call(other, "message-with-ack", 1), 1);
});

each("many small ones in one go are within the limit", async (kind) => {
  const socket = await connect(kind, server.url);
  const text = "y".repeat(50_000);
  const answers = await Promise.all(
    Array.from({ length: 30 }, (_, i) => call(socket, "message-with-ack", i + text).then((s) => s === i + text)),
  );
  assert.ok(answers.every(Boolean));
}, (kind) => kind.version >= "4.7" || kind.transport !== "polling");
