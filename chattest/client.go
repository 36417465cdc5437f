package chattest

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/parleychat/chat/internal/socketio"
)

// A Client is one connection to one namespace.
type Client struct {
	t      testing.TB
	o      options
	server *server

	mu          sync.Mutex // guards what follows
	changed     chan struct{}
	conn        *conn
	sid         string
	pid, offset string
	recovered   bool
	inbox       []Message
	answers     map[string]func(Args) []any
}

// Args are the arguments of an event or an ack. In JSON's place, binary ones are []byte.
type Args struct {
	t    testing.TB
	args socketio.Args
}

// Len is their number.
func (a Args) Len() int { return len(a.args.Values) }

// Decode decodes argument i into v, a pointer. Where that fails, or there is none, so does the test.
func (a Args) Decode(i int, v any) {
	a.t.Helper()
	if i < 0 || i >= a.Len() {
		a.t.Errorf("chattest: no argument %d, there are %d", i, a.Len())
		return
	}
	if err := a.args.Decode(i, v); err != nil {
		a.t.Errorf("chattest: argument %d: %v", i, err)
	}
}

// Values are all of them as encoding/json decodes into an any, binary ones as []byte.
func (a Args) Values() []any {
	out := make([]any, a.Len())
	for i := range out {
		a.Decode(i, &out[i])
	}
	return out
}

// JSON is argument i as it came.
func (a Args) JSON(i int) json.RawMessage { return a.args.Values[i] }

// A Message is an event that the server emitted.
type Message struct {
	Event string
	Args

	// Offset is its place in the order of what the server emitted, where that offers connection state
	// recovery. It is the last argument on the wire, and none of Args.
	Offset string

	c  *Client
	id *uint64
}

// NeedsAck tells whether the server waits for an answer.
func (m Message) NeedsAck() bool { return m.id != nil }

// Ack answers a call.
func (m Message) Ack(args ...any) {
	m.t.Helper()
	if m.id == nil {
		m.t.Fatalf("chattest: %q asks for no ack", m.Event)
	}
	m.c.ack(*m.id, args)
}

// ID is the sid of this client: with package chat, what its server side has by Client.ID.
func (c *Client) ID() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sid
}

// Recovered tells whether the last connect resumed the one before.
func (c *Client) Recovered() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.recovered
}

// Session gives what Recover takes.
func (c *Client) Session() (pid, offset string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pid, c.offset
}

// Emit sends an event. It does not wait, and may be called on any goroutine.
func (c *Client) Emit(event string, args ...any) {
	c.t.Helper()
	c.event(event, nil, args)
}

func (c *Client) event(event string, id *uint64, args []any) {
	c.t.Helper()
	enc, err := socketio.Encode(args...)
	if err != nil {
		c.t.Errorf("chattest: emit %q: %v", event, err)
		return
	}
	p := socketio.EventPacket(c.o.namespace, event, enc, id, "")
	if !c.current().send(p.Text(), p.Attachments()) {
		c.t.Errorf("chattest: emit %q: the connection is closed", event)
	}
}

func (c *Client) ack(id uint64, args []any) {
	c.t.Helper()
	enc, err := socketio.Encode(args...)
	if err != nil {
		c.t.Errorf("chattest: ack: %v", err)
		return
	}
	p := socketio.AckPacket(c.o.namespace, id, enc)
	c.current().send(p.Text(), p.Attachments())
}

// Raw sends a Socket.IO packet as it stands, good or bad, with attachments.
func (c *Client) Raw(packet string, attachments ...[]byte) {
	c.current().send([]byte(packet), attachments)
}

// Call sends an event and waits for its ack.
func (c *Client) Call(event string, args ...any) Args {
	c.t.Helper()
	reply := make(chan Args, 1)
	conn := c.current()
	id := conn.call(reply)
	c.event(event, &id, args)
	timeout := time.NewTimer(c.o.timeout)
	defer timeout.Stop()
	select {
	case a := <-reply:
		return a
	case <-conn.done:
		select { // it may have come last
		case a := <-reply:
			return a
		default:
		}
		c.t.Fatalf("chattest: call %q: %s", event, conn.reason())
	case <-timeout.C:
		c.t.Fatalf("chattest: call %q: no ack in %v", event, c.o.timeout)
	}
	return Args{}
}

// Answer makes f answer the calls of an event from now on: what it returns are the ack's arguments. It runs
// on a goroutine of its own. Events that are answered do not come to Expect.
func (c *Client) Answer(event string, f func(Args) []any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answers[event] = f
}

// Expect waits for the first event of that name that was not taken yet, and takes it. Others stay.
func (c *Client) Expect(event string) Message {
	c.t.Helper()
	return c.take(fmt.Sprintf("event %q", event), func(m Message) bool { return m.Event == event })
}

