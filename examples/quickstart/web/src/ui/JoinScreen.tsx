import { useState, type FormEvent } from 'react'
import { maxName, suggestion } from '../identity'
import { room } from '../wire'
import { Mark } from './icons'

export function JoinScreen({ server, onJoin }: { server: string; onJoin: (name: string) => void }) {
  const [name, setName] = useState(suggestion)
  const submit = (e: FormEvent) => {
    e.preventDefault()
    if (name.trim()) onJoin(name)
  }
  return (
    <main className="join">
      <form className="join-card" onSubmit={submit}>
        <Mark />
        <h1>Join #{room}</h1>
        <p>Pick a name and say hello. Open a second window to be two people.</p>
        <label htmlFor="name">Your name</label>
        <input
          id="name"
          value={name}
          onChange={(e) => setName(e.target.value)}
          onFocus={(e) => e.target.select()}
          maxLength={maxName}
          autoComplete="nickname"
          placeholder="Ann"
          pattern=".*\S.*"
          title="A name has at least one letter"
          autoFocus
          required
        />
        <button className="primary" type="submit">
          Join the chat
        </button>
        <p className="fine">Server: {new URL(server).host}</p>
      </form>
    </main>
  )
}
