// What the server's hooks were told, and addresses of a client's own.
import { http } from "./http.mjs";
import { within } from "./wait.mjs";

const ask = async (url) => JSON.parse((await http(url)).body);

// until asks again and again, until enough is true of the answer.
async function until(what, url, enough) {
  let answer;
  let over = false;
  const done = (async () => {
    do answer = await ask(url);
    while (!over && !enough(answer));
    return answer;
  })();
  return within(what, done).catch((err) => {
    over = true;
    throw new Error(`${err.message}: ${JSON.stringify(answer)}`);
  });
}

// stats waits until enough is true of the Hub's Stats.
export const stats = (server, enough = () => true) => until("Stats", `${server.url}/stats`, enough);

// seen waits until enough is true of what the hooks were told of {user} or {address}.
export const seen = (server, who, enough = () => true) => until("the hooks", `${server.url}/seen?${new URLSearchParams(who)}`, enough);

// left waits until the server knows that so many clients of a user have gone.
export const left = (server, user, count = 1) => seen(server, { user }, (all) => all.filter((what) => what.startsWith("left ")).length >= count);

let addresses = 0;

// address is one that nobody else has.
export const address = () => `10.${process.pid & 255}.${++addresses >> 8}.${addresses & 255}`;

// address6 is the beginning of those of a /64.
export const address6 = () => `2001:db8:0:${(++addresses).toString(16)}::`;

// from are the options of a client that comes from an address, to a server with -trust.
export const from = (kind, address, user, more) => ({
  extraHeaders: { "X-Forwarded-For": address },
  [kind.legacy ? "query" : "auth"]: { user },
  ...more,
});

// status is what the handshake of a connect_error was answered.
export const status = ({ description }) => Number(/\d{3}/.exec(description?.message ?? description)?.[0]);
