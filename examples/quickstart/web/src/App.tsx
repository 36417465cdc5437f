import { useState } from 'react'
import { create, forget, restore, type Identity } from './identity'
import { serverURL } from './server'
import { ChatScreen } from './ui/ChatScreen'
import { JoinScreen } from './ui/JoinScreen'

const server = serverURL(new URL(location.href))

export function App() {
  const [identity, setIdentity] = useState<Identity | null>(restore)
  if (!identity) return <JoinScreen server={server} onJoin={(name) => setIdentity(create(name))} />

  const leave = () => {
    forget()
    setIdentity(null)
  }
  return <ChatScreen key={identity.device} server={server} identity={identity} onLeave={leave} />
}
