// Bad bytes on the wire, and a Redis that goes away.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Cluster } from "../lib/cluster.mjs";
import { until } from "../lib/wait.mjs";

const garbage = [Buffer.from([]), Buffer.from([0xc1]), Buffer.from([0xdf, 255, 255, 255, 255]), Buffer.from("{"), Buffer.from("{}"), Buffer.from([0x93, 1, 2, 3]),
  Buffer.from('{"type":7,"requestId":"x"}'), Buffer.from('{"type":6,"requestId":"x"}'), Buffer.from('{"type":2}'), Buffer.alloc(3000, 0x91)];

test("bad bytes are counted and logged, and nothing else is lost", async () => {
  for (const wire of ["adapter", "streams"]) {
    const c = await Cluster.start(wire, { nodes: 0 });
    const client = await c.redis.client();
    const socket = await c.client(c.hub, "r");
    for (const bytes of garbage) {
      for (const channel of ["socket.io#/#", "socket.io#/#r#", "socket.io-request#/#", "socket.io-response#/#"]) await client.publish(channel, bytes);
      await client.xAdd("socket.io", "*", { nsp: "/", uid: "u", type: "3", data: bytes });
      await client.xAdd("socket.io", "*", { nsp: "/", uid: "u", type: "4", data: bytes.toString("base64") });
    }
    await client.xAdd("socket.io", "*", { other: "1" });
    await client.xAdd("socket.io", "*", { nsp: "/", uid: "u", type: "three", data: "{}" });
    const opts = { rooms: [], except: [], flags: {} };
    await client.xAdd("socket.io", "*", { nsp: "/", uid: "u", type: "3", data: JSON.stringify({ packet: { type: 2, data: ["good"] }, opts }) });
    if (wire === "adapter") {
      const { encode } = (await import("notepack.io")).default;
      await client.publish("socket.io#/#", encode(["u", { type: 2, data: ["good"], nsp: "/" }, opts]));
    }
    assert.deepEqual(await socket.seen.upTo("good"), []);
    assert.ok((await c.hub.do("counts")).invalid >= 10);
    assert.match(c.hub.log, /not understood/);
    await c.stop();
  }
});

async function restarted(wire, c) {
  const [onNode, onHub] = [await c.client(c.node, "r"), await c.client(c.hub, "r")];
  await c.redis.kill();
  for (let i = 0; i < 20; i++) await c.hub.emit({ rooms: ["r"] }, "away", i);
  await onHub.seen.upTo("away"); // at once, on this side
  await c.redis.run();
  await c.settle();
  if (wire === "streams") {
    await until("what was queued", () => onNode.seen.events.filter(([name]) => name === "away").length === 20);
    const got = onNode.seen.events.filter(([name]) => name === "away").map(([, i]) => i);
    assert.deepEqual(got, Array.from({ length: 20 }, (_, i) => i));
  }
  c.node.io.to("r").emit("back");
  await c.hub.emit({ rooms: ["r"] }, "back-hub");
  await onHub.seen.upTo("back");
  await onNode.seen.upTo("back-hub");
  assert.deepEqual(await c.hub.do("counts"), { dropped: 0, invalid: 0 });
}

for (const wire of ["adapter", "streams"]) {
  test(`${wire}: Redis restarts empty`, async () => {
    const c = await Cluster.start(wire);
    await restarted(wire, c);
    await c.stop();
  });

  test(`${wire}: Redis stands still, and what is repeated meanwhile is done once`, async () => {
    const c = await Cluster.start(wire);
    const [onNode, onHub] = [await c.client(c.node, "r"), await c.client(c.hub, "r")];
    c.redis.process.kill("SIGSTOP");
    await c.hub.emit({ rooms: ["r"] }, "once");
    await until("the Hub has no answer to any of its tries", () => /Redis does not answer/.test(c.hub.log));
    c.redis.process.kill("SIGCONT");
    await onNode.seen.upTo("once");
    await c.hub.emit({ rooms: ["r"] }, "end");
    assert.deepEqual(await onNode.seen.upTo("end"), []);
    await onHub.seen.upTo("end");
    await c.stop();
  });
}
