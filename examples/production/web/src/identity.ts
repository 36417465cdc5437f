// Who this tab is. A token, or with AUTH=none a name and an unguessable device id, which the server hashes into the user's id. It lives as long as the tab, so that
// a reload is the same person and a second window may be another one.

import { newKey } from './wire'

export type Identity = { token: string } | { name: string; device: string }

const key = 'chat.identity'

export function restore(): Identity | null {
  try {
    return JSON.parse(sessionStorage.getItem(key) ?? 'null')
  } catch {
    return null
  }
}

export function keep(identity: Identity | null) {
  try {
    if (identity) sessionStorage.setItem(key, JSON.stringify(identity))
    else sessionStorage.removeItem(key)
  } catch {
    // Storage may be off; it then lasts until the next reload.
  }
}

export function named(name: string): Identity {
  return { name: name.trim(), device: newKey() }
}

/** Whether the server asks for tokens. */
export async function asksForToken(): Promise<boolean> {
  const answer = await fetch('/api/auth')
  if (!answer.ok) throw new Error(`the server answers ${answer.status}`)
  return (await answer.json()).token
}