// Next waits for the first event of any name that was not taken yet, and takes it.
func (c *Client) Next() Message {
	c.t.Helper()
	return c.take("event", func(Message) bool { return true })
}

// None wants that no event of that name is there. It does not wait: call it after something that says that
// all has come, such as an ack of a later Call, or synctest.Wait.
func (c *Client) None(event string) {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.inbox {
		if m.Event == event {
			c.t.Errorf("chattest: unexpected event %q: %s", event, m.args.Values)
		}
	}
}

func (c *Client) take(what string, match func(Message) bool) Message {
	c.t.Helper()
	timeout := time.NewTimer(c.o.timeout)
	defer timeout.Stop()
	for {
		c.mu.Lock()
		i := slices.IndexFunc(c.inbox, match)
		if i >= 0 {
			m := c.inbox[i]
			c.inbox = slices.Delete(c.inbox, i, i+1)
			c.mu.Unlock()
			return m
		}
		names := make([]string, len(c.inbox))
		for i, m := range c.inbox {
			names[i] = m.Event
		}
		changed, conn := c.changed, c.conn
		c.mu.Unlock()
		if conn.isClosed() {
			c.t.Fatalf("chattest: no %s: %s; there are %q", what, conn.reason(), names)
		}
		select {
		case <-changed:
		case <-timeout.C:
			c.t.Fatalf("chattest: no %s in %v; there are %q", what, c.o.timeout, names)
		}
	}
}

func (c *Client) changedLocked() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// WaitClosed waits for the connection to end, and tells why in the words of socket.io-client: "io server
// disconnect", "io client disconnect", or "transport close".
func (c *Client) WaitClosed() string {
	c.t.Helper()
	conn := c.current()
	timeout := time.NewTimer(c.o.timeout)
	defer timeout.Stop()
	select {
	case <-conn.done:
	case <-timeout.C:
		c.t.Fatalf("chattest: still connected after %v", c.o.timeout)
	}
	return conn.reason()
}

// Close leaves the namespace and ends the connection, as a page does by socket.disconnect().
func (c *Client) Close() {
	c.current().leave(c.disconnectPacket())
}

func (c *Client) disconnectPacket() []byte {
	if c.o.namespace == "/" {
		return []byte("1")
	}
	return []byte("1" + c.o.namespace + ",")
}

// Drop cuts the connection without a word, as a lost network does.
func (c *Client) Drop() {
	conn := c.current()
	conn.end("transport close")
	c.server.cut()
	conn.work.Wait()
}

// Reconnect drops the connection, if there is one still, and comes back with what connection state recovery
// needs. Events that were not taken stay; those that follow are added.
func (c *Client) Reconnect() {
	c.t.Helper()
	c.Drop()
	if err := c.connect(); err != nil {
		c.t.Fatal(err)
	}
}

func (c *Client) current() *conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.conn
}

// cleanup closes as Close does, so that what was sent last arrives and the server need not wait for a ping
// timeout.
func (c *Client) cleanup() {
	if conn := c.current(); conn != nil {
		conn.leave(c.disconnectPacket())
	}
	c.server.stop()
	if conn := c.current(); conn != nil {
		conn.work.Wait()
	}
}

// connect opens a transport and joins the namespace.
func (c *Client) connect() error {
	ctx, cancel := context.WithTimeout(context.Background(), c.o.timeout)
	defer cancel()
	text, err := c.connectPacket()
	if err != nil {
		return err
	}
	w, err := dialWire(ctx, c.server, &c.o)
	if err != nil {
		return err
	}
	conn := newConn(c, w)
	c.mu.Lock()
	c.conn = conn
	c.mu.Unlock()
	conn.start(text)
	select {
	case err := <-conn.joined:
		if err != nil {
			c.server.cut()
		}
		return err
	case <-ctx.Done():
		return errTimeout
	}
}

// connectPacket is the CONNECT with what auth and recovery want. As in the browser's client, auth's own keys win.
func (c *Client) connectPacket() ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	object := map[string]json.RawMessage{}
	if c.pid != "" {
		object["pid"], _ = json.Marshal(c.pid)
		if c.offset != "" {
			object["offset"], _ = json.Marshal(c.offset)
		}
	}
	text := []byte("0")
	if c.o.namespace != "/" {
		text = append(text, c.o.namespace+","...)
	}
	if c.o.auth != nil {
		data, err := json.Marshal(c.o.auth)
		if err != nil {
			return nil, err
		}
		if len(object) == 0 {
			return append(text, data...), nil
		}
		if err := json.Unmarshal(data, &object); err != nil {
			return nil, fmt.Errorf("chattest: auth is no object: %w", err)
		}
	}
	if len(object) > 0 {
		data, _ := json.Marshal(object)
		text = append(text, data...)
	}
	return text, nil
}
