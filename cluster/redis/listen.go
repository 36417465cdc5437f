package redis

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	signalsMost = 1024 // that wait to be sent; more are lost
	pingEvery   = time.Second
)

// listen receives what other nodes say, and ends when the connection does or nothing was heard of Redis for a while.
func (c *Cluster) listen(ctx context.Context) error {
	own := c.keys.to + c.self.Tag
	ps := c.db.Subscribe(ctx, c.keys.all, own)
	var dead atomic.Bool
	var heard atomic.Int64 // when, in ns
	heard.Store(time.Now().UnixNano())
	done, watched := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		c.watch(ctx, ps, done, &heard, &dead)
	}()
	defer func() {
		close(done)
		<-watched
		_ = ps.Close() // a second time, mostly
	}()
	missing := 2
	for {
		m, err := ps.Receive(ctx)
		if dead.Load() {
			return context.DeadlineExceeded
		}
		if err != nil {
			return err
		}
		heard.Store(time.Now().UnixNano())
		switch m := m.(type) {
		case *redis.Subscription:
			if missing--; missing == 0 {
				c.works(partListen)
			}
		case *redis.Message:
			if err := c.hear(ctx, []byte(m.Payload)); err != nil {
				c.log.Error("chat/redis: a message cannot be read", "error", err)
			}
		}
	}
}

// watch sends pings, and closes ps when nothing has been heard for too long or the node leaves.
func (c *Cluster) watch(ctx context.Context, ps *redis.PubSub, done <-chan struct{}, heard *atomic.Int64, dead *atomic.Bool) {
	every := time.NewTicker(pingEvery)
	defer every.Stop()
	for {
		select {
		case <-done:
			return
		case <-ctx.Done():
			_ = ps.Close() // Receive tells
			return
		case now := <-every.C:
			if now.UnixNano()-heard.Load() > int64(timeout) {
				dead.Store(true)
				_ = ps.Close() // Receive tells
				return
			}
			_ = ps.Ping(ctx) // Receive tells
		}
	}
}

func (c *Cluster) hear(ctx context.Context, message []byte) error {
	kind, tag, rest, err := readHead(message)
	if err != nil || tag == c.self.Tag {
		return err
	}
	switch kind {
	case kindSignal:
		signals, err := appendPublications(nil, rest)
		for _, data := range signals {
			if ctx.Err() == nil {
				c.signaled(data)
			}
		}
		return err
	case kindChanged:
		select {
		case c.poke <- struct{}{}:
		default:
		}
	case kindAsk:
		return c.asked(tag, rest)
	case kindAnswered, kindRefused:
		return c.answered(kind == kindAnswered, rest)
	}
	return nil // of a later version
}

// signaled may come with a Receive; what excludes it is Leave.
func (c *Cluster) signaled(data []byte) {
	c.calls.RLock()
	defer c.calls.RUnlock()
	if !c.hasLeft() {
		c.h.Signaled(data)
	}
}

// Signal implements chat.Cluster.
func (c *Cluster) Signal(data []byte) {
	if _, err := c.leased(); err != nil {
		return
	}
	select {
	case c.signals <- append([]byte(nil), data...):
	default:
	}
}

// signal sends signals, as many at once as there are.
func (c *Cluster) signal() {
	for {
		var first []byte
		select {
		case first = <-c.signals:
		case <-c.ctx.Done():
			return
		}
		m := appendPublication(appendHead(nil, kindSignal, c.self.Tag), first)
		for more := true; more && len(m) < entryMost; {
			select {
			case next := <-c.signals:
				m = appendPublication(m, next)
			default:
				more = false
			}
		}
		_ = c.db.Publish(c.ctx, c.keys.all, m).Err() // lost then; the other parts tell that Redis is away
	}
}

// tellAll makes the others look who is there. Those who do not hear it look in time, and the next beat cannot wait for long.
func (c *Cluster) tellAll(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, c.set.beatEvery())
	defer cancel()
	_ = c.db.Publish(ctx, c.keys.all, appendHead(nil, kindChanged, c.self.Tag)).Err()
}
