package limit

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

const strikes, coolDown = 3, 5 * time.Second

// per is a rate of events.
func per(s Scope, perSecond float64, burst int) Rate {
	return Rate{Per: s, PerSecond: perSecond, Burst: burst, Strikes: strikes, CoolDown: coolDown}
}

// someone does things against a Limiter at times of its own.
type someone struct {
	t   *testing.T
	l   *Limiter
	now time.Time
	d   Doing
}

func newSomeone(t *testing.T, rates ...Rate) *someone {
	l := New(rates)
	t.Cleanup(l.Close)
	return &someone{t, l, l.begun, Doing{Client: l.NewClient(), User: "ann", Address: "192.0.2.1"}}
}

func (s *someone) passes(times int) {
	s.t.Helper()
	for i := range times {
		if v := s.l.Take(s.now, &s.d); v.Hits != nil || v.Retry != 0 {
			s.t.Fatalf("number %d: %+v", i+1, v)
		}
	}
}

func (s *someone) refused(step Step, first bool, retry time.Duration) {
	s.t.Helper()
	v := s.l.Take(s.now, &s.d)
	if len(v.Hits) != 1 || v.Hits[0].Step != step || v.Hits[0].First != first || v.Retry != retry {
		s.t.Fatalf("%+v, want step %d, first %v, retry %v", v, step, first, retry)
	}
}

func (s *someone) later(d time.Duration) { s.now = s.now.Add(d) }

func scopesOf(t *testing.T, f func(t *testing.T, s Scope)) {
	for s := range scopes {
		t.Run(fmt.Sprint(s), func(t *testing.T) { f(t, s) })
	}
}

func TestRate(t *testing.T) {
	t.Parallel()
	scopesOf(t, func(t *testing.T, scope Scope) {
		s := newSomeone(t, per(scope, 5, 10))
		s.passes(10)
		s.refused(Refused, true, 200*time.Millisecond)
		s.later(200*time.Millisecond - 1)
		s.refused(Refused, false, 1)
		s.later(1)
		s.passes(1)
		s.later(time.Hour)
		s.passes(10)
		s.refused(Refused, true, 200*time.Millisecond)
	})
}

func TestSteps(t *testing.T) {
	t.Parallel()
	scopesOf(t, func(t *testing.T, scope Scope) {
		s := newSomeone(t, per(scope, 10, 1))
		s.passes(1)
		s.refused(Refused, true, 100*time.Millisecond)
		s.refused(Refused, false, 100*time.Millisecond)
		s.refused(CoolDown, false, coolDown)
		s.later(time.Second) // the bucket is full: it is the cool-down that refuses
		s.refused(Refused, true, 4*time.Second)
		s.refused(Refused, false, 4*time.Second)
		s.refused(Disconnect, false, 4*time.Second)
		s.later(4*time.Second - 1) // whoever goes on has as many again; the end of the cool-down stays where it was
		s.refused(Refused, true, 1)
		s.refused(Refused, false, 1)
		s.refused(Disconnect, false, 1)
		s.later(1)
		s.passes(1)
		s.refused(Refused, true, 100*time.Millisecond)
	})
}

func TestStrikesCountForACoolDown(t *testing.T) {
	t.Parallel()
	s := newSomeone(t, per(Client, 0.01, 1))
	s.passes(1)
	for range 10 {
		s.refused(Refused, true, s.l.begun.Add(100*time.Second).Sub(s.now))
		s.later(coolDown - 1)
		s.refused(Refused, false, s.l.begun.Add(100*time.Second).Sub(s.now))
		s.later(1)
	}
	s.refused(Refused, true, 50*time.Second)
	s.refused(Refused, false, 50*time.Second)
	s.refused(CoolDown, false, 50*time.Second) // longer than the cool-down
	s.later(coolDown)
	s.refused(Refused, true, 45*time.Second)
}

