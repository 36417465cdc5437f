package legacy

import (
	"context"
	"errors"
	"net/url"
	"sync"
	"time"

	"github.com/parleychat/chat/internal/engineio"
	"github.com/parleychat/chat/internal/socketio"
)

var errReleased = errors.New("legacy: go-socket.io has let go of the connection")

// A session is what a connection uses of *engineio.Session.
type session interface {
	Send(*engineio.Packet) bool
	Close(engineio.Reason)
	Settle()
	RequestID() string
}

// A conn is one client's session: the engine's handler on one side, go-socket.io's transport on the other.
type conn struct {
	srv     *Server
	out     session
	session *engineio.Session // the same, for Link.Session

	ctx    context.Context // ends with the session
	cancel context.CancelFunc

	root   *member
	guard  guard         // of the goroutine that reads the session
	frames chan inbound  // to go-socket.io
	free   chan struct{} // closed when go-socket.io has read its last frame
	once   sync.Once     // closes free

	// Of go-socket.io's goroutine that reads.
	current  inbound // the frame that it is at
	entering *member // its CONNECT is being answered

	// mu guards what follows, and the members' fields that say so. It is never held during a call to the hub,
	// to go-socket.io or into the session's blocking parts, so that a Link may be used under the hub's locks.
	mu       sync.Mutex
	hs       *socketio.Handshake // for later namespaces; nil when there are none
	ended    bool
	attached bool               // go-socket.io has the connection
	rooted   bool               // "/" was joined once: other namespaces may be
	members  map[string]*member // by namespace, from their CONNECT until they leave
	live     []*member          // those with a Socket that has not been closed
	calls    calls
	deadline *time.Timer // ends a session that has joined nothing
}

// An inbound is a canonical frame for go-socket.io and what go-socket.io does not see of it.
type inbound struct {
	packet *packet
	member *member
	call   *call // that an ack answers

	requestID string // see socketio.Event
}

func newConn(s *Server, out session, es *engineio.Session, hs *socketio.Handshake) *conn {
	c := &conn{
		srv: s, out: out, session: es,
		guard:  guard{limits: s.cfg.Limits},
		frames: make(chan inbound),
		free:   make(chan struct{}),
	}
	c.members = make(map[string]*member, 1)
	c.ctx, c.cancel = context.WithCancel(context.Background())
	if s.cfg.KeepHandshake {
		c.hs = hs
	}
	return c
}

// begin starts the connection to "/", which protocol 4 does without being asked.
func (c *conn) begin(hs *socketio.Handshake) {
	c.root = &member{c: c, namespace: "/", state: authorizing}
	c.mu.Lock()
	c.members["/"] = c.root
	c.expireLocked()
	c.mu.Unlock()
	c.authorize(c.root, &socketio.ConnectRequest{Namespace: "/", Handshake: hs, Protocol: 4})
}

// expireLocked ends the session after the connect timeout, unless a namespace is joined by then.
func (c *conn) expireLocked() {
	if c.ended || c.deadline != nil {
		return
	}
	c.deadline = time.AfterFunc(c.srv.cfg.ConnectTimeout, func() {
		c.mu.Lock()
		c.deadline = nil
		idle := !c.joinedLocked()
		c.mu.Unlock()
		if idle {
			c.out.Close(engineio.ReasonForced)
		}
	})
}

func (c *conn) joinedLocked() bool {
	for _, m := range c.members {
		if m.state == joined {
			return true
		}
	}
	return false
}

// Text implements engineio.Handler.
func (c *conn) Text(data []byte) error { return c.take(c.guard.Text(data)) }

// Binary implements engineio.Handler.
func (c *conn) Binary(data []byte) error { return c.take(c.guard.Binary(data)) }

