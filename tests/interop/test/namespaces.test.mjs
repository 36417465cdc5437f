import assert from "node:assert/strict";
import { call, collect, next } from "../lib/wait.mjs";
import { connect, each, kinds, open, serve, unique } from "../lib/clients.mjs";

const server = serve();

each("a namespace of its own", async (kind) => {
  const admin = await connect(kind, server.url + "/admin");
  const main = await connect(kind, server.url);
  assert.equal((await call(admin, "whoami")).namespace, "/admin");
  assert.equal(await call(admin, "message-with-ack", "ü"), "ü");
  const data = Buffer.from([1, 2]);
  assert.deepEqual(Buffer.from(await call(admin, "message-with-ack", data)), data);

  const event = unique("event");
  const below = collect(main, event);
  const here = collect(admin, event);
  await call(admin, "broadcast", event, "admins");
  await here.count(1);
  await call(main, "message-with-ack");
  assert.equal(below.items.length, 0);
});

each("namespaces share one connection", async (kind) => {
  const main = await connect(kind, server.url);
  const admin = main.io.socket("/admin");
  await next(admin, "connect");
  assert.equal(admin.io.engine, main.io.engine);
  assert.equal((await call(admin, "whoami")).namespace, "/admin");
  const left = next(admin, "disconnect");
  admin.emit("kick");
  assert.equal((await left)[0], "io server disconnect");
  assert.equal((await call(main, "whoami")).namespace, "/");
});

each("rooms of one name in two namespaces are two", async (kind) => {
  const room = unique("room");
  const other = kinds.find((k) => k.transport === kind.transport && k.major !== kind.major);
  const main = await connect(kind, server.url);
  const admin = await connect(other, server.url + "/admin");
  await call(main, "join_room", { room });
  await call(admin, "join_room", { room });
  const heard = collect(admin, "new_message");
  assert.equal((await call(main, "chat_message", { room, text: "main" })).message.seq, 1);
  assert.equal((await call(admin, "chat_message", { room, text: "admin" })).message.seq, 1);
  assert.equal(heard.items.length, 0);
});

each("an unknown namespace is refused, the rest goes on", async (kind) => {
  const main = await connect(kind, server.url);
  const lost = main.io.socket("/no-such");
  const [err] = await next(lost, kind.legacy ? "error" : "connect_error");
  assert.equal(kind.legacy ? err : err.message, "Invalid namespace");
  assert.equal(await call(main, "message-with-ack", 1), 1);
});

each("a namespace may refuse", async (kind) => {
  const main = await connect(kind, server.url);
  const closed = main.io.socket("/closed");
  const [err] = await next(closed, kind.legacy ? "error" : "connect_error");
  assert.equal((kind.legacy ? err : err.data).code, "UNAUTHORIZED");
  assert.equal(await call(main, "message-with-ack", 1), 1);
});

each("the query of a namespace is seen by its auth", async (kind) => {
  const socket = open(kind, `${server.url}/admin?user=${unique("staff")}`);
  await next(socket, "connect");
  assert.match((await call(socket, "whoami")).user, /^staff-/);
});
