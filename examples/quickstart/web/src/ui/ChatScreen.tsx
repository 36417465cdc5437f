import { useEffect, useRef } from 'react'
import type { Identity } from '../identity'
import type { Entry } from '../state'
import { useChat } from '../useChat'
import { room } from '../wire'
import { Composer } from './Composer'
import { ConnectionBanner, StatusChip } from './Connection'
import { PeopleIcon, Mark } from './icons'
import { Messages } from './Messages'
import { SidePanel } from './SidePanel'

type Props = { server: string; identity: Identity; onLeave: () => void }

export function ChatScreen({ server, identity, onLeave }: Props) {
  const chat = useChat(server, identity)
  const drawer = useRef<HTMLDialogElement>(null)
  useCloseWhenWide(drawer)

  const { state } = chat
  useUnreadTitle(state.entries)
  const count = state.people.length
  const panel = <SidePanel state={state} server={server} name={identity.name} onLeave={onLeave} />
  return (
    <div className="chat">
      <aside className="side" aria-label="People and connection">
        {panel}
      </aside>
      <dialog className="drawer" ref={drawer} aria-label="People and connection" onClick={closeOnBackdrop}>
        <div className="drawer-body">
          {panel}
          <button className="quiet close" onClick={() => drawer.current?.close()}>
            Close
          </button>
        </div>
      </dialog>

      <main className="room">
        <header className="bar">
          <span className="bar-mark"><Mark /></span>
          <h1>#{room}</h1>
          <button className="chip people-chip" onClick={() => drawer.current?.showModal()}>
            <PeopleIcon />
            <span>{count}</span>
            <span className="sr">{count === 1 ? 'person here' : 'people here'}. Show them</span>
          </button>
          <StatusChip state={state} />
        </header>
        <Messages state={state} onRetry={chat.retry} onDiscard={chat.discard} />
        <ConnectionBanner state={state} server={server} onReconnect={chat.reconnect} />
        <Composer state={state} onSend={chat.send} onTyping={chat.typing} />
      </main>
    </div>
  )
}

function closeOnBackdrop(e: React.MouseEvent<HTMLDialogElement>) {
  if (e.target === e.currentTarget) e.currentTarget.close()
}

// A modal dialog that the wide layout hides would leave the page inert.
function useCloseWhenWide(dialog: React.RefObject<HTMLDialogElement | null>) {
  useEffect(() => {
    const wide = matchMedia('(min-width: 760px)')
    const close = () => wide.matches && dialog.current?.close()
    wide.addEventListener('change', close)
    return () => wide.removeEventListener('change', close)
  }, [dialog])
}

// What others said while the window was in the background, in its title.
function useUnreadTitle(entries: Entry[]) {
  const seen = useRef(0)
  useEffect(() => {
    const show = () => {
      if (!document.hidden) seen.current = entries.at(-1)?.key ?? 0
      const unread = entries.filter((e) => e.key > seen.current && e.kind === 'message' && !e.mine).length
      document.title = unread > 0 ? `(${unread}) Parley` : 'Parley'
    }
    show()
    document.addEventListener('visibilitychange', show)
    return () => document.removeEventListener('visibilitychange', show)
  }, [entries])
}
