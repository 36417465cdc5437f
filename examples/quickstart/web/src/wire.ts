// What travels between this page and the server. chat_message, alert,
// client_connected and people are the quickstart's own events; the rest are
// the library's.

export type Failure = { code: string; message: string }
export type Ack<T = object> = ({ ok: true } & T) | { ok: false; error: Failure }

export type Member = { user_id: string; name?: string }
export type Connected = { sid: string; user_id: string; name: string }

export interface ServerEvents {
  chat_message: (m: { sid: string; message: string }) => void
  client_connected: (c: Connected) => void
  alert: (a: { message: string }) => void
  user_joined: (m: Member & { room: string }) => void
  user_left: (m: Member & { room: string }) => void
  typing: (t: { room: string; user_id: string; on: boolean }) => void
  server_draining: (d: { reconnect_after_ms: number }) => void
  error: (f: Failure) => void
}

export interface PageEvents {
  chat_message: (text: string, ack: (a: Ack) => void) => void
  join_room: (p: { room: string }, ack: (a: Ack<{ members: Member[] }>) => void) => void
  people: (p: object, ack: (a: Ack<{ result: Connected[] }>) => void) => void
  typing: (p: { room: string; on: boolean }) => void
}

export const room = 'chat'
export const maxText = 2000
