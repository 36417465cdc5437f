package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/parleychat/chat"
)

// needs skips a test of what the store cannot.
func needs[T any](c *check) T {
	c.Helper()
	s, ok := c.store.(T)
	if !ok {
		c.Skipf("%T does not have it", c.store)
	}
	return s
}

func (c *check) trim(q chat.TrimQuery, want int) {
	c.Helper()
	q.Namespace = space
	n, err := needs[chat.Trimmer](c).Trim(c.ctx, q)
	if err != nil || n != want {
		c.Fatalf("Trim %+v: removed %d, %v; want %d", q, n, err, want)
	}
}

func (c *check) erase(user string, want int) {
	c.Helper()
	n, err := needs[chat.Eraser](c).EraseUser(c.ctx, user)
	if err != nil || n != want {
		c.Fatalf("EraseUser %q: %d, %v; want %d", user, n, err, want)
	}
}

var trimTests = []test{
	{"to the newest", func(c *check) {
		needs[chat.Trimmer](c)
		c.append(c.texts(room, "ann", 1, 20)...)
		c.append(c.texts("kitchen", "ann", 1, 20)...)
		c.trim(chat.TrimQuery{Room: room, Keep: 30}, 0)
		c.trim(chat.TrimQuery{Room: room, Keep: 20}, 0)
		c.trim(chat.TrimQuery{Room: room, Keep: 8}, 12)
		c.bounds(space, room, 13, 20)
		c.pages(13, 20)
		c.append(c.texts(room, "ann", 21, 2)...)
		c.pages(13, 22)
		c.dense(c.all(space, "kitchen"), 1, 20)
	}},
	{"by age", func(c *check) {
		needs[chat.Trimmer](c)
		c.append(c.texts(room, "ann", 1, 5)...)
		old := c.append(c.entry(room, "ann", "", "6"))[0].Entry.Timestamp
		for now := old; !now.After(old); { // the store's clock has to go on by a millisecond
			e := c.append(c.entry("clock", "ann", "", ""))[0].Entry
			now = e.Timestamp
		}
		young := c.append(c.entry(room, "ann", "k7", "7"))[0].Entry.Timestamp
		c.trim(chat.TrimQuery{Room: room, Before: old.Add(-time.Hour)}, 0)
		c.trim(chat.TrimQuery{Room: room, Before: young}, 6)
		c.pages(7, 7)
		c.bounds(space, room, 7, 7)
	}},
	{"by both, and by neither", func(c *check) {
		needs[chat.Trimmer](c)
		c.append(c.texts(room, "ann", 1, 10)...)
		c.trim(chat.TrimQuery{Room: room}, 0)
		c.trim(chat.TrimQuery{Room: room, Keep: -1}, 0)
		c.trim(chat.TrimQuery{Room: room, Keep: 7, Before: time.Now().Add(-time.Hour)}, 3)
		c.trim(chat.TrimQuery{Room: room, Keep: 7, Before: time.Now().Add(time.Hour)}, 7)
	}},
	{"all, and on from there", func(c *check) {
		needs[chat.Trimmer](c)
		c.append(c.texts(room, "ann", 1, 10)...)
		c.trim(chat.TrimQuery{Room: room, Before: time.Now().Add(time.Hour)}, 10)
		c.trim(chat.TrimQuery{Room: room, Before: time.Now().Add(time.Hour)}, 0)
		c.bounds(space, room, 11, 10)
		if entries, more := c.page(chat.PageQuery{Namespace: space, Room: room, Limit: 10}); len(entries) != 0 || more {
			c.Errorf("%d entries, more %t", len(entries), more)
		}
		if s := c.append(c.entry(room, "ann", "", "11"))[0]; s.Entry.Seq != 11 {
			c.Errorf("the next seq is %d", s.Entry.Seq)
		}
		c.pages(11, 11)
	}},
	{"many, in all rooms of a namespace", func(c *check) {
		needs[chat.Trimmer](c)
		for _, r := range []string{room, "kitchen"} {
			c.append(c.texts(r, "ann", 1, 2500)...)
		}
		other := c.entry(room, "ann", "", "1")
		other.Namespace = "/other"
		c.append(other, other)
		c.trim(chat.TrimQuery{Keep: 1}, 2*2499)
		c.bounds(space, room, 2500, 2500)
		c.bounds(space, "kitchen", 2500, 2500)
		c.bounds("/other", room, 1, 2)
	}},
	{"keys outlive their entries", func(c *check) {
		needs[chat.Trimmer](c)
		first := c.append(c.texts(room, "ann", 1, 4)...)[1].Entry
		c.trim(chat.TrimQuery{Room: room, Keep: 2}, 2)
		s := c.append(c.texts(room, "ann", 1, 5)...)
		for i := range s {
			if s[i].Repeated != (i < 4) || s[i].Entry.Deleted != (i < 2) || s[i].Entry.Seq != uint64(i+1) {
				c.Errorf("%d again: repeated %t, %s", i+1, s[i].Repeated, show(s[i].Entry))
			}
		}
		c.same("the stub", s[1].Entry, chat.Entry{
			Kind: first.Kind, Namespace: space, Room: room, Seq: 2, ID: first.ID, UserID: "ann", MessageID: "k2", Timestamp: first.Timestamp, Deleted: true,
		})
		c.pages(3, 5)
	}},
	{"names of rooms", func(c *check) {
		trimmer := needs[chat.Trimmer](c)
		other := c.entry("elsewhere", "ann", "", "1")
		other.Namespace = "/other"
		c.append(other, c.entry("b", "ann", "", "1"), c.entry("B", "ann", "", "1"), c.entry("a-1", "ann", "", "1"), c.entry("a", "ann", "", "1"))
		c.trim(chat.TrimQuery{Room: "b", Before: time.Now().Add(time.Hour)}, 1)
		for _, t := range []struct {
			after string
			limit int
			want  string
		}{{"", 10, "[B a a-1 b]"}, {"", 2, "[B a]"}, {"a", 2, "[a-1 b]"}, {"aa", 2, "[b]"}, {"b", 5, "[]"}} {
			if names, err := trimmer.Rooms(c.ctx, space, t.after, t.limit); err != nil || fmt.Sprint(names) != t.want {
				c.Errorf("%d after %q: %v, %v; want %s", t.limit, t.after, names, err, t.want)
			}
		}
	}},
	{"a room that nobody wrote in", func(c *check) {
		needs[chat.Trimmer](c)
		c.trim(chat.TrimQuery{Room: room, Keep: 1}, 0)
		c.bounds(space, room, 0, 0)
	}},
	{"beside appenders", func(c *check) {
		trimmer := needs[chat.Trimmer](c)
		var all sync.WaitGroup
		for w := range 4 {
			entries := c.texts(room, fmt.Sprint("user", w), 0, 50)
			all.Go(func() {
				for i := range entries {
					if s, err := c.store.Append(c.ctx, entries[i:i+1]); err != nil || s[0].Repeated {
						c.Errorf("Append: %v, %v", s, err)
					}
				}
			})
		}
		removed := 0
		for range 10 {
			n, err := trimmer.Trim(c.ctx, chat.TrimQuery{Namespace: space, Room: room, Keep: 5})
			if removed += n; err != nil {
				c.Errorf("Trim: %v", err)
			}
		}
		all.Wait()
		c.dense(c.all(space, room), uint64(removed)+1, 200)
		c.bounds(space, room, uint64(removed)+1, 200)
	}},
}

