package socketio

import (
	"errors"
	"sync"
	"time"

	"github.com/parleychat/chat/internal/engineio"
)

// Accept makes the handler of a session of Engine.IO 4. connectTimeout closes a session in which no namespace
// was joined by then. Each CONNECT's Authorize runs on a goroutine of its own.
func Accept(s *engineio.Session, hs *Handshake, cfg *Config) engineio.Handler {
	c := &conn{s: s, cfg: cfg, hs: hs}
	c.mu.Lock()
	c.armLocked()
	c.mu.Unlock()
	return c
}

// Bounds that are nobody's business to set.
const (
	maxNamespace  = 1 << 10   // bytes of a namespace's name
	maxConnecting = 100       // CONNECTs under way in one session
	maxStray      = 256 << 10 // bytes to namespaces not joined, of a session with none
)

// A conn is one session's namespaces. There may be very many and nearly all have one, so that is part of the
// struct.
//
// Its lock is the innermost: the hub calls a Link under locks of its own, and a conn calls the hub under none.
type conn struct {
	s   *engineio.Session
	cfg *Config

	jobs sync.WaitGroup // goroutines; counted up under mu, while not closed

	mu     sync.Mutex       // guards what follows, and every link's fields
	hs     *Handshake       // nil: let go
	timer  *time.Timer      // runs while no namespace is joined
	more   map[string]*link // those after the first, while they live
	first  link             // used once; a namespace joined again gets a link of its own, since the hub may hold the old one
	live   int32            // links entering or joined
	asking int32            // calls of Authorize under way
	strays int32            // bytes that were dropped since a namespace was joined
	closed bool

	in *incoming // a packet whose attachments are not all there; the reading goroutine's own
}

// incoming is a packet that waits for attachments.
type incoming struct {
	header      header // its slices are not valid any more
	body        body
	link        *link // nil: to be dropped
	size        int
	due         int
	attachments [][]byte
}

var errUnexpected = errors.New("unexpected frame")

// Text takes a packet.
func (c *conn) Text(data []byte) error {
	if c.in != nil {
		return errUnexpected
	}
	h, err := readHeader(data, c.cfg.Limits.Attachments)
	if err != nil {
		return err
	}
	switch h.typ {
	case typeConnect:
		return c.connect(&h)
	case typeDisconnect:
		c.leave(h.namespace)
		return nil
	}
	l := c.joined(h.namespace)
	if l == nil && h.attachments == 0 {
		c.stray(len(data))
		return nil
	}
	b, err := readBody(&h, c.cfg.Limits.Depth)
	if err != nil {
		return err
	}
	in := incoming{header: h, body: b, link: l, due: h.attachments, size: len(data)}
	if in.due == 0 {
		c.deliver(&in)
		return nil
	}
	in.header.namespace, in.header.data = nil, nil
	c.in = new(incoming)
	*c.in = in
	return nil
}

// Binary takes an attachment of the packet before.
func (c *conn) Binary(data []byte) error {
	in := c.in
	if in == nil {
		return errUnexpected
	}
	if in.size += len(data); in.size > c.cfg.Limits.Payload {
		c.in = nil
		return engineio.ErrTooLarge
	}
	if in.link != nil && !in.body.tooDeep {
		in.attachments = append(in.attachments, append([]byte{}, data...))
	}
	if in.due--; in.due == 0 {
		c.in = nil
		c.deliver(in)
	}
	return nil
}

// deliver hands a whole packet to the hub.
func (c *conn) deliver(in *incoming) {
	switch h := &in.header; {
	case in.link == nil:
		c.stray(in.size)
	case h.idTooBig:
		c.cfg.Backend.Dropped("ack id too big")
	case h.typ == typeAck && in.body.tooDeep:
		c.cfg.Backend.Dropped("ack nested too deep")
	case h.typ == typeAck:
		in.link.answer(h.id, Args{Values: in.body.values, Attachments: in.attachments})
	case reserved(in.body.name):
		c.cfg.Backend.Dropped("reserved event name")
	default:
		e := in.event()
		e.RequestID = c.s.RequestID()
		in.link.event(e)
	}
}

