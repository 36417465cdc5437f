package legacy

import (
	"bytes"
	"strconv"

	"github.com/googollee/go-socket.io/parser"

	"github.com/parleychat/chat/internal/engineio"
	"github.com/parleychat/chat/internal/socketio"
)

// maxCalls bounds what go-socket.io holds for a client that does not answer: its callbacks cannot be removed,
// so a call that was given up counts until its ack comes.
const maxCalls = 1000

// A call is an event with an ack. go-socket.io gives it its id and holds its callback.
type call struct {
	m     *member
	event string
	args  []any               // values
	reply func(socketio.Args) // under conn.mu; nil once given up or answered
	sent  chan struct{}       // closed when the packet is in the session's outbox, or was not to be had
}

// calls is the outbox towards go-socket.io, and what came of it. It is guarded by conn.mu.
type calls struct {
	jobs    []job
	running bool             // the goroutine that works them off
	count   int              // calls in jobs and in open
	sending *call            // what go-socket.io is encoding
	open    map[uint64]*call // by the id that go-socket.io gave
}

// A job is done by the connection's outbox goroutine, the only caller of go-socket.io's Emit.
type job struct {
	call    *call
	leave   *member // instead of a call: sends DISCONNECT,
	told    bool    // unless that was done,
	closing bool    // and ends the session
}

// Call implements socketio.Link.
func (m *member) Call(event string, args socketio.Encoded, reply func(socketio.Args)) (cancel func()) {
	c := m.c
	k := &call{m: m, event: event, args: values(args), reply: reply, sent: make(chan struct{})}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended || m.state == left {
		return func() {}
	}
	if c.calls.count++; c.calls.count > maxCalls {
		c.out.Close(engineio.ReasonSlowConsumer)
		return func() {}
	}
	c.calls.pushLocked(c, job{call: k})
	return func() {
		c.mu.Lock()
		k.reply = nil
		c.mu.Unlock()
	}
}

func (q *calls) pushLocked(c *conn, j job) {
	q.jobs = append(q.jobs, j)
	if !q.running {
		q.running = true
		c.srv.gate.add()
		go c.work()
	}
}

// work does the jobs in their order and ends when there are none.
func (c *conn) work() {
	defer c.srv.gate.leave()
	for {
		c.mu.Lock()
		if len(c.calls.jobs) == 0 {
			c.calls.jobs, c.calls.running = nil, false
			c.mu.Unlock()
			return
		}
		j := c.calls.jobs[0]
		c.calls.jobs = c.calls.jobs[1:]
		skip := c.ended
		c.calls.sending = j.call
		c.mu.Unlock()
		switch {
		case skip:
		case j.call != nil:
			c.emit(j.call)
		default:
			c.dismiss(j)
		}
	}
}

// emit has go-socket.io send a call, and waits until it has, so that what the outbox has next comes after it.
func (c *conn) emit(k *call) {
	defer c.recovered("emit")
	k.m.io.Emit(k.event, append(k.args, func(args list) { c.answer(k, args) })...)
	k.args = nil // go-socket.io keeps the callback, and with it the call
	select {
	case <-k.sent:
	case <-c.free:
	}
}

// dismiss sends DISCONNECT and tells go-socket.io, as if the client had sent one.
func (c *conn) dismiss(j job) {
	if !j.told {
		c.out.Send(controlPacket(typeDisconnect, j.leave.namespace))
	}
	if j.closing {
		c.out.Close(engineio.ReasonForced)
		return
	}
	p := &packet{kind: typeDisconnect, namespace: j.leave.namespace}
	p.canonical = p.header(0)
	_ = c.feed(inbound{packet: p, member: j.leave}) // where it fails, the session has ended
}

// takeLocked finds the call that an ack answers. A second ack finds none.
func (q *calls) takeLocked(id uint64, m *member) *call {
	k := q.open[id]
	if k == nil || k.m != m {
		return nil
	}
	delete(q.open, id)
	q.count--
	return k
}

