package redis

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
	"time"

	"github.com/parleychat/chat"
)

// The parts of a node that must work: it is away while one of them does not. Readers have parts of their own.
const (
	partSetup  = "setup"
	partListen = "subscription"
	partLease  = "lease"
)

func partReader(i int) string { return "reader " + strconv.Itoa(i) }

// health is which parts work. Cluster.calls guards it.
type health struct {
	works map[string]bool
	times map[string]int  // works was called
	torn  map[string]bool // had worked, and have failed since
	owes  bool            // one of them has, and Back is to come
	away  bool
	ready chan struct{} // closed while all parts but the lease work
	ends  time.Time     // when the lease does, as far as this process knows
}

func (h *health) init(parts []string) {
	h.works, h.times, h.torn, h.ready = map[string]bool{}, map[string]int{}, map[string]bool{}, make(chan struct{})
	for _, p := range parts {
		h.works[p] = false
	}
}

// allBut tells whether all parts work, apart from one.
func (h *health) allBut(part string) bool {
	for p, works := range h.works {
		if !works && p != part {
			return false
		}
	}
	return true
}

func (h *health) set(part string, works bool) {
	before := h.allBut(partLease)
	h.works[part] = works
	switch after := h.allBut(partLease); {
	case after && !before:
		close(h.ready)
	case before && !after:
		h.ready = make(chan struct{})
	}
}

// call calls the handler, unless the node has left.
func (c *Cluster) call(f func(h chat.ClusterHandler)) {
	c.calls.Lock()
	defer c.calls.Unlock()
	if !c.hasLeft() {
		f(c.h)
	}
}

func (c *Cluster) works(part string) {
	c.call(func(h chat.ClusterHandler) {
		c.health.set(part, true)
		c.health.times[part]++
		if !time.Now().Before(c.health.ends) { // Redis was silent for so long that the lease may be over: its next beat tells
			c.health.set(partLease, false)
		}
		delete(c.health.torn, part)
		if c.health.allBut("") && len(c.health.torn) == 0 && (c.health.away || c.health.owes) { // what the streams have lost meanwhile has left no trace here
			c.health.away, c.health.owes = false, false
			h.Back()
		}
	})
}

// tears notes that the connection of a part that had worked has broken.
func (c *Cluster) tears(part string) {
	c.call(func(chat.ClusterHandler) {
		if c.health.times[part] > 0 {
			c.health.torn[part], c.health.owes = true, true
		}
	})
}

// holds notes that the lease was renewed or taken with a beat, which tells that this part works.
func (c *Cluster) holds(t told) {
	c.call(func(chat.ClusterHandler) { c.health.ends = t.asked.Add(c.set.lease) })
	c.works(partLease)
}

func (c *Cluster) fails(part string, err error) {
	c.call(func(h chat.ClusterHandler) {
		c.health.set(part, false)
		c.log.Debug("chat/redis: failed", "part", part, "error", err)
		if !c.health.away {
			c.health.away = true
			h.Away(err)
		}
	})
}

// worked counts how often a part has begun to work.
func (c *Cluster) worked(part string) int {
	c.calls.RLock()
	defer c.calls.RUnlock()
	return c.health.times[part]
}

// ready is closed while all parts but the lease work.
func (c *Cluster) ready() <-chan struct{} {
	c.calls.RLock()
	defer c.calls.RUnlock()
	return c.health.ready
}

// failuresMost are the failures in a row of a part after which Redis is away. A connection that breaks is no news where it is replaced, and the pool may have others that broke
// at the same time.
const failuresMost = 3

// persist runs a part until the node leaves.
func (c *Cluster) persist(part string, run func(context.Context) error) {
	var delay backoff
	failures := 0
	for c.ctx.Err() == nil {
		before := c.worked(part)
		err := run(c.ctx)
		if c.ctx.Err() != nil {
			return
		}
		if c.worked(part) > before {
			delay, failures = backoff{}, 0
		}
		c.tears(part)
		if failures++; failures >= failuresMost || isTimeout(err) {
			c.fails(part, err)
		}
		if !delay.wait(c.ctx) {
			return
		}
	}
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &n) && n.Timeout()
}

// backoff is what lies between two attempts: 50 ms, and twice as much each time up to half a second.
type backoff struct{ last time.Duration }

func (b *backoff) wait(ctx context.Context) bool {
	b.last = min(max(2*b.last, 50*time.Millisecond), 500*time.Millisecond)
	return sleep(ctx, b.last/2+rand.N(b.last/2))
}

// sleep is false at the end of ctx.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
