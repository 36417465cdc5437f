// The Go server under test, as a child process.
import { spawn } from "node:child_process";
import { once as onceOf } from "node:events";
import { createInterface } from "node:readline";
import { within } from "./wait.mjs";

// startServer runs the server with the flags and waits until it says its address.
export async function startServer(...flags) {
  const program = process.env.INTEROP_SERVER;
  if (!program) throw new Error("INTEROP_SERVER is not set: run the tests with npm test");
  const child = spawn(program, flags, { stdio: ["ignore", "pipe", "pipe"] });
  const exited = new Promise((resolve) => child.on("exit", (code, signal) => resolve({ code, signal })));
  let log = "";
  child.stderr.setEncoding("utf8").on("data", (text) => (log = (log + text).slice(-20000)));
  const lines = createInterface({ input: child.stdout });
  const failed = exited.then(() => Promise.reject(new Error("the server ended at once:\n" + log)));
  failed.catch(() => {});
  const [url] = await within("the server's address", Promise.race([onceOf(lines, "line"), failed]), 20000);

  return {
    url,
    port: new URL(url).port,
    log: () => log,
    kill: async () => {
      child.kill("SIGKILL");
      await exited;
    },
    // stop asks for a clean Shutdown. The exit code is not 0 when that did not end, or when a data race was seen.
    stop: async () => {
      child.kill("SIGTERM");
      const end = await within("the server's end", exited, 20000).catch((err) => {
        child.kill("SIGKILL");
        throw new Error(err.message + "\n" + log);
      });
      if (end.code !== 0) throw new Error(`the server ended with ${end.code ?? end.signal}:\n${log}`);
    },
  };
}
