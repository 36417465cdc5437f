import { useEffect, useRef, useState, type FormEvent, type KeyboardEvent } from 'react'
import { nameOf, type State } from '../state'
import { maxText } from '../wire'
import { SendIcon } from './icons'
import { Dots } from './SidePanel'

type Props = { state: State; onSend: (text: string) => void; onTyping: (on: boolean) => void }

export function Composer({ state, onSend, onTyping }: Props) {
  const [text, setText] = useState('')
  const field = useRef<HTMLTextAreaElement>(null)
  const { typed, stopped } = useTyping(onTyping)
  useGrow(field, text)

  const ready = text.trim() !== ''
  const send = (e?: FormEvent) => {
    e?.preventDefault()
    if (!ready) return
    onSend(text.trim())
    setText('')
    stopped()
    field.current?.focus()
  }
  const onKeyDown = (e: KeyboardEvent) => {
    if (e.key !== 'Enter' || e.shiftKey || e.nativeEvent.isComposing) return
    e.preventDefault()
    send()
  }
  const left = maxText - text.length
  return (
    <footer className="composer">
      <TypingLine state={state} />
      <form onSubmit={send}>
        <label className="sr" htmlFor="message">
          Message
        </label>
        <textarea
          id="message"
          ref={field}
          rows={1}
          value={text}
          maxLength={maxText}
          placeholder="Write a message"
          enterKeyHint="send"
          autoComplete="off"
          autoFocus={matchMedia('(pointer: fine)').matches}
          onKeyDown={onKeyDown}
          onBlur={stopped}
          onChange={(e) => {
            setText(e.target.value)
            if (e.target.value.trim()) typed()
            else stopped()
          }}
        />
        {left < 200 && <span className="left">{left}</span>}
        <button className="send" type="submit" disabled={!ready} aria-label="Send">
          <SendIcon />
        </button>
      </form>
    </footer>
  )
}

function TypingLine({ state }: { state: State }) {
  const names = state.typing.filter((u) => u !== state.self).map((u) => nameOf(state, u))
  return (
    <div className="typing" role="status" aria-label="Typing">
      {names.length > 0 && (
        <>
          <Dots /> {sentence(names)}
        </>
      )}
    </div>
  )
}

function sentence(names: string[]): string {
  if (names.length === 1) return `${names[0]} is typing`
  if (names.length === 2) return `${names[0]} and ${names[1]} are typing`
  return 'Several people are typing'
}

const renew = 3000 // ms; the server lets "typing" lapse after 6 s
const idle = 2500 // ms without a key that end it

// useTyping says "on" at the first key and again while keys come, "off" after
// a pause, on sending, and on leaving the field.
function useTyping(tell: (on: boolean) => void) {
  const saidAt = useRef(0) // 0: off
  const timer = useRef(0)

  const stopped = () => {
    clearTimeout(timer.current)
    if (saidAt.current) tell(false)
    saidAt.current = 0
  }
  const typed = () => {
    if (Date.now() - saidAt.current > renew) {
      tell(true)
      saidAt.current = Date.now()
    }
    clearTimeout(timer.current)
    timer.current = window.setTimeout(stopped, idle)
  }
  useEffect(() => () => clearTimeout(timer.current), [])
  return { typed, stopped }
}

function useGrow(field: React.RefObject<HTMLTextAreaElement | null>, text: string) {
  useEffect(() => {
    const el = field.current!
    el.style.height = 'auto'
    el.style.height = `${el.scrollHeight}px`
  }, [field, text])
}
