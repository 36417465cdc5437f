package legacy

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/parleychat/chat/internal/engineio"
	"github.com/parleychat/chat/internal/socketio"
)

// Packet types of Socket.IO protocol 4, as they stand on the wire. What is binary in protocol 4 is kept as
// its plain type and its number of attachments.
const (
	typeConnect     = '0'
	typeDisconnect  = '1'
	typeEvent       = '2'
	typeAck         = '3'
	typeBinaryEvent = '5'
	typeBinaryAck   = '6'
)

// Bounds of a CONNECT, bytes. The query carries what protocol 5 has an auth object for, tokens included.
const (
	maxNamespace = 1 << 10
	maxQuery     = 8 << 10
)

var (
	errGrammar    = errors.New("legacy: broken packet")
	errAttachment = errors.New("legacy: attachment out of turn")
	errTooMuch    = errors.New("legacy: too many attachments")
)

// A packet is a whole Socket.IO packet that the guard has passed: well-formed, and within the limits. Whether
// anybody takes it is the connection's to say.
type packet struct {
	kind        byte   // typeConnect to typeAck
	namespace   string // "/" for the root
	query       string // of the namespace, which a CONNECT may have
	id          uint64 // of an ack, or of the ack asked for
	hasID       bool
	strange     bool   // the id is none that this server could have given, or could give back
	reserved    bool   // the event's name is one that only a library emits
	tooLong     bool   // the CONNECT's namespace or query
	tooDeep     bool   // the arguments, which are left out
	canonical   []byte // the packet as go-socket.io sees it; owns its memory
	attachments [][]byte
}

// A guard collects whole packets out of what a session receives. It is for the goroutine that reads the
// session. An error means that the session must be closed.
type guard struct {
	limits  socketio.Limits
	pending *packet // its attachments are coming
	missing int
	size    int // of pending, bytes
}

// Text takes a text message. It gives nil where attachments are to follow.
func (g *guard) Text(data []byte) (*packet, error) {
	if g.missing > 0 {
		return nil, errAttachment
	}
	if len(data) > g.limits.Payload {
		return nil, engineio.ErrTooLarge
	}
	p, n, err := parse(data, g.limits)
	if err != nil || n == 0 {
		return p, err
	}
	// Room for the attachments is made as they come, never for as many as the header announces (decoder.go:136).
	g.pending, g.missing, g.size = p, n, len(data)
	return nil, nil
}

// Binary takes an attachment. It gives nil where more are to follow.
func (g *guard) Binary(data []byte) (*packet, error) {
	if g.missing == 0 {
		return nil, errAttachment
	}
	if g.size += len(data); g.size > g.limits.Payload {
		return nil, engineio.ErrTooLarge
	}
	p := g.pending
	p.attachments = append(p.attachments, bytes.Clone(data))
	if g.missing--; g.missing > 0 {
		return nil, nil
	}
	if g.pending = nil; p.tooDeep {
		p.attachments = nil
	}
	return p, nil
}

// parse reads `<type>[n-][/namespace[?query],][id][json]` (Socket.IO protocol 4, "Packet encoding"). n is the
// number of attachments to come.
func parse(data []byte, limits socketio.Limits) (p *packet, n int, err error) {
	if len(data) == 0 || strings.IndexByte("012356", data[0]) < 0 || !utf8.Valid(data) {
		return nil, 0, errGrammar
	}
	p = &packet{kind: data[0]}
	rest := data[1:]
	if p.kind == typeBinaryEvent || p.kind == typeBinaryAck {
		p.kind -= typeBinaryEvent - typeEvent
		if n, rest, err = count(rest, limits.Attachments); err != nil {
			return nil, 0, err
		}
	}
	rest = p.parseID(p.parseNamespace(rest))
	if err := p.parseBody(rest, n, limits); err != nil {
		return nil, 0, err
	}
	return p, n, nil
}

// count reads the number of attachments and the dash behind it.
func count(b []byte, most int) (int, []byte, error) {
	digits, _, ok := bytes.Cut(b[:min(len(b), 12)], []byte{'-'})
	if !ok || len(digits) == 0 {
		return 0, nil, errGrammar
	}
	rest := b[len(digits)+1:]
	n := 0
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, nil, errGrammar
		}
		n = n*10 + int(c-'0')
	}
	if n > most {
		return 0, nil, errTooMuch
	}
	return n, rest, nil
}

