package storetest

import (
	"fmt"
	"math"

	"github.com/parleychat/chat"
)

var pageTests = []test{
	{"a room that nobody wrote in", func(c *check) {
		c.append(c.entry("kitchen", "ann", "", "x"))
		for _, q := range []chat.PageQuery{{}, {After: at(0)}, {After: at(5)}, {Before: at(0)}, {Before: at(5)}} {
			q.Namespace, q.Room, q.Limit = space, room, 10
			if entries, more := c.page(q); len(entries) != 0 || more {
				c.Errorf("%s: %d entries, more %t", showQuery(q), len(entries), more)
			}
		}
		c.bounds(space, room, 0, 0)
		c.bounds("/other", "kitchen", 0, 0)
	}},
	{"every direction and edge", func(c *check) {
		c.append(c.texts(room, "ann", 1, 10)...)
		c.append(c.texts("kitchen", "ann", 1, 20)...) // neighbours must not show
		c.append(c.texts("attic", "ann", 1, 20)...)
		c.pages(1, 10)
	}},
	{"one entry", func(c *check) {
		c.append(c.entry(room, "ann", "", "1"))
		c.pages(1, 1)
	}},
}

// pages asks for every page of a room that holds first to last.
func (c *check) pages(first, last uint64) {
	c.Helper()
	for _, limit := range []int{1, 2, 3, int(last - first), int(last-first) + 1, int(last-first) + 2, 200} {
		if limit == 0 {
			continue
		}
		c.expect(chat.PageQuery{Limit: limit}, newest(first, last, limit))
		for _, n := range []uint64{0, 1, 2, first - 1, first, first + 1, last - 1, last, last + 1, last + 100, math.MaxInt64, math.MaxUint64} {
			if n > math.MaxUint64/2 && n != math.MaxInt64 && n != math.MaxUint64 {
				continue // first-1 or last-1 of nothing
			}
			after := span{first, last, false}
			if n >= first {
				after.from = min(n, last) + 1
			}
			if after.to-after.from+1 > uint64(limit) && after.from <= after.to {
				after.to, after.more = after.from+uint64(limit)-1, true
			}
			c.expect(chat.PageQuery{After: at(n), Limit: limit}, after)
			before := span{first, 0, false}
			if n > first {
				before = newest(first, min(n-1, last), limit)
			}
			c.expect(chat.PageQuery{Before: at(n), Limit: limit}, before)
		}
	}
}

// span is what a page holds, nothing where to is less than from.
type span struct {
	from, to uint64
	more     bool
}

func newest(first, last uint64, limit int) span {
	if last-first+1 > uint64(limit) {
		return span{last - uint64(limit) + 1, last, true}
	}
	return span{first, last, false}
}

func (c *check) expect(q chat.PageQuery, want span) {
	c.Helper()
	q.Namespace, q.Room = space, room
	entries, more := c.page(q)
	n := uint64(0)
	if want.to >= want.from {
		n = want.to - want.from + 1
	}
	if uint64(len(entries)) != n || more != want.more {
		c.Fatalf("%s: %d entries, more %t; want %+v", showQuery(q), len(entries), more, want)
	}
	for i, e := range entries {
		if e.Seq != want.from+uint64(i) || e.Text != fmt.Sprint(e.Seq) {
			c.Fatalf("%s: entry %d is %s; want %+v", showQuery(q), i, show(e), want)
		}
	}
}

func at(n uint64) *uint64 { return &n }

func showQuery(q chat.PageQuery) string {
	switch {
	case q.After != nil:
		return fmt.Sprintf("after %d, limit %d", *q.After, q.Limit)
	case q.Before != nil:
		return fmt.Sprintf("before %d, limit %d", *q.Before, q.Limit)
	}
	return fmt.Sprintf("newest, limit %d", q.Limit)
}
