// Two Hubs and two Node servers: Hubs leave it to their Cluster to hear of each other, and count as a server each.
import assert from "node:assert/strict";
import { describe, test, before, after } from "node:test";
import { Cluster } from "../lib/cluster.mjs";

for (const wire of ["adapter", "streams"]) {
  describe(wire, () => {
    let c, sockets;
    before(async () => {
      c = await Cluster.start(wire, { hubs: 2, nodes: 2, streamCount: wire === "streams" ? 3 : 1 });
      sockets = [];
      for (const s of [...c.nodes, ...c.hubs]) sockets.push(await c.client(s, "r"));
    });
    after(() => c.stop());

    test("each emit comes once, and not from Hub to Hub", async () => {
      await c.hubs[0].emit({ rooms: ["r"] }, "of-hub");
      c.nodes[0].io.to("r").emit("of-node");
      await c.hubs[0].emit({}, "end-hub");
      for (const i of [0, 1, 2]) await sockets[i].seen.upTo("end-hub").then((seen) => (sockets[i].had = seen));
      c.nodes[0].io.emit("end-node");
      for (const s of sockets) s.had = [...(s.had ?? []), ...(await s.seen.upTo("end-node"))].map(([name]) => name).filter((n) => n.startsWith("of-")).sort();
      assert.deepEqual(sockets.map((s) => s.had), [["of-hub", "of-node"], ["of-hub", "of-node"], ["of-hub", "of-node"], ["of-node"]]);
    });

    test("servers are counted, asked and answer", async () => {
      assert.equal((await c.nodes[0].io.in("r").fetchSockets()).length, 4);
      for (const [i, s] of sockets.entries()) s.once("q", (ack) => ack(i));
      assert.deepEqual((await c.nodes[0].io.timeout(5000).to("r").emitWithAck("q")).sort(), [0, 1, 2, 3]);
      for (const [i, s] of sockets.entries()) s.once("q", (ack) => ack(i));
      const { replies, error } = await c.hubs[0].do("call", { rooms: ["r"], event: "q", timeout: 5000 });
      assert.equal(error, undefined);
      assert.deepEqual(replies.map((r) => r.Value).sort(), [0, 1, 2]);
    });

    if (wire === "adapter") {
      test("allRooms", async () => {
        const rooms = await c.nodes[0].io.of("/").adapter.allRooms();
        for (const s of sockets) assert.ok(rooms.has(s.id));
        assert.ok(rooms.has("r"));
      });
    }
  });
}
