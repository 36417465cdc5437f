package main

import (
	"math"
	"sync"
	"time"
)

// felt is what honest clients have felt since it was last taken. It may be used by any number of goroutines.
type felt struct {
	mu sync.Mutex
	feeling
	second feeling // the same since the second was last taken
}

// A feeling is what honest clients felt in some time.
type feeling struct {
	Deliveries int // events heard, of all kinds
	Ack, Delay spread
	Newcomers  int
	Refused    map[string]int // newcomers, by the answer
	Entry      time.Duration  // the longest that a newcomer took
}

// A spread has durations in classes, each a quarter of an octave from 1 µs on.
type spread struct {
	N        int
	Worst    time.Duration
	P50, P99 time.Duration // once taken
	class    [128]int
}

func (s *spread) add(d time.Duration) {
	s.N++
	s.Worst = max(s.Worst, d)
	c := int(4 * math.Log2(max(1, float64(d)/float64(time.Microsecond))))
	s.class[min(c, len(s.class)-1)]++
}

// at is the upper end of the class that has the q-th part of all below it.
func (s *spread) at(q float64) time.Duration {
	left := int(math.Ceil(q * float64(s.N)))
	for c, n := range s.class {
		if left -= n; left <= 0 {
			return min(s.Worst, time.Duration(math.Exp2(float64(c+1)/4)*float64(time.Microsecond)))
		}
	}
	return s.Worst
}

func (f *felt) both(do func(*feeling)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	do(&f.feeling)
	do(&f.second)
}

func (f *felt) delivery() { f.both(func(x *feeling) { x.Deliveries++ }) }

func (f *felt) ack(d time.Duration) { f.both(func(x *feeling) { x.Ack.add(d) }) }

func (f *felt) delay(d time.Duration) { f.both(func(x *feeling) { x.Delay.add(d) }) }

func (f *felt) newcomer(err error, took time.Duration) {
	f.both(func(x *feeling) {
		x.Newcomers++
		if err == nil {
			x.Entry = max(x.Entry, took)
			return
		}
		if x.Refused == nil {
			x.Refused = map[string]int{}
		}
		x.Refused[outcomeOf(err)]++
	})
}

// take returns what was felt, and begins anew.
func (f *felt) take() feeling {
	f.mu.Lock()
	defer f.mu.Unlock()
	x := f.feeling
	f.feeling = feeling{}
	for _, s := range []*spread{&x.Ack, &x.Delay} {
		s.P50, s.P99 = s.at(.5), s.at(.99)
	}
	return x
}

func (f *felt) takeSecond() feeling {
	f.mu.Lock()
	defer f.mu.Unlock()
	x := f.second
	f.second = feeling{}
	return x
}

// entered is how many newcomers came in.
func (x *feeling) entered() int {
	n := x.Newcomers
	for _, m := range x.Refused {
		n -= m
	}
	return n
}
