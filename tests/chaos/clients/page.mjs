// A page as docs/events.md asks for: what is sent waits in a queue until it is acked; a connection that was not
// recovered joins its rooms anew and reads on from the last entry; one that was recovered does nothing.
import { Agent } from "node:http";
import { io as connect4 } from "socket.io-client-4.8";
import connect2 from "socket.io-client-2";
import { Room } from "./room.mjs";

const hurry = 3_000; // ms, for an ack
const patience = 10_000; // the same of a stock page, beyond the server's own deadline: what is asked again while it is still being worked at is asked twice
const pause = 300; // ms, before what failed is tried again
const longest = 5_000; // that a stock page's pauses grow to
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

export const textOf = (id) => `This is what ${id} says, neither more nor less.`;

export class Page {
  // record(kind, fields) writes down what happens to this page.
  constructor(spec, record) {
    this.user = spec.user;
    this.name = spec.tab ?? spec.user; // no other page has it
    this.guest = spec.guest === true; // writes nothing, and goes for good some day
    this.gone = false;
    this.record = record;
    this.rooms = new Map(spec.rooms.map((name) => [name, new Room(name)]));
    this.queue = new Map(); // by message_id, in the order in which they were written
    this.stock = Boolean(spec.token);
    this.patience = this.stock ? patience : hurry;
    this.turn = 0; // counts connections
    this.news = 0; // of presence
    this.watches = false; // presence is written down
    this.socket = open(spec);
    this.socket.on("connect", () => this.connected());
    this.socket.on("disconnect", (reason) => this.disconnected(reason));
    this.socket.on("new_message", (e) => this.heard(e));
    this.socket.on("error", (e) => {
      if (!e?.code) return; // of 2.x also what is wrong with the connection, as an Error
      this.record("error", { room: e.room, code: e.code, event: e.event, after: e.after });
      const room = this.rooms.get(e.room);
      if (room && e.event === "new_message") this.look(room, true);
    });
    this.socket.on("server_draining", () => record("draining", {}));
    this.socket.io.on("reconnect_error", (e) => record("failed", { code: e.message }));
    this.socket.on("connect_error", (e) => e.data && record("failed", { code: e.data.code }));
    for (const event of ["user_joined", "user_left"]) this.socket.on(event, (e) => this.presence(event, e));
  }

  // presence notes what a page is told of its own rooms' users after it has been connected for the first time. What it knows already it is told again: a page hears
  // of itself, too, after the ack that had it among the members.
  presence(event, e) {
    const room = this.rooms.get(e.room);
    if (!room) return;
    this.news++;
    const comes = event === "user_joined";
    const again = comes === room.users.has(e.user_id) && e.user_id !== this.user;
    if (comes) room.users.add(e.user_id);
    else room.users.delete(e.user_id);
    if (this.watches) this.record("presence", { event, room: e.room, user: e.user_id, again });
  }

  // leave goes for good: at once, or by not coming back from the next outage.
  leave(now) {
    this.gone = true;
    this.record("leave", { event: now ? "leaves" : "will not be back" });
    if (now) this.socket.disconnect();
    else this.socket.io.reconnection(false);
  }

  // tellUsers writes down who is in each room, by what the page has heard, and then by what the server says.
  async tellUsers() {
    for (const room of this.rooms.values()) {
      this.record("view", { room: room.name, users: [...room.users].sort() });
      const joined = await this.insist(this.turn, "join_room", () => ({ room: room.name }));
      if (joined) this.record("members", { room: room.name, users: joined.members.map((m) => m.user_id).sort() });
    }
  }

  connected() {
    this.turn++;
    const recovered = this.socket.recovered === true;
    this.record("connect", { recovered, sid: this.socket.id });
    for (const room of this.rooms.values()) {
      if (!recovered) room.joined = room.caughtUp = false;
      if (!room.caughtUp) this.catchUp(room, this.turn);
      else this.flush(room);
    }
  }

  disconnected(reason) {
    this.turn++;
    this.record("disconnect", { reason });
  }

  // call resolves to the ack, or to nothing where there was none in time or the connection went away. first sees the ack before the event that comes after it is heard.
  call(event, payload, first) {
    return new Promise((done) => {
      const timer = setTimeout(done, this.patience);
      this.socket.emit(event, payload, (answer) => {
        clearTimeout(timer);
        first?.(answer);
        done(answer);
      });
    });
  }

  // pause is how long to wait after so many tries: a server that cannot keep up must not hear more from its pages for it.
  pause(tries) {
    return this.stock ? Math.min(pause * 2 ** tries, longest) * (0.5 + Math.random()) : pause;
  }

