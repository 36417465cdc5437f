import { nameOf, type State } from '../state'
import { Avatar } from './Avatar'
import { ConnectionDetails } from './Connection'
import { Mark } from './icons'

type Props = { state: State; server: string; name: string; onLeave: () => void }

export function SidePanel({ state, server, name, onLeave }: Props) {
  const others = state.people.filter((id) => id !== state.self)
  return (
    <>
      <div className="brand">
        <Mark />
        <b>Parley</b>
      </div>
      <section className="people">
        <h2>
          Here now <span className="count">{state.people.length}</span>
        </h2>
        <ul aria-label="People here">
          <li>
            <Avatar user={state.self} name={name} />
            <span className="who">{name}</span>
            <span className="you">you</span>
          </li>
          {others.map((id) => (
            <li key={id}>
              <Avatar user={id} name={nameOf(state, id)} />
              <span className="who">{nameOf(state, id)}</span>
              {state.typing.includes(id) && <Dots />}
            </li>
          ))}
        </ul>
      </section>
      <section className="connection">
        <h2>Connection</h2>
        <ConnectionDetails state={state} server={server} />
      </section>
      <button className="quiet leave" onClick={onLeave}>
        Leave or change name
      </button>
    </>
  )
}

export function Dots() {
  return (
    <span className="dots" aria-hidden="true">
      <i />
      <i />
      <i />
    </span>
  )
}
