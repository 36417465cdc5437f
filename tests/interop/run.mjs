// Builds the Go server with the race detector and runs every test against it.
// Arguments are test files (default: all). INTEROP_SERVER names a program to use in place of the build.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

const here = import.meta.dirname;
const root = resolve(here, "../..");
const scratch = mkdtempSync(join(tmpdir(), "interop-"));

function run(command, args, options) {
  const { status, error, signal } = spawnSync(command, args, { stdio: "inherit", ...options });
  if (error) console.error(`${command}: ${error.message}`);
  if (signal) console.error(`${command}: ended by ${signal}`);
  return status ?? 1;
}

function build() {
  const binary = join(scratch, "server");
  const status = run("go", ["build", "-race", "-o", binary, "./tests/interop/server"], { cwd: root });
  return { binary, status };
}

function test(binary) {
  const named = process.argv.slice(2);
  const files = named.length ? named : readdirSync(join(here, "test")).sort().map((f) => join(here, "test", f));
  const args = ["--test", "--test-concurrency=2", "--test-reporter=spec", "--test-timeout=90000", ...files];
  return run(process.execPath, args, { cwd: here, env: { ...process.env, INTEROP_SERVER: binary } });
}

let status = 0;
try {
  let binary = process.env.INTEROP_SERVER;
  if (!binary) ({ binary, status } = build());
  if (status === 0) status = test(binary);
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
process.exitCode = status;
