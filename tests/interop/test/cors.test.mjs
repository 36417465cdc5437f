import assert from "node:assert/strict";
import { test } from "node:test";
import { next } from "../lib/wait.mjs";
import { each, open, serve } from "../lib/clients.mjs";
import { dial, http, polling, websocket } from "../lib/http.mjs";

const page = "http://localhost:5173";
const stranger = "http://evil.example";
const server = serve(`-origins=${page}`);
const anyone = serve("-origins=*");

for (const eio of [4, 3]) {
  test(`EIO=${eio}: a listed origin gets its headers, with credentials`, async () => {
    const { status, headers } = await http(polling(server.url, eio), { headers: { Origin: page } });
    assert.equal(status, 200);
    assert.equal(headers["access-control-allow-origin"], page);
    assert.equal(headers["access-control-allow-credentials"], "true");
    assert.match(headers.vary ?? "", /origin/i);
    assert.equal(await dial(websocket(server.url, eio), { Origin: page }), 101);
  });

  test(`EIO=${eio}: an origin that is not listed gets 403`, async () => {
    for (const origin of [stranger, "null", "http://localhost:5173.evil.example", "https://localhost:5173"]) {
      const { status, headers } = await http(polling(server.url, eio), { headers: { Origin: origin } });
      assert.equal(status, 403, origin);
      assert.equal(headers["access-control-allow-origin"], undefined, origin);
      assert.equal(await dial(websocket(server.url, eio), { Origin: origin }), 403, origin);
    }
  });

  test(`EIO=${eio}: no origin and the server's own pass`, async () => {
    assert.equal((await http(polling(server.url, eio))).status, 200);
    assert.equal(await dial(websocket(server.url, eio)), 101);
    assert.equal((await http(polling(server.url, eio), { headers: { Origin: server.url } })).status, 200);
    assert.equal(await dial(websocket(server.url, eio), { Origin: server.url }), 101);
  });

  test(`EIO=${eio}: a stranger cannot use a session that somebody else has opened`, async () => {
    const { body } = await http(polling(server.url, eio), { headers: { Origin: page } });
    const sid = /"sid":"([^"]+)"/.exec(body)[1];
    const theirs = `${polling(server.url, eio)}&sid=${sid}`;
    assert.equal((await http(theirs, { headers: { Origin: stranger } })).status, 403);
    assert.equal((await http(theirs, { method: "POST", body: "40", headers: { Origin: stranger } })).status, 403);
    assert.equal(await dial(`${websocket(server.url, eio)}&sid=${sid}`, { Origin: stranger }), 403);
  });

  test(`EIO=${eio}: any origin, and then no credentials`, async () => {
    const { status, headers } = await http(polling(anyone.url, eio), { headers: { Origin: stranger } });
    assert.equal(status, 200);
    assert.equal(headers["access-control-allow-origin"], "*");
    assert.equal(headers["access-control-allow-credentials"], undefined);
    assert.equal(await dial(websocket(anyone.url, eio), { Origin: stranger }), 101);
  });
}

const preflight = (url, origin) =>
  http(polling(url), {
    method: "OPTIONS",
    headers: { Origin: origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type,x-mine" },
  });

test("preflight", async () => {
  const { status, headers } = await preflight(server.url, page);
  assert.ok(status === 200 || status === 204, `status ${status}`);
  assert.equal(headers["access-control-allow-origin"], page);
  assert.equal(headers["access-control-allow-credentials"], "true");
  assert.match(headers["access-control-allow-methods"], /POST/);
  assert.match(headers["access-control-allow-headers"], /content-type/i);
  assert.match(headers["access-control-allow-headers"], /x-mine/i);
  const refused = await preflight(server.url, stranger);
  assert.equal(refused.status, 403);
  assert.equal(refused.headers["access-control-allow-origin"], undefined);
});

each("a client of another origin", async (kind) => {
  const at = (origin) => open(kind, server.url, { extraHeaders: { Origin: origin }, reconnection: false });
  await next(at(page), "connect");
  await next(at(stranger), "connect_error");
});
