import { useLayoutEffect, useMemo, useRef, useState } from 'react'
import { groups, type Group } from '../groups'
import { nameOf, type Draft, type Entry, type State } from '../state'
import { room } from '../wire'
import { Avatar, hue } from './Avatar'
import { AlertIcon } from './icons'

type Props = { state: State; onRetry: (key: number) => void; onDiscard: (key: number) => void }

const near = 48 // px from the end that still count as being there

export function Messages({ state, onRetry, onDiscard }: Props) {
  const list = useMemo(() => groups(state.entries, state.owners), [state.entries, state.owners])
  const { scroller, content, unseen, onScroll, toEnd } = useStickyEnd(state.entries, state.drafts.length)
  return (
    <div className="messages-frame">
      <div className="messages" ref={scroller} onScroll={onScroll} tabIndex={0} role="region" aria-label="Messages">
        <div className="messages-content" ref={content}>
          {!state.entries.some((e) => e.kind === 'message') && <Empty />}
          <ol role="log" aria-live="polite" aria-label="Conversation">
            {list.map((g) => (
              <GroupItem key={g.key} group={g} state={state} />
            ))}
          </ol>
          <Drafts drafts={state.drafts} onRetry={onRetry} onDiscard={onDiscard} />
        </div>
      </div>
      {unseen > 0 && (
        <button className="unseen" onClick={toEnd}>
          {unseen === 1 ? '1 new message' : `${unseen} new messages`} ↓
        </button>
      )}
    </div>
  )
}

function GroupItem({ group, state }: { group: Group; state: State }) {
  const [first] = group.entries
  if (first.kind === 'presence') {
    return (
      <li className="note">
        <b>{nameOf(state, first.user)}</b> {first.joined ? 'joined' : 'left'} <Time at={first.at} />
      </li>
    )
  }
  if (first.kind === 'note') {
    return (
      <li className="note">
        {first.text} <Time at={first.at} />
      </li>
    )
  }
  if (first.kind === 'alert') {
    return (
      <li>
        <div className="alert" role="alert">
          <AlertIcon />
          <div>
            <p className="alert-title">
              Announcement <Time at={first.at} />
            </p>
            <p>{first.text}</p>
          </div>
        </div>
      </li>
    )
  }
  return <Said group={group} state={state} />
}

function Said({ group, state }: { group: Group; state: State }) {
  const { mine, at } = group.entries[0] as Extract<Entry, { kind: 'message' }>
  const name = nameOf(state, group.user)
  return (
    <li className={mine ? 'said mine' : 'said'} style={{ '--hue': hue(group.user) } as React.CSSProperties}>
      {!mine && <Avatar user={group.user} name={name} />}
      <div className="bubbles">
        <p className="said-by">
          <span className={mine ? 'sr' : 'author'}>{mine ? 'You' : name}</span> <Time at={at} />
        </p>
        {group.entries.map((e) => (
          <p className="bubble" key={e.key} title={clock(e.at)} dir="auto">
            {'text' in e && e.text}
          </p>
        ))}
      </div>
    </li>
  )
}

function Drafts({ drafts, onRetry, onDiscard }: { drafts: Draft[] } & Pick<Props, 'onRetry' | 'onDiscard'>) {
  if (drafts.length === 0) return null
  return (
    <ul className="drafts" aria-label="Not sent yet">
      {drafts.map((d) => (
        <li className="said mine" key={d.key} data-state={d.state}>
          <div className="bubbles">
            <p className="bubble" dir="auto">
              {d.text}
            </p>
            <p className="draft-state">
              {d.state === 'waiting' && 'Waiting for the connection'}
              {d.state === 'sending' && 'Sending…'}
              {d.state === 'failed' && (
                <>
                  <span role="alert">{d.why}</span>
                  <button onClick={() => onRetry(d.key)}>Try again</button>
                  <button onClick={() => onDiscard(d.key)}>Discard</button>
                </>
              )}
            </p>
          </div>
        </li>
      ))}
    </ul>
  )
}

function Empty() {
  return (
    <div className="empty">
      <p className="empty-title">This is the start of #{room}</p>
      <p>
        Nobody has said anything yet.{' '}
        <a href={location.href} target="_blank" rel="noopener">
          Open a second window
        </a>{' '}
        and talk to yourself.
      </p>
    </div>
  )
}

function Time({ at }: { at: number }) {
  return <time dateTime={new Date(at).toISOString()}>{clock(at)}</time>
}

const format = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' })

function clock(at: number): string {
  return format.format(at)
}

// useStickyEnd keeps the end in view for who is there or has just sent, and
// leaves everybody else where they read, with a count of what is new.
function useStickyEnd(entries: Entry[], drafts: number) {
  const scroller = useRef<HTMLDivElement>(null)
  const content = useRef<HTMLDivElement>(null)
  const atEnd = useRef(true)
  const last = useRef({ key: 0, drafts: 0 })
  const [unseen, setUnseen] = useState(0)

  const jump = () => scroller.current!.scrollTo({ top: scroller.current!.scrollHeight })

  useLayoutEffect(() => {
    const fresh = entries.filter((e) => e.key > last.current.key)
    const own = drafts > last.current.drafts || fresh.some((e) => e.kind === 'message' && e.mine)
    last.current = { key: entries.at(-1)?.key ?? 0, drafts }
    if (own) atEnd.current = true
    if (atEnd.current) {
      setUnseen(0)
      jump()
    } else setUnseen((n) => n + fresh.filter((e) => e.kind === 'message').length)
  }, [entries, drafts])

  // The keyboard of a phone, a growing composer, a turned screen.
  useLayoutEffect(() => {
    const watch = new ResizeObserver(() => atEnd.current && jump())
    watch.observe(scroller.current!)
    watch.observe(content.current!)
    return () => watch.disconnect()
  }, [])

  const onScroll = () => {
    const el = scroller.current!
    atEnd.current = el.scrollHeight - el.scrollTop - el.clientHeight < near
    if (atEnd.current) setUnseen(0)
  }
  const toEnd = () => {
    const calm = matchMedia('(prefers-reduced-motion: reduce)').matches
    scroller.current!.scrollTo({ top: scroller.current!.scrollHeight, behavior: calm ? 'auto' : 'smooth' })
    scroller.current!.focus({ preventScroll: true })
  }
  return { scroller, content, unseen, onScroll, toEnd }
}
