package clustertest

import (
	"context"
	"errors"
	"slices"

	"github.com/parleychat/chat"
)

type answer struct {
	data []byte
	err  error
}

func (n *node) Ask(ctx context.Context, tag string, question []byte) ([]byte, error) {
	for {
		var other *node
		var over, healed chan struct{}
		reply := make(chan answer, 1)
		if err := n.do(ctx, func() error {
			other = n.bus.findLocked(tag)
			if other == nil || other == n || !other.leased {
				return chat.ErrNoNode
			}
			over, healed = other.over, other.healed
			if other.ended {
				healed = nil // a killed one does not come back
			}
			if !other.cut {
				healed = nil
				other.answerLocked(ctx, n, slices.Clone(question), reply)
			}
			return nil
		}); err != nil {
			return nil, err
		}
		select {
		case a := <-reply:
			return a.data, a.err
		case <-healed:
		case <-over:
			return nil, chat.ErrNoNode
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-n.ctx.Done():
			return nil, ErrLeft
		}
	}
}

// answerLocked has the node answer, for as long as the one that asks waits. An error arrives as its text, as over a network; nothing does when one of the two has been
// cut off meanwhile.
func (n *node) answerLocked(asked context.Context, asker *node, question []byte, reply chan answer) {
	ctx, cancel := context.WithCancel(n.ctx)
	stop := context.AfterFunc(asked, cancel)
	n.answers.Go(func() {
		defer cancel()
		defer stop()
		data, err := n.h.Answer(ctx, question)
		if err != nil {
			data, err = nil, errors.New(err.Error())
		}
		n.bus.mu.Lock()
		defer n.bus.mu.Unlock()
		if !n.cut && !asker.cut {
			reply <- answer{slices.Clone(data), err}
		}
	})
}
