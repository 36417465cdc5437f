// Three nodes behind a proxy that is not sticky: each request of a session reaches the node after that of the one before.
import assert from "node:assert/strict";
import { test } from "node:test";
import { http } from "../lib/http.mjs";
import { call, collect } from "../lib/wait.mjs";
import { connect, each, kinds, serve, versions } from "../lib/clients.mjs";
import { together } from "../lib/together.mjs";
import { upgradeUnderTraffic } from "../lib/traffic.mjs";

const server = serve("-nodes=3", "-recovery=false"); // which would mend what breaks

const forwarded = async () => JSON.parse((await http(server.url + "/forwarded")).body);

each(
  "hundreds of polls, whichever node they reach",
  async (kind) => {
    const before = await forwarded();
    const socket = await connect(kind, server.url);
    const lost = collect(socket, "disconnect", (reason) => reason);
    for (let i = 0; i < 100; i++) assert.equal(await call(socket, "message-with-ack", i), i); // each a POST and the end of a GET
    const large = "語".repeat(100_000);
    assert.equal(await call(socket, "message-with-ack", large), large);
    const binary = Buffer.from([0, 1, 254, 255]);
    assert.deepEqual(Buffer.from(await call(socket, "message-with-ack", binary)), binary);
    assert.deepEqual(lost.items, []);
    const after = await forwarded();
    assert.ok(after.passed - before.passed > 100, JSON.stringify([before, after]));
    assert.equal(after.failed, 0);
  },
  (kind) => kind.transport === "polling",
);

for (const version of versions) {
  const kind = kinds.find((k) => k.version === version.version && k.transport === "upgrade");
  test(`an upgrade that reaches another node: ${version.version}`, () => upgradeUnderTraffic(kind, server.url));
}

test("all kinds in one room of three nodes", () => together(server.url, "nodes"));
