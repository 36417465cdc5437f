// What both wires must do; each test file runs it for one of them.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Cluster } from "./cluster.mjs";
import { next, until } from "./wait.mjs";

const sample = ["text é 🙂 \u0001 \" \\", 0, -1, 127, 128, 65536, -70000, 2 ** 40, -(2 ** 40), 2 ** 53, 1.5, -0.25, 1.25e-7, true, false, null,
  { z: 1, a: [], m: { deep: [[{}]] } }, Array.from({ length: 20 }, (_, i) => i), Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`k${i}`, i]))];

/**
 * Emits a last event to everybody on both sides and gives what a socket has seen before it. In a Redis Cluster Node publishes by any of the servers, of which each keeps its own
 * order alone: there the last events are so many that each server has had some.
 */
async function seenBy(c, ...sockets) {
  const end = `end-${Math.random()}`;
  const ends = Array.from({ length: c.unordered ? 40 : 1 }, (_, i) => `${end}-${i}`);
  for (const name of ends) c.node.io.emit(name);
  for (const name of ends) {
    await until(`${name} everywhere`, () => sockets.every((s) => s.seen.events.some(([event]) => event === name)));
  }
  await c.hub.emit({}, `${end}-hub`);
  const ofHub = await Promise.all(sockets.map((s) => s.seen.upTo(`${end}-hub`)));
  return sockets.map((_, i) => ofHub[i].filter(([name]) => !name.startsWith("settle-") && !name.startsWith("end-")));
}

