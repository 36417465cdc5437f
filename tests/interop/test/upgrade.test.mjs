import assert from "node:assert/strict";
import { test } from "node:test";
import { call, collect, next, within } from "../lib/wait.mjs";
import { connect, kinds, open, serve, upgraded, versions } from "../lib/clients.mjs";
import { upgradeUnderTraffic } from "../lib/traffic.mjs";

// Recovery would mend what an upgrade breaks.
const server = serve("-recovery=false");
const messages = 1000;
const clients = 8; // of each version
let early = 0; // clients that were connected, and began to send, before they upgraded
const whole = Array.from({ length: messages }, (_, i) => i);

for (const version of versions) {
  const kind = kinds.find((k) => k.version === version.version && k.transport === "upgrade");
  test(`upgrades under traffic lose and reorder nothing: ${version.version}`, async () => {
    const began = await Promise.all(Array.from({ length: clients }, () => upgradeUnderTraffic(kind, server.url)));
    early += began.filter(Boolean).length;
  });
}

// On a busy machine a client may upgrade before it is connected; most do not.
test("the upgrades fell among the messages", () => {
  assert.ok(early > clients, `${early} of ${clients * versions.length}`);
});

test("a room's messages while its members upgrade", async () => {
  const speaker = await connect(kinds.find((k) => k.name === "4.8.4 websocket"), server.url);
  const room = "moving";
  const upgrading = kinds.filter((k) => k.transport === "upgrade");
  const members = upgrading.map((kind) => open(kind, server.url));
  const heard = members.map((socket) => collect(socket, "new_message", (m) => m.seq));
  const from = await Promise.all(
    members.map(async (socket) => {
      await next(socket, "connect");
      return (await call(socket, "join_room", { room })).seq;
    }),
  );
  await call(speaker, "join_room", { room });
  const acks = [];
  const spoken = new Promise((resolve) => {
    for (let i = 0; i < messages; i++) {
      speaker.emit("chat_message", { room, text: `m${i}` }, (answer) => acks.push(answer.message.seq) === messages && resolve());
    }
  });
  await Promise.all(members.map(upgraded));
  await within("the acks", spoken, 40000);
  for (const [i, log] of heard.entries()) {
    assert.equal(from[i], 0);
    assert.deepEqual(await log.count(messages, 40000), whole.map((n) => n + 1), upgrading[i].name);
  }
  assert.deepEqual(acks, whole.map((n) => n + 1));
});
