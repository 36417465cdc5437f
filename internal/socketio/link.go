package socketio

import (
	"context"

	"github.com/parleychat/chat/internal/engineio"
)

// A link is one namespace of a conn, from its CONNECT on. The conn's lock guards its fields; namespace and c
// are set once.
type link struct {
	c         *conn
	namespace string
	socket    Socket
	joining   *joining
	calls     map[uint64]func(Args) // waiting for acks; nil when there are none
	lastCall  uint64
	state     state
	busy      bool // in Socket.Event
}

type state uint8

const (
	unused      state = iota
	authorizing       // in Backend.Authorize
	entering          // in Backend.Enter
	joined
	gone
)

type joining struct {
	cancel context.CancelFunc // of Authorize
	done   chan struct{}      // closed after Enter, or when there will be none
}

func (l *link) Session() *engineio.Session { return l.c.s }

func (l *link) Accepted(sid, pid string) {
	data := AppendString([]byte(`{"sid":`), sid)
	if pid != "" {
		data = AppendString(append(data, `,"pid":`...), pid)
	}
	l.c.s.Send(controlPacket(typeConnect, l.namespace, append(data, '}')))
}

func (l *link) Call(event string, args Encoded, reply func(Args)) (cancel func()) {
	c := l.c
	c.mu.Lock()
	if l.state != joined && l.state != entering {
		c.mu.Unlock()
		return func() {}
	}
	id := l.lastCall
	l.lastCall++
	if l.calls == nil {
		l.calls = make(map[uint64]func(Args), 1)
	}
	l.calls[id] = reply
	c.mu.Unlock()
	c.s.Send(EventPacket(l.namespace, event, args, &id, ""))
	return func() { l.takeCall(id) }
}

func (l *link) takeCall(id uint64) func(Args) {
	l.c.mu.Lock()
	defer l.c.mu.Unlock()
	reply := l.calls[id]
	if delete(l.calls, id); len(l.calls) == 0 {
		l.calls = nil
	}
	return reply
}

// answer takes an ACK.
func (l *link) answer(id uint64, args Args) {
	reply := l.takeCall(id)
	if reply == nil {
		l.c.cfg.Backend.Dropped("unknown ack id")
		return
	}
	reply(args)
}

// event hands e to the hub. Where Disconnect comes meanwhile, Socket.Closed is ours to call: it comes after
// the last Event.
func (l *link) event(e Event) {
	c := l.c
	c.mu.Lock()
	if l.state != joined {
		c.mu.Unlock()
		c.cfg.Backend.Dropped("packet to a namespace not joined")
		return
	}
	l.busy = true
	c.mu.Unlock()
	l.socket.Event(e)
	c.mu.Lock()
	l.busy = false
	left := l.state == gone
	c.mu.Unlock()
	if left {
		l.socket.Closed(ReasonServerDisconnect, nil)
	}
}

func (l *link) Disconnect(closeTransport bool) {
	c := l.c
	c.mu.Lock()
	// A session that ends already takes no packet: the client is told nothing, and the socket hears of the session's end and its reason.
	live := (l.state == joined || l.state == entering) && c.s.Send(controlPacket(typeDisconnect, l.namespace, nil))
	// In Enter, Closed is left to what follows it; in Event, to what follows that.
	closing := live && l.state == joined && !l.busy && !c.closed
	if live && !c.closed {
		c.dropLocked(l)
	}
	if closing {
		c.jobs.Add(1)
	}
	c.mu.Unlock()
	if closing {
		go func() {
			defer c.jobs.Done()
			l.socket.Closed(ReasonServerDisconnect, nil)
		}()
	}
	if closeTransport {
		c.s.Close(engineio.ReasonForced)
	}
}