func TestBytes(t *testing.T) {
	t.Parallel()
	r := per(Client, 1000, 500)
	r.Count, r.Strikes = Bytes, 10
	s := newSomeone(t, r)
	s.d.Bytes = 200
	s.passes(2)
	s.refused(Refused, true, 100*time.Millisecond)
	s.d.Bytes = 100
	s.passes(1)
	s.d.Bytes = 0
	s.passes(100)
	s.d.Bytes = 3000 // more than ever fits
	s.refused(Refused, false, 500*time.Millisecond)
	s.later(500 * time.Millisecond)
	s.passes(1)
	s.d.Bytes = 1
	s.later(2500 * time.Millisecond)
	s.refused(Refused, false, time.Millisecond)
	s.later(time.Millisecond)
	s.passes(1)
}

// What one rate refuses is not counted by another: neither of the same scope nor of another one.
func TestRefusedIsNotCounted(t *testing.T) {
	t.Parallel()
	scopesOf(t, func(t *testing.T, scope Scope) {
		one := per(scope, 1, 1)
		one.Event = "one"
		for _, other := range []Rate{per(Client, 1, 3), per(User, 1, 3), per(Address, 1, 3)} {
			other.Strikes = 100
			for _, rates := range [][]Rate{{one, other}, {other, one}} {
				s := newSomeone(t, rates...)
				s.d.Event = "one"
				s.passes(1)
				s.refused(Refused, true, time.Second)
				s.refused(Refused, false, time.Second)
				s.d.Event = "two"
				s.passes(2)
				s.refused(Refused, true, time.Second)
				s.d.Event = "one"
				if v := s.l.Take(s.now, &s.d); len(v.Hits) != 2 || v.Retry != coolDown {
					t.Fatalf("both refuse: %+v", v)
				}
			}
		}
	})
}

// Whoever is somebody else has a bucket of its own; what is not known is not counted.
func TestKeys(t *testing.T) {
	t.Parallel()
	for scope, other := range map[Scope]func(s *someone){
		Client:  func(s *someone) { s.d.Client = s.l.NewClient() },
		User:    func(s *someone) { s.d.User = "ben" },
		Address: func(s *someone) { s.d.Address = "192.0.2.2" },
	} {
		s := newSomeone(t, per(scope, 1, 1))
		s.passes(1)
		s.refused(Refused, true, time.Second)
		other(s)
		s.passes(1)
		s.refused(Refused, true, time.Second)
		s.d.Client, s.d.User, s.d.Address = nil, "", ""
		s.passes(10)
	}
}

func TestCounts(t *testing.T) {
	t.Parallel()
	for counted, fits := range map[Counted]Doing{
		Events:   {What: Events, Event: "x"},
		Bytes:    {What: Events, Event: "y", Bytes: 1},
		Joins:    {What: Joins},
		Connects: {What: Connects},
	} {
		r := per(User, 1, 1)
		r.Count = counted
		s := newSomeone(t, r)
		for c := range Bytes + 1 {
			if s.l.Counts(c) != (c == counted) {
				t.Errorf("%d counts %d", counted, c)
			}
		}
		for _, d := range []Doing{{What: Events, Event: "x"}, {What: Joins}, {What: Connects}} {
			d.User = "ann"
			if s.d = d; d.What != fits.What || counted == Bytes {
				s.passes(3)
			}
		}
		s.d = fits
		s.d.User = "ann"
		s.passes(1)
		s.refused(Refused, true, time.Second)
	}
}