export function both(wire, options = {}) {
  describe(options.over ? `${wire}, over a ${options.over.name}` : wire, () => {
    let c, onNode, inRoomOfNode, onHub, inRoomOfHub;
    before(async () => {
      c = await Cluster.start(wire, options);
      onNode = await c.client(c.node);
      inRoomOfNode = await c.client(c.node, "r");
      onHub = await c.client(c.hub);
      inRoomOfHub = await c.client(c.hub, "r");
    });
    after(async () => {
      const { dropped, invalid } = await c.hub.do("counts");
      await c.stop();
      assert.deepEqual({ dropped, invalid }, { dropped: 0, invalid: 0 });
    });
    const all = () => seenBy(c, onNode, inRoomOfNode, onHub, inRoomOfHub);

    test("a room, from either side", async () => {
      await c.hub.emit({ rooms: ["r"] }, "of-hub", ...sample);
      assert.deepEqual(await all(), [[], [["of-hub", ...sample]], [], [["of-hub", ...sample]]]);
      c.node.io.to("r").emit("of-node", ...sample);
      assert.deepEqual(await all(), [[], [["of-node", ...sample]], [], [["of-node", ...sample]]]);
    });

    test("the order of an object's members", async () => {
      c.node.io.to("r").emit("order", { z: 1, a: 2, 1: 3 });
      await c.hub.emit({ rooms: ["r"] }, "order-hub", { b: 1, a: 2 });
      const seen = (await all())[3];
      const value = (name) => JSON.stringify(seen.find(([n]) => n === name)[1]);
      assert.deepEqual([value("order"), value("order-hub")], ['{"1":3,"z":1,"a":2}', '{"a":2,"b":1}']);
    });

    test("everybody, and two rooms at once, each client once", async () => {
      c.node.io.emit("all-node");
      await c.hub.emit({}, "all-hub");
      for (const seen of await all()) assert.deepEqual(seen.map(([name]) => name).sort(), ["all-hub", "all-node"]);
      c.node.io.to("r").to("other").emit("two-node");
      await c.hub.emit({ rooms: ["other", "r"] }, "two-hub");
      assert.deepEqual((await all()).map((seen) => seen.map(([name]) => name).sort()), [[], ["two-hub", "two-node"], [], ["two-hub", "two-node"]]);
    });

    test("exceptions: rooms and sids", async () => {
      c.node.io.except("r").emit("not-r");
      c.node.io.except([onHub.id, onNode.id]).emit("not-on");
      await c.hub.emit({ except: ["r"] }, "not-r-hub");
      await c.hub.emit({ exceptSIDs: [onHub.id, onNode.id] }, "not-on-hub");
      const names = (await all()).map((seen) => seen.map(([name]) => name).sort());
      assert.deepEqual(names, [["not-r", "not-r-hub"], ["not-on", "not-on-hub"], ["not-r", "not-r-hub"], ["not-on", "not-on-hub"]]);
    });

    test("one sid of the other side", async () => {
      c.node.io.to(onHub.id).emit("you", 1);
      await c.hub.emit({ SIDs: [onNode.id] }, "you", 2);
      assert.deepEqual(await all(), [[["you", 2]], [], [["you", 1]], []]);
    });

    test("binary, wherever it is, beside what looks like a placeholder", async () => {
      const bytes = Buffer.from(Array.from({ length: 300 }, (_, i) => i & 255));
      const $bin = bytes.toString("base64");
      c.node.io.to("r").emit("bytes", bytes, { in: [bytes, "x"] }, new Uint8Array([1, 2, 3]));
      await c.hub.emit({ rooms: ["r"] }, "bytes-hub", { $bin }, { in: [{ $bin }, "x"] });
      const [, node, , hub] = await all();
      for (const seen of [node, hub]) {
        const [, one, two, three] = seen.find(([name]) => name === "bytes");
        assert.deepEqual([Buffer.from(one), Buffer.from(two.in[0]), two.in[1], Buffer.from(three)], [bytes, bytes, "x", Buffer.from([1, 2, 3])]);
        const [, four, five] = seen.find(([name]) => name === "bytes-hub");
        assert.deepEqual([Buffer.from(four), Buffer.from(five.in[0]), five.in[1]], [bytes, bytes, "x"]);
      }
      c.node.io.to("r").emit("likeness", { _placeholder: true, num: 0 });
      assert.deepEqual((await all())[3], [["likeness", { _placeholder: true, num: 0 }]]);
    });

    test("what JSON has not: Dates, undefined, NaN", async () => {
      c.node.io.to("r").emit("odd", new Date(1234567890123), [undefined, 1], { gone: undefined, n: NaN, i: Infinity });
      const [, , , seen] = await all();
      const [, date, list, object] = seen[0];
      assert.deepEqual([date, list, object.n, object.i], ["2009-02-13T23:31:30.123Z", [null, 1], null, null]);
      assert.equal(object.gone ?? null, null);
    });

    test("volatile", async () => {
      c.node.io.volatile.to("r").emit("now");
      assert.deepEqual((await all()).map((s) => s.length), [0, 1, 0, 1]);
    });

    test("namespaces are apart", async () => {
      const [a, b] = [await c.clientOf(c.node, "/admin"), await c.clientOf(c.hub, "/admin")];
      c.node.io.of("/admin").emit("staff", 1);
      await c.hub.emit({ namespace: "/admin" }, "staff", 2);
      await until("both", () => a.seen.events.length === 2 && b.seen.events.length === 2);
      assert.deepEqual((await all()).flat(), []);
      a.disconnect();
      b.disconnect();
    });

    test("messages of the chat", async () => {
      const { message } = await inRoomOfHub.emitWithAck("chat_message", { room: "r", text: "hello" });
      const posted = await c.hub.do("post", { room: "r", event: "posted" });
      const seen = (await all())[1];
      assert.deepEqual(seen, [["new_message", message], ["new_message", posted]]);
    });

    test("joins and leaves", async () => {
      c.node.io.in(onHub.id).socketsJoin(["x", "y"]);
      await c.hub.do("join", { SIDs: [onNode.id], room: "x" });
      await all();
      c.node.io.to("x").emit("to-x");
      assert.deepEqual(await all(), [[["to-x"]], [], [["to-x"]], []]);
      c.node.io.in("x").socketsLeave("y");
      await all();
      await c.hub.do("leave", { rooms: ["x"], room: "x" });
      await all();
      c.node.io.to(["x", "y"]).emit("to-nobody");
      await c.hub.emit({ rooms: ["x", "y"] }, "to-nobody");
      assert.deepEqual((await all()).flat(), []);
    });

    test("disconnects, of the namespace and of the connection", async () => {
      const gone = async (socket, act) => {
        const reason = next(socket, "disconnect");
        await act();
        return (await reason)[0];
      };
      const clients = [await c.client(c.hub), await c.client(c.hub, "leaving"), await c.client(c.node), await c.client(c.node, "leaving2")];
      assert.equal(await gone(clients[0], () => c.node.io.in(clients[0].id).disconnectSockets()), "io server disconnect");
      const reason = await gone(clients[1], () => c.node.io.in("leaving").disconnectSockets(true));
      assert.ok(["io server disconnect", "transport close"].includes(reason), reason);
      assert.equal(await gone(clients[2], () => c.hub.do("disconnect", { SIDs: [clients[2].id] })), "io server disconnect");
      assert.equal(await gone(clients[3], () => c.hub.do("disconnect", { rooms: ["leaving2"] })), "io server disconnect");
    });

    test("fetchSockets and serverCount", async () => {
      assert.equal(await c.node.io.of("/").adapter.serverCount(), 2);
      const found = await c.node.io.in("r").fetchSockets();
      assert.deepEqual(found.map((s) => s.id).sort(), [inRoomOfHub.id, inRoomOfNode.id].sort());
      const ofHub = found.find((s) => s.id === inRoomOfHub.id);
      assert.deepEqual([...ofHub.rooms].sort(), [inRoomOfHub.id, "r"].sort());
      assert.equal(ofHub.data.user_id, `anon:${inRoomOfHub.id}`);
      assert.equal(typeof ofHub.handshake.issued, "number");
      ofHub.emit("found");
      ofHub.join("found");
      await all();
      assert.deepEqual((await c.node.io.in("found").fetchSockets()).map((s) => s.id), [inRoomOfHub.id]);
      assert.equal((await c.node.io.fetchSockets()).length, 4);
      assert.deepEqual(await c.node.io.except("r").in(onHub.id).fetchSockets().then((s) => s.map((x) => x.id)), [onHub.id]);
    });

    test("serverSideEmit is answered", async () => {
      const responses = await c.node.io.serverSideEmitWithAck("ask", 1, { a: "b" });
      assert.deepEqual(responses, [{ hub: "ask", namespace: "/", args: [1, { a: "b" }] }]);
      assert.deepEqual(await c.node.io.of("/admin").serverSideEmitWithAck("fail"), [null]);
      c.node.io.serverSideEmit("no ack");
    });

    test("a broadcast of Node's with acks", async () => {
      inRoomOfNode.once("q", (x, ack) => ack({ node: x }));
      inRoomOfHub.once("q", (x, ack) => ack({ hub: x, bytes: Buffer.from([1, 2]) }, "not passed on"));
      const answers = await c.node.io.timeout(5000).to("r").emitWithAck("q", 7);
      assert.equal(answers.length, 2);
      assert.deepEqual(answers.find((a) => a.node), { node: 7 });
      const { hub, bytes } = answers.find((a) => a.hub);
      assert.deepEqual([hub, Buffer.from(bytes)], [7, Buffer.from([1, 2])]);

      onHub.once("single", (ack) => ack("one"));
      assert.deepEqual(await c.node.io.timeout(5000).to(onHub.id).emitWithAck("single"), ["one"]);
      assert.deepEqual(await c.node.io.timeout(5000).to("nobody").emitWithAck("single"), []);
      onHub.once("empty", (ack) => ack());
      assert.deepEqual((await c.node.io.timeout(5000).to(onHub.id).emitWithAck("empty")).length, 1);
      await assert.rejects(c.node.io.timeout(200).to(onHub.id).emitWithAck("nobody answers"), /timed out/);
      const late = await all();
      assert.deepEqual(late.flat().map(([name]) => name).sort(), ["empty", "nobody answers", "q", "q", "single"]);
    });

    test("a CallAll of the Hub's asks Node's clients", async () => {
      inRoomOfNode.once("q", (x, ack) => ack({ node: x, bytes: Buffer.from([3]) }));
      inRoomOfHub.once("q", (x, ack) => ack({ hub: x }));
      const { replies, error } = await c.hub.do("call", { rooms: ["r"], event: "q", args: [{ $bin: "AQI=" }], timeout: 5000 });
      assert.equal(error, undefined);
      const [first, second] = replies;
      assert.equal(first.Client, inRoomOfHub.id);
      assert.deepEqual([first.Value, second.Value], [{ hub: "AQI=" }, { node: "AQI=", bytes: "Aw==" }]);
      assert.equal(replies.length, 2);

      const nobody = await c.hub.do("call", { rooms: ["nobody"], event: "q", timeout: 5000 });
      assert.deepEqual(nobody, { replies: [], error: undefined });
      const silent = await c.hub.do("call", { SIDs: [onNode.id], event: "silence", timeout: 300 });
      assert.deepEqual(silent.replies.length, 1);
      assert.match(silent.replies[0].Err, /deadline/);
      assert.match(silent.error, /deadline/);
      await all();
    });

    test("a client that comes back to the Hub gets what Node has emitted", async () => {
      const socket = await c.client(c.hub, "r");
      c.node.io.to("r").emit("before");
      await socket.seen.upTo("before");
      await all();
      const sid = socket.id;
      const away = next(socket, "disconnect");
      socket.io.engine.close();
      await away;
      const back = next(socket, "connect");
      c.node.io.to("r").emit("missed", 1);
      c.node.io.to(sid).emit("missed-too", 2);
      await back;
      assert.ok(socket.recovered);
      const [seen] = await seenBy(c, socket);
      if (c.unordered) seen.sort();
      assert.deepEqual(seen, [["missed", 1], ["missed-too", 2]]);
      socket.disconnect();
      await all();
    });
  });
}