func (p *packet) parseNamespace(b []byte) []byte {
	p.namespace = "/"
	if len(b) == 0 || b[0] != '/' {
		return b
	}
	name, rest, _ := bytes.Cut(b, []byte{','})
	name, query, _ := bytes.Cut(name, []byte{'?'})
	if len(name) > maxNamespace || len(query) > maxQuery {
		p.tooLong = true
		return rest
	}
	p.namespace, p.query = string(name), string(query)
	return rest
}

// parseID saturates where go-socket.io wraps around (decoder.go:175).
func (p *packet) parseID(b []byte) []byte {
	i := 0
	for i < len(b) && b[i] >= '0' && b[i] <= '9' {
		i++
	}
	p.hasID = i > 0
	id, err := strconv.ParseUint(string(b[:i]), 10, 64)
	p.id, p.strange = id, i > 0 && err != nil
	return b[i:]
}

func (p *packet) parseBody(b []byte, n int, limits socketio.Limits) error {
	switch p.kind {
	case typeEvent, typeAck:
		elems, tooDeep, ok := socketio.List(b, n, limits)
		if !ok {
			return errGrammar
		}
		p.tooDeep = tooDeep
		if p.kind == typeAck {
			return p.ack(elems)
		}
		return p.event(elems)
	case typeConnect, typeDisconnect:
		p.canonical = p.header(0)
	}
	// Node reads past what these carry.
	if len(b) > 0 && !socketio.Valid(b, limits) {
		return errGrammar
	}
	return nil
}

// event makes the canonical event: one name that go-socket.io knows, the client's name and its arguments. The
// ack's id stays beside it: a handler of go-socket.io would have to return the answer.
func (p *packet) event(elems []json.RawMessage) error {
	if len(elems) == 0 || elems[0][0] != '"' {
		return errGrammar
	}
	p.reserved = isReserved(elems[0])
	if p.tooDeep {
		elems = elems[:1]
	}
	buf := append(p.header(bodySize(elems)), `["`+canonicalEvent+`",`...)
	buf = append(buf, elems[0]...)
	buf = append(buf, ',')
	buf = appendArray(buf, elems[1:])
	p.canonical = append(buf, ']')
	return nil
}

// ack makes the canonical ack: one argument, the array of all.
func (p *packet) ack(elems []json.RawMessage) error {
	if !p.hasID {
		return errGrammar
	}
	if p.tooDeep {
		return nil
	}
	buf := strconv.AppendUint(p.header(bodySize(elems)), p.id, 10)
	buf = append(buf, '[')
	buf = appendArray(buf, elems)
	p.canonical = append(buf, ']')
	return nil
}

// header is the start of the canonical packet, with room for n bytes more.
func (p *packet) header(n int) []byte {
	buf := make([]byte, 0, 1+len(p.namespace)+1+n)
	buf = append(buf, p.kind)
	if p.namespace == "/" {
		return buf
	}
	buf = append(buf, p.namespace...)
	return append(buf, ',')
}

func bodySize(elems []json.RawMessage) int {
	n := 40 // the brackets, the canonical name, an id
	for _, e := range elems {
		n += len(e) + 1
	}
	return n
}

func appendArray(buf []byte, elems []json.RawMessage) []byte {
	buf = append(buf, '[')
	for i, e := range elems {
		if i > 0 {
			buf = append(buf, ',')
		}
		buf = append(buf, e...)
	}
	return append(buf, ']')
}

// isReserved tells whether quoted, a JSON string, is a name that an emitter of Node keeps for itself. The
// rest of the names that the client's library keeps (reconnect, ping, …) mean nothing to a server.
func isReserved(quoted []byte) bool {
	if len(quoted) > 6*len(`"removeListener"`) {
		return false // longer than any of them with every letter escaped
	}
	switch name := unquote(quoted); name {
	case "connect", "connect_error", "disconnect", "disconnecting", "error", "newListener", "removeListener":
		return true
	default:
		return false
	}
}

func unquote(quoted []byte) string {
	var s string
	if json.Unmarshal(quoted, &s) != nil {
		return strings.Trim(string(quoted), `"`) // not reached: List has seen it
	}
	return s
}
