package storetest

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/parleychat/chat"
)

func (c *check) keep(values ...chat.Kept) {
	c.Helper()
	if err := needs[chat.Keeper](c).Keep(c.ctx, values); err != nil {
		c.Fatalf("Keep: %v", err)
	}
}

func (c *check) take(key string, want []byte) {
	c.Helper()
	got, err := needs[chat.Keeper](c).Take(c.ctx, key)
	if err != nil || !bytes.Equal(got, want) || (got == nil) != (want == nil) {
		c.Fatalf("Take %q: %.100q (nil: %t), %v; want %.100q (nil: %t)", key, got, got == nil, err, want, want == nil)
	}
}

// kept are n values, each of its own and of some KiB.
func kept(n int) []chat.Kept {
	values := make([]chat.Kept, n)
	for i := range values {
		values[i] = chat.Kept{Key: fmt.Sprintf("key-%04d", i), Value: bytes.Repeat(fmt.Append(nil, i, "\x00\xff'"), 500), Until: time.Now().Add(time.Hour)}
	}
	return values
}

var keepTests = []test{
	{"is taken once", func(c *check) {
		c.take("key-0000", nil)
		values := kept(3)
		c.keep(values...)
		for _, i := range []int{1, 0, 2} {
			c.take(values[i].Key, values[i].Value)
			c.take(values[i].Key, nil)
		}
		c.take("KEY-0000", nil)
		c.keep(values[1])
		c.take(values[1].Key, values[1].Value)
	}},
	{"any bytes", func(c *check) {
		var all []byte
		for i := range 256 {
			all = append(all, byte(i))
		}
		until := time.Now().Add(time.Hour)
		long := string(bytes.Repeat([]byte("k'\""), 128)[:128])
		c.keep(chat.Kept{Key: "all", Value: all, Until: until}, chat.Kept{Key: "empty", Value: []byte{}, Until: until},
			chat.Kept{Key: long, Value: bytes.Repeat(all, 4096), Until: until})
		c.take("all", all)
		c.take("empty", []byte{})
		c.take(long, bytes.Repeat(all, 4096))
	}},
	{"the last of a key", func(c *check) {
		until := time.Now().Add(time.Hour)
		c.keep()
		c.keep(chat.Kept{Key: "a", Value: []byte("1"), Until: until}, chat.Kept{Key: "b", Value: []byte("1"), Until: until})
		c.keep(chat.Kept{Key: "b", Value: []byte("2"), Until: until}, chat.Kept{Key: "a", Value: []byte("2"), Until: until}, chat.Kept{Key: "b", Value: []byte("3"), Until: until})
		c.take("a", []byte("2"))
		c.take("b", []byte("3"))
		c.take("a", nil)
	}},
	{"until it is over", func(c *check) {
		now := time.Now()
		live, over := now.Add(time.Hour), now.Add(-time.Second)
		c.keep(chat.Kept{Key: "a", Value: []byte("1"), Until: live}, chat.Kept{Key: "b", Value: []byte("1"), Until: over}, chat.Kept{Key: "c", Value: []byte("1"), Until: over})
		c.take("b", nil)
		c.keep(chat.Kept{Key: "a", Value: []byte("2"), Until: over}, chat.Kept{Key: "b", Value: []byte("2"), Until: live})
		c.take("a", nil)
		c.take("b", []byte("2"))
		c.take("c", nil)
	}},
	{"many, of which one caller gets each", func(c *check) {
		keeper := needs[chat.Keeper](c)
		values := kept(300)
		over := kept(600)[len(values):]
		for i := range over {
			over[i].Until = time.Now().Add(-time.Second)
		}
		c.keep(append(over, values...)...)
		var got atomic.Int32
		var all sync.WaitGroup
		for w := range 4 {
			all.Go(func() {
				for i := range values {
					if w%2 == 1 {
						i = len(values) - 1 - i
					}
					value, err := keeper.Take(c.ctx, values[i].Key)
					if err != nil || value != nil && !bytes.Equal(value, values[i].Value) {
						c.Errorf("Take: %.100q, %v", value, err)
					}
					if value != nil {
						got.Add(1)
					}
				}
			})
		}
		all.Wait()
		if n := got.Load(); int(n) != len(values) {
			c.Errorf("%d values were taken of %d", n, len(values))
		}
	}},
	{"by several at once", func(c *check) {
		keeper := needs[chat.Keeper](c)
		values := kept(100)
		backwards := slices.Clone(values)
		slices.Reverse(backwards)
		var all sync.WaitGroup
		for w := range 6 {
			all.Go(func() {
				if err := keeper.Keep(c.ctx, [][]chat.Kept{values, backwards}[w%2]); err != nil {
					c.Errorf("Keep: %v", err)
				}
			})
		}
		all.Wait()
		for _, v := range values {
			c.take(v.Key, v.Value)
		}
	}},
	{"a ctx that has ended", func(c *check) {
		keeper := needs[chat.Keeper](c)
		values := kept(2)
		c.keep(values[0])
		ctx, cancel := context.WithCancel(c.ctx)
		cancel()
		if err := keeper.Keep(ctx, values[1:]); err == nil {
			c.Error("Keep: no error")
		}
		if _, err := keeper.Take(ctx, values[0].Key); err == nil {
			c.Error("Take: no error")
		}
		c.take(values[0].Key, values[0].Value)
		c.take(values[1].Key, nil)
	}},
}
