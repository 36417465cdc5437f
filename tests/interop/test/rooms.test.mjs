import assert from "node:assert/strict";
import { call, collect } from "../lib/wait.mjs";
import { close, connect, each, kinds, serve, unique } from "../lib/clients.mjs";

const server = serve("-grace=0s");

// Whoever watches is of another version, so that each meets others.
const watcherOf = (kind) => kinds[(kinds.findIndex((k) => k.name === kind.name) + 4) % kinds.length];

async function two(kind) {
  const room = unique("room");
  const users = [unique("ann"), unique("bob")];
  const ann = await connect(kind, server.url, { query: { user: users[0] } });
  const bob = await connect(watcherOf(kind), server.url, { query: { user: users[1] } });
  return { room, ann, bob, users };
}

each("join, speak, leave", async (kind) => {
  const { room, ann, bob, users } = await two(kind);
  const annHears = collect(ann, "new_message", (m) => m);
  const bobHears = collect(bob, "new_message", (m) => m);
  const bobSees = collect(bob, "user_joined", (p) => p);
  const bobMisses = collect(bob, "user_left", (p) => p);

  const first = await call(bob, "join_room", { room });
  assert.deepEqual([first.ok, first.room, first.seq, first.member_count], [true, room, 0, 1]);
  const joined = await call(ann, "join_room", { room });
  assert.deepEqual(joined.members.map((m) => m.user_id).sort(), [...users].sort());
  await bobSees.until((all) => all.some((p) => p.room === room && p.user_id === users[0]));

  const text = `from ${kind.name}: 語 💬`;
  const ack = await call(ann, "chat_message", { room, text, message_id: "m1" });
  assert.equal(ack.ok, true);
  assert.equal(ack.message.text, text);
  assert.equal(ack.message.seq, 1);
  const [got] = await bobHears.count(1);
  assert.equal(got.text, text);
  assert.equal(got.id, ack.message.id);
  assert.equal(got.user_id, users[0]);

  // A retry gives the same message and delivers nothing.
  const again = await call(ann, "chat_message", { room, text, message_id: "m1" });
  assert.equal(again.message.id, ack.message.id);
  // Without an ack the sender hears himself.
  ann.emit("chat_message", { room, text: "no ack" });
  assert.equal((await annHears.count(1))[0].text, "no ack");
  assert.deepEqual((await bobHears.count(2)).map((m) => m.seq), [1, 2]);

  assert.equal((await call(ann, "leave_room", { room })).ok, true);
  await bobMisses.until((all) => all.some((p) => p.room === room && p.user_id === users[0]));
  assert.equal((await call(bob, "chat_message", { room, text: "alone" })).message.seq, 3);
  assert.equal((await call(ann, "chat_message", { room, text: "outside" })).error.code, "NOT_MEMBER");
  assert.equal(annHears.items.length, 1);
});

each("a client that goes is seen to leave", async (kind) => {
  const { room, ann, bob, users } = await two(kind);
  await call(bob, "join_room", { room });
  await call(ann, "join_room", { room });
  const left = collect(bob, "user_left", (p) => p);
  await close(ann);
  assert.deepEqual((await left.count(1))[0].user_id, users[0]);
});

each("typing is told to others alone", async (kind) => {
  const { room, ann, bob, users } = await two(kind);
  const own = collect(ann, "typing");
  await call(bob, "join_room", { room });
  await call(ann, "join_room", { room });
  const seen = collect(bob, "typing", (p) => p);
  ann.emit("typing", { room, on: true });
  ann.emit("typing", { room, on: false });
  const got = await seen.count(2);
  assert.deepEqual(got.map((p) => [p.room, p.user_id, p.on]), [[room, users[0], true], [room, users[0], false]]);
  assert.equal(own.items.length, 0);
});

each("the host speaks to a room", async (kind) => {
  const { room, ann, bob } = await two(kind);
  await call(bob, "join_room", { room });
  const heard = collect(bob, "alert", (p) => p);
  const outside = collect(ann, "alert");
  await call(ann, "say", room, "alert", { message: "noon" });
  assert.deepEqual((await heard.count(1))[0], { message: "noon" });
  assert.equal(outside.items.length, 0);
});
