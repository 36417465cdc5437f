import assert from "node:assert/strict";
import { setTimeout } from "node:timers/promises";
import { call, collect, next } from "../lib/wait.mjs";
import { connect, each, open, serve, unique } from "../lib/clients.mjs";

const server = serve();

// as are the options by which a client says who it is.
const as = (kind, user) => (kind.legacy ? { query: { user } } : { auth: { user } });

function join(kind, user = unique("user")) {
  return connect(kind, server.url + "/limited", as(kind, user));
}

function limited(err, most, message = "too many events") {
  assert.deepEqual([err.code, err.message], ["RATE_LIMITED", message], JSON.stringify(err));
  assert.ok(Number.isInteger(err.retry_after_ms) && err.retry_after_ms > 0 && err.retry_after_ms <= most, JSON.stringify(err));
}

each("an event over its rate is refused in its ack; the others are not", async (kind) => {
  const socket = await join(kind);
  const answers = await Promise.all(Array.from({ length: 11 }, (_, i) => call(socket, "message-with-ack", i)));
  assert.deepEqual(answers.slice(0, 10), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  assert.equal(answers[10].ok, false);
  limited(answers[10].error, 100_000);
  assert.equal((await call(socket, "whoami")).namespace, "/limited");
});

each("after retry_after_ms it is accepted", async (kind) => {
  const socket = await join(kind);
  let refused;
  while (!refused) {
    const two = await Promise.all([call(socket, "add", { a: 1, b: 2 }), call(socket, "add", { a: 1, b: 2 })]);
    refused = two.find((answer) => !answer.ok);
  }
  limited(refused.error, 250);
  await setTimeout(refused.error.retry_after_ms);
  assert.deepEqual(await call(socket, "add", { a: 1, b: 2 }), { ok: true, result: { sum: 3 } });
});

each("without an ack it is the event error; after the cool-down's refusals the client is disconnected, until it connects again", async (kind) => {
  const socket = await join(kind);
  const errors = collect(socket, "error", (err) => err);
  const backs = collect(socket, "message-back");
  const left = next(socket, "disconnect");
  socket.emit("message", "accepted");
  await backs.count(1);
  for (let i = 0; i < 10; i++) socket.emit("message", i);
  assert.equal((await left)[0], "io server disconnect");
  assert.equal(errors.items.length, 6);
  for (const [i, err] of errors.items.entries()) {
    limited(err, 100_000);
    assert.equal(err.event, "message", `number ${i}`);
  }
  assert.equal(backs.items.length, 1);

  const again = next(socket, "connect");
  socket.connect();
  await again;
  socket.emit("message", "once more"); // a new connection has a new bucket
  await backs.count(2);
});

each("rooms joined and bytes are counted", async (kind) => {
  const socket = await join(kind);
  assert.equal((await call(socket, "join_room", { room: "one" })).ok, true);
  assert.equal((await call(socket, "join_room", { room: "one" })).ok, true);
  limited((await call(socket, "join_room", { room: "two" })).error, 100_000, "too many rooms joined");

  const other = await join(kind);
  assert.equal((await call(other, "message-with-ack", "x".repeat(200_000))).length, 200_000); // more than the burst, and nothing was owed
  limited((await call(other, "whoami")).error, 101_000);
});

each("connects of a user are counted", async (kind) => {
  const user = unique("user");
  for (let i = 0; i < 3; i++) await join(kind, user);
  const socket = open(kind, server.url + "/limited", as(kind, user));
  const [err] = await next(socket, kind.legacy ? "error" : "connect_error");
  limited(kind.legacy ? err : err.data, 100_000, "too many connects");
  assert.ok(!socket.connected);
  assert.equal((await call(await join(kind), "whoami")).namespace, "/limited");
});
