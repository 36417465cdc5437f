// The limits of chat.Limits, small.
import assert from "node:assert/strict";
import { call, collect, next } from "../lib/wait.mjs";
import { close, connect, each, kinds, open, serve, unique } from "../lib/clients.mjs";
import { http, polling } from "../lib/http.mjs";
import { address, address6, from, left, seen, stats, status } from "../lib/seen.mjs";

const limits = { ClientsPerUser: 2, ClientsPerAddress: 3, RoomsPerClient: 2, Text: 10, Meta: 50, Depth: 5, Attachments: 2, Inbox: 4000 };
const server = serve("-trust", "-limits", JSON.stringify(limits));
const oldOnes = serve("-limits", JSON.stringify({ LegacyClients: 1 }));
const helper = kinds.find((kind) => kind.name === "4.8.4 websocket");

const join = (kind, user = unique("user"), at = address()) => connect(kind, server.url, from(kind, at, user));

// refused gives what a client is told that may not come in.
async function refused(kind, socket) {
  const told = next(socket, kind.legacy ? "error" : "connect_error");
  if (kind.legacy) await next(socket, "disconnect");
  const [err] = await told;
  assert.ok(!socket.connected);
  return kind.legacy ? err : err.data;
}

async function comesIn(socket) {
  const connected = next(socket, "connect");
  socket.connect();
  await connected;
}

const here = { address: "127.0.0.1" };
const manyRooms = { code: "RATE_LIMITED", message: "too many rooms", limit: 2 };

each("ClientsPerUser: one more is refused, until one has left", async (kind) => {
  const user = unique("user");
  const first = await join(kind, user);
  await join(kind, user);
  const third = open(kind, server.url, from(kind, address(), user));
  assert.deepEqual(await refused(kind, third), { code: "RATE_LIMITED", message: "too many connections of this user", limit: 2 });
  assert.deepEqual(await seen(server, { user }), ["limit ClientsPerUser refused per user"]);
  await join(kind);
  await close(first);
  await left(server, user);
  await comesIn(third);
  assert.equal((await call(third, "whoami")).user, user);
});

each("ClientsPerAddress: one more is refused, until one has left; a /64 of IPv6 is an address", async (kind) => {
  const [user, v4, v6] = [unique("user"), address(), address6()];
  for (const [i, hosts] of [[v4, v4, v4, v4], [1, 2, 3, 4].map((n) => v6 + n)].entries()) {
    const first = await join(kind, `${user}-${i}`, hosts[0]);
    await join(kind, undefined, hosts[1]);
    await join(kind, undefined, hosts[2]);
    const fourth = open(kind, server.url, from(kind, hosts[3], unique("user")));
    assert.deepEqual(await refused(kind, fourth), { code: "RATE_LIMITED", message: "too many connections from this address", limit: 3 });
    assert.deepEqual(await seen(server, { address: hosts[3] }), ["limit ClientsPerAddress refused per address"]);
    await join(kind);
    await close(first);
    await left(server, `${user}-${i}`);
    await comesIn(fourth);
  }
});

each("RoomsPerClient: one more is refused, until one was left", async (kind) => {
  const user = unique("user");
  const socket = await join(kind, user);
  for (const room of ["one", "two", "one"]) assert.equal((await call(socket, "join_room", { room })).ok, true);
  assert.deepEqual(await call(socket, "join_room", { room: "three" }), { ok: false, error: manyRooms });
  const told = next(socket, "error");
  socket.emit("join_room", { room: "three" });
  assert.deepEqual((await told)[0], { ...manyRooms, event: "join_room" });
  assert.deepEqual((await call(socket, "whoami")).rooms, ["one", "two"]);
  const limit = "limit RoomsPerClient refused per client";
  assert.deepEqual(await seen(server, { user }), [limit, "error RATE_LIMITED", limit, "error RATE_LIMITED"]);
  assert.equal((await call(socket, "leave_room", { room: "one" })).ok, true);
  assert.equal((await call(socket, "join_room", { room: "three" })).ok, true);
  assert.deepEqual((await call(socket, "whoami")).rooms, ["two", "three"]);
});

each("LegacyClients: one more gets 503, and comes in by itself when one has left", async (kind) => {
  await stats(oldOnes, (s) => s.LegacyClients === 0); // those of the test before
  const first = await connect(kind, oldOnes.url);
  const hits = (await seen(oldOnes, here)).length;
  const second = open(kind, oldOnes.url);
  const [err] = await next(second, "connect_error");
  assert.equal(status(err), 503);
  const all = await seen(oldOnes, here);
  assert.ok(all.length > hits && all.every((what) => what === "limit LegacyClients refused"), `${all}`);
  await connect(helper, oldOnes.url);
  const answer = await http(polling(oldOnes.url, 3));
  assert.deepEqual([answer.status, JSON.parse(answer.body)], [503, { code: 3, message: "Too many legacy clients" }]);
  const connected = next(second, "connect");
  await close(first);
  await connected;
}, (kind) => kind.legacy);

