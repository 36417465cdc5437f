package chat

import (
	"context"
	"errors"
	"log/slog"

	"github.com/parleychat/chat/internal/socketio"
)

// dispatch runs the handler of an event, on the client's goroutine.
func (c *Client) dispatch(j *job) {
	sp, in := c.space, j.event
	e := newEvent(c, j)
	h := sp.handlers[in.Name]
	if h == nil {
		h = sp.any
	}
	var (
		res []any
		err error
	)
	switch {
	case in.TooDeep:
		sp.hub.hit(e.ctx, c.hitBy("Depth", LimitRefused))
		err = Errorf(InvalidPayload, "invalid payload: nested too deep")
	case h == nil:
		err = Errorf(UnknownEvent, "nobody handles this event")
	default:
		res, err = c.call(h, e)
	}
	switch {
	case errors.Is(err, ErrNoAck):
	case err != nil:
		c.fail(e, err)
	case e.NeedsAck && !e.answered:
		c.ack(e, res)
	}
	e.end(err)
}

// newEvent is an event as handlers have it, from where its observers begin.
func newEvent(c *Client, j *job) *Event {
	in := j.event
	e := &Event{Name: in.Name, Args: Args{in.Args}, NeedsAck: in.HasAck, At: j.at, client: c, ackID: in.ID, ctx: c.handlerContext()}
	if validRequestID(in.RequestID) {
		e.ctx = requestContext{e.ctx, in.RequestID}
	}
	if o := &c.space.hub.set.observe; len(o.event) > 0 {
		e.ctx, e.done = o.begin(e.ctx, c, e)
	}
	return e
}

// end tells the observers.
func (e *Event) end(err error) {
	if e.done != nil {
		e.done(err)
	}
}

// call runs h; a panic is an Internal error.
func (c *Client) call(h Handler, e *Event) (res []any, err error) {
	defer func() {
		if p := recover(); p != nil {
			c.logPanic(e.ctx, "handler of "+shown(e.Name), p)
			res, err = nil, Errorf(Internal, "internal error")
		}
	}()
	return h(e.ctx, c, e)
}

func (c *Client) ack(e *Event, args []any) {
	enc, err := socketio.Encode(args...)
	if err != nil {
		c.fail(e, err)
		return
	}
	e.answered = true
	c.sess.Send(socketio.AckPacket(c.wireName(), e.ackID, enc))
}

// fail answers an event with an error: by its ack, or by the event "error".
func (c *Client) fail(e *Event, err error) {
	if e.answered {
		return
	}
	e.answered = true
	v, ok := visible(err)
	if !ok {
		c.space.hub.log().ErrorContext(e.ctx, "chat: handler failed", "event", shown(e.Name), "error", err)
	} else if h := c.space.hub; h.logsTraffic(e.ctx) {
		attrs := []slog.Attr{slog.String("event", shown(e.Name)), slog.String("code", string(v.Code))}
		if room := e.roomNamed(); room != "" {
			attrs = append(attrs, slog.String("room", room))
		}
		h.traffic(e.ctx, "chat: event refused", attrs...)
	}
	if !e.NeedsAck {
		c.tell(e.ctx, v, e.Name)
		return
	}
	c.space.hub.set.observe.failed(e.ctx, c, v.Code, e.Name)
	enc, encErr := socketio.Encode(errorAnswer{Error: v})
	if encErr != nil { // a host's Data that cannot be encoded
		enc, _ = socketio.Encode(errorAnswer{Error: &Error{Code: v.Code, Message: v.Message}})
	}
	c.sess.Send(socketio.AckPacket(c.wireName(), e.ackID, enc))
}

// roomNamed is the room that one of the chat's own events is about; empty where it names none, or no good one.
func (e *Event) roomNamed() string {
	switch e.Name {
	case "chat_message", "join_room", "leave_room", "typing", "history":
		if p, err := decodeFirst[roomPayload](e); err == nil && validRoom(p.Room) {
			return p.Room
		}
	}
	return ""
}

// tell sends the event "error". It is for this connection alone, not for a recovery of it: else a client
// could fill with its own errors what the Hub keeps for all.
func (c *Client) tell(ctx context.Context, e *Error, event string) {
	enc, err := socketio.Encode(e.forEvent(event))
	if err != nil { // a host's Data that cannot be encoded
		enc, _ = socketio.Encode((&Error{Code: e.Code, Message: e.Message}).forEvent(event))
	}
	c.toSelf("error", enc)
	c.space.hub.set.observe.failed(ctx, c, e.Code, event)
}

// toSelf sends an event to this connection alone.
func (c *Client) toSelf(event string, args socketio.Encoded) {
	sp := c.space
	sp.mu.Lock()
	defer sp.mu.Unlock()
	if !sp.closed {
		sp.sendLocked(&audience{clients: []string{c.id}}, event, args, false)
	}
}
