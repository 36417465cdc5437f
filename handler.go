package chat

import (
	"context"
	"encoding/json"
	"time"

	"github.com/parleychat/chat/internal/socketio"
)

// Args are the arguments of an event or of an ack, as they came.
type Args struct{ args socketio.Args }

// Len is the number of arguments.
func (a Args) Len() int { return len(a.args.Values) }

// Decode decodes argument i into v as encoding/json does; binary goes into a []byte, and into an any as a
// []byte. An argument that is absent leaves v as it is.
func (a Args) Decode(i int, v any) error { return a.args.Decode(i, v) }

// Values are the arguments as encoding/json decodes them into an any, with a []byte for binary; ready to be
// emitted again. One with a number beyond the range of a float64 is nil.
func (a Args) Values() []any {
	out := make([]any, a.Len())
	for i := range out {
		_ = a.args.Decode(i, &out[i]) // fails on a number beyond a float64 only
	}
	return out
}

// An Event is what a client emitted.
type Event struct {
	Name     string
	Args     Args
	NeedsAck bool      // the client waits for an answer
	At       time.Time // when it came in; it has waited since for the client's events before it

	ctx      context.Context
	done     func(error) // of observers; nil: there are none
	client   *Client
	ackID    uint64
	answered bool
}

// A Handler takes an event; what it returns are the ack's arguments, where the client asked for one. An error
// is answered by an ack {"ok":false,"error":{…}}, or by the event "error" where there is no ack; ErrNoAck by
// neither.
//
// Handlers run one at a time for each client of a namespace, in the order of its events, and may block. ctx
// has the values of the handshake's request and ends when Shutdown's deadline passes; it does not end when
// the client leaves.
type Handler func(ctx context.Context, c *Client, e *Event) ([]any, error)

type okAnswer struct {
	OK bool `json:"ok"`
}

type resultAnswer struct {
	OK     bool `json:"ok"`
	Result any  `json:"result"`
}

type errorAnswer struct {
	OK    bool   `json:"ok"`
	Error *Error `json:"error"`
}

// On handles an event: its first argument is decoded into a T (the zero T where there is none; all of them
// where T is Args). A payload that does not fit is answered InvalidPayload and f does not run. The ack, where
// one is asked for, is {"ok":true}. A handler for an event that the Hub has itself (chat_message, join_room,
// …) takes that event over. A name given twice is an error of New.
func On[T any](event string, f func(ctx context.Context, c *Client, v T) error) Option {
	return OnRaw(event, func(ctx context.Context, c *Client, e *Event) ([]any, error) {
		v, err := decodeFirst[T](e)
		if err != nil {
			return nil, err
		}
		if err := f(ctx, c, v); err != nil {
			return nil, err
		}
		return []any{okAnswer{OK: true}}, nil
	})
}

// OnCall is On for an event whose ack carries a result: {"ok":true,"result":R}.
func OnCall[T, R any](event string, f func(ctx context.Context, c *Client, v T) (R, error)) Option {
	return OnRaw(event, func(ctx context.Context, c *Client, e *Event) ([]any, error) {
		v, err := decodeFirst[T](e)
		if err != nil {
			return nil, err
		}
		r, err := f(ctx, c, v)
		if err != nil {
			return nil, err
		}
		return []any{resultAnswer{OK: true, Result: r}}, nil
	})
}

// OnRaw handles an event with whatever arguments it has and answers its ack with whatever arguments h returns.
func OnRaw(event string, h Handler) Option {
	return optionFunc(func(b *builder) {
		switch {
		case h == nil:
			b.fail("a nil handler for event %q", event)
		case reservedEvent(event):
			b.fail("event name %q is reserved by the protocol", event)
		case b.space.handlers[event] != nil:
			b.fail("two handlers for event %q of namespace %s", event, b.space.name)
		default:
			b.space.handlers[event] = h
		}
	})
}

// OnAny handles every event that nothing else handles; without it those are answered UnknownEvent.
func OnAny(h Handler) Option {
	return optionFunc(func(b *builder) {
		if b.space.any != nil {
			b.fail("two OnAny of namespace %s", b.space.name)
		}
		b.space.any = h
	})
}

// Use wraps every handler of the namespace, the Hub's own included; the first middleware given is the
// outermost. The Hub answers the acks of its own events itself: their handlers return no values. With middleware a
// client's chat_message is handled when the one before is saved, not beside it, so that what stands around it sees its end.
func Use(middleware ...func(next Handler) Handler) Option {
	return optionFunc(func(b *builder) { b.space.use = append(b.space.use, middleware...) })
}

// OnConnect runs f when a client has been taken in, before its first event and on the goroutine of its events.
func OnConnect(f func(ctx context.Context, c *Client)) Option {
	return optionFunc(func(b *builder) { b.space.onConnect = append(b.space.onConnect, f) })
}

// OnDisconnect runs f when a client has left, after its last event and on the goroutine of its events. reason
// is in the words of Socket.IO ("transport close", "ping timeout", "client namespace disconnect", …) or "slow
// consumer".
func OnDisconnect(f func(ctx context.Context, c *Client, reason string)) Option {
	return optionFunc(func(b *builder) { b.space.onDisconnect = append(b.space.onDisconnect, f) })
}

// OnJoin runs f after a client has been subscribed to a room, by whomever, on the goroutine of the client's
// events.
func OnJoin(f func(ctx context.Context, c *Client, room string)) Option {
	return optionFunc(func(b *builder) { b.space.onJoin = append(b.space.onJoin, f) })
}

// OnLeave runs f after a client's subscription to a room has ended, by its leaving too, on the goroutine of
// the client's events.
func OnLeave(f func(ctx context.Context, c *Client, room string)) Option {
	return optionFunc(func(b *builder) { b.space.onLeave = append(b.space.onLeave, f) })
}

// OnMessage is the gate of chat_message: it runs before a message is saved, in the handler of the event, and
// may change the entry's Text, Meta and ReplyTo, or reject it by an error (Rejected, say). Several run in the
// order given, each seeing what the last one left. A sender's retry passes the gate again. A host's Post does
// not pass it. A client's messages pass it one after the other, while those before may still be on their way to the
// store.
func OnMessage(f func(ctx context.Context, c *Client, m *Entry) error) Option {
	return optionFunc(func(b *builder) { b.space.onMessage = append(b.space.onMessage, f) })
}

func decodeFirst[T any](e *Event) (v T, err error) {
	if all, ok := any(&v).(*Args); ok {
		*all = e.Args
		return v, nil
	}
	if err := e.Args.Decode(0, &v); err != nil {
		return v, &Error{Code: InvalidPayload, Message: "invalid payload: " + decodeProblem(err)}
	}
	return v, nil
}

// decodeProblem is what a page may know of a decoding error: where, not the Go types.
func decodeProblem(err error) string {
	if t, ok := err.(*json.UnmarshalTypeError); ok && t.Field != "" {
		return "field " + t.Field + " must not be a " + t.Value
	} else if ok {
		return "it must not be a " + t.Value
	}
	return "it does not have the form that this event takes"
}

func reservedEvent(name string) bool {
	switch name {
	case "connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener":
		return true
	}
	return false
}

// chain makes h the innermost of its middleware.
func chain(h Handler, use []func(Handler) Handler) Handler {
	for i := len(use) - 1; i >= 0; i-- {
		h = use[i](h)
	}
	return h
}
