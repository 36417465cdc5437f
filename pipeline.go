package chat

import "github.com/parleychat/chat/internal/socketio"

// pipelineMost bounds the messages of one client that are on their way to the store.
const pipelineMost = 64

// pipeline is the messages of one client that are being saved. A page that comes back sends all that it has queued at once: one after the other each
// would wait for a commit of its own. Whatever else the client sends is handled after they are done. It belongs to the inbox's goroutine.
type pipeline struct {
	under []piped
	bytes int // of them; their acks come all at once, and must find room in the outbox
}

type piped struct {
	in *socketio.Event
	e  *Event
	a  *appending
}

// take begins to save a chat_message. It is false for any other event, and where the host's own code stands around chat_message and has to see its end.
func (p *pipeline) take(c *Client, j *job) bool {
	in := j.event
	if in == nil || in.Name != "chat_message" || in.TooDeep || !c.space.pipelined {
		return false
	}
	for len(p.under) > 0 && (len(p.under) >= pipelineMost || p.bytes+in.Size > c.space.hub.set.limits.Outbox/8) {
		p.settle(c)
	}
	e := newEvent(c, j)
	a, err := c.beginMessage(e)
	if err != nil {
		c.fail(e, err)
		e.end(err)
		c.taken(in)
		return true
	}
	p.under = append(p.under, piped{in, e, a})
	p.bytes += in.Size
	return true
}

// beginMessage puts a message on its way; a panic of the host's gate or policy is an Internal error.
func (c *Client) beginMessage(e *Event) (a *appending, err error) {
	defer func() {
		if p := recover(); p != nil {
			c.logPanic(e.ctx, "handler of "+e.Name, p)
			a, err = nil, Errorf(Internal, "internal error")
		}
	}()
	if a, err = newMessage(e.ctx, c, e); err == nil {
		err = c.space.begin(e.ctx, a)
	}
	return a, err
}

// drain waits for all.
func (p *pipeline) drain(c *Client) {
	for len(p.under) > 0 {
		p.settle(c)
	}
}

// settle waits for the oldest.
func (p *pipeline) settle(c *Client) {
	first := p.under[0]
	p.under[0] = piped{}
	p.under = p.under[1:]
	p.bytes -= first.in.Size
	_, err := first.a.wait(c.handlerContext(), c.space.hub.set.timeouts.Store)
	if err != nil {
		c.fail(first.e, err)
	}
	first.e.end(err)
	c.taken(first.in)
}
