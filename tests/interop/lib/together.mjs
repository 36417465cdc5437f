// Everybody in one room.
import assert from "node:assert/strict";
import { call, collect } from "./wait.mjs";
import { connect, kinds } from "./clients.mjs";

const each = 20; // messages from every client

// join puts a client into the room and keeps what it learns of the room's log, in the order it learns it.
async function join(kind, url, room) {
  const socket = await connect(kind, url, { query: { user: kind.name } });
  const log = collect(socket, "new_message", (m) => m);
  const answer = await call(socket, "join_room", { room });
  assert.equal(answer.ok, true);
  return { kind, socket, log };
}

function speak({ kind, socket, log }, room) {
  for (let i = 0; i < each; i++) {
    const own = `${kind.name}:${i}`;
    socket.emit("chat_message", { room, text: `${own} 語💬`, message_id: own }, (answer) => {
      assert.equal(answer.ok, true, JSON.stringify(answer));
      log.add(answer.message);
    });
  }
}

// together has all kinds in one room hear everything once, in one order.
export async function together(url, room) {
  const members = await Promise.all(kinds.map((kind) => join(kind, url, room)));
  for (const member of members) speak(member, room);

  const total = kinds.length * each;
  const whole = Array.from({ length: total }, (_, i) => i + 1);
  let first;
  for (const { kind, log } of members) {
    const got = await log.count(total);
    assert.deepEqual(got.map((m) => m.seq), whole, kind.name);
    const texts = got.map((m) => m.text);
    first ??= texts;
    assert.deepEqual(texts, first, kind.name);
    assert.equal(new Set(got.map((m) => m.id)).size, total);
    for (const k of kinds) {
      const theirs = texts.filter((text) => text.startsWith(k.name + ":"));
      assert.deepEqual(theirs, Array.from({ length: each }, (_, i) => `${k.name}:${i} 語💬`));
    }
  }
}
