import { useCallback, useEffect, useReducer, useRef } from 'react'
import { io, type Socket } from 'socket.io-client'
import type { Identity } from './identity'
import { initial, reduce, type Action, type State } from './state'
import { room, type Ack, type PageEvents, type ServerEvents } from './wire'

type ChatSocket = Socket<ServerEvents, PageEvents>
type Happened = Action extends infer A ? (A extends Action ? Omit<A, 'at'> : never) : never
type Tell = (a: Happened) => void

const ackTimeout = 10_000 // ms

export type Chat = {
  state: State
  send: (text: string) => void
  retry: (key: number) => void
  discard: (key: number) => void
  typing: (on: boolean) => void
  reconnect: () => void
}

/** One connection for as long as the component lives. */
export function useChat(server: string, identity: Identity): Chat {
  const [state, dispatch] = useReducer(reduce, initial)
  const socket = useRef<ChatSocket | null>(null)
  const nextDraft = useRef(1)
  const tell = useCallback<Tell>((a) => dispatch({ ...a, at: Date.now() } as Action), [])

  useEffect(() => {
    const s: ChatSocket = io(server, { auth: { ...identity }, forceNew: true, reconnectionDelayMax: 5000, autoConnect: false })
    socket.current = s
    listen(s, tell)
    s.connect()
    return () => {
      s.removeAllListeners()
      s.io.removeAllListeners()
      s.disconnect()
    }
  }, [server, identity, tell])

  const deliver = useCallback(
    (key: number, text: string) => {
      tell({ type: 'draftState', key, state: 'sending' })
      socket.current!.timeout(ackTimeout).emit('chat_message', text, (lost: Error | null, ack?: Ack) => {
        if (ack?.ok) return tell({ type: 'draftDone', key })
        const why = lost || !ack ? 'No answer. It may not have been sent.' : ack.error.message
        tell({ type: 'draftState', key, state: 'failed', why })
      })
    },
    [tell],
  )

  // What waited while offline goes out in order once there is a connection.
  const online = state.link.phase === 'connected'
  const waiting = state.drafts.filter((d) => d.state === 'waiting')
  useEffect(() => {
    if (online) for (const d of waiting) deliver(d.key, d.text)
  }, [online, waiting.map((d) => d.key).join()])

  return {
    state,
    send: useCallback((text) => tell({ type: 'draft', key: nextDraft.current++, text }), [tell]),
    retry: useCallback((key) => tell({ type: 'draftState', key, state: 'waiting' }), [tell]),
    discard: useCallback((key) => tell({ type: 'draftDone', key }), [tell]),
    typing: useCallback((on) => {
      if (socket.current?.connected) socket.current.volatile.emit('typing', { room, on })
    }, []),
    reconnect: useCallback(() => socket.current?.connect(), []),
  }
}

function listen(s: ChatSocket, tell: Tell) {
  // The transport opens, and may have been upgraded, before "connect".
  s.io.on('open', () => {
    tell({ type: 'opened', transport: s.io.engine.transport.name })
    s.io.engine.once('upgrade', (t: { name: string }) => tell({ type: 'upgraded', transport: t.name }))
  })
  s.on('connect', () => {
    tell({ type: 'connected', sid: s.id!, recovered: s.recovered })
    askWhoIsHere(s, tell)
  })
  s.on('disconnect', (reason) => {
    // An active socket comes back by itself; the server's own "disconnect"
    // means stay away until somebody asks.
    if (s.active) tell({ type: 'lost' })
    else tell({ type: 'closed', why: reason === 'io server disconnect' ? 'The server ended this connection.' : 'Disconnected.' })
  })
  s.on('connect_error', (err) => {
    if (!s.active) tell({ type: 'closed', why: err.message })
  })
  s.io.on('reconnect_attempt', (attempt) => tell({ type: 'attempt', attempt }))

  s.on('chat_message', (m) => tell({ type: 'message', sid: m.sid, text: m.message }))
  s.on('client_connected', (c) => tell({ type: 'clients', clients: [c] }))
  s.on('user_joined', (member) => tell({ type: 'joined', member }))
  s.on('user_left', (member) => tell({ type: 'left', member }))
  s.on('typing', (t) => tell({ type: 'typing', user: t.user_id, on: t.on }))
  s.on('alert', (a) => tell({ type: 'alert', text: a.message }))
  s.on('server_draining', () => tell({ type: 'note', text: 'The server is about to restart.' }))
  s.on('error', (f) => tell({ type: 'note', text: `The server says: ${f.message}` }))
}

function askWhoIsHere(s: ChatSocket, tell: Tell) {
  s.emit('people', {}, (a) => {
    if (a.ok) tell({ type: 'clients', clients: a.result })
  })
  s.emit('join_room', { room }, (a) => {
    if (a.ok) tell({ type: 'members', members: a.members })
  })
}
