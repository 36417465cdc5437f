import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { createClient, createCluster } from "redis";
import { until } from "./wait.mjs";

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

/** A Redis server of the test's own, without a disk. */
export class Redis {
  static async start(...settings) {
    const redis = new Redis();
    redis.port = await freePort();
    redis.settings = settings;
    redis.clients = [];
    await redis.run();
    return redis;
  }

  async run() {
    const args = ["--port", this.port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", "/", ...this.settings];
    this.process = spawn("redis-server", args.map(String), { stdio: "ignore" });
    this.process.once("error", (err) => console.error(`redis-server: ${err.message}`));
    await until("Redis answers", async () => {
      const client = createClient({ url: this.url, socket: { reconnectStrategy: false } });
      client.on("error", () => {});
      try {
        await client.connect();
        return (await client.ping()) === "PONG";
      } catch {
        return false;
      } finally {
        if (client.isOpen) await client.disconnect();
      }
    });
  }

  get address() {
    return `127.0.0.1:${this.port}`;
  }

  get url() {
    return `redis://${this.address}`;
  }

  async client() {
    const client = createClient({ url: this.url, socket: { reconnectStrategy: 50 } });
    client.on("error", () => {});
    await client.connect();
    this.clients.push(client);
    return client;
  }

  async kill() {
    const exit = once(this.process, "exit");
    this.process.kill("SIGKILL");
    await exit;
  }

  async stop() {
    for (const client of this.clients) if (client.isOpen) await client.quit();
    await this.kill();
  }
}

/** A Redis Cluster of three servers, each of which has a third of the keys. */
export class RedisCluster {
  static async start() {
    const cluster = new RedisCluster();
    cluster.dir = await mkdtemp(join(tmpdir(), "redis-"));
    cluster.clients = [];
    cluster.servers = [];
    for (let i = 0; i < 3; i++) {
      const settings = ["--cluster-enabled", "yes", "--cluster-config-file", join(cluster.dir, `${i}.conf`), "--cluster-port", await freePort()];
      cluster.servers.push(await Redis.start(...settings));
    }
    const addresses = cluster.servers.map((s) => s.address);
    await promisify(execFile)("redis-cli", ["--cluster", "create", ...addresses, "--cluster-yes"]);
    for (const server of cluster.servers) {
      const client = await server.client();
      await until("the cluster is one", async () => /cluster_state:ok[^]*cluster_known_nodes:3/.test(await client.sendCommand(["CLUSTER", "INFO"])));
    }
    return cluster;
  }

  get address() {
    return this.servers.map((s) => s.address).join(",");
  }

  async client() {
    const client = createCluster({ rootNodes: this.servers.map((s) => ({ url: s.url })) });
    client.on("error", () => {});
    await client.connect();
    this.clients.push(client);
    return client;
  }

  async stop() {
    for (const client of this.clients) await client.quit();
    for (const server of this.servers) await server.stop();
    await rm(this.dir, { recursive: true });
  }
}
