// Messages both ways while a client upgrades.
import assert from "node:assert/strict";
import { call, collect, next } from "./wait.mjs";
import { open, upgraded } from "./clients.mjs";

const messages = 1000;
const whole = Array.from({ length: messages }, (_, i) => i);

// traffic sends the messages from the connect on, a few at each turn, so that the upgrade falls among them.
function traffic(socket) {
  let sent = 0;
  return new Promise((resolve) => {
    const turn = () => {
      const upTo = Math.min(sent + 10, messages);
      while (sent < upTo) socket.emit("message", sent++, "語");
      if (sent === messages) return resolve();
      setImmediate(turn);
    };
    turn();
  });
}

// upgradeUnderTraffic sends and receives through an upgrade. It tells whether the client began to send before.
export async function upgradeUnderTraffic(kind, url) {
  const socket = open(kind, url);
  const lost = collect(socket, "disconnect", (reason) => reason);
  const back = collect(socket, "message-back", (i) => i);
  const down = collect(socket, "tick", (i) => i);
  await next(socket, "connect");
  const early = socket.io.engine.transport.name === "polling";
  socket.emit("ticks", messages);
  await traffic(socket);
  await upgraded(socket);
  const got = await back.count(messages, 40000);
  assert.deepEqual(got, whole, `${kind.name}: what it sent`);
  assert.deepEqual(await down.count(messages, 40000), whole, `${kind.name}: what the server sent`);
  assert.equal((await call(socket, "whoami")).transport, "websocket");
  assert.deepEqual(lost.items, [], kind.name);
  return early;
}
