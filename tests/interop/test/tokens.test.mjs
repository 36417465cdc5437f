import assert from "node:assert/strict";
import { call, collect, next } from "../lib/wait.mjs";
import { connect, each, kinds, open, serve, unique } from "../lib/clients.mjs";
import { http } from "../lib/http.mjs";
import { left, seen } from "../lib/seen.mjs";

const server = serve();
const helper = kinds.find((kind) => kind.name === "4.8.4 websocket");

// as is how a client of that kind says its token.
const as = (kind, token, more) => ({ [kind.legacy ? "query" : "auth"]: { token, ...more } });

// ended waits until the client is told why and disconnected, in that order.
async function ended(socket) {
  const order = [];
  socket.once("error", () => order.push("error"));
  socket.once("disconnect", () => order.push("disconnect"));
  const [[err], [reason]] = await Promise.all([next(socket, "error"), next(socket, "disconnect")]);
  assert.deepEqual(order, ["error", "disconnect"]);
  return { code: err.code, reason };
}

// attempts is how often auth was asked about a user.
const attempts = async (user) => Number((await http(`${server.url}/count?user=${user}`)).body);

each("a token that is replaced in time lets its client go on", async (kind) => {
  const user = unique("user");
  const socket = await connect(kind, server.url, as(kind, `life:${user}:1500ms`));
  const ends = collect(socket, "disconnect");
  const [notice] = await next(socket, "auth_expiring");
  assert.ok(Date.parse(notice.expires_at) > Date.now() - 100, notice.expires_at);
  const answer = await call(socket, "refresh_auth", { token: `life:${user}:1h` });
  assert.equal(answer.ok, true, JSON.stringify(answer));
  assert.ok(Date.parse(answer.expires_at) > Date.now() + 3_500_000, answer.expires_at);
  const stranger = await call(socket, "refresh_auth", { token: "life:somebody-else:1h" });
  assert.equal(stranger.error.code, "FORBIDDEN");
  // A token of as long a life as the first was, begun later, has ended by now.
  const clock = await connect(helper, server.url, as(helper, `life:${user}:1500ms`));
  await ended(clock);
  assert.equal((await call(socket, "whoami")).user, user);
  assert.deepEqual(ends.items, []);
});

each("a token's end is told, and its client stays away", async (kind) => {
  const user = unique("user");
  const socket = await connect(kind, server.url, as(kind, `life:${user}:700ms`, { user }));
  assert.deepEqual(await ended(socket), { code: "TOKEN_EXPIRED", reason: "io server disconnect" });
  // Others come and go meanwhile, with shorter waits than its own would be.
  for (let i = 0; i < 5; i++) await connect(kind, server.url);
  assert.equal(await attempts(user), 1);
  assert.ok(!socket.connected);
});

each("who is revoked is told, stays away, and is not let in again", async (kind) => {
  const user = unique("user");
  const socket = await connect(kind, server.url, as(kind, "good", { user }));
  const other = await connect(helper, server.url);
  const over = ended(socket);
  assert.equal((await call(other, "revoke", user)).ok, true);
  assert.deepEqual(await over, { code: "UNAUTHORIZED", reason: "io server disconnect" });
  for (let i = 0; i < 5; i++) await connect(kind, server.url);
  assert.equal(await attempts(user), 1);

  const again = open(kind, server.url, as(kind, "good", { user }));
  const [err] = await next(again, kind.legacy ? "error" : "connect_error");
  assert.equal((kind.legacy ? err : err.data).code, "UNAUTHORIZED");
  assert.equal(await attempts(user), 2);
  assert.equal((await call(other, "message-with-ack", 1)), 1);
});

each("a token that is revoked ends its clients and lets nobody in again; another of that user does", async (kind) => {
  const [user, first, second] = [unique("user"), unique("token"), unique("token")];
  const sockets = [await connect(kind, server.url, as(kind, first, { user })), await connect(kind, server.url, as(kind, first, { user }))];
  const other = await connect(kind, server.url, as(kind, second, { user }));
  const ends = collect(other, "disconnect");
  const told = sockets.map((socket) => next(socket, "error"));
  const over = sockets.map(ended);
  assert.equal((await call(other, "revoke-token", first)).ok, true);
  for (const end of over) assert.deepEqual(await end, { code: "UNAUTHORIZED", reason: "io server disconnect" });
  for (const error of told) assert.equal((await error)[0].message, "the access was revoked");
  await left(server, user, 2);
  const hooks = (await seen(server, { user })).sort();
  assert.deepEqual(hooks, ["error UNAUTHORIZED", "error UNAUTHORIZED", "left revoked", "left revoked"]);

  const again = open(kind, server.url, as(kind, first, { user }));
  const [err] = await next(again, kind.legacy ? "error" : "connect_error");
  assert.deepEqual(kind.legacy ? err : err.data, { code: "UNAUTHORIZED", message: "the access was revoked" });
  assert.ok(!again.connected);
  await connect(kind, server.url, as(kind, second, { user }));
  assert.equal(await attempts(user), 5); // and nobody comes back by himself
  assert.equal((await call(other, "whoami")).user, user);
  assert.deepEqual(ends.items, []);
});