// take hands a packet to go-socket.io, or drops it if nobody would take it. It waits until go-socket.io has
// taken it, which is the back pressure.
func (c *conn) take(p *packet, err error) error {
	if err != nil || p == nil {
		return err
	}
	if p.tooLong {
		c.srv.cfg.Backend.Dropped("namespace too long")
		return nil
	}
	if p.kind == typeConnect {
		c.connect(p)
		return nil
	}
	in, why := c.admit(p)
	if why != "" {
		c.srv.cfg.Backend.Dropped(why)
		return nil
	}
	in.requestID = c.out.RequestID() // while the POST is here: it may be answered before go-socket.io is through
	return c.feed(in)
}

// admit decides whether go-socket.io gets the packet; otherwise it says why not. What is dropped goes whole, with
// its attachments (go-socket.io forgets those: namespace_conn.go:115, connection_handlers.go:27).
func (c *conn) admit(p *packet) (in inbound, why string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.members[p.namespace]
	if m == nil || m.state != joined {
		return in, "namespace not joined"
	}
	in = inbound{packet: p, member: m}
	switch p.kind {
	case typeEvent:
		if p.reserved {
			return in, "reserved event name"
		}
		if p.strange {
			return in, "ack id too big"
		}
	case typeAck:
		if p.tooDeep {
			return in, "ack nested too deep"
		}
		if p.strange {
			return in, "unknown ack id"
		}
		if in.call = c.calls.takeLocked(p.id, m); in.call == nil {
			return in, "unknown ack id"
		}
	case typeDisconnect:
		c.leaveLocked(m, socketio.ReasonClientDisconnect)
	}
	return in, ""
}

// feed waits until go-socket.io takes the frame.
func (c *conn) feed(in inbound) error {
	select {
	case c.frames <- in:
		return nil
	case <-c.free:
		return errReleased
	case <-c.ctx.Done():
		return context.Cause(c.ctx)
	}
}

// nextFrame is go-socket.io's reading. A namespace whose CONNECT was answered is entered here, between
// frames, so that the hub is called by one goroutine only, and never from within go-socket.io's OnConnect
// (which for "/" runs before anything can be written).
func (c *conn) nextFrame() ([]byte, bool) {
	c.current = inbound{}
	if m := c.entering; m != nil {
		m.enter() // waits for those who read c.entering
		c.entering = nil
	}
	select {
	case c.current = <-c.frames:
		if p := c.current.packet; p.kind == typeConnect {
			c.mu.Lock()
			c.current.member.state = joined
			c.mu.Unlock()
		}
		return c.current.packet.canonical, true
	case <-c.ctx.Done():
		return nil, false
	}
}

// release is called when go-socket.io has read its last frame: since the session has ended, or since it did
// not like a frame, which the guard should have kept from it.
func (c *conn) release() {
	c.once.Do(func() {
		close(c.free)
		c.out.Close(engineio.ReasonParse)
	})
}

// connect answers a CONNECT. One to "/" does nothing, since "/" was joined by itself; nor does a second to
// another namespace.
func (c *conn) connect(p *packet) {
	if p.namespace != "/" && !c.srv.cfg.Backend.Known(p.namespace) {
		c.out.Send(errorPacket(p.namespace, "Invalid namespace"))
		return
	}
	m, start := c.join(p)
	switch {
	case m == nil:
		c.srv.cfg.Backend.Dropped("duplicate CONNECT")
	case start:
		c.authorizeLater(m)
	}
}

// join puts a member into the table, unless there is one. Before "/" is joined it has to wait.
func (c *conn) join(p *packet) (m *member, start bool) {
	query, _ := url.ParseQuery(p.query) // what is well-formed of it, as Node does
	c.mu.Lock()
	defer c.mu.Unlock()
	if p.namespace == "/" || c.members[p.namespace] != nil || c.hs == nil {
		return nil, false
	}
	m = &member{c: c, namespace: p.namespace, connect: p, query: query, state: waiting}
	if c.rooted {
		m.state = authorizing
	}
	c.members[p.namespace] = m
	return m, c.rooted
}

func (c *conn) authorizeLater(m *member) {
	c.authorize(m, &socketio.ConnectRequest{Namespace: m.namespace, Handshake: c.hs, Query: m.query, Protocol: 4})
}

