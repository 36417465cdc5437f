// @socket.io/redis-emitter: a process without clients emits to those of Node's servers and of the Hub.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Emitter } from "@socket.io/redis-emitter";
import { Cluster } from "../lib/cluster.mjs";
import { next, until } from "../lib/wait.mjs";

let c, emitter, onHub, inRoom;
before(async () => {
  c = await Cluster.start("adapter");
  emitter = new Emitter(await c.redis.client());
  onHub = await c.client(c.hub);
  inRoom = await c.client(c.hub, "r");
});
after(async () => {
  assert.deepEqual(await c.hub.do("counts"), { dropped: 0, invalid: 0 });
  await c.stop();
});

async function seen() {
  emitter.emit("end");
  return Promise.all([onHub, inRoom].map((s) => s.seen.upTo("end")));
}

test("emits: rooms, exceptions, a sid, everybody, binary, volatile", async () => {
  emitter.to("r").emit("room", 1, { a: "é" });
  emitter.except("r").emit("not r");
  emitter.to(onHub.id).emit("sid");
  emitter.volatile.emit("volatile");
  emitter.to("r").emit("bytes", Buffer.from([1, 2, 255]));
  const [a, b] = await seen();
  assert.deepEqual(a, [["not r"], ["sid"], ["volatile"]]);
  assert.deepEqual(b.slice(0, 2), [["room", 1, { a: "é" }], ["volatile"]]);
  assert.deepEqual(Buffer.from(b[2][1]), Buffer.from([1, 2, 255]));
});

test("namespaces", async () => {
  const admin = await c.clientOf(c.hub, "/admin");
  emitter.of("/admin").emit("staff");
  await next(admin, "staff").catch(() => assert.ok(admin.seen.events.some(([name]) => name === "staff")));
  assert.deepEqual((await seen()).flat(), []);
});

test("joins, leaves, disconnects, serverSideEmit", async () => {
  const rooms = async () => (await c.node.io.in(onHub.id).fetchSockets())[0].rooms.size;
  emitter.in(onHub.id).socketsJoin(["x", "y"]);
  await until("joined", async () => (await rooms()) === 3);
  emitter.in("x").socketsLeave("y");
  await until("left", async () => (await rooms()) === 2);
  emitter.serverSideEmit("anything", 1);
  const gone = next(inRoom, "disconnect");
  emitter.in("r").disconnectSockets(true);
  await gone;
});
