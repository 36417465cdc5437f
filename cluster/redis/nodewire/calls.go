package nodewire

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/parleychat/chat"
)

// calls are the Hub's broadcasts that wait for acks.
type calls struct {
	mu   sync.Mutex
	open map[string]*call // by request id
}

// call is one of them; guarded by calls.mu.
type call struct {
	servers int // that are to tell how many clients they have asked
	told    int
	clients int // that they have asked
	acks    []chat.BridgeArgs
	done    chan struct{}
}

func (c *calls) init() { c.open = map[string]*call{} }

// change finds the call of an answer, changes it and looks whether it is complete.
func (c *calls) change(id string, f func(*call)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.open[id]
	if k == nil { // it is over, or another server's
		return
	}
	f(k)
	if k.told >= k.servers && len(k.acks) >= k.clients {
		close(k.done)
		delete(c.open, id)
	}
}

// asked: a server has asked n clients.
func (c *calls) asked(id string, n int) {
	c.change(id, func(k *call) { k.told++; k.clients += max(n, 0) })
}

func (c *calls) acked(id string, value json.RawMessage, attachments [][]byte) {
	c.change(id, func(k *call) { k.acks = append(k.acks, one(value, attachments)) })
}

// Call implements chat.Bridge.
func (b *Bridge) Call(ctx context.Context, m *chat.BridgeMessage) (acks []chat.BridgeArgs, silent int, err error) {
	servers, err := b.countServers(ctx, m.Namespace)
	if err != nil {
		return nil, 0, fmt.Errorf("nodewire: servers are not known: %w", err)
	}
	if servers == 0 {
		return nil, 0, nil
	}
	timeout := timeoutMost
	if deadline, ok := ctx.Deadline(); ok {
		timeout = max(time.Until(deadline), time.Millisecond)
	}
	id := strconv.FormatUint(rand.Uint64(), 36)
	c, err := b.dialect.ask(id, m, timeout)
	if err != nil {
		return nil, 0, err
	}
	k := &call{servers: servers, done: make(chan struct{})}
	b.calls.mu.Lock()
	b.calls.open[id] = k
	b.calls.mu.Unlock()
	b.queue.add(queued{ready: &c, size: len(c.payload)})
	return b.calls.wait(ctx, b.life, id, k)
}

func (c *calls) wait(ctx, life context.Context, id string, k *call) ([]chat.BridgeArgs, int, error) {
	var err error
	select {
	case <-k.done:
	case <-ctx.Done():
		err = context.Cause(ctx)
	case <-life.Done():
		err = errors.New("the bridge has ended")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.open, id)
	if k.told >= k.servers {
		err = nil
	} else if err != nil {
		err = fmt.Errorf("nodewire: %d of %d servers have not answered: %w", k.servers-k.told, k.servers, err)
	}
	return k.acks, max(k.clients-len(k.acks), 0), err
}

// countServers is how many others have subscribed to a namespace, Hubs included.
func (b *Bridge) countServers(ctx context.Context, namespace string) (int, error) {
	channel := b.dialect.countChannel(namespace)
	var mu sync.Mutex
	total := int64(0)
	count := func(ctx context.Context, c *redis.Client) error {
		n, err := c.PubSubNumSub(ctx, channel).Result()
		mu.Lock()
		total += n[channel]
		mu.Unlock()
		return err
	}
	var err error
	if cluster, ok := b.client.(*redis.ClusterClient); ok { // each of its nodes knows its own
		err = cluster.ForEachShard(ctx, count)
	} else {
		var n map[string]int64
		n, err = b.client.PubSubNumSub(ctx, channel).Result()
		total = n[channel]
	}
	for _, own := range b.hub.Namespaces() {
		if own == namespace {
			total--
		}
	}
	return int(max(total, 0)), err
}
