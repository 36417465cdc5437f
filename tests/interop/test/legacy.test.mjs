import assert from "node:assert/strict";
import { test } from "node:test";
import { call, next } from "../lib/wait.mjs";
import { connect, kinds, open, versions } from "../lib/clients.mjs";
import { http, polling } from "../lib/http.mjs";
import { startServer } from "../lib/server.mjs";

const legacy = kinds.filter((kind) => kind.legacy);

test("a server without old clients refuses them clearly", async (t) => {
  const server = await startServer("-legacy=false");
  t.after(() => server.stop());
  const answer = await http(polling(server.url, 3));
  assert.equal(answer.status, 400);
  assert.deepEqual(JSON.parse(answer.body), { code: 5, message: "Unsupported protocol version" });
  for (const kind of legacy) {
    const socket = open(kind, server.url, { reconnection: false });
    await next(socket, "connect_error");
    assert.ok(!socket.connected, kind.name);
  }
  for (const kind of kinds.filter((k) => !k.legacy)) await connect(kind, server.url);
});

test("without legacy upgrades old clients stay on polling", async (t) => {
  const server = await startServer("-legacy-upgrades=false");
  t.after(() => server.stop());
  const offered = async (eio) => JSON.parse((await http(polling(server.url, eio))).body.replace(/^[^{]*/, "").replace(/[^}]*$/, ""));
  assert.deepEqual((await offered(4)).upgrades, ["websocket"]);
  for (const version of versions) {
    const socket = open({ ...version, transport: "upgrade" }, server.url);
    await next(socket, "connect");
    const upgrades = version.major < 3 ? [] : ["websocket"];
    const { engine } = socket.io;
    assert.deepEqual(engine.upgrades ?? engine._upgrades, upgrades, version.version); // 4.8 has made it private
    assert.equal(await call(socket, "message-with-ack", "ü"), "ü");
  }
  // They may still begin with a WebSocket.
  for (const kind of legacy.filter((k) => k.transport === "websocket")) await connect(kind, server.url);
});
