import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { createClient } from "redis";
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
  static async start() {
    const redis = new Redis();
    redis.port = await freePort();
    redis.clients = [];
    await redis.run();
    return redis;
  }

  async run() {
    const args = ["--port", this.port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", "/"];
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
