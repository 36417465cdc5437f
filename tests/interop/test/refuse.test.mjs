import assert from "node:assert/strict";
import { call, next } from "../lib/wait.mjs";
import { connect, each, open, serve, unique } from "../lib/clients.mjs";
import { http } from "../lib/http.mjs";

const server = serve();

// attempts is how often auth was asked about a user.
async function attempts(user) {
  return Number((await http(`${server.url}/count?user=${user}`)).body);
}

// refused waits until the client knows that it is refused, and gives code and message.
async function refused(kind, socket) {
  if (kind.legacy) {
    // Both wait from the start: the packets may come in one payload.
    const [[err]] = await Promise.all([next(socket, "error"), next(socket, "disconnect")]);
    return err;
  }
  const [err] = await next(socket, "connect_error");
  return err.data;
}

each("a bad token is refused, with code and message", async (kind) => {
  const user = unique("user");
  const where = kind.legacy ? { query: { user, token: "bad" } } : { auth: { user, token: "bad" } };
  const socket = open(kind, server.url, where);
  const err = await refused(kind, socket);
  assert.deepEqual([err.code, err.message], ["UNAUTHORIZED", "bad token"], JSON.stringify(err));
  assert.ok(!socket.connected);

  // Nobody comes back by himself: others come and go meanwhile, with shorter waits than his.
  for (let i = 0; i < 5; i++) await connect(kind, server.url);
  assert.equal(await attempts(user), 1);
});

each("a refused client may try again with a better token", async (kind) => {
  const socket = open(kind, server.url, kind.legacy ? { query: { token: "bad" } } : { auth: { token: "bad" } });
  await refused(kind, socket);
  if (kind.legacy) socket.io.opts.query = { token: "good" };
  else socket.auth = { token: "good" };
  const connected = next(socket, "connect");
  socket.connect();
  await connected;
  assert.equal((await call(socket, "message-with-ack", "x")), "x");
});
