package redis

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/parleychat/chat"
)

// talk writes down what a handler is told of Redis.
type talk struct {
	chat.ClusterHandler
	lines []string
}

func (h *talk) Away(error) { h.lines = append(h.lines, "away") }
func (h *talk) Back()      { h.lines = append(h.lines, "back") }

func (h *talk) expect(t *testing.T, want ...string) {
	t.Helper()
	if !slices.Equal(h.lines, want) {
		t.Fatalf("%q, want %q", h.lines, want)
	}
}

// unasked is a Cluster whose Redis is not asked for anything.
func unasked(t *testing.T) *Cluster {
	t.Helper()
	client := redis.NewClient(&redis.Options{}) // it has goroutines
	c, err := New(client)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.closed()
		_ = client.Close()
	})
	return c
}

// Readers that work again before the next beat must not say that all is well: the lease may be over.
func TestBackWaitsForTheLease(t *testing.T) {
	t.Parallel()
	c := unasked(t)
	synctest.Test(t, func(t *testing.T) {
		h := &talk{}
		c.h = h
		c.health.init([]string{partSetup, partListen, partLease})
		c.works(partSetup)
		c.works(partListen)
		c.holds(told{asked: time.Now()})
		gone := errors.New("gone")
		expect := func(want ...string) {
			t.Helper()
			h.expect(t, want...)
		}
		c.fails(partListen, gone)
		time.Sleep(c.set.lease - time.Nanosecond)
		c.works(partListen)
		expect("away", "back")

		c.fails(partListen, gone)
		time.Sleep(time.Nanosecond)
		c.works(partListen)
		expect("away", "back", "away")
		c.holds(told{asked: time.Now()})
		expect("away", "back", "away", "back")
	})
}

// A break that is mended before Redis counts as away is told once all that it has torn works again: something may be lost.
func TestBackAfterAShortBreak(t *testing.T) {
	t.Parallel()
	c := unasked(t)
	h := &talk{}
	c.h = h
	first, second := partReader(0), partReader(1)
	c.health.init([]string{first, second, partLease})
	c.holds(told{asked: time.Now()})
	c.tears(second) // it has yet to begin
	c.works(first)
	c.works(second)
	c.works(first)
	h.expect(t) // nothing was torn
	c.tears(first)
	c.tears(second)
	c.tears(first)
	c.works(second)
	h.expect(t) // a reader is torn
	c.works(first)
	c.works(first)
	h.expect(t, "back")
	// Nor before the lease is known to go on.
	c.tears(first)
	c.health.ends = time.Now().Add(-time.Second)
	c.works(first)
	h.expect(t, "back") // the lease may be over
	c.holds(told{asked: time.Now()})
	h.expect(t, "back", "back")
}
