import assert from "node:assert/strict";
import { call, collect } from "../lib/wait.mjs";
import { connect, each, kinds, serve, unique } from "../lib/clients.mjs";

const server = serve("-ping-interval=300ms", "-ping-timeout=3s");
const helper = kinds.find((kind) => kind.name === "4.8.4 websocket");

each("heartbeats go on while a handler is slow", async (kind) => {
  const socket = await connect(kind, server.url);
  const other = await connect(helper, server.url);
  const key = unique("hold");
  const lost = collect(socket, "disconnect", (reason) => reason);
  // What reaches the client are the server's pings, or its pongs to the client's own.
  const type = kind.legacy ? "pong" : "ping";
  const packets = collect(socket.io.engine, "packet", (packet) => packet.type);

  const held = call(socket, "hold", key);
  const later = call(socket, "message-with-ack", "after");
  await packets.until((all) => all.filter((t) => t === type).length >= 3);
  const first = Promise.race([held.then(() => "held"), later.then(() => "after")]);
  await call(other, "release", key);
  assert.equal((await held).result, key);
  assert.equal(await first, "held");
  assert.equal(await later, "after");
  assert.deepEqual(lost.items, []);
});
