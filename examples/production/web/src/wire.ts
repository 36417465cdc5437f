// What travels between this page and the server: the library's events, and the host's own whoami and alert.

export const room = 'chat'
export const maxText = 4000 // characters; the server takes 8,000

export type Failure = { code: string; message: string; retry_after_ms?: number; event?: string; room?: string; after?: number }
export type Ack<T = object> = ({ ok: true } & T) | { ok: false; error: Failure }

export type Member = { user_id: string; name?: string }
export type Entry = {
  kind: string
  room: string
  seq: number
  id: string
  user_id: string
  text: string
  timestamp: string
  message_id?: string
  deleted?: boolean
}

export interface ServerEvents {
  new_message: (m: Entry) => void
  user_joined: (m: Member & { room: string }) => void
  user_left: (m: Member & { room: string }) => void
  typing: (t: { room: string; user_id: string; on: boolean }) => void
  alert: (a: { message: string }) => void
  auth_expiring: (e: { expires_at: string }) => void
  server_draining: (d: { reconnect_after_ms: number }) => void
  error: (f: Failure) => void
}

type Answer<T = object> = (ack: Ack<T>) => void

export interface PageEvents {
  chat_message: (m: { room: string; text: string; message_id: string }, ack: Answer<{ message: Entry }>) => void
  join_room: (p: { room: string }, ack: Answer<{ seq: number; members: Member[]; member_count: number }>) => void
  history: (
    p: { room: string; after?: number; before?: number; limit?: number },
    ack: Answer<{ entries: Entry[]; more: boolean }>,
  ) => void
  whoami: (p: object, ack: Answer<{ result: Member }>) => void
  typing: (p: { room: string; on: boolean }) => void
  refresh_auth: (p: { token: string }, ack: Answer<{ expires_at: string }>) => void
}

/** Unguessable, and made where crypto.randomUUID is not: on a page that came by plain http. */
export function newKey(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, '0')).join('')
}
