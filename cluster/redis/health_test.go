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

// Readers that work again before the next beat must not say that all is well: the lease may be over.
func TestBackWaitsForTheLease(t *testing.T) {
	t.Parallel()
	client := redis.NewClient(&redis.Options{}) // it has goroutines, and is not asked for anything
	defer client.Close()
	c, err := New(client)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.closed() }()
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
			if !slices.Equal(h.lines, want) {
				t.Fatalf("%q, want %q", h.lines, want)
			}
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
	client := redis.NewClient(&redis.Options{})
	defer client.Close()
	c, err := New(client)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.closed() }()
	h := &talk{}
	c.h = h
	first, second := partReader(0), partReader(1)
	c.health.init([]string{first, second, partLease})
	c.holds(told{asked: time.Now()})
	c.tears(second) // it has yet to begin
	c.works(first)
	c.works(second)
	c.works(first)
	if len(h.lines) > 0 {
		t.Fatalf("%q, and nothing was torn", h.lines)
	}
	c.tears(first)
	c.tears(second)
	c.tears(first)
	c.works(second)
	if len(h.lines) > 0 {
		t.Fatalf("%q, while a reader is torn", h.lines)
	}
	c.works(first)
	c.works(first)
	if !slices.Equal(h.lines, []string{"back"}) {
		t.Fatalf("%q", h.lines)
	}
	// Nor before the lease is known to go on.
	c.tears(first)
	c.health.ends = time.Now().Add(-time.Second)
	c.works(first)
	if !slices.Equal(h.lines, []string{"back"}) {
		t.Fatalf("%q, and the lease may be over", h.lines)
	}
	c.holds(told{asked: time.Now()})
	if !slices.Equal(h.lines, []string{"back", "back"}) {
		t.Fatalf("%q", h.lines)
	}
}
