package clustertest

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/parleychat/chat"
)

func (c *check) mark(r *recorder, marks ...chat.Mark) {
	c.Helper()
	c.must(r.cluster.Mark(c.ctx(), marks))
}

// marks checks what one node reads of a key; Node of want is a tag.
func (c *check) marks(r *recorder, key string, want ...chat.Mark) {
	c.Helper()
	got, err := r.cluster.Marks(c.ctx(), key)
	c.must(err)
	for i := range want {
		want[i].Node += ".1"
		want[i].Key = key
	}
	order := func(a, b chat.Mark) int { return cmp.Or(cmp.Compare(a.Field, b.Field), cmp.Compare(a.Node, b.Node)) }
	slices.SortFunc(got, order)
	slices.SortFunc(want, order)
	if !slices.Equal(got, want) {
		c.Errorf("marks of %.50q: %.300v, want %.300v", key, got, want)
	}
}

var markTests = []test{
	{"marks are set, replaced and removed", func(c *check) {
		nodes := c.join(2)
		a, b := nodes[0], nodes[1]
		tag := a.self.Tag
		c.marks(b, "room")
		c.mark(a, chat.Mark{Key: "room", Field: "ann", Value: "1"}, chat.Mark{Key: "room", Field: "bob"}, chat.Mark{Key: "other", Field: "ann"})
		c.marks(b, "room", chat.Mark{Field: "ann", Value: "1", Node: tag}, chat.Mark{Field: "bob", Node: tag})
		c.marks(a, "room", chat.Mark{Field: "ann", Value: "1", Node: tag}, chat.Mark{Field: "bob", Node: tag})
		c.mark(a, chat.Mark{Key: "room", Field: "ann", Value: "2"}, chat.Mark{Key: "room", Field: "bob", Off: true})
		c.marks(b, "room", chat.Mark{Field: "ann", Value: "2", Node: tag})
		c.mark(a, chat.Mark{Key: "room", Field: "ann", Off: true}, chat.Mark{Key: "room", Field: "never", Off: true})
		c.marks(b, "room")
		c.marks(b, "other", chat.Mark{Field: "ann", Node: tag})
	}},
	{"the last of a batch counts", func(c *check) {
		a := c.join(1)[0]
		c.mark(a, chat.Mark{Key: "k", Field: "x"}, chat.Mark{Key: "k", Field: "x", Off: true}, chat.Mark{Key: "k", Field: "y", Off: true}, chat.Mark{Key: "k", Field: "y", Value: "v"})
		c.marks(a, "k", chat.Mark{Field: "y", Value: "v", Node: a.self.Tag})
	}},
	{"nodes mark the same field", func(c *check) {
		nodes := c.join(3)
		var want []chat.Mark
		for _, r := range nodes {
			c.mark(r, chat.Mark{Key: "room", Field: "ann", Value: r.self.Tag})
			want = append(want, chat.Mark{Field: "ann", Value: r.self.Tag, Node: r.self.Tag})
		}
		c.marks(nodes[0], "room", slices.Clone(want)...)
		c.mark(nodes[1], chat.Mark{Key: "room", Field: "ann", Off: true})
		c.marks(nodes[2], "room", want[0], want[2])
	}},
	{"marks of a node that leaves are gone", func(c *check) {
		nodes := c.join(3)
		a, b, gone := nodes[0], nodes[1], nodes[2]
		for i := range 50 {
			c.mark(gone, chat.Mark{Key: fmt.Sprint("room", i), Field: "ann"})
		}
		c.mark(b, chat.Mark{Key: "room1", Field: "bob"})
		c.leave(gone)
		a.until("Down", func() bool { return len(a.downs) == 1 })
		c.marks(a, "room0")
		c.marks(a, "room1", chat.Mark{Field: "bob", Node: b.self.Tag})
	}},
	{"keys, fields and values are any bytes", func(c *check) {
		nodes := c.join(2)
		var marks []chat.Mark
		for _, s := range []string{"", "\x00", "a\x00b", "a b\n", "{tag}:*?[x]", "é\xff\xfe", string(octets()), strings.Repeat("k", 600)} {
			marks = append(marks, chat.Mark{Key: s, Field: s + "1", Value: s}, chat.Mark{Key: s, Field: "2" + s, Value: s + s})
		}
		c.mark(nodes[0], marks...)
		for i := 0; i < len(marks); i += 2 {
			want := slices.Clone(marks[i : i+2])
			want[0].Node, want[1].Node = nodes[0].self.Tag, nodes[0].self.Tag
			c.marks(nodes[1], marks[i].Key, want...)
		}
	}},
	{"many marks", func(c *check) {
		nodes := c.join(2)
		var marks, want []chat.Mark
		for i := range 3000 {
			m := chat.Mark{Key: "big", Field: fmt.Sprint("user", i), Value: "v"}
			marks = append(marks, m)
			m.Node = nodes[0].self.Tag
			want = append(want, m)
		}
		for i := range 2000 {
			marks = append(marks, chat.Mark{Key: fmt.Sprint("small", i), Field: "ann", Value: "v"})
		}
		c.mark(nodes[0], marks...)
		c.marks(nodes[1], "big", want...)
		c.marks(nodes[1], "small1999", chat.Mark{Field: "ann", Value: "v", Node: nodes[0].self.Tag})
	}},
}

