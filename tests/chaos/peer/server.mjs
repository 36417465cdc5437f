// The same chat on Node's socket.io with connection state recovery: numbers from a counter in memory, history from an
// array in memory. That is what the package gives by itself: it saves nothing, and says that a message that is sent again
// is the server's to recognize. PEER_KEYS=1 adds a map of the message_ids seen, in memory as well.
import { randomUUID } from "node:crypto";
import { createServer } from "node:http";
import { Server } from "socket.io";

const [host, port] = process.argv[process.argv.indexOf("-addr") + 1].split(":");
const boot = randomUUID().slice(0, 8); // numbers of another life of this process are other numbers
const logs = new Map();
const keys = process.env.PEER_KEYS ? new Map() : undefined;
const log = (room) => logs.get(room) ?? logs.set(room, []).get(room);

const http = createServer();
const io = new Server(http, {
  allowEIO3: true, // for the 2.x clients
  connectionStateRecovery: { maxDisconnectionDuration: 2 * 60 * 1000 },
});

io.on("connection", (socket) => {
  const user = socket.handshake.auth.user ?? socket.handshake.query.user;
  if (!socket.recovered) socket.join("lobby");

  socket.on("join_room", ({ room }, ack) => {
    socket.join(room);
    ack({ ok: true, room, boot, seq: log(room).length, members: [] }); // who is there is the host's to know, and not compared
  });

  socket.on("history", ({ room, after, limit }, ack) => {
    const entries = log(room).slice(after, after + limit);
    ack({ ok: true, entries, more: after + entries.length < log(room).length });
  });

  socket.on("chat_message", ({ room, text, message_id }, ack) => {
    const key = `${room} ${user} ${message_id}`;
    const first = keys?.get(key);
    if (first) return ack({ ok: true, message: first });
    const entry = {
      kind: "message", boot, room, seq: log(room).length + 1, id: randomUUID(), user_id: user, text, message_id,
      timestamp: new Date().toISOString(),
    };
    log(room).push(entry);
    keys?.set(key, entry);
    socket.to(room).emit("new_message", entry);
    ack({ ok: true, message: entry });
  });
});

http.listen(Number(port), host, () => console.log(`http://${host}:${http.address().port}`));
process.on("SIGTERM", () => io.close(() => process.exit(0)));
