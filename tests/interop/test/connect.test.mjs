import assert from "node:assert/strict";
import { call, next } from "../lib/wait.mjs";
import { close, connect, each, open, serve, unique } from "../lib/clients.mjs";

const server = serve();

each("connects, is known to the server, and leaves", async (kind) => {
  const user = unique("user");
  const socket = await connect(kind, server.url, { query: { user } });
  const me = await call(socket, "whoami");
  assert.equal(me.user, user);
  assert.equal(me.namespace, "/");
  assert.equal(me.transport, kind.transport === "polling" ? "polling" : "websocket");
  assert.equal(me.protocol, kind.legacy ? 4 : 5);
  assert.ok(socket.id);
  // The id of an old client is the secret of its transport, which the others must not learn.
  if (kind.legacy) assert.ok(me.sid !== socket.id, "the sid is the secret");
  else assert.equal(me.sid, socket.id);
  const [reason] = await close(socket);
  assert.equal(reason, "io client disconnect");
});

each("hands the auth payload on", async (kind) => {
  const socket = open(kind, server.url, { auth: { token: "ü1", deep: { a: [1] } } });
  const [payload] = await next(socket, "auth");
  assert.deepEqual(payload, kind.legacy ? {} : { token: "ü1", deep: { a: [1] } });
});

each("is told by the server to leave, and stays away", async (kind) => {
  const socket = await connect(kind, server.url);
  const left = next(socket, "disconnect");
  socket.emit("kick");
  assert.deepEqual((await left)[0], "io server disconnect");
  assert.ok(!socket.connected);
  // By hand it may come again.
  const again = next(socket, "connect");
  socket.connect();
  await again;
});