  // insist calls until it is answered with ok; nothing once the connection has gone away.
  async insist(turn, event, payload, first) {
    for (let tries = 0; turn === this.turn; tries++) {
      const answer = await this.call(event, payload(), first);
      if (turn !== this.turn) return undefined;
      if (answer?.ok) return answer;
      this.record("refused", { event, room: payload().room, code: answer?.error?.code ?? "no answer" });
      await sleep(this.pause(tries));
    }
    return undefined;
  }

  async catchUp(room, turn) {
    const joined = await this.insist(
      turn,
      "join_room",
      () => ({ room: room.name }),
      (answer) => {
        if (turn === this.turn && answer?.ok) room.users = new Set(answer.members.map((m) => m.user_id));
      },
    );
    if (!joined) return;
    room.startAnew(joined.boot ?? "");
    this.record("join", { room: room.name, seq: joined.seq, boot: room.boot });
    room.joined = true;
    this.flush(room);
    if (!(await this.readOn(room, turn))) return;
    room.caughtUp = true;
    this.look(room);
  }

  // readOn reads the log from the last entry that is known to its end.
  async readOn(room, turn) {
    for (;;) {
      const after = room.last;
      const page = await this.insist(turn, "history", () => ({ room: room.name, after, limit: 200 }));
      if (!page) return false;
      this.record("history", { room: room.name, after, boot: room.boot, entries: page.entries.map(brief) });
      for (const e of page.entries) {
        this.checkText(e);
        room.add(e.seq);
      }
      if (!page.more) return true;
    }
  }

  heard(e) {
    const room = this.rooms.get(e.room);
    this.record("live", { room: e.room, boot: e.boot, ...brief(e) });
    this.checkText(e);
    if (!room) return;
    room.add(e.seq);
    this.look(room);
  }

  // look sees to a hole: it is written down, and filled from the log. One that the server tells of shows nothing beyond it yet.
  async look(room, told = false) {
    if (!room.caughtUp || room.repairing) return;
    room.repairing = true;
    if (told) await this.readOn(room, this.turn);
    for (let hole; (hole = room.hole()) && room.caughtUp; ) {
      this.record("hole", { room: room.name, boot: room.boot, ...hole });
      if (!(await this.readOn(room, this.turn))) break;
      if (room.hole()?.from === hole.from) await sleep(pause);
    }
    room.repairing = false;
  }

  say(room, id) {
    const m = { room, id, attempts: 0, since: performance.now() };
    this.queue.set(id, m);
    this.record("write", { room, message: id });
    this.send(m);
  }

  flush(room) {
    for (const m of this.queue.values()) if (m.room === room.name) this.send(m);
  }

  send(m) {
    clearTimeout(m.timer);
    if (!this.socket.connected || !this.rooms.get(m.room).joined || !this.queue.has(m.id)) return;
    const attempt = ++m.attempts;
    this.record("send", { room: m.room, message: m.id, attempt });
    m.timer = setTimeout(() => this.send(m), this.patience);
    this.socket.emit("chat_message", { room: m.room, text: textOf(m.id), message_id: m.id }, (a) => this.answered(m, attempt, a));
  }

  answered(m, attempt, answer) {
    if (!answer?.ok) {
      this.record("refused", { event: "chat_message", room: m.room, message: m.id, attempt, code: answer?.error?.code });
      clearTimeout(m.timer);
      m.timer = setTimeout(() => this.send(m), this.pause(attempt));
      return;
    }
    const e = answer.message;
    this.record("ack", { room: m.room, attempt, boot: e.boot, ...brief(e) });
    this.checkText(e);
    clearTimeout(m.timer);
    this.queue.delete(m.id);
    const room = this.rooms.get(m.room);
    if ((e.boot ?? "") !== room.boot) return;
    room.add(e.seq);
    this.look(room);
  }

  checkText(e) {
    if (e.text !== textOf(e.message_id)) this.record("mangled", { room: e.room, seq: e.seq, id: e.id, message: e.message_id });
  }
}

const brief = (e) => ({ seq: e.seq, id: e.id, user: e.user_id, message: e.message_id, at: Date.parse(e.timestamp) });

// open connects as browsers do: in less of a hurry than a test and more than the defaults; or, with a token, just by the defaults, from an address of its own.
function open({ url, user, version, transports, token, address, after }) {
  if (token) {
    const o = { transports, forceNew: true, autoConnect: false, agent: new Agent({ keepAlive: true, localAddress: address }) };
    const socket = version === 2 ? connect2(url, { ...o, extraHeaders: { Authorization: `Bearer ${token}` } }) : connect4(url, { ...o, auth: { token } });
    setTimeout(() => socket.connect(), after);
    return socket;
  }
  const o = { transports, forceNew: true, reconnectionDelay: 200, reconnectionDelayMax: 1_000, timeout: 5_000 };
  return version === 2 ? connect2(url, { ...o, query: { user } }) : connect4(url, { ...o, auth: { user } });
}
