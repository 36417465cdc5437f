// A client of Node's that comes back gets from the stream what the Hub has emitted meanwhile.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Cluster } from "../lib/cluster.mjs";
import { next } from "../lib/wait.mjs";

test("connection state recovery of redis-streams-adapter", async () => {
  const c = await Cluster.start("streams", { options: { connectionStateRecovery: { maxDisconnectionDuration: 60_000 } } });
  const socket = await c.client(c.node, "r");
  await c.hub.emit({ rooms: ["r"] }, "seen");
  await socket.seen.upTo("seen");
  const away = next(socket, "disconnect");
  socket.io.engine.close();
  await away;
  const back = next(socket, "connect");
  await c.hub.emit({ rooms: ["r"] }, "missed", { $bin: "AQID" });
  await c.hub.emit({ rooms: ["other"] }, "not for it");
  await back;
  assert.ok(socket.recovered);
  await c.hub.emit({}, "end");
  const [[name, bytes], ...rest] = await socket.seen.upTo("end");
  assert.deepEqual([name, Buffer.from(bytes), rest], ["missed", Buffer.from([1, 2, 3]), []]);
  await c.stop();
});
