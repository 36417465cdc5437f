// The limits of what is on its way in.
import assert from "node:assert/strict";
import WebSocket from "ws";
import { call, next, within } from "../lib/wait.mjs";
import { connect, each, open, serve } from "../lib/clients.mjs";
import { http, polling, websocket } from "../lib/http.mjs";
import { address, from, seen, stats, status } from "../lib/seen.mjs";

const server = serve("-trust", "-limits", JSON.stringify({ Pending: 4, PendingPerAddress: 2, Upgrades: 1 }));

// knock is a handshake of somebody who does not go on. go takes it back.
async function knock(at) {
  const { status, headers, body } = await http(polling(server.url), { headers: { "X-Forwarded-For": at } });
  const sid = /"sid":"([^"]+)"/.exec(body)?.[1];
  return { status, headers, body, sid, go: () => http(`${polling(server.url)}&sid=${sid}`, { method: "POST", body: "1" }) };
}

const empty = () => stats(server, (s) => s.Pending === 0 && s.Upgrades === 0);

each("PendingPerAddress: a handshake past it gets 429, and is taken once another has gone", async (kind) => {
  await empty();
  const at = address();
  const crowd = [await knock(at), await knock(at)];
  const third = await knock(at);
  assert.deepEqual([third.status, third.headers["retry-after"]], [429, "1"]);
  assert.deepEqual(JSON.parse(third.body), { code: 3, message: "Too many connections from this address" });
  const socket = open(kind, server.url, from(kind, at, ""));
  const [err] = await next(socket, "connect_error");
  assert.equal(status(err), 429);
  await connect(kind, server.url, from(kind, address(), ""));
  const hits = await seen(server, { address: at });
  assert.ok(hits.length >= 2 && hits.every((what) => what === "limit PendingPerAddress refused per address"), `${hits}`);
  const connected = next(socket, "connect");
  for (const one of crowd) await one.go();
  await connected;
});

each("Pending: a handshake past it takes the place of the oldest of the address that has most", async (kind) => {
  await empty();
  const [flood, other, third] = [address(), address(), address()];
  const others = [await knock(other), await knock(third)];
  const [oldest, younger] = [await knock(flood), await knock(flood)];
  const socket = await connect(kind, server.url, from(kind, address(), "", { reconnection: false }));
  assert.equal(await call(socket, "message-with-ack", 1), 1);
  assert.deepEqual(await seen(server, { address: flood }), ["limit Pending disconnect"]);
  assert.equal((await oldest.go()).status, 400); // its session is over
  for (const one of [younger, ...others]) assert.equal((await one.go()).status, 200);
});

each("Pending: where nobody has more than one it gets 503, and is taken once one has gone", async (kind) => {
  // Those who have been there for a second do make room: once more, where this machine took so long.
  for (let turn = 0; ; turn++) {
    await empty();
    const crowd = await Promise.all(Array.from({ length: 4 }, () => knock(address())));
    const at = address();
    const socket = open(kind, server.url, from(kind, at, ""));
    const connected = next(socket, "connect");
    const refused = await Promise.race([next(socket, "connect_error"), connected.then(() => null)]);
    const go = () => Promise.all(crowd.map((one) => one.go()));
    if (!refused && turn < 5) {
      await go();
      continue;
    }
    assert.equal(status(refused[0]), 503);
    const hits = await seen(server, { address: at });
    assert.ok(hits.length >= 1 && hits.every((what) => what === "limit Pending refused"), `${hits}`);
    await go();
    return connected;
  }
});

// hold is an upgrade that does not go on.
async function hold(at) {
  const { sid, go } = await knock(at);
  const ws = new WebSocket(`${websocket(server.url).replace("http", "ws")}&sid=${sid}`, { headers: { "X-Forwarded-For": at } });
  await within("the WebSocket", new Promise((resolve, reject) => ws.on("open", resolve).on("error", reject)));
  await stats(server, (s) => s.Upgrades === 1);
  return () => (ws.terminate(), go());
}

each("Upgrades: past it a client stays on polling; later ones upgrade", async (kind) => {
  await empty();
  const release = await hold(address());
  const at = address();
  const socket = open(kind, server.url, from(kind, at, ""));
  const failed = within("the upgrade's error", new Promise((resolve) => socket.io.engine.once("upgradeError", resolve)));
  await next(socket, "connect");
  await failed;
  assert.equal((await call(socket, "whoami")).transport, "polling");
  assert.deepEqual(await seen(server, { address: at }), ["limit Upgrades refused"]);
  await release();
  await stats(server, (s) => s.Upgrades === 0);
  const later = await connect(kind, server.url, from(kind, address(), ""));
  assert.equal((await call(later, "whoami")).transport, "websocket");
  assert.equal((await call(socket, "whoami")).transport, "polling");
}, (kind) => kind.transport === "upgrade");
