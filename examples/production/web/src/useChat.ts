// The room as this page knows it: its log without holes and twice-told entries, who is in it, who types.

import { computed, reactive, ref } from 'vue'
import { useOutbox } from './useOutbox'
import { useSocket, type Options } from './useSocket'
import { room, type Entry, type Member } from './wire'

/** What stands in the timeline beside messages. seq is that of the message before it, n its place among the others there. */
export type Notice = { kind: 'alert' | 'joined' | 'left' | 'note'; seq: number; n: number; text: string; at: Date }
export type Item = { key: string; seq: number; n: number; at: Date } & ({ entry: Entry; notice?: undefined } | { notice: Notice; entry?: undefined })

const page = 50 // entries of a history call
const fillMost = 20 // pages that are caught up; after a longer absence only the newest page is shown
const noticesMost = 100

export function useChat(options: Options) {
  const entries = reactive(new Map<number, Entry>())
  const notices = ref<Notice[]>([])
  const people = reactive(new Map<string, string>())
  const names = reactive(new Map<string, string>()) // also of those who have left
  const typing = ref<string[]>([])
  const self = ref('')
  const earlier = ref(false) // there is more in the log than is shown
  const loaded = ref(false)
  const count = ref(0) // of people; the list ends at 200
  let last = 0
  let made = 0

  const link = useSocket(options)
  const { socket } = link
  const outbox = useOutbox(socket, add)

  function add(e: Entry) {
    if (e.kind !== 'message' || e.room !== room || entries.has(e.seq)) return
    entries.set(e.seq, e)
    last = Math.max(last, e.seq)
    stopped(e.user_id)
    outbox.settle(e.message_id) // a recovery tells own messages whose ack was lost
  }

  function notice(kind: Notice['kind'], text: string) {
    notices.value = [...notices.value.slice(1 - noticesMost), { kind, text, seq: last, n: ++made, at: new Date() }]
  }

  function known(m: Member) {
    if (m.name) names.set(m.user_id, m.name)
  }

  function stopped(user: string) {
    typing.value = typing.value.filter((u) => u !== user)
  }

  async function enter(recovered: boolean) {
    typing.value = []
    if (recovered && loaded.value) return
    const me = await socket.timeout(10_000).emitWithAck('whoami', {})
    if (me.ok) known(me.result), (self.value = me.result.user_id)
    const joined = await socket.timeout(10_000).emitWithAck('join_room', { room })
    if (!joined.ok) return
    people.clear()
    for (const m of joined.members) known(m), people.set(m.user_id, m.name ?? '')
    count.value = joined.member_count
    if (loaded.value) return catchUp(last)
    const newest = await socket.timeout(10_000).emitWithAck('history', { room, limit: page })
    if (!newest.ok) return
    newest.entries.forEach(add)
    earlier.value = newest.more
    loaded.value = true
  }

  async function catchUp(after: number) {
    for (let n = 0; n < fillMost; n++) {
      const ack = await socket.timeout(10_000).emitWithAck('history', { room, after, limit: 200 })
      if (!ack.ok || ack.entries.length === 0) return
      ack.entries.forEach(add)
      after = ack.entries.at(-1)!.seq
      if (!ack.more) return
    }
    entries.clear() // too much to read through
    loaded.value = false
    await enter(false)
  }

  async function showEarlier() {
    const first = Math.min(...entries.keys())
    const ack = await socket.timeout(10_000).emitWithAck('history', { room, before: first, limit: page })
    if (!ack.ok) return
    ack.entries.forEach(add)
    earlier.value = ack.more
  }

  // What fails by a lost connection is done again on the next one.
  const quietly = (done: Promise<unknown>) => void done.catch(() => {})

  socket.on('connect', () => {
    quietly(enter(socket.recovered).then(outbox.pump))
  })
  socket.on('disconnect', () => (typing.value = []))
  socket.on('new_message', add)
  socket.on('error', (e) => {
    if (e.event === 'new_message' && e.room === room) quietly(catchUp(e.after ?? last)) // the server says that it left some out
  })
  socket.on('alert', (a) => notice('alert', a.message))
  socket.on('user_joined', (m) => {
    known(m)
    if (m.room !== room || people.has(m.user_id)) return
    people.set(m.user_id, m.name ?? '')
    count.value++
    if (self.value && m.user_id !== self.value) notice('joined', m.user_id)
  })
  socket.on('user_left', (m) => {
    if (m.room !== room || !people.delete(m.user_id)) return
    count.value--
    stopped(m.user_id)
    if (m.user_id !== self.value) notice('left', m.user_id)
  })
  socket.on('typing', (t) => {
    stopped(t.user_id)
    if (t.on && t.room === room) typing.value.push(t.user_id)
  })

  const items = computed<Item[]>(() => {
    const list: Item[] = []
    for (const entry of entries.values()) list.push({ key: `m${entry.seq}`, seq: entry.seq, n: 0, at: new Date(entry.timestamp), entry })
    for (const n of notices.value) list.push({ key: `n${n.n}`, seq: n.seq, n: n.n, at: n.at, notice: n })
    return list.sort((a, b) => a.seq - b.seq || a.n - b.n)
  })

  link.connect()
  return {
    ...link,
    ...outbox,
    items,
    people: computed(() => [...people.keys()].sort((a, b) => Number(b === self.value) - Number(a === self.value) || nameOf(a).localeCompare(nameOf(b)))),
    typing,
    self,
    earlier,
    loaded,
    count,
    nameOf,
    showEarlier: () => quietly(showEarlier()),
    sayTyping: (on: boolean) => socket.connected && socket.volatile.emit('typing', { room, on }),
  }

  /** Names come with presence only; of who left before this page came there is the id. */
  function nameOf(user: string): string {
    return names.get(user) || (user.startsWith('anon:') ? `guest ${user.slice(5, 9)}` : user)
  }
}

export type Chat = ReturnType<typeof useChat>
