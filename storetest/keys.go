package storetest

import "github.com/parleychat/chat"

var keyTests = []test{
	{"a repeated key gives the first record back", func(c *check) {
		first := c.append(c.texts(room, "ann", 0, 3)...)
		again := c.entry(room, "ann", "k1", "another text")
		s := c.append(again)[0]
		if !s.Repeated {
			c.Fatal("not repeated")
		}
		c.same("the repeat's record", s.Entry, first[1].Entry)
		c.dense(c.all(space, room), 1, 3)
		c.bounds(space, room, 1, 3)
		if s := c.append(c.entry(room, "ann", "k3", "next"))[0]; s.Entry.Seq != 4 || s.Repeated {
			c.Errorf("the next one: seq %d, repeated %t", s.Entry.Seq, s.Repeated)
		}
	}},
	{"repeats within a batch", func(c *check) {
		a, b, a2, d, b2, a3 := c.entry(room, "ann", "a", "1"), c.entry(room, "ann", "b", "2"), c.entry(room, "ann", "a", "3"),
			c.entry(room, "ann", "d", "4"), c.entry(room, "ann", "b", "5"), c.entry(room, "ann", "a", "6")
		s := c.append(a, b, a2, d, b2, a3)
		for i, want := range []struct {
			seq      uint64
			repeated bool
		}{{1, false}, {2, false}, {1, true}, {3, false}, {2, true}, {1, true}} {
			if s[i].Entry.Seq != want.seq || s[i].Repeated != want.repeated {
				c.Errorf("entry %d: seq %d, repeated %t; want %+v", i, s[i].Entry.Seq, s[i].Repeated, want)
			}
		}
		c.same("the repeat's record", s[5].Entry, s[0].Entry)
		c.dense(c.all(space, room), 1, 3)
	}},
	{"a batch of repeats and new ones", func(c *check) {
		c.append(c.texts(room, "ann", 0, 10)...)
		s := c.append(c.texts(room, "ann", 5, 10)...)
		for i := range s {
			if s[i].Repeated != (i < 5) || s[i].Entry.Seq != uint64(6+i) {
				c.Errorf("entry %d: seq %d, repeated %t", i, s[i].Entry.Seq, s[i].Repeated)
			}
		}
		c.dense(c.all(space, room), 1, 15)
	}},
	{"a batch of nothing but repeats", func(c *check) {
		c.append(c.texts(room, "ann", 0, 3)...)
		for _, s := range c.append(c.texts(room, "ann", 0, 3)...) {
			if !s.Repeated {
				c.Errorf("saved anew: %s", show(s.Entry))
			}
		}
		c.bounds(space, room, 1, 3)
	}},
	{"keys are per namespace, room and user", func(c *check) {
		other := c.entry(room, "ann", "k", "in another namespace")
		other.Namespace = "/other"
		batch := []chat.Entry{
			c.entry(room, "ann", "k", "one"), other, c.entry("kitchen", "ann", "k", "in another room"),
			c.entry(room, "bob", "k", "by another"), c.entry(room, "", "k", "by nobody"), c.entry(room, "ann", "K", "in capitals"),
		}
		for i, s := range c.append(batch...) {
			if s.Repeated {
				c.Errorf("%q is taken for a repeat", batch[i].Text)
			}
		}
		for i, s := range c.append(batch...) {
			if !s.Repeated || s.Entry.Text != batch[i].Text {
				c.Errorf("%q again: repeated %t, %q", batch[i].Text, s.Repeated, s.Entry.Text)
			}
		}
	}},
	{"an empty key never repeats", func(c *check) {
		for range 2 {
			for _, s := range c.append(c.entry(room, "ann", "", "x"), c.entry(room, "ann", "", "x")) {
				if s.Repeated {
					c.Error("repeated")
				}
			}
		}
		c.dense(c.all(space, room), 1, 4)
	}},
}
