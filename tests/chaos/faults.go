package main

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// A fault is planned before the run, from the seed alone.
type fault struct {
	at, lasts time.Duration
	kind      faultKind
	group     int         // of clients; of a stall and a cut
	ways      []direction // of a stall
	crash     bool
}

type faultKind int

const (
	cutFault  faultKind = iota // connections end, new ones are refused while it lasts
	stall                      // bytes do not flow while it lasts
	killFault                  // SIGKILL for the server; it lasts until the restart
	dbFault                    // the database stops, as an administrator or a crash does it; it lasts until its start
)

func (f fault) String() string {
	switch f.kind {
	case cutFault:
		return fmt.Sprintf("cut group %d for %v", f.group, f.lasts)
	case stall:
		way := "both ways"
		if len(f.ways) == 1 {
			way = [...]string{"to the server", "to the clients"}[f.ways[0]]
		}
		return fmt.Sprintf("stall group %d %s for %v", f.group, way, f.lasts)
	case killFault:
		return fmt.Sprintf("SIGKILL, restart after %v", f.lasts)
	default:
		how := "fast"
		if f.crash {
			how = "immediate"
		}
		return fmt.Sprintf("PostgreSQL: %s stop, start after %v", how, f.lasts)
	}
}

// A schedule is how many of which faults.
type schedule struct {
	lasts    time.Duration // the run
	groups   int
	cutEvery time.Duration // of each group, at times of its own
	cut      time.Duration
	orderly  bool // no connection stays open at the server after the client has lost it
	kills    int
	restarts int // of the database
}

// longStall is past the default heartbeat, 25 s and 20 s: both sides find the connection dead.
const longStall = 50 * time.Second

// plan spreads the faults over the run. Kills and the database's stops have a slot each, at any moment of it.
func (s schedule) plan(seed uint64) []fault {
	r := rand.New(rand.NewPCG(seed, 1))
	var plan []fault
	between := func(low, high time.Duration) time.Duration {
		return (low + time.Duration(r.Int64N(int64(high-low)+1))).Round(time.Millisecond)
	}
	both := []direction{toServer, toClient}
	silent := -1 // the group of the long stall, which is not cut meanwhile
	var from, to time.Duration
	if s.lasts > 2*longStall {
		silent, from = r.IntN(s.groups), between(s.lasts/6, s.lasts/3)
		to = from + longStall
		plan = append(plan, fault{at: from, lasts: longStall, kind: stall, group: silent, ways: both})
	}
	for g := range s.groups {
		for at := between(0, s.cutEvery); at < s.lasts-s.cut; at += s.cutEvery {
			if g == silent && at+s.cut > from && at < to {
				continue
			}
			plan = append(plan, fault{at: at, lasts: s.cut, kind: cutFault, group: g})
			f := fault{kind: stall, group: g, ways: [][]direction{both, {toServer}, {toClient}}[r.IntN(3)]}
			switch r.IntN(3) {
			case 0: // in between
				f.at, f.lasts = at+s.cut+between(0, s.cutEvery/2), between(100*time.Millisecond, s.cutEvery/2)
				plan = append(plan, f)
			case 1: // into the cut, which throws away what was held: messages and acks
				f.lasts = between(300*time.Millisecond, 3*time.Second)
				f.at = max(0, at-f.lasts)
				f.lasts = at - f.at + s.cut/4
				plan = append(plan, f)
			}
		}
	}
	plan = slices.DeleteFunc(plan, func(f fault) bool {
		intrudes := f.group == silent && f.lasts != longStall && f.at+f.lasts > from && f.at < to // its end would end the long stall
		return f.kind == stall && (intrudes || f.at > s.lasts)
	})
	for i := range s.kills {
		slot := s.lasts / time.Duration(s.kills)
		plan = append(plan, fault{at: time.Duration(i)*slot + between(slot/5, slot*4/5), lasts: between(0, 2*time.Second), kind: killFault})
	}
	for i := range s.restarts {
		slot := s.lasts / time.Duration(s.restarts)
		plan = append(plan, fault{
			at: time.Duration(i)*slot + between(slot/5, slot*4/5), lasts: between(300*time.Millisecond, 3*time.Second),
			kind: dbFault, crash: i%2 == 1,
		})
	}
	slices.SortStableFunc(plan, func(a, b fault) int { return cmp.Compare(a.at, b.at) })
	return plan
}
