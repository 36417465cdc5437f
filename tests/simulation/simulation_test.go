package simulation_test

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const mostFailures = 3 // after so many the run ends; FAILURES=n says otherwise

// all kinds of faults; WITHOUT=unknown,foreign leaves some out.
func faults() kinds {
	without := os.Getenv("WITHOUT")
	with := func(kind string) bool { return !strings.Contains(without, kind) }
	return kinds{unknown: with("unknown"), foreign: with("foreign"), cut: with("cut"), lose: with("lose"), kill: with("kill")}
}

func number(t *testing.T, name string, otherwise uint64) uint64 {
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// live runs a seed in a bubble.
func live(t *testing.T, seed uint64, k kinds, b bug, clustered bool) (f *failure, s stats, tail string) {
	defer func() {
		if p := recover(); p != nil { // a bubble that cannot end
			t.Errorf("seed %d: %v", seed, p)
			panic(fmt.Sprintf("seed %d: %v", seed, p))
		}
	}()
	synctest.Test(t, func(*testing.T) {
		w := newWorld(seed, k, b, clustered)
		f = w.run()
		s, tail = w.stats, w.last(1<<30)
	})
	return f, s, tail
}

// SEED=n runs one seed, and with -v prints its whole trace; SEEDS=n runs n of them, from FIRST on.
func TestSimulation(t *testing.T) { simulate(t, defaultSeeds, false) }

// TestCluster is the same with servers that are one cluster.
func TestCluster(t *testing.T) { simulate(t, clusterSeeds, true) }

func simulate(t *testing.T, seeds uint64, clustered bool) {
	if one := number(t, "SEED", 0); one > 0 {
		f, s, tail := live(t, one, faults(), noBug, clustered)
		t.Logf("%s\n%+v", tail, s)
		if f != nil {
			t.Error(f)
		}
		return
	}
	first, n, most := number(t, "FIRST", 1), number(t, "SEEDS", seeds), number(t, "FAILURES", mostFailures)
	var next, failures atomic.Uint64
	var mu sync.Mutex
	var sum stats
	next.Store(first)
	t.Run("seeds", func(t *testing.T) {
		for i := range runtime.GOMAXPROCS(0) {
			t.Run(strconv.Itoa(i), func(t *testing.T) {
				t.Parallel()
				for failures.Load() < most {
					seed := next.Add(1) - 1
					if seed >= first+n {
						return
					}
					f, s, _ := live(t, seed, faults(), noBug, clustered)
					if f != nil {
						failures.Add(1)
						t.Error(f)
					}
					mu.Lock()
					sum.add(s)
					mu.Unlock()
				}
			})
		}
	})
	t.Logf("%+v", sum)
}

func (s *stats) add(o stats) {
	s.seeds++
	s.steps += o.steps
	s.acked += o.acked
	s.heard += o.heard
	s.recovered += o.recovered
	s.fresh += o.fresh
	s.told += o.told
	s.history += o.history
	s.kills += o.kills
	s.shutdowns += o.shutdowns
	s.foreign += o.foreign
	s.cuts += o.cuts
	s.lost += o.lost
	s.moved += o.moved
}
