// One connection, kept for as long as the component that uses it lives. It does the coming back itself (reconnection: false): the stock client's own delays stop at 5 s,
// know nothing of what the server asks for, and end for good where the server refuses a connection that it would take a moment later.

import { io, type Socket } from 'socket.io-client'
import { onScopeDispose, readonly, ref, shallowRef } from 'vue'
import { asked, delay } from './backoff'
import { inWords } from './words'
import type { Failure, PageEvents, ServerEvents } from './wire'

export type ChatSocket = Socket<ServerEvents, PageEvents>

export type Link =
  | { phase: 'connecting' }
  | { phase: 'online'; recovered: boolean }
  | { phase: 'waiting'; attempt: number; until: number; why: string } // until: as Date.now()
  | { phase: 'ended'; code: string; why: string } // until the person does something

export type Options = {
  /** Asked for each connection, so that it is the token of that moment. */
  auth: () => object
  /** The token ends soon. A new one that this resolves to is used at once, without a reconnect; null: there is none yet. */
  renew?: (expires: Date) => Promise<string | null>
}

type Refusal = Error & { data?: Partial<Failure>; context?: { getResponseHeader?: (name: string) => string | null } }

// Refusals that the same credentials will meet again.
const final = new Set(['UNAUTHORIZED', 'TOKEN_EXPIRED', 'FORBIDDEN', 'INVALID_PAYLOAD', 'REJECTED'])

export function useSocket(options: Options) {
  const link = ref<Link>({ phase: 'connecting' })
  const transport = ref('')
  const lastCode = shallowRef('') // of an error that came just before the server closed
  let attempt = 0
  let back = 0 // as Date.now(): when to be back, as the server said ahead of its end; 0: it has not
  let timer: number | undefined

  const socket: ChatSocket = io(location.origin, {
    path: '/ws/socket.io',
    auth: (give) => give(options.auth()),
    reconnection: false,
    autoConnect: false,
    forceNew: true,
  })

  function connect() {
    clearTimeout(timer)
    if (socket.connected) return
    link.value = { phase: 'connecting' }
    socket.connect()
  }

  function comeBack(ms: number, why: string) {
    clearTimeout(timer)
    link.value = { phase: 'waiting', attempt, until: Date.now() + ms, why }
    attempt++
    timer = window.setTimeout(connect, ms)
  }

  function end(code: string, why: string) {
    clearTimeout(timer)
    link.value = { phase: 'ended', code, why }
  }

  socket.on('connect', () => {
    attempt = back = 0
    lastCode.value = ''
    link.value = { phase: 'online', recovered: socket.recovered }
    const engine = socket.io.engine
    transport.value = engine.transport.name
    engine.once('upgrade', (t: { name: string }) => (transport.value = t.name))
  })
  socket.on('connect_error', (refused: Refusal) => {
    const { code = '', message = '', retry_after_ms } = refused.data ?? {}
    if (final.has(code)) return end(code, code === 'REJECTED' ? message : inWords(code, message))
    const header = Number(refused.context?.getResponseHeader?.('Retry-After') ?? 0) * 1000
    const wish = retry_after_ms ?? header
    const why = code ? inWords(code, message) : 'The server is away.'
    comeBack(Math.max(delay(attempt), wish > 0 ? asked(wish) : 0), why)
  })
  socket.on('disconnect', (reason) => {
    transport.value = ''
    if (reason === 'io client disconnect') return
    // The server's own disconnect means: stay away. What it said last says why.
    if (reason === 'io server disconnect') {
      const code = lastCode.value
      return end(code, code ? inWords(code, '') : 'The server has ended this connection.')
    }
    // It told each page another time, so that they do not come all at once.
    if (back) return comeBack(Math.max(0, back - Date.now()) + 250 * Math.random(), 'The server is being replaced.')
    comeBack(delay(attempt), 'The connection was lost.')
  })
  socket.on('server_draining', (d) => (back = Date.now() + d.reconnect_after_ms))
  socket.on('error', (e) => (lastCode.value = e.code))
  socket.on('auth_expiring', async ({ expires_at }) => {
    const token = await options.renew?.(new Date(expires_at))
    if (token) await refresh(token)
  })

  /** Answers what the server has against the token; null: it took it. */
  async function refresh(token: string): Promise<string | null> {
    if (!socket.connected) return connect(), null // it is used then
    try {
      const ack = await socket.timeout(10_000).emitWithAck('refresh_auth', { token })
      return ack.ok ? null : inWords(ack.error.code, ack.error.message)
    } catch {
      return 'The server did not answer.'
    }
  }

  // A laptop that wakes up, or a phone that finds its network, need not wait.
  const awake = () => link.value.phase === 'waiting' && connect()
  addEventListener('online', awake)
  onScopeDispose(() => {
    removeEventListener('online', awake)
    clearTimeout(timer)
    socket.off()
    socket.disconnect()
  })

  return { socket, link: readonly(link), transport: readonly(transport), connect, refresh }
}