// answer is go-socket.io's callback.
func (c *conn) answer(k *call, args list) {
	defer c.recovered("ack")
	in := c.current
	if in.call != k {
		return // not reached: it was go-socket.io that gave the id
	}
	c.mu.Lock()
	reply := k.reply
	k.reply = nil
	c.mu.Unlock()
	if reply != nil {
		reply(args.args(in.packet))
	}
}

// written takes a packet that go-socket.io has encoded; text begins after engineio.Headroom bytes. It says no
// more than the answers to CONNECTs and calls: acks go by the hub, and whatever else comes is a header whose
// encoding failed.
func (c *conn) written(text []byte, attachments [][]byte) {
	text = bytes.TrimRight(text, "\n") // the JSON encoder's
	head := text[min(engineio.Headroom, len(text)):]
	if len(head) == 0 {
		c.sent(0, nil)
		return
	}
	switch head[0] {
	case typeConnect:
		c.answerConnect(head)
	case typeEvent, typeBinaryEvent:
		id, ok := idOf(head)
		if !ok {
			c.sent(0, nil)
			return
		}
		c.sent(id, engineio.NewPacket(text, attachments...))
	}
}

// sent puts a call's packet into the session's outbox; p is nil where go-socket.io could not encode it.
func (c *conn) sent(id uint64, p *engineio.Packet) {
	c.mu.Lock()
	k := c.calls.sending
	c.calls.sending = nil
	if k != nil && p != nil {
		if c.calls.open == nil {
			c.calls.open = map[uint64]*call{}
		}
		c.calls.open[id] = k // before the client can answer
	}
	c.mu.Unlock()
	if k == nil {
		return
	}
	if p != nil {
		c.out.Send(p)
	}
	close(k.sent)
}

// idOf reads the ack id of an encoded event, which is what stands before its JSON.
func idOf(head []byte) (uint64, bool) {
	end := bytes.IndexByte(head, '[')
	if end < 0 {
		return 0, false
	}
	start := end
	for start > 1 && head[start-1] >= '0' && head[start-1] <= '9' {
		start--
	}
	id, err := strconv.ParseUint(string(head[start:end]), 10, 64)
	return id, err == nil
}

// values makes go-socket.io's arguments of what the hub has encoded. The attachments go with the first, all
// of them: go-socket.io numbers buffers as it finds them, and the placeholders in the text have those
// numbers.
func values(args socketio.Encoded) []any {
	if len(args.JSON) == 0 {
		return nil
	}
	elems := socketio.Elements(append(append([]byte{'['}, args.JSON...), ']'))
	out := make([]any, len(elems), len(elems)+1) // the callback
	for i, e := range elems {
		v := value{text: string(e)}
		if i == 0 {
			for _, a := range args.Attachments {
				// One for each call: go-socket.io writes into it (encoder.go:152).
				v.Attachments = append(v.Attachments, &parser.Buffer{Data: a})
			}
		}
		out[i] = v
	}
	return out
}

// A value is an argument of a call, as JSON. It is a string since go-socket.io looks through slices of bytes
// one by one (encoder.go:167), and never nil, which it cannot emit (namespace_conn.go:71).
type value struct {
	text        string
	Attachments []*parser.Buffer
}

// MarshalJSON implements json.Marshaler.
func (v value) MarshalJSON() ([]byte, error) { return []byte(v.text), nil }

// A list is an array of JSON values, as strings for the same reason (decoder.go:365).
type list struct{ elems []string }

// UnmarshalJSON implements json.Unmarshaler.
func (l *list) UnmarshalJSON(text []byte) error {
	elems := socketio.Elements(text)
	l.elems = make([]string, len(elems))
	for i, e := range elems {
		l.elems[i] = string(e)
	}
	return nil
}

// args adds what go-socket.io has not seen of the packet.
func (l list) args(p *packet) socketio.Args {
	a := socketio.Args{Attachments: p.attachments}
	for _, e := range l.elems {
		a.Values = append(a.Values, []byte(e))
	}
	return a
}
