package chat

import (
	"errors"

	"github.com/parleychat/chat/internal/socketio"
)

// dispatch runs the handler of an event, on the client's goroutine.
func (c *Client) dispatch(in *socketio.Event) {
	sp := c.space
	e := newEvent(c, in)
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
}

func newEvent(c *Client, in *socketio.Event) *Event {
	return &Event{Name: in.Name, Args: Args{in.Args}, NeedsAck: in.HasAck, client: c, ackID: in.ID}
}

// call runs h; a panic is an Internal error.
func (c *Client) call(h Handler, e *Event) (res []any, err error) {
	defer func() {
		if p := recover(); p != nil {
			c.logPanic("handler of "+e.Name, p)
			res, err = nil, Errorf(Internal, "internal error")
		}
	}()
	return h(c.handlerContext(), c, e)
}

func (c *Client) ack(e *Event, args []any) {
	enc, err := socketio.Encode(args...)
	if err != nil {
		c.fail(e, err)
		return
	}
	e.answered = true
	c.sess.Send(socketio.AckPacket(c.space.name, e.ackID, enc))
}

// fail answers an event with an error: by its ack, or by the event "error".
func (c *Client) fail(e *Event, err error) {
	if e.answered {
		return
	}
	e.answered = true
	v, ok := visible(err)
	if !ok {
		c.space.hub.set.logger.Error("chat: handler failed", "event", e.Name, "error", err, "client_id", c.id, "user_id", c.userID)
	}
	if !e.NeedsAck {
		c.tell(v, e.Name)
		return
	}
	enc, encErr := socketio.Encode(errorAnswer{Error: v})
	if encErr != nil { // a host's Data that cannot be encoded
		enc, _ = socketio.Encode(errorAnswer{Error: &Error{Code: v.Code, Message: v.Message}})
	}
	c.sess.Send(socketio.AckPacket(c.space.name, e.ackID, enc))
}

// tell sends the event "error". It is for this connection alone, not for a recovery of it: else a client
// could fill with its own errors what the Hub keeps for all.
func (c *Client) tell(e *Error, event string) {
	enc, err := socketio.Encode(e.forEvent(event))
	if err != nil { // a host's Data that cannot be encoded
		enc, _ = socketio.Encode((&Error{Code: e.Code, Message: e.Message}).forEvent(event))
	}
	sp := c.space
	sp.mu.Lock()
	defer sp.mu.Unlock()
	if !sp.closed {
		sp.sendLocked(&audience{clients: []string{c.id}}, "error", enc, false)
	}
}