// stray takes a packet to a namespace that is not joined, unread: when a client is disconnected, some are on their way. One that goes on sending, and has no
// other namespace, does not get to use the connection for that until it times out.
func (c *conn) stray(size int) {
	c.cfg.Backend.Dropped("packet to a namespace not joined")
	c.mu.Lock()
	if c.live > 0 {
		c.strays = 0
	} else {
		c.strays += int32(size)
	}
	over := c.strays > maxStray
	c.mu.Unlock()
	if over {
		c.s.Close(engineio.ReasonForced)
	}
}

func (in *incoming) event() Event {
	const sliceHeader = 24
	return Event{
		Name:    in.body.name,
		Args:    Args{Values: in.body.values, Attachments: in.attachments},
		ID:      in.header.id,
		HasAck:  in.header.hasID,
		Size:    in.size + sliceHeader*(len(in.body.values)+len(in.attachments)),
		TooDeep: in.body.tooDeep,
	}
}

// findLocked gives the link to a namespace that is being joined or is joined.
func (c *conn) findLocked(namespace []byte) *link {
	if c.first.state != unused && c.first.state != gone && c.first.namespace == string(namespace) {
		return &c.first
	}
	return c.more[string(namespace)]
}

// joined gives the link of a joined namespace, or nil. A client may answer the CONNECT packet before Enter
// has returned; that is waited for.
func (c *conn) joined(namespace []byte) *link {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.findLocked(namespace)
	if l != nil && l.state == entering {
		done := l.joining.done
		c.mu.Unlock()
		<-done
		c.mu.Lock()
	}
	if l == nil || l.state != joined {
		return nil
	}
	return l
}

var _ engineio.Farewell = (*conn)(nil)

// Farewell implements engineio.Farewell.
func (c *conn) Farewell(reason engineio.Reason) []*engineio.Packet {
	var namespaces []string
	c.mu.Lock()
	for _, l := range c.linksLocked() {
		if l.state == joined {
			namespaces = append(namespaces, l.namespace)
		}
	}
	c.mu.Unlock()
	return c.cfg.Farewells(reason, namespaces)
}

// Closed ends all namespaces; it waits for what is being authorized, whose context has ended.
func (c *conn) Closed(reason engineio.Reason, unsent []uint64) {
	c.in = nil
	c.mu.Lock()
	c.closed = true
	c.disarmLocked()
	c.hs = nil
	c.mu.Unlock()
	c.closeAll(reason, unsent)
	c.jobs.Wait()
	c.closeAll(reason, unsent) // those that had been entering
}

func (c *conn) closeAll(reason engineio.Reason, unsent []uint64) {
	var sockets []Socket
	c.mu.Lock()
	for _, l := range c.linksLocked() {
		switch l.state {
		case joined:
			sockets = append(sockets, l.socket)
			c.dropLocked(l)
		case authorizing:
			c.dropLocked(l)
		}
	}
	c.mu.Unlock()
	for _, s := range sockets {
		s.Closed(reason, unsent)
	}
}

func (c *conn) linksLocked() []*link {
	links := []*link{&c.first}
	for _, l := range c.more {
		links = append(links, l)
	}
	return links
}

// armLocked starts the connect timeout where nothing is joined.
func (c *conn) armLocked() {
	if c.timer == nil && c.live == 0 && !c.closed && c.cfg.ConnectTimeout > 0 {
		c.timer = time.AfterFunc(c.cfg.ConnectTimeout, c.timeout)
	}
}

func (c *conn) disarmLocked() {
	if c.timer != nil {
		c.timer.Stop()
		c.timer = nil
	}
}

func (c *conn) timeout() {
	c.mu.Lock()
	idle := c.live == 0 && c.timer != nil
	c.mu.Unlock()
	if idle {
		c.s.Close(engineio.ReasonForced)
	}
}
