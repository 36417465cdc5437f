// Package storetest is what every chat.Store is held to: those of this module and a host's own.
package storetest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/parleychat/chat"
)

// Run tests a Store, and the optional interfaces that it has. newStore gives an empty store at each call, ends it with t.Cleanup, and
// is called from several tests at once. Tests of an interface that the store does not have are skipped.
func Run(t *testing.T, newStore func(t *testing.T) chat.Store) {
	t.Helper()
	for _, group := range []struct {
		name  string
		tests []test
	}{
		{"Append", appendTests}, {"Keys", keyTests}, {"Fields", fieldTests}, {"Page", pageTests}, {"Concurrency", concurrencyTests},
		{"Trimmer", trimTests}, {"Eraser", eraseTests}, {"Exporter", exportTests}, {"Revoker", revokeTests}, {"Keeper", keepTests},
	} {
		t.Run(group.name, func(t *testing.T) {
			t.Parallel()
			for _, c := range group.tests {
				t.Run(c.name, func(t *testing.T) {
					t.Parallel()
					c.run(&check{T: t, ctx: t.Context(), store: newStore(t)})
				})
			}
		})
	}
}

type test struct {
	name string
	run  func(*check)
}

// check is a test of one store.
type check struct {
	*testing.T
	ctx   context.Context
	store chat.Store
	ids   int
}

const (
	space = "/"
	room  = "lobby"
)

// entry makes a message as the Hub would.
func (c *check) entry(room, user, key, text string) chat.Entry {
	c.ids++
	return chat.Entry{
		Kind: chat.KindMessage, Namespace: space, Room: room, UserID: user, SID: "sid-" + user, Text: text, MessageID: key,
		ID: fmt.Sprintf("0190a0de-0000-7000-8000-%012d", c.ids),
	}
}

// texts makes n messages of a room and user, "from" to "from+n-1", with keys "k"+text.
func (c *check) texts(room, user string, from, n int) []chat.Entry {
	entries := make([]chat.Entry, n)
	for i := range entries {
		text := fmt.Sprint(from + i)
		entries[i] = c.entry(room, user, "k"+text, text)
	}
	return entries
}

// append saves entries, and checks that the store's answer is about them and in their order.
func (c *check) append(entries ...chat.Entry) []chat.Appended {
	c.Helper()
	saved, err := c.store.Append(c.ctx, entries)
	if err != nil {
		c.Fatalf("Append: %v", err)
	}
	if len(saved) != len(entries) {
		c.Fatalf("Append of %d entries answered %d", len(entries), len(saved))
	}
	for i, s := range saved {
		if s.Entry.Namespace != entries[i].Namespace || s.Entry.Room != entries[i].Room {
			c.Fatalf("answer %d is of %s %s, asked for %s %s", i, s.Entry.Namespace, s.Entry.Room, entries[i].Namespace, entries[i].Room)
		}
		if !s.Repeated && s.Entry.ID != entries[i].ID {
			c.Fatalf("answer %d has the id %q, asked for %q", i, s.Entry.ID, entries[i].ID)
		}
	}
	return saved
}

func (c *check) page(q chat.PageQuery) ([]chat.Entry, bool) {
	c.Helper()
	entries, more, err := c.store.Page(c.ctx, q)
	if err != nil {
		c.Fatalf("Page: %v", err)
	}
	return entries, more
}

// all reads a room's whole log, by pages from the start.
func (c *check) all(namespace, room string) []chat.Entry {
	c.Helper()
	var log []chat.Entry
	for after := uint64(0); ; {
		entries, more := c.page(chat.PageQuery{Namespace: namespace, Room: room, After: &after, Limit: 100})
		log = append(log, entries...)
		if !more {
			return log
		}
		if len(entries) == 0 {
			c.Fatal("an empty page with more after it")
		}
		after = entries[len(entries)-1].Seq
	}
}

func (c *check) bounds(namespace, room string, first, last uint64) {
	c.Helper()
	f, l, err := c.store.Bounds(c.ctx, namespace, room)
	if err != nil {
		c.Fatalf("Bounds: %v", err)
	}
	if f != first || l != last {
		c.Errorf("Bounds of %s %s: %d, %d; want %d, %d", namespace, room, f, l, first, last)
	}
}

// dense checks that a log has the seqs first to last, each once and in order.
func (c *check) dense(log []chat.Entry, first, last uint64) {
	c.Helper()
	if uint64(len(log)) != last-first+1 {
		c.Fatalf("%d entries, want those from %d to %d", len(log), first, last)
	}
	for i := range log {
		if log[i].Seq != first+uint64(i) {
			c.Fatalf("entry %d has seq %d, want %d", i, log[i].Seq, first+uint64(i))
		}
	}
}

// same checks all fields.
func (c *check) same(what string, got, want chat.Entry) {
	c.Helper()
	if !got.Timestamp.Equal(want.Timestamp) || !bytes.Equal(got.Meta, want.Meta) || (got.Meta == nil) != (want.Meta == nil) {
		c.Fatalf("%s:\n got %s\nwant %s", what, show(got), show(want))
	}
	checkTime(c, got.Timestamp)
	got.Timestamp, want.Timestamp = time.Time{}, time.Time{}
	got.Meta, want.Meta = nil, nil
	if fmt.Sprintf("%#v", got) != fmt.Sprintf("%#v", want) {
		c.Fatalf("%s:\n got %s\nwant %s", what, show(got), show(want))
	}
}

func checkTime(c *check, t time.Time) {
	c.Helper()
	if t.Location() != time.UTC || t.Nanosecond()%int(time.Millisecond) != 0 {
		c.Fatalf("the time %v is not in UTC with whole milliseconds", t)
	}
}

func show(e chat.Entry) string {
	if len(e.Text) > 100 {
		e.Text = fmt.Sprintf("%.60q… (%d bytes)", e.Text, len(e.Text))
	}
	text, err := json.Marshal(e)
	if err != nil {
		return err.Error()
	}
	return e.Namespace + " " + string(text)
}
