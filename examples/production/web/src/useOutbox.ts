// What was written here and not acked yet. Each message keeps its message_id through all tries: the server gives the first result back for a second one, so nothing
// is said twice. One is under way at a time, which keeps their order.

import { onScopeDispose, ref } from 'vue'
import { asked, delay } from './backoff'
import type { ChatSocket } from './useSocket'
import { newKey, room, type Entry } from './wire'
import { inWords } from './words'

export type Draft = { key: string; text: string; state: 'waiting' | 'sending' | 'failed'; why: string }

const ackTimeout = 10_000 // ms

// What another try may mend.
const passing = new Set(['RATE_LIMITED', 'UNAVAILABLE', 'INTERNAL'])

export function useOutbox(socket: ChatSocket, saved: (entry: Entry) => void) {
  const drafts = ref<Draft[]>([])
  let tries = 0
  let timer: number | undefined

  async function pump() {
    clearTimeout(timer)
    const draft = drafts.value.find((d) => d.state !== 'failed')
    if (!draft || draft.state === 'sending' || !socket.connected) return
    draft.state = 'sending'
    const { wait, why } = await say(draft)
    draft.why = why
    if (wait === undefined) return void pump()
    draft.state = 'waiting'
    timer = window.setTimeout(pump, wait)
  }

  /** wait is ms until another try; undefined: it is settled. */
  async function say(draft: Draft): Promise<{ wait?: number; why: string }> {
    try {
      const ack = await socket.timeout(ackTimeout).emitWithAck('chat_message', { room, text: draft.text, message_id: draft.key })
      if (ack.ok) {
        tries = 0
        settle(draft.key)
        saved(ack.message)
        return { why: '' }
      }
      const { code, message, retry_after_ms } = ack.error
      const why = code === 'REJECTED' ? message : inWords(code, message)
      if (passing.has(code)) return { wait: retry_after_ms ? asked(retry_after_ms) : delay(tries++), why }
      draft.state = 'failed'
      return { why }
    } catch {
      return { wait: delay(tries++), why: 'No answer yet.' } // after a disconnect pump does nothing until there is a connection
    }
  }

  function settle(key: string | undefined) {
    drafts.value = drafts.value.filter((d) => d.key !== key)
  }

  onScopeDispose(() => clearTimeout(timer))
  return {
    drafts,
    pump,
    settle,
    send(text: string) {
      drafts.value.push({ key: newKey(), text, state: 'waiting', why: '' })
      void pump()
    },
  }
}
