// Honest pages with the npm package, half over WebSocket and half over polling. What they are told on stdin: a line ends them. What they tell, each second and
// at the end: a line of JSON, with all views since they came.
import { createInterface } from "node:readline";
import { io } from "socket.io-client";

const { url, tokens, every } = JSON.parse(process.argv[2]);
const retryAfter = 5_000; // ms, without an ack
const unavailableAfter = 500; // ms, with that ack

let deliveries = 0;
let acks = [];
let delays = [];

function fnv(text) {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  return h >>> 0;
}

class Page {
  constructor(user, token, transport) {
    Object.assign(this, { user, transport, seq: -1, view: 0, heard: 0, own: 0, open: 0, retries: 0, disconnects: [], wrong: "", pings: 0, gap: 0, pinged: Date.now() });
    this.socket = io(url, { auth: { token }, transports: [transport], forceNew: true });
    this.socket.onAny(() => deliveries++);
    this.socket.on("new_message", (e) => this.entry(e, true));
    this.socket.on("error", (e) => this.fail("error event " + JSON.stringify(e)));
    this.socket.on("connect_error", (e) => this.fail("connect_error " + e.message));
    this.socket.on("disconnect", (reason) => this.disconnects.push(reason));
    this.socket.io.on("ping", () => {
      const now = Date.now();
      this.gap = Math.max(this.gap, now - this.pinged);
      this.pinged = now;
      this.pings++;
    });
  }

  async start() {
    await new Promise((done) => this.socket.once("connect", done));
    await new Promise((done) => this.socket.emit("join_room", { room: "chat" }, ({ seq }) => {
      this.seq = this.first = seq;
      done();
    }));
  }

  fail(what) {
    this.wrong ||= `${this.user}: ${what}`;
  }

  entry(e, live) {
    if (e.seq !== this.seq + 1) this.fail(`entry ${e.seq} after ${this.seq}`);
    this.seq = e.seq;
    this.view = (Math.imul(this.view, 31) + fnv(e.text)) >>> 0;
    if (!e.text.startsWith("honest ")) return;
    this.heard++;
    if (live) delays.push(Date.now() - Number(e.text.slice(e.text.lastIndexOf(" ") + 1, -1)) / 1e6);
  }

  say() {
    const began = Date.now();
    this.open++;
    this.send({ room: "chat", message_id: `${this.user}-${++this.own}`, text: `honest ${this.user} ${this.own} ${began}000000.` }, { began, acked: false });
  }

  // send takes the ack in its turn among the events, which a promise would not, and however late it is.
  send(message, sent) {
    const again = () => {
      this.retries++;
      this.send(message, sent);
    };
    const timer = setTimeout(again, retryAfter);
    this.socket.emit("chat_message", message, (a) => {
      clearTimeout(timer);
      if (sent.acked) return;
      if (a.error?.code === "UNAVAILABLE") {
        setTimeout(again, unavailableAfter);
        return;
      }
      sent.acked = true;
      this.open--;
      acks.push(Date.now() - sent.began);
      if (!a.ok) this.fail("refused " + JSON.stringify(a.error));
      else if (a.message.seq > this.seq) this.entry(a.message, false);
    });
  }
}

const pages = tokens.map((t, i) => new Page(`page-${i}`, t, i % 2 ? "polling" : "websocket"));
const put = (kind) => {
  const list = pages.map(({ user, transport, first, seq, view, heard, own, open, retries, disconnects, wrong, pings, gap }) => (
    { user, transport, first, seq, view, heard, own, open, retries, disconnects, wrong, pings, gap }));
  process.stdout.write(JSON.stringify({ kind, deliveries, acks, delays, pages: list }) + "\n");
  deliveries = 0;
  acks = [];
  delays = [];
};

let talking = false;
createInterface({ input: process.stdin }).on("line", (line) => {
  if (line === "talk") talking = true;
  if (line === "hush") talking = false;
}).on("close", () => process.exit(0));
await Promise.all(pages.map((p) => p.start()));
put("ready");
setInterval(() => put("second"), 1000);
pages.forEach((p, i) => setTimeout(() => setInterval(() => talking && p.say(), every), (i * every) / pages.length));
