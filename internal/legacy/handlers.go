package legacy

import (
	"log/slog"
	"runtime/debug"

	gosocket "github.com/googollee/go-socket.io"

	"github.com/parleychat/chat/internal/socketio"
)

// canonicalEvent is the only event that go-socket.io knows; its arguments are the client's event.
const canonicalEvent = "e"

// register sets go-socket.io's handlers for a namespace. None of them panics, fails, returns a value, or
// calls go-socket.io: OnConnect and OnDisconnect are not recovered and OnDisconnect runs under go-socket.io's
// own locks.
func register(io *gosocket.Server, namespace string, log *slog.Logger) {
	io.OnConnect(namespace, func(g gosocket.Conn) error {
		c := connOf(g)
		defer c.recovered("connect")
		c.onConnect(namespace, g)
		return nil
	})
	io.OnDisconnect(namespace, func(g gosocket.Conn, _ string) {
		c := connOf(g)
		defer c.recovered("disconnect")
		c.onDisconnect(namespace)
	})
	io.OnError(namespace, func(_ gosocket.Conn, err error) {
		log.Debug("go-socket.io", "err", err)
	})
	io.OnEvent(namespace, canonicalEvent, func(g gosocket.Conn, name string, args list) {
		c := connOf(g)
		defer c.recovered("event")
		c.onEvent(name, args)
	})
}

func connOf(g gosocket.Conn) *conn { return g.LocalAddr().(*conn) }

// recovered is deferred where the hub is called on a goroutine that is nobody's else. The hub recovers what a
// host's code does; should a panic come through all the same, it ends neither the process nor go-socket.io's
// goroutine, which would leave the session half closed.
func (c *conn) recovered(where string) {
	if r := recover(); r != nil {
		c.srv.cfg.Log().Error("chat: panic", "where", where, "panic", r, "stack", string(debug.Stack()))
	}
}

// onConnect marks whom nextFrame is to enter.
func (c *conn) onConnect(namespace string, g gosocket.Conn) {
	m := c.current.member
	if namespace == "/" {
		m = c.root
	} else {
		m.answered = make(chan struct{})
	}
	m.io = g
	c.entering = m
}

// onDisconnect runs for a frame DISCONNECT, and for every namespace when go-socket.io lets go of the
// connection. The latter Closed sees to.
func (c *conn) onDisconnect(namespace string) {
	in := c.current
	if in.packet != nil && in.packet.kind == typeDisconnect && in.packet.namespace == namespace {
		in.member.finish()
	}
}

func (c *conn) onEvent(name string, args list) {
	in := c.current
	if in.member == nil || in.member.socket == nil {
		return
	}
	p := in.packet
	e := socketio.Event{Name: name, Args: args.args(p), ID: p.id, HasAck: p.hasID, Size: len(p.canonical), RequestID: in.requestID, TooDeep: p.tooDeep}
	for _, a := range p.attachments {
		e.Size += len(a)
	}
	in.member.socket.Event(e)
}

// answerConnect sends go-socket.io's answer to a CONNECT, without the empty array that it puts behind a namespace.
func (c *conn) answerConnect(head []byte) {
	m := c.root
	if len(head) > 1 {
		m = c.entering
	}
	if m == nil {
		return
	}
	c.out.Send(controlPacket(typeConnect, m.namespace))
	if m.answered != nil {
		close(m.answered)
	}
}
