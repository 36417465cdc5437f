package nodewire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/parleychat/chat"
)

// envelope is what servers tell each other, JSON or MessagePack, after its decoding: everything that any kind of message has.
type envelope struct {
	UID       string          `json:"uid"`
	NSP       string          `json:"nsp"`
	Type      int             `json:"type"`
	RequestID *string         `json:"requestId"`
	Opts      *target         `json:"opts"`
	Rooms     []room          `json:"rooms"`
	Close     bool            `json:"close"`
	Data      json.RawMessage `json:"data"`
	Packet    json.RawMessage `json:"packet"`
	Count     int             `json:"clientCount"`

	// Of requests of redis-adapter before version 7, about one client:
	SID  string `json:"sid"`
	Room *room  `json:"room"`

	attachments [][]byte // of all of it
}

// packet is a Socket.IO packet: an event.
type packet struct {
	Data []json.RawMessage `json:"data"`
	NSP  string            `json:"nsp"`
}

// target is whom a message is for.
type target struct {
	Rooms  []room `json:"rooms"`
	Except []room `json:"except"`
	Flags  flags  `json:"flags"`
}

// flags are told more strictly by JavaScript's types than by its programmers.
type flags struct {
	Volatile json.RawMessage `json:"volatile"`
	Timeout  json.RawMessage `json:"timeout"` // ms
}

// room is a room's name, which a Node server may also have as a number.
type room string

func (r *room) UnmarshalJSON(text []byte) error {
	if len(text) > 0 && text[0] == '"' {
		return json.Unmarshal(text, (*string)(r))
	}
	if bytes.ContainsAny(text, "{[") {
		return fmt.Errorf("%.20q as a room's name", text)
	}
	*r = room(text)
	return nil
}

func names(rooms []room) []string {
	out := make([]string, len(rooms))
	for i, r := range rooms {
		out[i] = string(r)
	}
	return out
}

// decode reads a message in either of its forms into v; the attachments are those of all of it.
func decode(data []byte, v any) (attachments [][]byte, err error) {
	if len(data) == 0 {
		return nil, errors.New("no message at all")
	}
	if data[0] != '{' {
		if data, attachments, err = toJSON(data); err != nil {
			return nil, err
		}
	}
	return attachments, json.Unmarshal(data, v)
}

// volatile: JavaScript's idea of what is true.
func (t *target) volatile() bool {
	switch string(t.Flags.Volatile) {
	case "", "null", "false", "0", `""`:
		return false
	}
	return true
}

// ackTimeout is how long the asker of a broadcast waits for acks.
func (t *target) ackTimeout() time.Duration {
	var ms float64
	if t == nil {
		return defaultTimeout
	}
	if json.Unmarshal(t.Flags.Timeout, &ms) != nil || ms <= 0 {
		return defaultTimeout
	}
	return time.Duration(min(ms, float64(timeoutMost/time.Millisecond)) * float64(time.Millisecond))
}

const (
	defaultTimeout = 5 * time.Second // as Node's adapters have it
	timeoutMost    = 10 * time.Minute
)

// about is a message for the Hub about who is meant by t. Attachments must all be in args.
func (t *target) about(kind chat.BridgeKind, namespace string) *chat.BridgeMessage {
	if t == nil {
		t = &target{}
	}
	return &chat.BridgeMessage{Kind: kind, Namespace: namespace, Rooms: names(t.Rooms), Except: names(t.Except)}
}

// emit is the message of a broadcast.
func (t *target) emit(namespace string, data []json.RawMessage, attachments [][]byte) (*chat.BridgeMessage, error) {
	m := t.about(chat.BridgeEmit, namespace)
	if len(data) == 0 {
		return nil, errors.New("an event without a name")
	}
	if err := json.Unmarshal(data[0], &m.Event); err != nil {
		return nil, fmt.Errorf("an event's name: %w", err)
	}
	m.Args = chat.BridgeArgs{JSON: joined(data[1:]), Attachments: attachments}
	m.Volatile = t != nil && t.volatile()
	return m, nil
}

func joined(values []json.RawMessage) []byte {
	return bytes.Join(slices.Collect(func(yield func([]byte) bool) {
		for _, v := range values {
			if !yield(v) {
				return
			}
		}
	}), []byte{','})
}

// one is a single value of a message as arguments: an ack of Node's has one, or none.
func one(value json.RawMessage, attachments [][]byte) chat.BridgeArgs {
	return chat.BridgeArgs{JSON: value, Attachments: attachments}
}

// Whatever goes out is built as JSON first, and made MessagePack where it has to be.

func appendNames(dst []byte, names []string) []byte {
	if names == nil {
		return append(dst, "[]"...)
	}
	return append(dst, mustJSON(names)...)
}

// appendTarget writes opts.
func appendTarget(dst []byte, m *chat.BridgeMessage, timeout time.Duration) []byte {
	dst = appendNames(append(dst, `{"rooms":`...), m.Rooms)
	dst = appendNames(append(dst, `,"except":`...), m.Except)
	dst = append(dst, `,"flags":{`...)
	if timeout > 0 {
		dst = fmt.Appendf(dst, `"timeout":%d`, timeout.Milliseconds())
	}
	return append(dst, "}}"...)
}

// appendData writes an event's name and arguments.
func appendData(dst []byte, m *chat.BridgeMessage) []byte {
	dst = append(append(dst, '['), mustJSON(m.Event)...)
	if len(m.Args.JSON) > 0 {
		dst = append(append(dst, ','), m.Args.JSON...)
	}
	return append(dst, ']')
}

// firstOf is the first of an ack's arguments, which is all that Node's servers pass on; null where there is none.
func firstOf(a chat.BridgeArgs) (value []byte, attachments [][]byte) {
	dec := json.NewDecoder(bytes.NewReader(a.JSON))
	var first json.RawMessage
	if dec.Decode(&first) != nil {
		return []byte("null"), nil
	}
	return first, a.Attachments
}
