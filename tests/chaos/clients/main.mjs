// All pages of a run in one process: a plan as the argument, commands on stdin, what happened on stdout, a line each.
//
//   talk N    each page writes, N messages a second in all
//   watch     each page notes the news of its rooms' presence from now on
//   quiet     none writes any more
//   part      the guests leave; from now on all others' views of their rooms' users are compared with who is there
//   dodge N   the N-th part of the guests do not come back from their next outage
//   users     each page tells who is in its rooms
//   close     one page of each room writes the last message there
//   read URL  a newcomer reads all rooms from the start
//   end
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { io } from "socket.io-client-4.8";
import { Page } from "./page.mjs";
import { random } from "./random.mjs";

const plan = JSON.parse(readFileSync(process.argv[2], "utf8"));
const put = (line) => process.stdout.write(JSON.stringify(line) + "\n");

const first = plan.first ?? 0; // of several processes' pages
const pages = plan.clients.map((spec, i) => new Page(spec, (kind, fields) => put({ kind, t: Date.now(), client: first + i, ...fields })));
const rooms = [...new Set(plan.clients.flatMap((c) => c.rooms))];
let talking = false;

function talk(perSecond) {
  talking = true;
  pages.forEach((page, i) => {
    if (page.guest) return;
    const next = random(plan.seed + first + i);
    const names = [...page.rooms.keys()];
    const mean = (1000 * pages.filter((p) => !p.guest).length) / perSecond;
    let n = 0;
    const again = () => {
      if (!talking) return;
      page.say(next() < plan.lobby ? names[0] : names[1 + Math.floor(next() * (names.length - 1))], `${page.name}-${++n}`);
      setTimeout(again, mean * (0.2 + 1.6 * next()));
    };
    setTimeout(again, mean * next());
  });
}

const closing = new Map(); // the room's last message and who writes it
function close() {
  for (const name of rooms) {
    const page = pages.find((p) => p.rooms.has(name) && !p.guest);
    const id = `${page.name}-closes-${name}`;
    page.say(name, id);
    closing.set(name, { page, id });
  }
}

// state tells how far the pages are from having everything.
function state() {
  const s = { kind: "state", t: Date.now(), queued: 0, connected: 0, behind: 0, closed: closing.size, news: 0, astray: 0, here: 0, oldest: 0 };
  const now = performance.now();
  for (const p of pages) {
    s.queued += p.queue.size;
    s.news += p.news;
    if (p.gone) continue;
    s.here++;
    for (const m of p.queue.values()) s.oldest = Math.max(s.oldest, Math.round(now - m.since));
    if (p.socket.connected) s.connected++;
    for (const r of p.rooms.values()) {
      const last = closing.get(r.name)?.page.rooms.get(r.name);
      if (there && !same(r.users, there.get(r.name))) s.astray++;
      if (!r.caughtUp || r.hole() || (last && (r.boot !== last.boot || r.last < last.last))) s.behind++;
    }
  }
  return s;
}

const guests = pages.filter((p) => p.guest);
let there; // who is in each room, once the guests have left
function part() {
  for (const p of guests) p.leave(true);
  there = new Map(rooms.map((name) => [name, new Set(pages.filter((p) => p.rooms.has(name) && !p.guest).map((p) => p.user))]));
}

const same = (a, b) => a.size === b.size && [...a].every((x) => b.has(x));

// dodge goes by the guests' places, so that it takes some of each room.
const dodge = (nth) => guests.filter((p, i) => i % nth === 0 && !p.gone).forEach((p) => p.leave(false));

async function users() {
  await Promise.all(pages.filter((p) => !p.gone).map((p) => p.tellUsers()));
  put({ kind: "told" });
}

async function read(url) {
  const socket = io(url, { auth: { user: "reader" }, transports: ["websocket"], forceNew: true });
  const ask = (event, payload) => socket.timeout(10_000).emitWithAck(event, payload);
  for (const room of rooms) {
    await ask("join_room", { room });
    for (let after = 0, more = true; more; ) {
      const page = await ask("history", { room, after, limit: 200 });
      for (const e of page.entries) {
        put({ kind: "log", room, boot: e.boot, seq: e.seq, id: e.id, user: e.user_id, message: e.message_id, at: Date.parse(e.timestamp) });
        after = e.seq;
      }
      more = page.more;
    }
  }
  socket.disconnect();
  put({ kind: "read" });
}

setInterval(() => put(state()), 200);

// A process that does not come to its pages sees late, and all at once, what happened meanwhile.
const beat = 50; // ms
let beaten = performance.now();
setInterval(() => {
  const late = performance.now() - beaten - beat;
  beaten += late + beat;
  if (late > 2 * beat) put({ kind: "late", t: Date.now(), ms: Math.round(late) });
}, beat);
createInterface({ input: process.stdin }).on("line", (line) => {
  const [command, arg] = line.split(" ");
  if (command === "talk") talk(Number(arg));
  if (command === "watch") for (const page of pages) page.watches = true;
  if (command === "quiet") talking = false;
  if (command === "close") close();
  if (command === "part") part();
  if (command === "dodge") dodge(Number(arg));
  if (command === "users") users();
  if (command === "read") read(arg).catch((err) => put({ kind: "read", code: String(err) }));
  if (command === "end") process.exit(0);
}).on("close", () => process.exit(0));
