// The page's state and how each thing that happens changes it. No socket and
// no DOM in here.

import type { Connected, Member } from './wire'

export type Link =
  | { phase: 'connecting' }
  | { phase: 'connected' }
  | { phase: 'reconnecting'; attempt: number }
  | { phase: 'closed'; why: string }

export type Entry = { key: number; at: number } & (
  | { kind: 'message'; sid: string; text: string; mine: boolean }
  | { kind: 'presence'; user: string; joined: boolean }
  | { kind: 'alert'; text: string }
  | { kind: 'note'; text: string }
)

/** What was typed here and has not come back from the server yet. */
export type Draft = { key: number; text: string; state: 'waiting' | 'sending' | 'failed'; why?: string }

export type State = {
  link: Link
  sid: string
  self: string // this window's user id, once the server has told it
  transports: string[] // of this connection, in order: the last is in use
  recovered: boolean
  connections: number
  people: string[] // user ids, in order of arrival
  names: Record<string, string> // by user id; kept after they leave
  owners: Record<string, string> // sid → user id; kept after they leave
  typing: string[]
  entries: Entry[]
  drafts: Draft[]
  next: number // the next key
}

export const initial: State = {
  link: { phase: 'connecting' },
  sid: '',
  self: '',
  transports: [],
  recovered: false,
  connections: 0,
  people: [],
  names: {},
  owners: {},
  typing: [],
  entries: [],
  drafts: [],
  next: 1,
}

export type Action = { at: number } & (
  | { type: 'opened'; transport: string }
  | { type: 'connected'; sid: string; recovered: boolean }
  | { type: 'upgraded'; transport: string }
  | { type: 'lost' }
  | { type: 'attempt'; attempt: number }
  | { type: 'closed'; why: string }
  | { type: 'members'; members: Member[] }
  | { type: 'clients'; clients: Connected[] }
  | { type: 'joined'; member: Member }
  | { type: 'left'; member: Member }
  | { type: 'typing'; user: string; on: boolean }
  | { type: 'message'; sid: string; text: string }
  | { type: 'alert'; text: string }
  | { type: 'note'; text: string }
  | { type: 'draft'; key: number; text: string }
  | { type: 'draftState'; key: number; state: Draft['state']; why?: string }
  | { type: 'draftDone'; key: number }
)

export function reduce(s: State, a: Action): State {
  switch (a.type) {
    case 'connected':
      return connected(s, a)
    case 'opened':
      return { ...s, transports: [a.transport] }
    case 'upgraded':
      return { ...s, transports: [...s.transports, a.transport] }
    case 'lost':
      return { ...s, link: { phase: 'reconnecting', attempt: 0 }, transports: [], typing: [] }
    case 'attempt':
      return { ...s, link: { phase: 'reconnecting', attempt: a.attempt } }
    case 'closed':
      return { ...s, link: { phase: 'closed', why: a.why }, transports: [], typing: [] }
    case 'members':
      return { ...known(s, a.members), people: a.members.map((m) => m.user_id) }
    case 'clients':
      return clients(s, a.clients)
    case 'joined':
    case 'left':
      return presence(s, a.member, a.type === 'joined', a.at)
    case 'typing':
      return { ...s, typing: a.on ? [...without(s.typing, a.user), a.user] : without(s.typing, a.user) }
    case 'message':
      return message(s, a.sid, a.text, a.at)
    case 'alert':
      return add(s, { kind: 'alert', text: a.text }, a.at)
    case 'note':
      return add(s, { kind: 'note', text: a.text }, a.at)
    case 'draft':
      return { ...s, drafts: [...s.drafts, { key: a.key, text: a.text, state: 'waiting' }] }
    case 'draftState':
      return { ...s, drafts: s.drafts.map((d) => (d.key === a.key ? { ...d, state: a.state, why: a.why } : d)) }
    case 'draftDone':
      return { ...s, drafts: s.drafts.filter((d) => d.key !== a.key) }
  }
}

export function nameOf(s: State, user: string): string {
  return s.names[user] || `guest ${user.replace(/^.*:/, '').slice(0, 4)}`
}

function connected(s: State, a: Extract<Action, { type: 'connected' }>): State {
  const now: State = {
    ...s,
    link: { phase: 'connected' },
    sid: a.sid,
    recovered: a.recovered,
    connections: s.connections + 1,
  }
  if (s.connections === 0) return now
  const text = a.recovered
    ? 'Back online. Nothing was missed.'
    : 'Back online as a new session. Messages sent in between are not shown.'
  return add(now, { kind: 'note', text }, a.at)
}

function clients(s: State, list: Connected[]): State {
  const owners = { ...s.owners }
  for (const c of list) owners[c.sid] = c.user_id
  return { ...known(s, list), owners, self: owners[s.sid] ?? s.self }
}

// presence says nothing about this window's own user, nor before the first
// list of members: until then it may be this user, not yet known to be it.
function presence(s: State, m: Member, joined: boolean, at: number): State {
  if (joined === s.people.includes(m.user_id)) return known(s, [m])
  const people = joined ? [...s.people, m.user_id] : without(s.people, m.user_id)
  const now = { ...known(s, [m]), people, typing: joined ? s.typing : without(s.typing, m.user_id) }
  if (m.user_id === s.self || s.people.length === 0) return now
  return add(now, { kind: 'presence', user: m.user_id, joined }, at)
}

// message also settles the oldest draft of the same text: the server sends to
// all, the sender included, and what comes back is what was said.
function message(s: State, sid: string, text: string, at: number): State {
  const mine = sid === s.sid
  const done = mine ? s.drafts.findIndex((d) => d.text === text) : -1
  const drafts = done < 0 ? s.drafts : s.drafts.toSpliced(done, 1)
  const typing = without(s.typing, s.owners[sid] ?? '')
  return add({ ...s, drafts, typing }, { kind: 'message', sid, text, mine }, at)
}

type New = Entry extends infer E ? (E extends Entry ? Omit<E, 'key' | 'at'> : never) : never

const kept = 1000 // entries; a window left open for days stays light

function add(s: State, e: New, at: number): State {
  const entry = { ...e, key: s.next, at } as Entry
  return { ...s, next: s.next + 1, entries: [...s.entries.slice(1 - kept), entry] }
}

function known(s: State, members: Member[]): State {
  const names = { ...s.names }
  for (const m of members) if (m.name) names[m.user_id] = m.name
  return { ...s, names }
}

function without(list: string[], item: string): string[] {
  return list.filter((x) => x !== item)
}