func (c *check) keep(r *recorder, key, value string, d time.Duration) {
	c.Helper()
	c.must(r.cluster.Keep(c.ctx(), []chat.Kept{{Key: key, Value: []byte(value), Until: time.Now().Add(d)}}))
}

func (c *check) take(r *recorder, key, want string) {
	c.Helper()
	got, err := r.cluster.Take(c.ctx(), key)
	if err != nil || string(got) != want || (got == nil) != (want == "") {
		c.Errorf("Take(%q) = %q, %v; want %q", key, got, err, want)
	}
}

var keepTests = []test{
	{"what is kept is taken once", func(c *check) {
		nodes := c.join(3)
		c.take(nodes[0], "key", "")
		c.keep(nodes[0], "key", string(octets()), time.Minute)
		var all sync.WaitGroup
		var mu sync.Mutex
		var taken [][]byte
		for i := range 12 {
			all.Go(func() {
				value, err := nodes[i%3].cluster.Take(c.ctx(), "key")
				if err != nil {
					c.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				if value != nil {
					taken = append(taken, value)
				}
			})
		}
		all.Wait()
		if len(taken) != 1 || !bytes.Equal(taken[0], octets()) {
			c.Errorf("taken: %q", taken)
		}
		c.take(nodes[1], "key", "")
	}},
	{"what is kept is replaced", func(c *check) {
		nodes := c.join(2)
		c.keep(nodes[0], "key", "one", time.Minute)
		c.keep(nodes[1], "key", "two", time.Minute)
		c.take(nodes[0], "key", "two")
	}},
	{"what is kept outlives its node", func(c *check) {
		nodes := c.join(2)
		a, b := nodes[0], nodes[1]
		c.keep(b, "key", "value", time.Minute)
		c.leave(b)
		c.take(a, "key", "value")
	}},
	{"what is kept is over in time", func(c *check) {
		a := c.join(1)[0]
		c.must(a.cluster.Keep(c.ctx(), []chat.Kept{
			{Key: "over", Value: []byte("v"), Until: time.Now().Add(-time.Second)},
			{Key: "soon", Value: []byte("v"), Until: time.Now().Add(time.Millisecond)},
			{Key: "stays", Value: []byte("v"), Until: time.Now().Add(time.Hour)},
		}))
		c.take(a, "over", "")
		<-time.After(50 * time.Millisecond)
		c.take(a, "soon", "")
		c.take(a, "stays", "v")
	}},
	{"many are kept", func(c *check) {
		nodes := c.join(2)
		var values []chat.Kept
		for i := range 2000 {
			values = append(values, chat.Kept{Key: fmt.Sprint("key", i), Value: bytes.Repeat([]byte{byte(i)}, 500), Until: time.Now().Add(time.Minute)})
		}
		c.must(nodes[0].cluster.Keep(c.ctx(), values))
		c.take(nodes[1], "key1999", string(values[1999].Value))
	}},
}
