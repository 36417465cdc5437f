// Who this window is: a name and an unguessable device id, which the server
// hashes into the user's id. Both live as long as the tab, so a reload is the
// same person and a second window is another one.

export type Identity = { name: string; device: string }

export const maxName = 32

const key = 'parley.identity'
const lastName = 'parley.name'

export function restore(): Identity | null {
  try {
    const saved = JSON.parse(sessionStorage.getItem(key) ?? 'null')
    return saved?.name && saved?.device ? saved : null
  } catch {
    return null
  }
}

export function create(name: string): Identity {
  const bytes = crypto.getRandomValues(new Uint8Array(16))
  const device = Array.from(bytes, (b) => b.toString(16).padStart(2, '0')).join('')
  const identity = { name: name.trim().slice(0, maxName), device }
  try {
    sessionStorage.setItem(key, JSON.stringify(identity))
    localStorage.setItem(lastName, identity.name)
  } catch {
    // Storage may be off; the name then lasts until the next reload.
  }
  return identity
}

export function forget() {
  try {
    sessionStorage.removeItem(key)
  } catch {
    // Nothing was kept.
  }
}

export function suggestion(): string {
  try {
    return localStorage.getItem(lastName) ?? ''
  } catch {
    return ''
  }
}