var eraseTests = []test{
	{"leaves tombstones", func(c *check) {
		needs[chat.Eraser](c)
		for i := range 3 {
			for _, user := range []string{"ann", "bob"} {
				e := c.entry([]string{room, "kitchen", room}[i], user, fmt.Sprint("k", i), "a secret")
				e.ReplyTo, e.Meta = "id", []byte(`{"a":"secret"}`)
				c.append(e)
			}
		}
		before := c.all(space, room)
		c.erase("ann", 3)
		c.erase("ann", 0)
		c.erase("", 0)
		after := c.all(space, room)
		c.dense(after, 1, 4)
		for i, was := range before {
			want := was
			if was.UserID == "ann" {
				want = chat.Entry{Kind: was.Kind, Namespace: was.Namespace, Room: was.Room, Seq: was.Seq, ID: was.ID, Timestamp: was.Timestamp, Deleted: true}
			}
			c.same("after the erasure", after[i], want)
		}
		s := c.append(c.entry(room, "ann", "k2", "the retry of a secret"))[0]
		if !s.Repeated {
			c.Fatal("a retry brings the text back")
		}
		c.same("the retry's record", s.Entry, after[2])
		c.bounds(space, room, 1, 4)
	}},
	{"more than one step", func(c *check) {
		needs[chat.Eraser](c)
		for i := range 6 {
			c.append(c.texts(room, "ann", i*200, 200)...)
			c.append(c.entry("kitchen", "ann", "", "x"))
			c.append(c.entry(room, "bob", "", "y"))
		}
		c.erase("ann", 1206)
		for _, e := range c.all(space, room) {
			if e.Deleted == (e.UserID == "bob") {
				c.Fatal(show(e))
			}
		}
	}},
	{"of what is trimmed then", func(c *check) {
		if _, ok := c.store.(chat.Trimmer); !ok {
			c.Skip("no Trimmer")
		}
		needs[chat.Eraser](c)
		first := c.append(c.texts(room, "ann", 1, 2)...)[0].Entry
		c.erase("ann", 2)
		c.trim(chat.TrimQuery{Room: room, Before: time.Now().Add(time.Hour)}, 2)
		s := c.append(c.entry(room, "ann", "k1", "again"))[0]
		if !s.Repeated || !s.Entry.Deleted || s.Entry.Seq != 1 || s.Entry.ID != first.ID || s.Entry.Text != "" || !s.Entry.Timestamp.Equal(first.Timestamp) {
			c.Errorf("the retry's record: repeated %t, %s", s.Repeated, show(s.Entry))
		}
	}},
}

