import assert from "node:assert/strict";
import { after, afterEach, before } from "node:test";
import { call, collect, next } from "../lib/wait.mjs";
import { connect, each, kinds, serve, unique } from "../lib/clients.mjs";
import { startProxy } from "../lib/proxy.mjs";

const server = serve();
let proxy;
before(async () => (proxy = await startProxy(server)));
after(() => proxy?.stop());
afterEach(() => proxy.mend());

const recovers = (kind) => kind.major === 4;
const speaker = kinds.find((kind) => kind.name === "4.8.4 websocket");

// apart cuts the connection, runs body while it is down, and waits until the client is back.
async function apart(socket, body) {
  const left = next(socket, "disconnect");
  proxy.cut();
  await left;
  await body();
  const back = next(socket, "connect");
  proxy.mend();
  await back;
}

async function two(kind) {
  const user = unique("user");
  const socket = await connect(kind, proxy.url, { auth: { user } });
  const other = await connect(speaker, server.url);
  return { socket, other, user };
}

each("what was missed comes once, in order", async (kind) => {
  const { socket, other, user } = await two(kind);
  const room = unique("room");
  await call(socket, "join_room", { room });
  await call(other, "join_room", { room });
  const heard = collect(socket, "new_message", (m) => m.seq);
  const alerts = collect(socket, "alert", (v) => v);
  assert.equal(socket.recovered, false);
  const id = socket.id;

  await call(other, "chat_message", { room, text: "before" });
  await heard.count(1);
  await apart(socket, async () => {
    for (let i = 0; i < 20; i++) await call(other, "chat_message", { room, text: "missed" });
    await call(other, "say", room, "alert", "missed too");
  });
  assert.equal(socket.recovered, true);
  assert.equal(socket.id, id);
  await call(other, "chat_message", { room, text: "after" });
  assert.deepEqual(await heard.count(22), Array.from({ length: 22 }, (_, i) => i + 1));
  assert.deepEqual(await alerts.count(1), ["missed too"]);

  const me = await call(socket, "whoami");
  assert.equal(me.recovered, true);
  assert.equal(me.user, user);
  assert.ok(me.rooms.includes(room));
  await call(socket, "chat_message", { room, text: "speaks on" });
  assert.equal(heard.items.length, 22);
}, recovers);

each("again and again", async (kind) => {
  const { socket, other } = await two(kind);
  const room = unique("room");
  await call(socket, "join_room", { room });
  const heard = collect(socket, "tick", (i) => i);
  for (let i = 0; i < 5; i++) {
    await apart(socket, () => call(other, "say", room, "tick", i));
    assert.equal(socket.recovered, true, `cut ${i}`);
  }
  assert.deepEqual(await heard.count(5), [0, 1, 2, 3, 4]);
}, recovers);

each("a room that was left stays left", async (kind) => {
  const { socket, other } = await two(kind);
  const [stay, leave] = [unique("stay"), unique("leave")];
  await call(socket, "join_room", { room: stay });
  await call(socket, "join_room", { room: leave });
  await call(socket, "leave_room", { room: leave });
  const heard = collect(socket, "alert", (v) => v);
  await apart(socket, async () => {
    await call(other, "say", leave, "alert", "not for it");
    await call(other, "say", stay, "alert", "for it");
  });
  assert.equal(socket.recovered, true);
  await call(other, "say", leave, "alert", "nor that");
  await call(socket, "whoami");
  assert.deepEqual(await heard.count(1), ["for it"]);
}, recovers);

each("what the client sent while it was away arrives", async (kind) => {
  const { socket } = await two(kind);
  let answer;
  await apart(socket, () => {
    answer = call(socket, "message-with-ack", "buffered");
  });
  assert.equal(socket.recovered, true);
  assert.equal(await answer, "buffered");
}, recovers);

each("who was told to leave begins anew", async (kind) => {
  const { socket } = await two(kind);
  const id = socket.id;
  const left = next(socket, "disconnect");
  socket.emit("kick");
  await left;
  const back = next(socket, "connect");
  socket.connect();
  await back;
  assert.equal(socket.recovered, false);
  assert.notEqual(socket.id, id);
}, recovers);

each("a token that was revoked meanwhile does not recover", async (kind) => {
  const { socket } = await two(kind);
  const left = next(socket, "disconnect");
  proxy.cut();
  await left;
  socket.auth = { ...socket.auth, token: "bad" };
  const refused = next(socket, "connect_error");
  // The manager reports that it could not reach the server by the same event.
  const code = new Promise((resolve) => socket.on("connect_error", (err) => err.data && resolve(err.data.code)));
  await refused;
  proxy.mend();
  assert.equal(await code, "UNAUTHORIZED");
}, recovers);

each("a client without recovery comes back as a new one", async (kind) => {
  const { socket } = await two(kind);
  await apart(socket, () => {});
  assert.equal((await call(socket, "whoami")).recovered, false);
  assert.ok(!socket.recovered);
}, (kind) => !recovers(kind));
