import type { State } from '../state'

const label = { connecting: 'Connecting', connected: 'Connected', reconnecting: 'Reconnecting', closed: 'Offline' }

export function StatusChip({ state }: { state: State }) {
  const { phase } = state.link
  const transport = state.transports.at(-1)
  return (
    <div className="chip status" role="status" data-phase={phase} data-transport={transport} data-connections={state.connections}>
      <span className="dot" aria-hidden="true" />
      {label[phase]}
      {transport && <span className="via">{transport}</span>}
    </div>
  )
}

export function ConnectionBanner({ state, server, onReconnect }: { state: State; server: string; onReconnect: () => void }) {
  const { link } = state
  if (link.phase === 'connected' || link.phase === 'connecting') return null
  if (link.phase === 'closed') {
    return (
      <div className="banner" role="alert">
        <span>{link.why}</span>
        <button className="quiet" onClick={onReconnect}>
          Reconnect
        </button>
      </div>
    )
  }
  const lost = state.connections > 0
  return (
    <div className="banner" data-attempt={link.attempt}>
      <span role="alert">{lost ? 'Connection lost.' : `No answer from ${new URL(server).host}.`} What you send waits here.</span>
      {link.attempt > 0 && <span className="attempt">Attempt {link.attempt}</span>}
    </div>
  )
}

export function ConnectionDetails({ state, server }: { state: State; server: string }) {
  return (
    <dl className="details">
      <dt>Transport</dt>
      <dd className="transports">
        {state.transports.length === 0 && '–'}
        {state.transports.map((t, i) => (
          <span key={t} data-current={i === state.transports.length - 1}>
            {i > 0 && <span aria-label="upgraded to"> → </span>}
            <b>{t}</b>
          </span>
        ))}
      </dd>
      <dt>Session</dt>
      <dd>{session(state)}</dd>
      <dt>Client</dt>
      <dd className="mono" title={state.sid}>
        {state.sid || '–'}
      </dd>
      <dt>Server</dt>
      <dd className="mono">{new URL(server).host}</dd>
    </dl>
  )
}

function session(s: State): string {
  if (s.link.phase !== 'connected') return '–'
  if (s.recovered) return 'recovered, nothing missed'
  return s.connections === 1 ? 'new' : `new, connection ${s.connections}`
}