// At any time no more has passed than burst and rate allow, and what is refused passes when it was told to, and not a nanosecond before.
func TestRetryIsExact(t *testing.T) {
	t.Parallel()
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 1))
		r := Rate{
			PerSecond: []float64{0.3, 1, 3, 7, 1e6}[random.IntN(5)], Burst: 1 + random.IntN(20), Strikes: 1 + random.IntN(5),
			CoolDown: time.Duration(random.Int64N(int64(10 * time.Second))),
		}
		s := newSomeone(t, r)
		passed := 0
		for range 300 {
			v := s.l.Take(s.now, &s.d)
			if v.Hits == nil {
				passed++
				if most := float64(r.Burst) + s.now.Sub(s.l.begun).Seconds()*r.PerSecond; float64(passed) > most*(1+1e-9)+1e-6 {
					t.Fatalf("seed %d: %d passed, %v may", seed, passed, most)
				}
				continue
			}
			if random.IntN(3) == 0 {
				s.later(v.Retry)
				b := s.d.Client.b[0]
				rate := newRate(r, 0)
				now := int64(s.now.Sub(s.l.begun))
				if rate.wait(&b, now, 1) != 0 || rate.wait(&b, now-1, 1) != 1 {
					t.Fatalf("seed %d: after %v there are %d ns to wait, and %d one earlier", seed, v.Retry, rate.wait(&b, now, 1), rate.wait(&b, now-1, 1))
				}
			} else {
				s.later(time.Duration(random.Int64N(int64(time.Second / 2))))
			}
		}
	}
}

func TestCooling(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		events, connects := per(Address, 1, 1), per(Address, 10, 1)
		connects.Count = Connects
		s := newSomeone(t, events, connects)
		for range 10 {
			s.l.Take(s.now, &s.d) // a cool-down of events is none of connects
		}
		if _, left := s.l.Cooling("192.0.2.1"); left != 0 {
			t.Fatal(left)
		}
		s.d.What = Connects
		s.passes(1)
		s.refused(Refused, true, 100*time.Millisecond)
		if _, left := s.l.Cooling("192.0.2.1"); left != 0 {
			t.Fatal(left)
		}
		s.refused(Refused, false, 100*time.Millisecond)
		s.refused(CoolDown, false, coolDown)
		time.Sleep(time.Second)
		if rate, left := s.l.Cooling("192.0.2.1"); rate != 1 || left != 4*time.Second {
			t.Fatal(rate, left)
		}
		if _, left := s.l.Cooling("192.0.2.2"); left != 0 {
			t.Fatal(left)
		}
		time.Sleep(4 * time.Second)
		if _, left := s.l.Cooling("192.0.2.1"); left != 0 {
			t.Fatal(left)
		}
	})
}

// Many at once get no more out of a bucket than it has.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	l := New([]Rate{per(Client, 1e-3, 1000), per(User, 1e-3, 500), per(Address, 1e-3, 300)})
	defer l.Close()
	client := l.NewClient()
	var passed atomic.Int64
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 200 {
				if l.Take(l.begun, &Doing{Client: client, User: "ann", Address: "::/64"}).Hits == nil {
					passed.Add(1)
				}
			}
		})
	}
	all.Wait()
	if passed.Load() != 300 {
		t.Fatal(passed.Load())
	}
}

func TestAddressKey(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"192.0.2.1":         "192.0.2.1",
		"::ffff:192.0.2.1":  "192.0.2.1",
		"2001:db8:1:2:3::4": "2001:db8:1:2::/64",
		"2001:db8:1:2:9::":  "2001:db8:1:2::/64",
		"2001:db8:1:3::":    "2001:db8:1:3::/64",
		"fe80::1%eth0":      "fe80::/64",
		"@":                 "@",
		"":                  "",
	} {
		if got := AddressKey(address); got != want {
			t.Errorf("%q: %q, want %q", address, got, want)
		}
	}
}

func BenchmarkTake(b *testing.B) {
	for name, scope := range map[string]Scope{"client": Client, "user": User} {
		r := per(scope, 1e9, 1e6)
		r.Event = "chat_message"
		l := New([]Rate{r})
		defer l.Close()
		d := Doing{Event: "chat_message", Bytes: 100, Client: l.NewClient(), User: "ann", Address: "192.0.2.1"}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			at := l.begun
			for b.Loop() {
				at = at.Add(100)
				if l.Take(at, &d).Hits != nil {
					b.Fatal("refused")
				}
			}
		})
		d.Event = "typing"
		b.Run(name+"/other event", func(b *testing.B) {
			for b.Loop() {
				l.Take(l.begun, &d)
			}
		})
	}
}
