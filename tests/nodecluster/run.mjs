// Builds the Hub with the race detector and runs every test with it. Arguments are test files (default: all).
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const here = import.meta.dirname;
const scratch = mkdtempSync(join(tmpdir(), "nodecluster-"));

function run(command, args, options) {
  const { status, error, signal } = spawnSync(command, args, { stdio: "inherit", ...options });
  if (error) console.error(`${command}: ${error.message}`);
  if (signal) console.error(`${command}: ended by ${signal}`);
  return status ?? 1;
}

try {
  const binary = join(scratch, "hub");
  process.exitCode = run("go", ["build", "-race", "-o", binary, "./hub"], { cwd: here });
  if (!process.exitCode) {
    const named = process.argv.slice(2);
    const files = named.length ? named : readdirSync(join(here, "test")).sort().map((f) => join(here, "test", f));
    const args = ["--test", "--test-concurrency=2", "--test-reporter=spec", "--test-timeout=60000", ...files];
    process.exitCode = run(process.execPath, args, { cwd: here, env: { ...process.env, NODECLUSTER_HUB: binary } });
  }
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
