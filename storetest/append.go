package storetest

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/parleychat/chat"
)

var appendTests = []test{
	{"nothing", func(c *check) {
		c.append()
		c.bounds(space, room, 0, 0)
	}},
	{"seq is dense from 1 in the order of the slice", func(c *check) {
		var want uint64
		for _, n := range []int{1, 2, 16, 1, 200} {
			for _, s := range c.append(c.texts(room, "ann", int(want), n)...) {
				if want++; s.Entry.Seq != want || s.Repeated {
					c.Fatalf("seq %d, repeated %t; want %d", s.Entry.Seq, s.Repeated, want)
				}
			}
			c.bounds(space, room, 1, want)
		}
		log := c.all(space, room)
		c.dense(log, 1, want)
		for i := range log {
			if log[i].Text != fmt.Sprint(i) {
				c.Fatalf("seq %d has the text %q, want %d", log[i].Seq, log[i].Text, i)
			}
		}
	}},
	{"rooms and namespaces count by themselves", func(c *check) {
		var batch []chat.Entry
		for i := range 40 {
			e := c.entry(fmt.Sprint("room", i%4), "ann", "", fmt.Sprint(i))
			if i%3 == 0 {
				e.Namespace = "/other"
			}
			batch = append(batch, e)
		}
		last := map[string]uint64{}
		for range 2 {
			for i, s := range c.append(batch...) {
				name := s.Entry.Namespace + s.Entry.Room
				if last[name]++; s.Entry.Seq != last[name] {
					c.Fatalf("entry %d has seq %d in %s, want %d", i, s.Entry.Seq, name, last[name])
				}
			}
		}
		for _, ns := range []string{space, "/other"} {
			for i := range 4 {
				name := fmt.Sprint("room", i)
				log := c.all(ns, name)
				c.dense(log, 1, last[ns+name])
				c.bounds(ns, name, 1, last[ns+name])
				for _, e := range log {
					if e.Namespace != ns || e.Room != name {
						c.Errorf("an entry of %s %s is in the log of %s %s", e.Namespace, e.Room, ns, name)
					}
				}
			}
		}
	}},
	{"names are told apart by every byte", func(c *check) {
		for _, name := range []string{"a", "A", "a.", "a:b", "ab"} {
			c.append(c.entry(name, "ann", "k", name))
		}
		c.bounds(space, "a", 1, 1)
		c.bounds(space, "A", 1, 1)
	}},
	{"a ctx that has ended saves nothing", func(c *check) {
		c.append(c.entry(room, "ann", "", "before"))
		ctx, cancel := context.WithCancel(c.ctx)
		cancel()
		if _, err := c.store.Append(ctx, c.texts(room, "ann", 0, 3)); err == nil {
			c.Error("Append took a ctx that has ended")
		}
		c.bounds(space, room, 1, 1)
		c.dense(c.all(space, room), 1, 1)
		if s := c.append(c.entry(room, "ann", "k0", "after")); s[0].Repeated || s[0].Entry.Seq != 2 {
			c.Errorf("after it: %+v", s[0])
		}
	}},
	{"the time is the store's", func(c *check) {
		before := time.Now().Add(-time.Minute)
		e := c.entry(room, "ann", "", "x")
		e.Timestamp, e.Seq = time.Unix(1, 0), 77
		s := c.append(e)[0].Entry
		checkTime(c, s.Timestamp)
		if s.Timestamp.Before(before) || s.Timestamp.After(time.Now().Add(time.Minute)) || s.Seq != 1 {
			c.Errorf("time %v, seq %d", s.Timestamp, s.Seq)
		}
	}},
}

var concurrencyTests = []test{
	{"8 appenders", func(c *check) { c.appenders(8, 30, 4, "") }},
	{"8 appenders of overlapping batches over 3 rooms", func(c *check) { c.appenders(8, 15, 6, "spread") }},
	{"8 senders of the same messages", func(c *check) {
		batch := c.texts(room, "ann", 0, 20)
		var all sync.WaitGroup
		results := make([][]chat.Appended, 8)
		for i := range results {
			mine := append([]chat.Entry(nil), batch...)
			for j := range mine {
				mine[j].ID = fmt.Sprintf("%s-%d", mine[j].ID, i)
			}
			all.Go(func() { results[i], _ = c.store.Append(c.ctx, mine) })
		}
		all.Wait()
		c.dense(c.all(space, room), 1, 20)
		for j := range batch {
			first := 0
			for i := range results {
				if len(results[i]) != len(batch) {
					c.Fatalf("sender %d has %d answers", i, len(results[i]))
				}
				if results[i][j].Entry.ID != results[0][j].Entry.ID {
					c.Errorf("message %d has two records", j)
				}
				if !results[i][j].Repeated {
					first++
				}
			}
			if first != 1 {
				c.Errorf("message %d was saved anew %d times", j, first)
			}
		}
	}},
	{"readers beside appenders", func(c *check) {
		ctx, cancel := context.WithCancel(c.ctx)
		var readers sync.WaitGroup
		for range 2 {
			readers.Go(func() {
				for ctx.Err() == nil {
					_, last, err := c.store.Bounds(c.ctx, space, room)
					if err != nil {
						c.Errorf("Bounds: %v", err)
						return
					}
					entries, _, err := c.store.Page(c.ctx, chat.PageQuery{Namespace: space, Room: room, Limit: 50})
					if err != nil {
						c.Errorf("Page: %v", err)
						return
					}
					for i := 1; i < len(entries); i++ {
						if entries[i].Seq != entries[i-1].Seq+1 {
							c.Errorf("seq %d after %d", entries[i].Seq, entries[i-1].Seq)
						}
					}
					if n := len(entries); n > 0 && entries[n-1].Seq < last {
						c.Errorf("the newest page ends at %d, before the %d of Bounds", entries[n-1].Seq, last)
					}
				}
			})
		}
		c.appenders(4, 20, 2, "")
		cancel()
		readers.Wait()
	}},
}

// appenders has many append at once, and checks that nothing is lost, doubled or out of each one's own order.
func (c *check) appenders(many, batches, size int, spread string) {
	rooms := []string{room}
	if spread != "" {
		rooms = []string{"c", "a", "b"}
	}
	var all sync.WaitGroup
	for w := range many {
		user := fmt.Sprint("user", w)
		var queue [][]chat.Entry
		for b := range batches {
			batch := c.texts("", user, b*size, size)
			for i := range batch {
				batch[i].Room = rooms[(w+i)%len(rooms)] // each worker begins with another room
			}
			queue = append(queue, batch)
		}
		all.Go(func() {
			for _, batch := range queue {
				if saved, err := c.store.Append(c.ctx, batch); err != nil || len(saved) != len(batch) {
					c.Errorf("Append: %d answers, %v", len(saved), err)
				}
			}
		})
	}
	all.Wait()
	if c.Failed() {
		return
	}
	total := 0
	for _, r := range rooms {
		log := c.all(space, r)
		if total += len(log); len(log) == 0 {
			continue
		}
		c.dense(log, 1, uint64(len(log)))
		next, ids := map[string]int{}, map[string]bool{}
		for _, e := range log {
			var n int
			if _, err := fmt.Sscan(e.Text, &n); err != nil || n < next[e.UserID] || ids[e.ID] {
				c.Fatalf("%s: %s comes after %d (%v)", r, show(e), next[e.UserID], err)
			}
			next[e.UserID], ids[e.ID] = n+1, true
		}
	}
	if total != many*batches*size {
		c.Errorf("%d entries, want %d", total, many*batches*size)
	}
}
