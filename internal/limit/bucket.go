package limit

import "time"

// longest bounds a debt: what a bucket owes at most, so that no sum overflows.
const longest = 365 * 24 * time.Hour

// rate is a Rate in nanoseconds of its bucket.
type rate struct {
	Rate
	index    int     // in what New was given
	each     float64 // what one costs: the time in which it comes back
	one      int64   // the same
	full     int64
	strikes  uint32
	coolDown int64
}

func newRate(r Rate, index int) rate {
	each := float64(time.Second) / r.PerSecond
	return rate{Rate: r, index: index, each: each, one: clamp(each), full: clamp(each * float64(r.Burst)), strikes: uint32(r.Strikes), coolDown: int64(r.CoolDown)}
}

func clamp(ns float64) int64 {
	if ns > float64(longest) {
		return int64(longest)
	}
	return int64(ns + 0.5)
}

// A bucket is how far somebody has gone with one rate (the generic cell rate algorithm: a time says all of how full it is) and with the steps beyond it.
// Times are nanoseconds of the Limiter's clock. The zero bucket is full.
type bucket struct {
	owed    int64 // until when what was taken is owed
	until   int64 // while there are strikes: end of the time in which they count; in a cool-down: its end
	strikes uint32
	cooling bool
	cooled  bool  // which other processes were not told of
	untold  int64 // what was taken that they were not told of
}

// wait is how long it is until n may be taken; 0: now. What is more than a full bucket holds may be taken when it is full, and is owed for the longer.
func (r *rate) wait(b *bucket, now, n int64) int64 {
	wait := max(b.owed, now) - now + min(r.cost(n), r.full) - r.full
	if b.cooling {
		wait = max(wait, b.until-now)
	}
	return max(wait, 0)
}

func (r *rate) cost(n int64) int64 {
	if n == 1 {
		return r.one
	}
	return clamp(r.each * float64(n))
}

func (r *rate) take(b *bucket, now, n int64) { b.owed = max(b.owed, now) + r.cost(n) }

// strike counts a refusal.
func (r *rate) strike(b *bucket, now int64) (step Step, first bool) {
	if now >= b.until {
		b.strikes, b.cooling, b.until = 0, false, now+r.coolDown
	}
	b.strikes++
	first = b.strikes == 1
	switch {
	case b.strikes < r.strikes:
		return Refused, first
	case b.cooling:
		b.strikes = 0
		return Disconnect, first
	}
	b.strikes, b.cooling, b.until = 0, true, now+r.coolDown
	return CoolDown, first
}

// full is when the bucket is as good as new.
func (b *bucket) full() int64 {
	if b.cooling || b.strikes > 0 {
		return max(b.owed, b.until)
	}
	return b.owed
}
