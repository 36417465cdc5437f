import type { Entry } from './state'

/** Entries that stand together: one author's messages in a row, or one other entry. */
export type Group = { key: number; user: string; entries: [Entry, ...Entry[]] }

const pause = 5 * 60_000 // ms of silence that start a new group

export function groups(entries: Entry[], owners: Record<string, string>): Group[] {
  const out: Group[] = []
  for (const e of entries) {
    const user = e.kind === 'message' ? (owners[e.sid] ?? e.sid) : ''
    const open = out.at(-1)
    const previous = open?.entries.at(-1)
    const same = e.kind === 'message' && previous?.kind === 'message' && open!.user === user
    if (same && e.at - previous.at < pause) open!.entries.push(e)
    else out.push({ key: e.key, user, entries: [e] })
  }
  return out
}
