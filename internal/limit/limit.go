// Package limit counts what clients, users and addresses do against rates, and says how far the one has gone who does too much.
package limit

import (
	"sync"
	"time"
)

// A Scope says whose doings are counted together.
type Scope uint8

// The scopes, in the order in which their locks are taken.
const (
	Client Scope = iota
	User
	Address
	scopes
)

// A Counted is what is counted.
type Counted uint8

// What is counted.
const (
	Events Counted = iota
	Connects
	Joins
	Bytes // of events
)

// A Rate bounds how much of something goes on.
type Rate struct {
	Per       Scope
	Count     Counted
	Event     string // of Events; empty: all
	PerSecond float64
	Burst     int
	Strikes   int
	CoolDown  time.Duration
}

// A Step is how far somebody has gone.
type Step uint8

// The steps.
const (
	Refused Step = iota
	CoolDown
	Disconnect
)

// A Limiter counts against the rates of one namespace. Its methods may be called from any goroutine.
type Limiter struct {
	begun  time.Time
	groups [scopes]group
}

// group is the rates of one scope. The buckets of one client, user or address lie side by side in their order.
type group struct {
	rates []rate
	table *table // nil: of clients, each of whom has its own
}

// New makes a Limiter. Close ends it.
func New(rates []Rate) *Limiter {
	l := &Limiter{begun: time.Now()}
	for i, r := range rates {
		g := &l.groups[r.Per]
		g.rates = append(g.rates, newRate(r, i))
	}
	for s := range l.groups {
		if g := &l.groups[s]; Scope(s) != Client && len(g.rates) > 0 {
			g.table = newTable(l, len(g.rates))
		}
	}
	return l
}

// Close stops the timers.
func (l *Limiter) Close() {
	for s := range l.groups {
		if t := l.groups[s].table; t != nil {
			t.close()
		}
	}
}

func (l *Limiter) now() int64 { return int64(time.Since(l.begun)) }

// Counts tells whether anything is counted of that kind, by whichever scope.
func (l *Limiter) Counts(what Counted) bool {
	for s := range l.groups {
		for i := range l.groups[s].rates {
			if l.groups[s].rates[i].Count == what {
				return true
			}
		}
	}
	return false
}

// Buckets are one client's.
type Buckets struct {
	mu sync.Mutex
	b  []bucket
}

// NewClient makes the buckets of a client; nil where no rate counts by clients.
func (l *Limiter) NewClient() *Buckets {
	if n := len(l.groups[Client].rates); n > 0 {
		return &Buckets{b: make([]bucket, n)}
	}
	return nil
}

// A Doing is something that somebody wants to do.
type Doing struct {
	What  Counted // Events, Connects or Joins
	Event string
	Bytes int // of an event

	// Who does it. What is not known is not counted.
	Client  *Buckets
	User    string
	Address string // by AddressKey
}

// A Hit is a rate that refuses.
type Hit struct {
	Rate  int // its index in what New was given
	Step  Step
	First bool // of those that count together for the next step
}

// A Verdict says whether something may be done: nothing of it is counted then but the refusal.
type Verdict struct {
	Hits  []Hit         // nil: it may
	Retry time.Duration // until it may, if nothing else is done
}

// Take counts what is to be done at a time, where all rates allow it.
func (l *Limiter) Take(at time.Time, d *Doing) Verdict {
	var (
		v       Verdict
		buckets [scopes][]bucket
		now     = int64(at.Sub(l.begun))
		over    bool
	)
	for s := range l.groups {
		g := &l.groups[s]
		if g.concerned(d) {
			buckets[s] = g.lock(d, Scope(s))
			over = over || g.over(buckets[s], d, now)
		}
	}
	for s := range l.groups {
		g := &l.groups[s]
		if buckets[s] == nil {
			continue
		}
		if over {
			g.refuse(buckets[s], d, now, &v)
		} else {
			g.take(buckets[s], d, now)
		}
		if g.table != nil {
			g.table.notedLocked(d.key(Scope(s)), g.rates, buckets[s])
		}
		g.unlock(d)
	}
	return v
}

func (g *group) concerned(d *Doing) bool {
	for i := range g.rates {
		if g.rates[i].amount(d) > 0 {
			return true
		}
	}
	return false
}

// amount is what the rate counts of d.
func (r *rate) amount(d *Doing) int64 {
	switch {
	case r.Count == Bytes && d.What == Events:
		return int64(d.Bytes)
	case r.Count == d.What && (r.Event == "" || r.Event == d.Event):
		return 1
	}
	return 0
}

// key is that of who does d in a table.
func (d *Doing) key(s Scope) string {
	if s == User {
		return d.User
	}
	return d.Address
}

// lock gives the buckets of who does d, under their lock; nil, and no lock, where that is not known.
func (g *group) lock(d *Doing, s Scope) []bucket {
	switch {
	case s != Client && d.key(s) != "":
		return g.table.lock(d.key(s))
	case s == Client && d.Client != nil:
		d.Client.mu.Lock()
		return d.Client.b
	}
	return nil
}

func (g *group) unlock(d *Doing) {
	if g.table != nil {
		g.table.mu.Unlock()
	} else {
		d.Client.mu.Unlock()
	}
}

func (g *group) over(b []bucket, d *Doing, now int64) bool {
	for i := range b {
		r := &g.rates[i]
		if n := r.amount(d); n > 0 && r.wait(&b[i], now, n) > 0 {
			return true
		}
	}
	return false
}

func (g *group) take(b []bucket, d *Doing, now int64) {
	for i := range b {
		r := &g.rates[i]
		if n := r.amount(d); n > 0 {
			r.take(&b[i], now, n)
			b[i].untold += n
		}
	}
}

func (g *group) refuse(b []bucket, d *Doing, now int64, v *Verdict) {
	for i := range b {
		r := &g.rates[i]
		n := r.amount(d)
		if n == 0 || r.wait(&b[i], now, n) == 0 {
			continue
		}
		step, first := r.strike(&b[i], now)
		b[i].cooled = b[i].cooled || step == CoolDown
		v.Hits = append(v.Hits, Hit{Rate: r.index, Step: step, First: first})
		v.Retry = max(v.Retry, time.Duration(r.wait(&b[i], now, n)))
	}
}

// Cooling is the rate by which an address is in its cool-down of connects, and for how long yet.
func (l *Limiter) Cooling(address string) (rate int, left time.Duration) {
	g := &l.groups[Address]
	if g.table == nil || !l.Counts(Connects) {
		return 0, 0
	}
	now := l.now()
	for i, b := range g.table.peek(address) {
		if g.rates[i].Count == Connects && b.cooling && b.until-now > int64(left) {
			rate, left = g.rates[i].index, time.Duration(b.until-now)
		}
	}
	return rate, left
}
