package legacy

import (
	"encoding/json"
	"net/url"
	"slices"

	gosocket "github.com/googollee/go-socket.io"

	"github.com/parleychat/chat/internal/engineio"
	"github.com/parleychat/chat/internal/socketio"
)

// States of a member, in their order.
const (
	waiting     = iota // for "/"
	authorizing        // by the hub
	joined             // on the way into the hub, or in
	left
)

// A member is a connection to one namespace, from its CONNECT until it leaves; a client that comes back to the
// namespace is another member. It is the hub's Link.
type member struct {
	c         *conn
	namespace string
	connect   *packet // nil for "/"
	query     url.Values

	// Handed from the goroutine that authorized to go-socket.io's that reads, and of that one from then on.
	// io does not change after enter.
	ticket socketio.Ticket // for enter
	io     gosocket.Conn
	socket socketio.Socket // nil: the hub took nobody in

	// answered is made when go-socket.io connects a namespace but "/", and closed when the answer has gone to
	// the session.
	answered chan struct{}

	// Under conn.mu.
	state  int
	reason engineio.Reason // of leaving
}

// enter makes the hub's client, once the client was told that it is in.
func (m *member) enter() {
	c := m.c
	if m.answered != nil {
		<-m.answered // go-socket.io's writer does not wait for anybody
	}
	c.mu.Lock()
	ended := c.ended
	c.mu.Unlock()
	if ended {
		m.ticket.Void()
		return
	}
	socket := m.enterHub()
	m.socket = socket
	c.mu.Lock()
	if socket != nil {
		c.live = append(c.live, m)
	}
	var next []*member
	if m.namespace == "/" {
		next = c.rootedLocked()
	}
	c.mu.Unlock()
	if socket != nil {
		c.out.Settle()
	}
	for _, n := range next {
		c.authorizeLater(n)
	}
}

func (m *member) enterHub() socketio.Socket {
	defer m.c.recovered("enter")
	ticket := m.ticket
	m.ticket = nil
	return m.c.srv.cfg.Backend.Enter(ticket, m)
}

// rootedLocked lets those in who came before "/".
func (c *conn) rootedLocked() (next []*member) {
	c.rooted = true
	if c.deadline != nil && c.joinedLocked() && c.deadline.Stop() {
		c.deadline = nil
	}
	for _, m := range c.members {
		if m.state == waiting {
			m.state = authorizing
			next = append(next, m)
		}
	}
	return next
}

// finish tells the hub that the member has left, if it does not know.
func (m *member) finish() {
	c := m.c
	c.mu.Lock()
	i := slices.Index(c.live, m)
	if i >= 0 {
		c.live = slices.Delete(c.live, i, i+1)
	}
	reason := m.reason
	c.mu.Unlock()
	if i >= 0 {
		m.socket.Closed(reason, nil)
	}
}

func (m *member) reasonOr(r engineio.Reason) engineio.Reason {
	m.c.mu.Lock()
	defer m.c.mu.Unlock()
	if m.reason != "" {
		return m.reason
	}
	return r
}

// leaveLocked takes the member out of the table: what comes for it from now on is dropped, and a new CONNECT
// is another member. go-socket.io and the hub are told by a frame.
func (c *conn) leaveLocked(m *member, reason engineio.Reason) bool {
	if m.state == left {
		return false
	}
	m.state, m.reason = left, reason
	delete(c.members, m.namespace)
	if len(c.members) == 0 {
		c.expireLocked() // the client closes by itself; one that does not is not kept
	}
	return true
}

// Accepted implements socketio.Link: go-socket.io has answered.
func (m *member) Accepted(string, string) {}

// Session implements socketio.Link.
func (m *member) Session() *engineio.Session { return m.c.session }

// Disconnect implements socketio.Link.
func (m *member) Disconnect(closeTransport bool) {
	c := m.c
	c.mu.Lock()
	first := c.leaveLocked(m, socketio.ReasonServerDisconnect)
	if first || closeTransport {
		c.calls.pushLocked(c, job{leave: m, told: !first, closing: closeTransport})
	}
	c.mu.Unlock()
}

// errorPacket is a packet ERROR. Where data has no JSON it is the data's absence that the client gets.
func errorPacket(namespace string, data any) *engineio.Packet {
	text, err := json.Marshal(data)
	if err != nil {
		text = []byte("null")
	}
	return engineio.NewPacket(append(packetHead('4', namespace), text...))
}

func controlPacket(kind byte, namespace string) *engineio.Packet {
	return engineio.NewPacket(packetHead(kind, namespace))
}

func packetHead(kind byte, namespace string) []byte {
	buf := append(make([]byte, engineio.Headroom, engineio.Headroom+64), kind)
	if namespace == "/" {
		return buf
	}
	return append(append(buf, namespace...), ',')
}