// authorize asks the hub on a goroutine of its own.
func (c *conn) authorize(m *member, req *socketio.ConnectRequest) {
	c.srv.gate.add()
	go func() {
		defer c.srv.gate.leave()
		ctx := context.Background()
		if r := req.Handshake.Request; r != nil {
			ctx = context.WithoutCancel(r.Context()) // its values
		}
		ctx, cancel := context.WithTimeout(ctx, c.srv.cfg.ConnectTimeout)
		defer cancel()
		defer context.AfterFunc(c.ctx, cancel)()
		defer c.recovered("authorize")
		ticket, refused := c.srv.cfg.Backend.Authorize(ctx, req)
		if refused != nil && refused.Later {
			c.mu.Lock()
			last := len(c.live) == 0
			c.mu.Unlock()
			if last { // the others' turn comes
				c.out.Close(engineio.ReasonShutdown)
			}
			return
		}
		if refused != nil {
			c.refuse(m, refused)
			return
		}
		c.admitted(m, ticket)
	}()
}

// refuse tells the client. Of "/" it tells every namespace, and by a DISCONNECT that there is nothing to come
// back for: after a bare close clients of 1.x and 2.x come back at once, for ever.
func (c *conn) refuse(m *member, e *socketio.ConnectError) {
	data := e.Data
	if data == nil {
		data = e.Message
	}
	c.mu.Lock()
	delete(c.members, m.namespace)
	if len(c.members) == 0 && m != c.root {
		c.expireLocked()
	}
	var others []string
	all := m.namespace == "/" || e.End
	if all {
		for n := range c.members {
			if n != "/" {
				others = append(others, n)
			}
		}
	}
	c.mu.Unlock()
	c.out.Send(errorPacket(m.namespace, data))
	if !all {
		return
	}
	for _, n := range others {
		c.out.Send(errorPacket(n, data))
		c.out.Send(controlPacket(typeDisconnect, n))
	}
	c.out.Send(controlPacket(typeDisconnect, "/"))
	c.out.Close(engineio.ReasonForced)
}

// admitted hands the CONNECT to go-socket.io: for "/" the connection itself, whose root it connects unasked.
func (c *conn) admitted(m *member, ticket socketio.Ticket) {
	c.mu.Lock()
	if c.ended {
		c.mu.Unlock()
		ticket.Void()
		return
	}
	m.ticket = ticket
	if m == c.root {
		m.state = joined // what comes from now on waits until go-socket.io reads
		c.attached = true
	}
	c.mu.Unlock()
	if m == c.root {
		c.srv.enterIO(c)
		return
	}
	if c.feed(inbound{packet: m.connect, member: m}) != nil {
		ticket.Void()
	}
}

var _ engineio.Farewell = (*conn)(nil)

// Farewell implements engineio.Farewell.
func (c *conn) Farewell(reason engineio.Reason) []*engineio.Packet {
	var namespaces []string
	c.mu.Lock()
	for _, m := range c.live {
		if m.state == joined {
			namespaces = append(namespaces, m.namespace)
		}
	}
	c.mu.Unlock()
	return c.srv.cfg.Farewells(reason, namespaces)
}

// Closed implements engineio.Handler.
func (c *conn) Closed(reason engineio.Reason, unsent []uint64) {
	c.mu.Lock()
	c.ended = true
	attached := c.attached
	if c.deadline != nil {
		c.deadline.Stop()
	}
	c.mu.Unlock()
	c.cancel()
	if attached {
		<-c.free // the handler that runs may take its time; after it there is neither Enter nor Event
	}
	for _, m := range c.takeLive() {
		m.socket.Closed(m.reasonOr(reason), unsent)
	}
	c.srv.gate.leave()
}

func (c *conn) takeLive() []*member {
	c.mu.Lock()
	defer c.mu.Unlock()
	live := c.live
	c.live, c.calls.open = nil, nil
	return live
}

// Network and String make a conn the address by which go-socket.io's handlers find it.
func (c *conn) Network() string { return entranceName }
func (c *conn) String() string  { return entranceName }
