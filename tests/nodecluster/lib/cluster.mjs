import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:http";
import { createAdapter } from "@socket.io/redis-adapter";
import { createAdapter as createStreamsAdapter } from "@socket.io/redis-streams-adapter";
import { Server } from "socket.io";
import { io } from "socket.io-client";
import { Redis } from "./redis.mjs";
import { Record, next, until } from "./wait.mjs";

/** A Go process with a Hub. */
export class Hub {
  static async start(redis, wire, ...args) {
    const hub = new Hub();
    hub.log = "";
    hub.process = spawn(process.env.NODECLUSTER_HUB, ["-redis", redis.address, "-wire", wire, ...args], { stdio: ["ignore", "pipe", "pipe"] });
    hub.process.stderr.on("data", (text) => (hub.log += text));
    const [line] = await once(hub.process.stdout, "data");
    hub.url = `http://${String(line).trim()}`;
    return hub;
  }

  async do(what, order = {}) {
    const response = await fetch(`${this.url}/do/${what}`, { method: "POST", body: JSON.stringify(order) });
    const { value, error } = await response.json();
    if (error && what !== "call") throw new Error(`hub: ${what}: ${error}`);
    return what === "call" ? { replies: value, error } : value;
  }

  emit(order, event, ...args) {
    return this.do("emit", { ...order, event, args });
  }

  async stop() {
    const exit = once(this.process, "exit");
    this.process.kill("SIGINT");
    const [code] = await exit;
    if (code !== 0 || this.log.includes("DATA RACE") || this.log.includes("panic")) throw new Error(`hub ended with ${code}:\n${this.log}`);
  }
}

/** A Node server with the adapter. */
async function startNode(redis, wire, streamCount, options) {
  const client = await redis.client();
  let adapter;
  if (wire === "streams") {
    adapter = createStreamsAdapter(client, { streamCount, blockTimeInMs: 200 });
  } else {
    const sub = await redis.client();
    adapter = createAdapter(client, sub);
  }
  const http = createServer();
  const server = new Server(http, { adapter, ...options });
  server.on("connection", (socket) => socket.on("join", (room, done) => done(socket.join(room))));
  server.of("/admin");
  http.listen(0, "127.0.0.1");
  await once(http, "listening");
  return { io: server, url: `http://127.0.0.1:${http.address().port}` };
}

/** A Node server and a Hub (or more of either) on one Redis, and their clients. */
export class Cluster {
  static async start(wire, { hubs = 1, nodes = 1, streamCount = 1, options = {}, over = Redis } = {}) {
    const c = new Cluster();
    Object.assign(c, { wire, nodes: [], hubs: [], sockets: [], unordered: over !== Redis && wire === "adapter" });
    c.redis = await over.start();
    const args = wire === "streams" ? ["-streams", streamCount] : [];
    for (let i = 0; i < nodes; i++) c.nodes.push(await startNode(c.redis, wire, streamCount, options));
    for (let i = 0; i < hubs; i++) c.hubs.push(await Hub.start(c.redis, wire, ...args));
    [c.node, c.hub] = [c.nodes[0], c.hubs[0]];
    await c.settle();
    return c;
  }

  /** Waits until each hears of the others. */
  async settle() {
    for (const node of this.nodes) {
      for (const nsp of ["/", "/admin"]) {
        const adapter = node.io.of(nsp).adapter;
        await until(`${nsp}: all servers count`, async () => (await adapter.serverCount()) === this.nodes.length + this.hubs.length);
      }
    }
    const servers = [...this.nodes, ...this.hubs];
    const probes = await Promise.all(servers.map((s) => this.client(s)));
    let round = 0;
    await until("every server hears the others", async () => {
      round++;
      for (const [i, s] of servers.entries()) await this.emitOf(s, `settle-${round}-${i}`);
      await new Promise((resolve) => setTimeout(resolve, 30));
      return servers.every((s, i) => {
        const heard = new Set(probes[i].seen.events.map(([name]) => name));
        const others = servers.filter((o) => o === s || !(o instanceof Hub && s instanceof Hub));
        return others.every((o) => heard.has(`settle-${round}-${servers.indexOf(o)}`));
      });
    });
    for (const probe of probes) probe.disconnect();
  }

  /** Emits to everybody at a server. */
  async emitOf(server, event, ...args) {
    if (server instanceof Hub) await server.emit({}, event, ...args);
    else server.io.emit(event, ...args);
  }

  /** A client of a server's, in the rooms; recorded from its connection on. */
  async client(server, ...rooms) {
    return this.clientOf(server, "/", ...rooms);
  }

  async clientOf(server, nsp, ...rooms) {
    const socket = io(server.url + nsp, { forceNew: true, reconnectionDelay: 50, reconnectionDelayMax: 100 });
    this.sockets.push(socket);
    await next(socket, "connect");
    socket.seen = new Record(socket);
    for (const room of rooms) await this.join(server, socket, room);
    return socket;
  }

  async join(server, socket, room) {
    if (server instanceof Hub) await socket.emitWithAck("join_room", { room });
    else await socket.emitWithAck("join", room);
  }

  async stop() {
    for (const socket of this.sockets) socket.disconnect();
    for (const hub of this.hubs) await hub.stop();
    for (const node of this.nodes) await node.io.close();
    await this.redis.stop();
  }
}
