package chat

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/parleychat/chat/internal/socketio"
)

// Call emits an event to a client and waits for its ack, whose first argument is decoded into an R (all of
// them where R is Args; the zero R where there is none). It ends with ctx, with ErrDisconnected when the
// client leaves, and after WithHeartbeat's timeout where ctx has no deadline. A handler may call its own
// client.
func Call[R any](ctx context.Context, c *Client, event string, args ...any) (R, error) {
	var r R
	enc, err := encodeCall(event, args)
	if err != nil {
		return r, err
	}
	a, err := c.callAck(ctx, event, enc)
	if err != nil {
		return r, err
	}
	return decodeReply[R](a)
}

// A Reply is one client's answer to CallAll.
type Reply[R any] struct {
	Client string // sid
	Value  R
	Err    error // ErrDisconnected, the end of ctx, or that the answer is no R
}

// CallAll is Call to each client of a target at once, on all nodes of a cluster. It returns when all have answered or left, or with ctx.
// The error is about the event or about ctx; that a single client failed is in its Reply. A *NodesError names the nodes that did not answer, whose
// clients are not among the replies.
func CallAll[R any](ctx context.Context, t Target, event string, args ...any) ([]Reply[R], error) {
	enc, err := encodeCall(event, args)
	if err != nil {
		return nil, err
	}
	others := t.bridgeCall(ctx, event, enc)
	raw, err := t.callAll(ctx, event, enc)
	replies := make([]Reply[R], len(raw))
	for i, r := range raw {
		replies[i].Client, replies[i].Err = r.Client, r.err
		if r.err == nil {
			replies[i].Value, replies[i].Err = decodeReply[R](r.Args)
		}
	}
	answers := others()
	return append(replies, bridgeReplies[R](answers)...), answers.join(err)
}

// callAll calls a target's clients, those of the other nodes at the same time.
func (t Target) callAll(ctx context.Context, event string, enc socketio.Encoded) ([]rawReply, error) {
	sp := t.space
	n := sp.hub.nodes
	if n == nil || sp.here(&t.to) {
		return t.callHere(ctx, event, enc), ctx.Err()
	}
	asking, cancel := sp.withAckTimeout(ctx)
	defer cancel()
	deadline, _ := asking.Deadline()
	q := callQuestion{
		targetQuestion: targetQuestion{sp.name, t.to.forQuestion()}, Event: event, argsJSON: newArgsJSON(enc),
		Within: time.Until(deadline) * 9 / 10, // leaves time for the way back
	}
	var (
		there [][]rawReply
		err   error
		wg    sync.WaitGroup
	)
	wg.Go(func() { there, err = askAll[[]rawReply](asking, n, "call", q) })
	all := t.callHere(ctx, event, enc)
	wg.Wait()
	for _, replies := range there {
		for _, r := range replies {
			switch {
			case r.Left:
				r.err = ErrDisconnected
			case r.Err != "":
				r.err = errors.New(r.Err)
			}
			all = append(all, r)
		}
	}
	return all, errors.Join(err, ctx.Err())
}

// callHere calls the target's clients of this node.
func (t Target) callHere(ctx context.Context, event string, enc socketio.Encoded) []rawReply {
	clients := t.clients()
	replies := make([]rawReply, len(clients))
	var wg sync.WaitGroup
	for i, c := range clients {
		wg.Go(func() {
			replies[i].Client = c.id
			replies[i].Args, replies[i].err = c.callAck(ctx, event, enc)
		})
	}
	wg.Wait()
	return replies
}

// Target is the room as a target, for CallAll.
func (r Room) Target() Target { return r.target() }

func encodeCall(event string, args []any) (socketio.Encoded, error) {
	if reservedEvent(event) {
		return socketio.Encoded{}, Errorf(InvalidPayload, "event name %q is reserved by the protocol", event)
	}
	return socketio.Encode(args...)
}

func (c *Client) callAck(ctx context.Context, event string, enc socketio.Encoded) (socketio.Args, error) {
	ctx, within := c.space.withAckTimeout(ctx)
	defer within()
	life := c.Context()
	if life.Err() != nil {
		return socketio.Args{}, ErrDisconnected
	}
	got := make(chan socketio.Args, 1)
	cancel := c.link.Call(event, enc, func(a socketio.Args) { got <- a })
	defer cancel()
	select {
	case a := <-got:
		return a, nil
	case <-life.Done():
		return socketio.Args{}, ErrDisconnected
	case <-ctx.Done():
		return socketio.Args{}, context.Cause(ctx)
	}
}

func decodeReply[R any](a socketio.Args) (r R, err error) {
	if all, ok := any(&r).(*Args); ok {
		*all = Args{a}
		return r, nil
	}
	return r, a.Decode(0, &r)
}
