package main

import (
	"math/rand/v2"
	"os"
	"reflect"
	"strconv"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// seedOf is CHAOS_SEED, or a new one; it is told either way.
func seedOf(t *testing.T) uint64 {
	t.Helper()
	text := os.Getenv("CHAOS_SEED")
	if text == "" {
		return rand.Uint64() & 0xffffffff
	}
	seed, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return seed
}

// The short form of the cut test: the same faults in closer order.
func TestCut(t *testing.T) {
	for _, store := range []string{"sqlite", "postgres"} {
		t.Run(store, func(t *testing.T) {
			trial := &trial{name: store, backend: store, seed: seedOf(t), rate: 40, lobby: 0.25, schedule: schedule{
				lasts: 22 * time.Second, groups: groupsCount, cutEvery: 7 * time.Second, cut: 2 * time.Second, kills: 2,
			}}
			if store == "postgres" {
				trial.schedule.restarts = 2
			}
			if _, err := trial.conduct(t.Output(), false); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestPlan(t *testing.T) {
	t.Parallel()
	s := schedule{lasts: 3 * time.Minute, groups: groupsCount, cutEvery: 10 * time.Second, cut: 2 * time.Second, kills: 6, restarts: 4}
	plan := s.plan(1)
	if !reflect.DeepEqual(plan, s.plan(1)) || reflect.DeepEqual(plan, s.plan(2)) {
		t.Error("a plan has to follow from its seed")
	}
	count := map[faultKind]int{}
	long := 0
	for _, f := range plan {
		count[f.kind]++
		if f.at < 0 || f.at > s.lasts || f.lasts < 0 {
			t.Errorf("%v at %v", f, f.at)
		}
		if f.lasts == longStall {
			long++
		}
	}
	if count[killFault] != 6 || count[dbFault] != 4 || count[cutFault] < 160 || count[stall] < 40 || long != 1 {
		t.Errorf("%v, %d long", count, long)
	}
}

func TestCast(t *testing.T) {
	t.Parallel()
	old, rooms, ways := 0, map[string]int{}, map[string]int{}
	for _, c := range cast(func(int) string { return "" }) {
		if c.Version == 2 {
			old++
		}
		for _, r := range c.Rooms {
			rooms[r]++
		}
		ways[strconv.Itoa(c.Version)+c.Transports[0]+strconv.Itoa(len(c.Transports))]++
	}
	if old != 10 || len(rooms) != 5 || len(ways) != 6 {
		t.Errorf("%d of 2.5, rooms %v, transports %v", old, rooms, ways)
	}
	for room, n := range rooms {
		if n < 10 {
			t.Errorf("%d in %s", n, room)
		}
	}
}

// The long form compares with Node's socket.io; that the pages can still talk to it is seen here, or it would come out after a quarter of an hour.
func TestPeer(t *testing.T) {
	trial := &trial{name: "node-quiet", backend: "node", seed: seedOf(t), rate: 40, lobby: 0.25, schedule: schedule{
		lasts: 4 * time.Second, groups: groupsCount, cutEvery: time.Minute, cut: 2 * time.Second,
	}}
	if _, err := trial.conduct(t.Output(), false); err != nil {
		t.Error(err)
	}
}
