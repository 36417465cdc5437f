package chattest

import (
	"encoding/json"
	"sync"
	"time"

	"github.com/parleychat/chat/internal/socketio"
)

// A conn is one connection of a Client. Two goroutines serve it: one reads, one writes what is queued.
type conn struct {
	c      *Client
	wire   wire
	work   sync.WaitGroup
	joined chan error // the answer to CONNECT
	done   chan struct{}
	in     *packet // waits for attachments; the reader's own

	mu    sync.Mutex // guards what follows
	wake  *sync.Cond
	out   []frame
	bye   bool // after out
	why   string
	calls map[uint64]chan Args
	next  uint64
}

func newConn(c *Client, w wire) *conn {
	k := &conn{c: c, wire: w, joined: make(chan error, 1), done: make(chan struct{}), calls: map[uint64]chan Args{}}
	k.wake = sync.NewCond(&k.mu)
	return k
}

func (k *conn) start(connect []byte) {
	k.work.Go(func() { k.read(connect) })
	k.work.Go(k.write)
}

// send queues a packet. false: the connection is closed.
func (k *conn) send(text []byte, attachments [][]byte) bool {
	frames := []frame{{data: append([]byte("4"), text...)}}
	for _, a := range attachments {
		frames = append(frames, frame{binary: true, data: a})
	}
	return k.queue(frames...)
}

func (k *conn) queue(frames ...frame) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.why != "" || k.bye {
		return false
	}
	k.out = append(k.out, frames...)
	k.wake.Signal()
	return true
}

// leave sends a last packet, says goodbye, and ends; it does not wait long for a server that takes nothing in.
func (k *conn) leave(packet []byte) {
	k.send(packet, nil)
	k.mu.Lock()
	k.bye = true
	k.wake.Signal()
	k.mu.Unlock()
	patience := time.NewTimer(time.Second)
	defer patience.Stop()
	select {
	case <-k.done:
	case <-patience.C:
		k.end("io client disconnect")
	}
}

func (k *conn) call(reply chan Args) uint64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	id := k.next
	k.next++
	k.calls[id] = reply
	return id
}

func (k *conn) end(why string) {
	k.mu.Lock()
	if k.why != "" {
		k.mu.Unlock()
		return
	}
	if k.why = why; k.bye {
		k.why = "io client disconnect"
	}
	close(k.done)
	k.wake.Signal()
	k.mu.Unlock()
	k.wire.close()
	k.settle(&DialError{Message: why})
	k.c.mu.Lock()
	k.c.changedLocked()
	k.c.mu.Unlock()
}

func (k *conn) reason() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.why
}

func (k *conn) leaving() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.bye
}

func (k *conn) isClosed() bool { return k.reason() != "" }

func (k *conn) write() {
	for {
		k.mu.Lock()
		for len(k.out) == 0 && !k.bye && k.why == "" {
			k.wake.Wait()
		}
		out, bye, closed := k.out, k.bye, k.why != ""
		k.out = nil
		k.mu.Unlock()
		if closed {
			return
		}
		if len(out) > 0 && k.wire.write(out) != nil {
			k.end("transport close")
			return
		}
		if bye {
			k.wire.bye()
			k.end("io client disconnect")
			return
		}
	}
}

func (k *conn) read(connect []byte) {
	for {
		frames, err := k.wire.read()
		if err != nil {
			if refused, ok := err.(*DialError); ok {
				k.settle(refused)
			}
			if !k.leaving() { // then the writer, whose goodbye this may be the answer to, ends it
				k.end("transport close")
			}
			return
		}
		for _, f := range frames {
			if err := k.take(f, connect); err != nil {
				k.c.t.Errorf("chattest: %v: %.200q", err, f.data)
				k.end("parse error")
				return
			}
		}
	}
}

// settle answers the one who dials.
func (k *conn) settle(err error) {
	select {
	case k.joined <- err:
	default:
	}
}

// take takes an Engine.IO message.
func (k *conn) take(f frame, connect []byte) error {
	if f.binary {
		return k.attachment(f.data)
	}
	if len(f.data) == 0 {
		return errPacket
	}
	switch f.data[0] {
	case '0':
		k.send(connect, nil)
	case '1':
		k.end("transport close")
	case '2':
		k.queue(frame{data: []byte("3")})
	case '4':
		return k.text(string(f.data[1:]))
	case '6':
	default:
		return errPacket
	}
	return nil
}

func (k *conn) attachment(data []byte) error {
	p := k.in
	if p == nil {
		return errPacket
	}
	p.attachments = append(p.attachments, data)
	if len(p.attachments) < p.due {
		return nil
	}
	k.in = nil
	return k.packet(p)
}

func (k *conn) text(text string) error {
	p, err := parsePacket(text)
	if err != nil || k.in != nil {
		return errPacket
	}
	if p.due > 0 {
		k.in = &p
		return nil
	}
	return k.packet(&p)
}

func (k *conn) packet(p *packet) error {
	if p.namespace != k.c.o.namespace {
		return errPacket
	}
	switch p.kind {
	case '0':
		return k.c.accepted(k, p)
	case '1':
		k.end("io server disconnect")
	case '2':
		return k.c.received(p)
	case '3':
		return k.answer(p)
	case '4':
		var e struct {
			Message string
			Data    json.RawMessage
		}
		if json.Unmarshal([]byte(p.data), &e) != nil {
			return errPacket
		}
		k.settle(&DialError{Message: e.Message, Data: e.Data})
	}
	return nil
}

func (k *conn) answer(p *packet) error {
	values, err := p.array()
	if err != nil || p.id == nil {
		return errPacket
	}
	k.mu.Lock()
	reply := k.calls[*p.id]
	delete(k.calls, *p.id)
	k.mu.Unlock()
	if reply == nil {
		return errPacket
	}
	reply <- Args{k.c.t, socketio.Args{Values: values, Attachments: p.attachments}}
	return nil
}

// accepted takes the answer to CONNECT.
func (c *Client) accepted(k *conn, p *packet) error {
	var answer struct{ Sid, Pid string }
	if json.Unmarshal([]byte(p.data), &answer) != nil || answer.Sid == "" {
		return errPacket
	}
	c.mu.Lock()
	c.recovered = answer.Pid != "" && answer.Pid == c.pid
	c.sid, c.pid = answer.Sid, answer.Pid
	c.mu.Unlock()
	k.settle(nil)
	return nil
}

// received takes an event.
func (c *Client) received(p *packet) error {
	values, err := p.array()
	if err != nil || len(values) == 0 {
		return errPacket
	}
	m := Message{c: c, id: p.id}
	if json.Unmarshal(values[0], &m.Event) != nil {
		return errPacket
	}
	values = values[1:]
	c.mu.Lock()
	defer c.mu.Unlock()
	// The browser's client takes any string at the end for the offset; so the server appends one to all that
	// it can recover.
	if n := len(values); c.pid != "" && p.id == nil && n > 0 && json.Unmarshal(values[n-1], &m.Offset) == nil && m.Offset != "" {
		c.offset, values = m.Offset, values[:n-1]
	}
	m.Args = Args{c.t, socketio.Args{Values: values, Attachments: p.attachments}}
	if f := c.answers[m.Event]; f != nil && p.id != nil {
		c.conn.work.Go(func() { c.ack(*m.id, f(m.Args)) })
		return nil
	}
	c.inbox = append(c.inbox, m)
	c.changedLocked()
	return nil
}