each("Text and Meta: what is longer is refused, and nobody hears it", async (kind) => {
  const user = unique("user");
  const [speaker, listener] = [await join(kind, user), await join(helper)];
  const room = unique("room");
  for (const socket of [speaker, listener]) await call(socket, "join_room", { room });
  const heard = collect(listener, "new_message", (m) => [m.text, m.meta]);
  const meta = (bytes) => ({ a: "x".repeat(bytes - '{"a":""}'.length) });
  const say = (text, meta) => call(speaker, "chat_message", { room, text, meta });
  for (const text of ["x", "語", "💬"]) assert.deepEqual((await say(text.repeat(11))).error, { code: "TOO_LARGE", message: "text is too long", limit: 10 });
  assert.deepEqual((await say("x", meta(51))).error, { code: "TOO_LARGE", message: "meta is too long", limit: 50 });
  const told = next(speaker, "error");
  speaker.emit("chat_message", { room, text: "x".repeat(11) });
  assert.deepEqual((await told)[0], { code: "TOO_LARGE", message: "text is too long", limit: 10, event: "chat_message" });
  const hooks = (limit) => [`limit ${limit} refused per client`, "error TOO_LARGE"];
  assert.deepEqual(await seen(server, { user }), ["Text", "Text", "Text", "Meta", "Text"].flatMap(hooks));
  const taken = ["x", "語", "💬"].map((text) => [text.repeat(10), meta(50)]);
  for (const [text, meta] of taken) assert.equal((await say(text, meta)).ok, true);
  assert.deepEqual(await heard.count(3), taken);
});

const nest = (depth) => (depth > 0 ? [nest(depth - 1)] : "deep");

each("Depth: what nests deeper is refused", async (kind) => {
  const user = unique("user");
  const socket = await join(kind, user);
  assert.deepEqual(await call(socket, "message-with-ack", nest(5)), nest(5));
  const deep = { code: "INVALID_PAYLOAD", message: "invalid payload: nested too deep" };
  assert.deepEqual(await call(socket, "message-with-ack", nest(6)), { ok: false, error: deep });
  const told = next(socket, "error");
  socket.emit("message", nest(6));
  assert.deepEqual((await told)[0], { ...deep, event: "message" });
  const hooks = ["limit Depth refused per client", "error INVALID_PAYLOAD"];
  assert.deepEqual(await seen(server, { user }), [...hooks, ...hooks]);
  assert.equal(await call(socket, "message-with-ack", 1), 1);
});

each("Depth of auth", async (kind) => {
  const at = (depth) => open(kind, server.url, from(kind, address(), "", { auth: { nest: nest(depth) } }));
  const [err] = await next(at(5), "connect_error");
  assert.deepEqual(err.data, { code: "INVALID_PAYLOAD", message: "the auth object is nested too deep" });
  await next(at(4), "connect");
}, (kind) => !kind.legacy);

each("Attachments: who sends more is cut off", async (kind) => {
  const user = unique("user");
  const socket = await join(kind, user);
  const other = await join(helper);
  const bytes = (n) => Array.from({ length: n }, (_, i) => Buffer.from([i]));
  assert.equal((await call(socket, "message-with-ack", bytes(2))).length, 2);
  const [gone, back] = [next(socket, "disconnect"), next(socket, "connect")];
  socket.emit("message", bytes(3));
  assert.match((await gone)[0], /^transport (close|error)$/);
  await left(server, user);
  assert.deepEqual(await seen(server, { user }), ["left parse error"]);
  await back;
  assert.equal(await call(socket, "message-with-ack", 1), 1);
  assert.equal(await call(other, "message-with-ack", 1), 1);
});

each("Inbox: a client over it is not read from meanwhile, and nothing is lost", async (kind) => {
  const [socket, other] = [await join(kind), await join(helper)];
  const key = unique("key");
  const before = (await stats(server)).Received;
  const held = call(socket, "hold", key);
  const answers = Promise.all(Array.from({ length: 20 }, (_, i) => call(socket, "message-with-ack", i, "x".repeat(1000))));
  await stats(server, (s) => s.Received >= before + 4);
  const calls = 10;
  for (let i = 0; i < calls; i++) await call(other, "message-with-ack", i);
  const received = (await stats(server)).Received - before - calls;
  other.emit("release", key);
  assert.ok(received < 10, `${received} events for an inbox of 4,000 bytes`);
  assert.deepEqual(await held, { ok: true, result: key });
  assert.deepEqual(await answers, Array.from({ length: 20 }, (_, i) => i));
});
