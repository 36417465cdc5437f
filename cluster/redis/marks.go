package redis

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/parleychat/chat"
)

// A key's marks are a hash whose fields are the lease's name, a zero byte and the mark's field. For each lease there is a set of the keys that it has marks of.

// marking is what Mark knows of this lease's marks.
type marking struct {
	mu     sync.Mutex      // guards what follows; one Mark at a time, and none while the lease changes
	counts map[string]int  // marks of a key
	unsure map[string]bool // keys of which a Mark has failed: what is in Redis is not known
	idle   []string        // keys that have no mark any more and are still in the set
}

func (m *marking) forget() {
	m.counts, m.unsure, m.idle = map[string]int{}, map[string]bool{}, nil
}

const pipeMost = 1000 // commands in a round trip

// Mark implements chat.Cluster: one round trip to each server.
func (c *Cluster) Mark(ctx context.Context, marks []chat.Mark) error {
	c.marking.mu.Lock()
	defer c.marking.mu.Unlock()
	name, err := c.leased()
	if err != nil {
		return err
	}
	for some := range slices.Chunk(marks, pipeMost) {
		if err := c.markSome(ctx, name, some); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cluster) markSome(ctx context.Context, name string, marks []chat.Mark) error {
	m, pipe := &c.marking, c.db.Pipeline()
	add, remove := m.keys(marks)
	if len(remove) > 0 {
		pipe.SRem(ctx, c.keys.marked+name, remove...)
	}
	if len(add) > 0 {
		pipe.SAdd(ctx, c.keys.marked+name, add...)
	}
	counts := make([]*redis.IntCmd, len(marks))
	for i, mark := range marks {
		field := name + "\x00" + mark.Field
		if mark.Off {
			counts[i] = pipe.HDel(ctx, c.keys.marks+mark.Key, field)
		} else {
			counts[i] = pipe.HSet(ctx, c.keys.marks+mark.Key, field, mark.Value)
		}
	}
	if _, err := pipe.Exec(ctx); err != nil {
		for _, mark := range marks {
			m.unsure[mark.Key] = true
		}
		return err
	}
	m.idle = nil
	for i, mark := range marks {
		m.count(mark, int(counts[i].Val()))
	}
	return nil
}

// keys are those to add to the lease's set before marks are written, and to remove from it.
func (m *marking) keys(marks []chat.Mark) (add, remove []any) {
	seen := make(map[string]bool, len(marks)) // whether it is added
	for _, mark := range marks {
		if !seen[mark.Key] && !mark.Off && (m.counts[mark.Key] == 0 || m.unsure[mark.Key]) {
			add = append(add, mark.Key)
			seen[mark.Key] = true
		}
	}
	for _, key := range m.idle {
		if m.counts[key] == 0 && !seen[key] && !m.unsure[key] {
			remove = append(remove, key)
		}
	}
	return add, remove
}

// count follows what Redis says has changed.
func (m *marking) count(mark chat.Mark, changed int) {
	if mark.Off {
		changed = -changed
	}
	if m.counts[mark.Key] += changed; m.counts[mark.Key] <= 0 {
		delete(m.counts, mark.Key)
		if changed < 0 {
			m.idle = append(m.idle, mark.Key)
		}
	}
}

// Marks implements chat.Cluster. The leases are read after the marks: one that was taken before its marks were written is there.
func (c *Cluster) Marks(ctx context.Context, key string) ([]chat.Mark, error) {
	if _, err := c.leased(); err != nil {
		return nil, err
	}
	var fields *redis.MapStringStringCmd
	var leases *redis.StringSliceCmd
	if c.isCluster() { // commands to several servers are in no order
		if fields = c.db.HGetAll(ctx, c.keys.marks+key); fields.Err() != nil {
			return nil, fields.Err()
		}
		if leases = c.db.ZRange(ctx, c.keys.leases, 0, -1); leases.Err() != nil {
			return nil, leases.Err()
		}
	} else {
		pipe := c.db.Pipeline()
		fields, leases = pipe.HGetAll(ctx, c.keys.marks+key), pipe.ZRange(ctx, c.keys.leases, 0, -1)
		if _, err := pipe.Exec(ctx); err != nil {
			return nil, err
		}
	}
	held := map[string]bool{}
	for _, name := range leases.Val() {
		held[name] = true
	}
	var marks []chat.Mark
	for at, value := range fields.Val() {
		if name, field, ok := strings.Cut(at, "\x00"); ok && held[name] {
			marks = append(marks, chat.Mark{Key: key, Field: field, Value: value, Node: name})
		}
	}
	return marks, nil
}

// clean removes the marks of leases that are over, for which this node was chosen, and what is too old in the streams.
func (c *Cluster) clean() {
	for {
		var name string
		select {
		case name = <-c.dead:
		case now := <-c.old:
			if err := c.trim(c.ctx, now); err != nil && c.ctx.Err() == nil {
				c.log.Warn("chat/redis: streams were not trimmed; tried again in time", "error", err)
			}
			continue
		case <-c.ctx.Done():
			return
		}
		ctx, cancel := context.WithTimeout(c.ctx, cleanWithin)
		err := c.removeMarks(ctx, name)
		cancel()
		if err != nil && c.ctx.Err() == nil {
			c.log.Warn("chat/redis: the marks of a lease that is over were not removed; tried again in time", "lease", name, "error", err)
		}
	}
}

// removeMarks removes all that is in Redis of a lease that is over.
func (c *Cluster) removeMarks(ctx context.Context, name string) error {
	set := c.keys.marked + name
	for cursor := uint64(0); ; {
		keys, next, err := c.db.SScan(ctx, set, cursor, "", pipeMost).Result()
		if err != nil {
			return err
		}
		for some := range slices.Chunk(keys, pipeMost) {
			if err := c.removeFrom(ctx, name, some); err != nil {
				return err
			}
		}
		if cursor = next; cursor == 0 {
			break
		}
	}
	if err := c.db.Del(ctx, set).Err(); err != nil {
		return err
	}
	return c.db.ZRem(ctx, c.keys.graves, name).Err()
}

func (c *Cluster) removeFrom(ctx context.Context, name string, keys []string) error {
	pipe := c.db.Pipeline()
	fields := make([]*redis.StringSliceCmd, len(keys))
	for i, key := range keys {
		fields[i] = pipe.HKeys(ctx, c.keys.marks+key)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return err
	}
	pipe = c.db.Pipeline()
	for i, key := range keys {
		gone := slices.DeleteFunc(fields[i].Val(), func(f string) bool { return !strings.HasPrefix(f, name+"\x00") })
		for some := range slices.Chunk(gone, pipeMost) {
			pipe.HDel(ctx, c.keys.marks+key, some...)
		}
	}
	if pipe.Len() == 0 {
		return nil
	}
	_, err := pipe.Exec(ctx)
	return err
}

// Keep implements chat.Keeper. It is no transaction: after an error some are kept.
func (c *Cluster) Keep(ctx context.Context, values []chat.Kept) error {
	if _, err := c.leased(); err != nil {
		return err
	}
	for some := range slices.Chunk(values, pipeMost) {
		pipe := c.db.Pipeline()
		for _, v := range some {
			// A duration, for Redis's clock may not be this one.
			if d := time.Until(v.Until); d >= time.Millisecond {
				pipe.Set(ctx, c.keys.kept+v.Key, v.Value, d.Truncate(time.Millisecond))
			} else {
				pipe.Del(ctx, c.keys.kept+v.Key)
			}
		}
		if _, err := pipe.Exec(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Take implements chat.Keeper.
func (c *Cluster) Take(ctx context.Context, key string) ([]byte, error) {
	if _, err := c.leased(); err != nil {
		return nil, err
	}
	value, err := c.db.GetDel(ctx, c.keys.kept+key).Bytes()
	if err == redis.Nil {
		return nil, nil
	}
	return value, err
}
