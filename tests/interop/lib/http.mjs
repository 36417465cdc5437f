// Plain requests, with every header as given (fetch would not send an Origin).
import { request } from "node:http";
import WebSocket from "ws";
import { within } from "./wait.mjs";

// http resolves with {status, headers, body}.
export function http(url, { method = "GET", headers = {}, body } = {}) {
  const answer = new Promise((resolve, reject) => {
    const req = request(url, { method, headers, agent: false }, (res) => {
      let text = "";
      res.setEncoding("utf8").on("data", (piece) => (text += piece));
      res.on("end", () => resolve({ status: res.statusCode, headers: res.headers, body: text }));
    });
    req.on("error", reject).end(body);
  });
  return within(`${method} ${url}`, answer);
}

// dial resolves with the status of a WebSocket handshake, 101 when it was taken.
export function dial(url, headers = {}) {
  const ws = new WebSocket(url.replace("http", "ws"), { headers });
  const status = new Promise((resolve, reject) => {
    ws.on("open", () => resolve(101));
    ws.on("unexpected-response", (_, res) => resolve(res.statusCode));
    ws.on("error", reject);
  });
  return within("a WebSocket handshake", status).finally(() => ws.terminate());
}

// polling is the URL of a polling handshake.
export const polling = (url, eio = 4) => `${url}/socket.io/?EIO=${eio}&transport=polling`;

// websocket is the URL of a direct WebSocket.
export const websocket = (url, eio = 4) => `${url}/socket.io/?EIO=${eio}&transport=websocket`;
