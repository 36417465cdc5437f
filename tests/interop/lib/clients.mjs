// The clients of every major version and the ways they connect.
import { createRequire } from "node:module";
import { after, afterEach, before, test } from "node:test";
import { startServer } from "./server.mjs";
import { next, within } from "./wait.mjs";

const require = createRequire(import.meta.url);

function version(major, alias) {
  return { major, alias, version: require(`${alias}/package.json`).version, io: require(alias) };
}

export const versions = [
  version(1, "socket.io-client-1"),
  version(2, "socket.io-client-2"),
  version(3, "socket.io-client-3"),
  version(4, "socket.io-client-4.7"),
  version(4, "socket.io-client-4.8"),
];

export const transports = {
  polling: ["polling"],
  websocket: ["websocket"],
  upgrade: ["polling", "websocket"],
};

// kinds are all versions by all transports.
export const kinds = versions.flatMap((v) =>
  Object.keys(transports).map((transport) => ({ ...v, transport, name: `${v.version} ${transport}`, legacy: v.major < 3 })),
);

let opened = [];

afterEach(() => {
  for (const socket of opened) socket.io.reconnection(false), socket.disconnect();
  opened = [];
});

// open makes a socket and does not wait. It is closed after the test.
export function open(kind, url, options = {}) {
  const socket = kind.io(url, {
    forceNew: true,
    transports: transports[kind.transport],
    reconnectionDelay: 20,
    reconnectionDelayMax: 100,
    ...options,
  });
  opened.push(socket);
  return socket;
}

// connect makes a socket and waits until it is connected, and upgraded where it is to be.
export async function connect(kind, url, options) {
  const socket = open(kind, url, options);
  await next(socket, "connect");
  if (kind.transport === "upgrade") await upgraded(socket);
  return socket;
}

export function upgraded(socket) {
  const engine = socket.io.engine;
  if (engine.transport.name === "websocket") return;
  return within("the upgrade", new Promise((resolve) => engine.once("upgrade", resolve)));
}

// close leaves, and waits until the client knows.
export function close(socket) {
  const left = next(socket, "disconnect");
  socket.disconnect();
  return left;
}

// serve starts one server for all tests of a file; what it returns has url once they run.
export function serve(...flags) {
  const server = {};
  before(async () => Object.assign(server, await startServer(...flags)));
  after(() => server.stop?.());
  return server;
}

// each runs body as a test for every kind that fits.
export function each(title, body, fits = () => true) {
  for (const kind of kinds.filter(fits)) test(`${title}: ${kind.name}`, (t) => body(kind, t));
}

let names = 0;

// unique makes a room's or a user's name.
export const unique = (prefix) => `${prefix}-${process.pid}-${++names}`;
