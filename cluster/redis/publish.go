package redis

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/parleychat/chat"
)

// batch is what a Publish makes its entries of.
type batch struct {
	mu      sync.Mutex // guards what follows
	entries [][]byte   // by stream, the one that is being filled
}

func (b *batch) init(streams int) { b.entries = make([][]byte, streams) }

const bufferMost = 4 * entryMost // kept from one Publish to the next

// Publish implements chat.Cluster: one round trip to each server, with one entry for each stream and 64 KiB.
func (c *Cluster) Publish(ctx context.Context, ps []chat.Publication) error {
	if _, err := c.leased(); err != nil {
		return err
	}
	if len(ps) == 0 {
		return nil
	}
	for _, p := range ps {
		if p.Stream < 0 || p.Stream >= c.set.streams {
			return fmt.Errorf("chat/redis: there is no stream %d", p.Stream)
		}
	}
	b := &c.publishing
	b.mu.Lock()
	defer b.mu.Unlock()
	pipe := c.db.Pipeline()
	for _, p := range ps {
		entry := b.entries[p.Stream]
		if len(entry) > 0 && len(entry)+binary.MaxVarintLen64+len(p.Data) > entryMost {
			c.add(ctx, pipe, p.Stream, entry)
			entry = nil // it is not written before Exec
		}
		b.entries[p.Stream] = appendPublication(entry, p.Data)
	}
	for stream, entry := range b.entries {
		if len(entry) == 0 {
			continue
		}
		c.add(ctx, pipe, stream, entry)
		if b.entries[stream] = entry[:0]; cap(entry) > bufferMost {
			b.entries[stream] = nil
		}
	}
	_, err := pipe.Exec(ctx)
	return err
}

func (c *Cluster) add(ctx context.Context, pipe redis.Pipeliner, stream int, entry []byte) {
	pipe.Do(ctx, "xadd", c.keys.streams[stream], "maxlen", "~", c.set.length, "*", entryField, entry)
}

const trimEvery = 30 * time.Second

// trim removes entries by their age, as Redis's clock tells it.
func (c *Cluster) trim(ctx context.Context, now time.Time) error {
	oldest := fmt.Sprint(max(now.Add(-c.set.age).UnixMilli(), 0))
	pipe := c.db.Pipeline()
	for _, key := range c.keys.streams {
		pipe.XTrimMinIDApprox(ctx, key, oldest, 0)
	}
	_, err := pipe.Exec(ctx)
	return err
}