var exportTests = []test{
	{"a user's entries, room by room", func(c *check) {
		x := needs[chat.Exporter](c)
		want := map[string]chat.Entry{}
		for i := range 3 {
			batch := append(c.texts(room, "ann", i*300, 300), c.entry(fmt.Sprint("room", i), "ann", "", "x"), c.entry(room, "bob", "", "y"))
			batch[300].Namespace = "/other"
			for _, s := range c.append(batch...) {
				if s.Entry.UserID == "ann" {
					want[s.Entry.ID] = s.Entry
				}
			}
		}
		var in string
		var seq uint64
		seen := map[string]bool{}
		err := x.ExportUser(c.ctx, "ann", func(e chat.Entry) error {
			c.same("exported", e, want[e.ID])
			delete(want, e.ID)
			if name := e.Namespace + " " + e.Room; name != in {
				if seen[name] {
					c.Errorf("%s comes twice", name)
				}
				in, seq, seen[name] = name, 0, true
			}
			if e.Seq <= seq {
				c.Errorf("%s: %d after %d", in, e.Seq, seq)
			}
			seq = e.Seq
			_, err := c.store.Append(c.ctx, []chat.Entry{{Kind: chat.KindMessage, Namespace: space, Room: "log", ID: e.ID}}) // nothing is locked
			return err
		})
		if err != nil || len(want) != 0 {
			c.Errorf("%v; %d entries are missing", err, len(want))
		}
	}},
	{"ends with yield's error, and with ctx", func(c *check) {
		x := needs[chat.Exporter](c)
		c.append(c.texts(room, "ann", 0, 3)...)
		stop, n := errors.New("stop"), 0
		err := x.ExportUser(c.ctx, "ann", func(chat.Entry) error { n++; return stop })
		if !errors.Is(err, stop) || n != 1 {
			c.Errorf("%v after %d", err, n)
		}
		ctx, cancel := context.WithCancel(c.ctx)
		cancel()
		if err := x.ExportUser(ctx, "ann", func(chat.Entry) error { return nil }); err == nil {
			c.Error("no error from a ctx that has ended")
		}
	}},
	{"of nobody and of what is erased", func(c *check) {
		x := needs[chat.Exporter](c)
		c.append(c.texts(room, "", 0, 3)...)
		c.append(c.texts(room, "ann", 0, 3)...)
		if _, ok := c.store.(chat.Eraser); ok {
			c.erase("ann", 3)
		}
		for _, user := range []string{"", "nobody", "an", "Ann"} {
			err := x.ExportUser(c.ctx, user, func(e chat.Entry) error { return errors.New(show(e)) })
			if err != nil {
				c.Errorf("%q: %v", user, err)
			}
		}
	}},
}
