// Rates that count several clients together.
import assert from "node:assert/strict";
import { setTimeout } from "node:timers/promises";
import { call, next, within } from "../lib/wait.mjs";
import { connect, each, open, serve, unique } from "../lib/clients.mjs";
import { http, polling } from "../lib/http.mjs";
import { address, from, seen, status } from "../lib/seen.mjs";

const server = serve("-trust");

const at = (space, kind, address, user) => open(kind, server.url + space, from(kind, address, user));
const join = (kind, at, user = unique("user")) => connect(kind, server.url + "/shared", from(kind, at, user));

const [soon, later] = [20_000, 60_000]; // one more of a rate, and a cool-down's end

function limited(err, cooling, message = "too many events") {
  assert.deepEqual([err.code, err.message], ["RATE_LIMITED", message], JSON.stringify(err));
  const [least, most] = cooling ? [soon, later] : [0, soon];
  assert.ok(Number.isInteger(err.retry_after_ms) && err.retry_after_ms > least && err.retry_after_ms <= most, JSON.stringify(err));
}

// answered is the error of a connect over its rate; undefined: it came in.
async function answered(kind, socket) {
  const refused = (resolve) => socket.once(kind.legacy ? "error" : "connect_error", (err) => resolve(kind.legacy ? err : err.data));
  return within("an answer", Promise.race([new Promise(refused), new Promise((resolve) => socket.once("connect", () => resolve()))]));
}

const connects = (err, cooling) => limited(err, cooling, "too many connects");

const steps = (per) => {
  const [refused, cool, end] = ["refused", "cool-down", "disconnect"].map((step) => `limit rate ${step} per ${per}`);
  return [refused, refused, refused, cool, refused, refused, refused, end];
};

const limits = (what) => what.startsWith("limit");

each("events of an address: its clients share them; after the cool-down's refusals the one who met the last is disconnected", async (kind) => {
  const [here, user] = [address(), unique("user")];
  const [one, two, far] = [await join(kind, here), await join(kind, here, user), await join(kind, address())];
  for (const socket of [one, two, one, two]) assert.equal(await call(socket, "message-with-ack", 1), 1);
  for (let i = 0; i < 3; i++) limited((await call(one, "message-with-ack", 1)).error, i === 2);
  assert.deepEqual(await call(one, "add", { a: 1, b: 2 }), { ok: true, result: { sum: 3 } });
  const gone = next(two, "disconnect");
  for (let i = 0; i < 2; i++) limited((await call(two, "message-with-ack", 1)).error, true);
  const told = next(two, "error");
  two.emit("message-with-ack", 1);
  limited((await told)[0], true);
  assert.equal((await gone)[0], "io server disconnect");
  assert.deepEqual((await seen(server, { address: here })).filter(limits), steps("address"));
  await seen(server, { user }, (all) => all.includes("left rate limited"));
  assert.equal(await call(far, "message-with-ack", 1), 1);
  assert.equal((await call(one, "whoami")).namespace, "/shared");
});

each("events of a user: his clients share them, wherever they are; others of his address have their own", async (kind) => {
  const [here, user] = [address(), unique("user")];
  const [one, two, other] = [await join(kind, here, user), await join(kind, address(), user), await join(kind, here)];
  const add = (socket) => call(socket, "add", { a: 1, b: 2 });
  for (const socket of [one, two, one, two]) assert.equal((await add(socket)).ok, true);
  for (let i = 0; i < 3; i++) limited((await add(one)).error, i === 2);
  const gone = next(two, "disconnect");
  for (let i = 0; i < 3; i++) limited((await add(two)).error, true);
  assert.equal((await gone)[0], "io server disconnect");
  assert.deepEqual((await seen(server, { user })).filter(limits), steps("user"));
  assert.equal((await add(other)).ok, true);
  assert.equal(await call(one, "message-with-ack", 1), 1);
});

each("connects of an address: past them they are refused, and in its cool-down so are its handshakes", async (kind) => {
  const here = address();
  const inside = [await join(kind, here), await join(kind, here), await join(kind, here)];
  for (const cooling of [false, true]) connects(await answered(kind, at("/shared", kind, here, unique("user"))), cooling);
  const one = "limit rate refused per address";
  assert.deepEqual(await seen(server, { address: here }), [one, one, "limit rate cool-down per address"]);

  const [err] = await next(at("", kind, here, unique("user")), "connect_error");
  assert.equal(status(err), 429);
  const answer = await http(polling(server.url, kind.legacy ? 3 : 4), { headers: { "X-Forwarded-For": here } });
  assert.deepEqual([answer.status, JSON.parse(answer.body)], [429, { code: 3, message: "Too many connects from this address" }]);
  const after = Number(answer.headers["retry-after"]);
  assert.ok(after > 0 && after <= 60, answer.headers["retry-after"]);
  for (const socket of inside) assert.equal((await call(socket, "whoami")).namespace, "/shared");
  await join(kind, address());
});

each("after an address's cool-down it comes in", async (kind) => {
  const here = address();
  let socket, told;
  while (!told) {
    socket = at("/brief", kind, here, unique("user"));
    told = await answered(kind, socket);
  }
  assert.deepEqual([told.code, told.message], ["RATE_LIMITED", "too many connects"]);
  await setTimeout(told.retry_after_ms);
  const connected = next(socket, "connect");
  socket.connect();
  await connected;
  assert.equal((await call(socket, "whoami")).namespace, "/brief");
}, (kind) => ["1.7.4 websocket", "4.8.4 polling"].includes(kind.name));
