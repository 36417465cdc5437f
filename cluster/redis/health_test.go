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
