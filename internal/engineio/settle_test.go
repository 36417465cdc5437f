package engineio

import (
	"errors"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestPendingCap(t *testing.T) {
	var limited atomic.Int32
	capped := func(o *setup) {
		o.cfg.Pending = 2
		o.cfg.Limited = func(r *http.Request, what string) {
			if what != LimitPending || r.URL.Path != "/engine.io/" {
				t.Errorf("limited %q %v", what, r.URL)
			}
			limited.Add(1)
		}
	}
	bubble(t, capped, func(t *testing.T, b *bench) {
		refused := func() {
			t.Helper()
			r := b.get("EIO=4&transport=polling")
			r.want(t, 503, `{"code":3,"message":"Too many connections"}`)
			if r.header.Get("Retry-After") != "1" {
				t.Errorf("header %v", r.header)
			}
		}
		b.openWS(4)
		first := b.peer()
		b.open(4, "")
		second := b.peer()
		refused()
		first.s.Settle()
		first.s.Settle()
		if n := b.srv.Pending(); n != 1 {
			t.Errorf("%d pending", n)
		}
		b.openWS(3)
		refused()
		second.s.Abort(ReasonForced)
		second.wantEnd(t, ReasonForced)
		b.open(4, "")
		first.s.Abort(ReasonForced) // it does not count any more
		first.wantEnd(t, ReasonForced)
		refused()
		b.close()
		if n := b.srv.Pending(); n != 0 || limited.Load() != 3 {
			t.Errorf("%d pending at the end, %d limited", n, limited.Load())
		}
	})
}

// Past the cap the oldest of those that have had a second makes room: half-open upgrades must not keep others out.
func TestPendingEvicts(t *testing.T) {
	var evicted, over atomic.Int32
	capped := func(o *setup) {
		o.cfg.Pending = 2
		o.accept = func(s *Session, _ *http.Request) error {
			s.OnSettled(func(e bool) {
				if over.Add(1); e {
					evicted.Add(1)
				}
			})
			return nil
		}
	}
	bubble(t, capped, func(t *testing.T, b *bench) {
		settled := b.open(4, "")
		kept := b.peer()
		kept.s.Settle() // the oldest of all
		half := b.open(4, "")
		one := b.peer()
		c := b.probe(half)
		time.Sleep(evictable / 2)
		b.openWS(4)
		two := b.peer()
		time.Sleep(evictable/2 - time.Millisecond)
		b.get("EIO=4&transport=polling").want(t, 503, `{"code":3,"message":"Too many connections"}`)
		time.Sleep(time.Millisecond)
		b.openWS(4)
		three := b.peer()
		one.wantEnd(t, ReasonForced)
		c.want("end")
		b.get("EIO=4&transport=polling").want(t, 503, `{"code":3,"message":"Too many connections"}`)
		time.Sleep(evictable / 2)
		b.open(4, "")
		four := b.peer()
		two.wantEnd(t, ReasonForced)
		if n := b.srv.Pending(); n != 2 || evicted.Load() != 2 || over.Load() != 3 {
			t.Errorf("%d pending, %d evicted, %d over", n, evicted.Load(), over.Load())
		}
		three.s.Settle() // from the middle, the end, the beginning
		four.s.Settle()
		b.open(4, "")
		b.peer()
		b.openWS(4)
		b.peer().s.Settle()
		b.post(settled, "4still").want(t, 200, "ok")
		if n := b.srv.Pending(); n != 1 {
			t.Errorf("%d pending", n)
		}
		b.close()
		if l := &b.srv.lobby; l.all.Len()+len(l.of)+len(l.crowds)+len(l.sizes) != 0 || evicted.Load() != 2 {
			t.Errorf("left in the lobby: %+v; %d evicted", l, evicted.Load())
		}
	})
}

// Past the cap who comes from where there are fewer gets in, at the cost of where there are most.
func TestPendingIsShared(t *testing.T) {
	var limits []string
	capped := func(o *setup) {
		o.cfg.Pending, o.cfg.PendingEach = 5, 4
		o.cfg.Origin = func(r *http.Request) string { return r.URL.Query().Get("from") }
		o.cfg.Limited = func(r *http.Request, what string) { limits = append(limits, r.URL.Query().Get("from")+" "+what) }
	}
	bubble(t, capped, func(t *testing.T, b *bench) {
		open := func(from string) *peer {
			t.Helper()
			b.open(4, "&from="+from)
			return b.peer()
		}
		refused := func(from string, status int, body string) {
			t.Helper()
			b.get("EIO=4&transport=polling&from="+from).want(t, status, body)
		}
		flood := []*peer{open("a"), open("a"), open("a"), open("a")}
		refused("a", 429, `{"code":3,"message":"Too many connections from this address"}`)
		other := open("b")
		open("c")
		flood[0].wantEnd(t, ReasonForced)
		open("c")
		flood[1].wantEnd(t, ReasonForced)
		refused("c", 503, `{"code":3,"message":"Too many connections"}`) // a has as many
		refused("a", 503, `{"code":3,"message":"Too many connections"}`)
		refused("b", 503, `{"code":3,"message":"Too many connections"}`) // it would have as many
		last := open("d")
		flood[2].wantEnd(t, ReasonForced)
		time.Sleep(evictable)
		open("c") // c has most itself, and so the oldest of all goes
		flood[3].wantEnd(t, ReasonForced)
		if other.s.state.Load() != stateOpen || last.s.state.Load() != stateOpen || b.srv.Pending() != 5 {
			t.Error("the wrong one had to go", b.srv.Pending())
		}
		if got := strings.Join(limits, ", "); got != "a pending of an origin, c pending, a pending, b pending" {
			t.Error(got)
		}
	})
}

// The lobby beside a list that is searched.
func TestLobby(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	var l lobby
	type one struct {
		s      *Session
		origin string
		since  time.Duration
	}
	var list []one
	now := time.Duration(0)
	for step := range 30_000 {
		now += time.Duration(rng.IntN(3)) * 100 * time.Millisecond
		crowded := step/3000%2 == 0
		if len(list) > 0 && rng.IntN(5) < 2 == crowded {
			i := rng.IntN(len(list))
			l.remove(list[i].s)
			list = slices.Delete(list, i, i+1)
		} else {
			origin := string(rune('a' + int(rng.ExpFloat64()*3)))
			s := new(Session)
			l.add(s, l.enter(origin), now)
			list = append(list, one{s, origin, now})
		}
		counts := map[string]int{}
		for _, o := range list {
			counts[o.origin]++
		}
		if l.n != len(list) || len(l.crowds) != len(counts) || l.all.Len() != len(list) || len(l.of) != len(list) {
			t.Fatalf("step %d: %d, %d, %d, %d of %d", step, l.n, len(l.crowds), l.all.Len(), len(l.of), len(list))
		}
		most := 0
		for _, n := range counts {
			most = max(most, n)
		}
		for _, origin := range []string{"a", "c", "nowhere"} {
			w := l.yields(origin, now)
			switch {
			case most > counts[origin]+1:
				if w == nil || counts[w.crowd.origin] != most || slices.ContainsFunc(list, func(o one) bool { return o.origin == w.crowd.origin && o.since < w.since }) {
					t.Fatalf("step %d: %q yields to %q, of %v", step, w.crowd.origin, origin, counts)
				}
			case len(list) > 0 && now-list[0].since >= evictable:
				if w == nil || w.s != list[0].s {
					t.Fatalf("step %d: not the oldest yields", step)
				}
			case w != nil:
				t.Fatalf("step %d: somebody yields who is young", step)
			}
		}
	}
	for _, o := range list {
		l.remove(o.s)
	}
	if l.n+l.all.Len()+len(l.of)+len(l.crowds)+len(l.sizes) != 0 {
		t.Errorf("left: %+v", l)
	}
}

func TestOnSettled(t *testing.T) {
	t.Parallel()
	var open atomic.Int32
	b := start(t, func(o *setup) {
		o.accept = func(s *Session, r *http.Request) error {
			open.Add(1)
			s.OnSettled(func(bool) { open.Add(-1) })
			if r.URL.Query().Has("no") {
				return errors.New("no")
			}
			return nil
		}
	})
	b.get("EIO=4&transport=polling&no=1")
	if open.Load() != 0 {
		t.Error("not told of a refused handshake")
	}
	b.openWS(4)
	p := b.peer()
	if open.Load() != 1 {
		t.Error("told too early")
	}
	p.s.Settle()
	if open.Load() != 0 {
		t.Error("not told of Settle")
	}
	p.s.OnSettled(func(bool) { open.Add(-10) })
	p.s.Abort(ReasonForced)
	p.wantEnd(t, ReasonForced)
	if open.Load() != -10 {
		t.Errorf("told %d after the end", open.Load())
	}
	open.Store(0)
	c := b.openWS(4)
	_ = c.conn.Close()
	b.peer().wantEnd(t, ReasonTransportClose)
	if open.Load() != 0 {
		t.Error("not told of the end")
	}
}

// Upgrades that stop half way end by their deadline, and there are no more of them than Config.Probes.
func TestHalfOpenUpgrades(t *testing.T) {
	var limited atomic.Int32
	capped := func(o *setup) {
		o.handle = echo
		o.cfg.Probes = 2
		o.cfg.Limited = func(_ *http.Request, what string) {
			if what == LimitProbes {
				limited.Add(1)
			}
		}
	}
	bubble(t, capped, func(t *testing.T, b *bench) {
		silent, probed, third := b.open(4, ""), b.open(4, ""), b.open(4, "")
		url := func(q string) string { return strings.Replace(q, "polling", "websocket", 1) }
		c1 := b.ws(url(silent))
		c2 := b.probe(probed)
		synctest.Wait()
		if n := b.srv.Probes(); n != 2 {
			t.Errorf("%d probes", n)
		}
		b.ws(url(third)).want("close 1002", "end")
		if limited.Load() != 1 {
			t.Error("nobody was told")
		}
		began := time.Now()
		c1.want("end")
		after(t, began, 10*time.Second, 0)
		synctest.Wait()
		if n := b.srv.Probes(); n != 1 { // how long one may take that has probed: TestProbedWaits
			t.Errorf("%d probes are left", n)
		}
		_ = c2.conn.Close()
		synctest.Wait()
		if n := b.srv.Probes(); n != 0 {
			t.Errorf("%d probes are left", n)
		}
		for _, q := range []string{silent, probed, third} { // the sessions are unharmed
			b.post(q, "4polling").want(t, 200, "ok")
			b.get(q).want(t, 200, "4polling")
		}
		c3 := b.probe(third)
		c3.send("5", "4upgraded")
		c3.want("4upgraded")
		if n := b.srv.Probes(); n != 0 {
			t.Errorf("%d probes after an upgrade", n)
		}
		b.ws(url(silent))
		synctest.Wait()
		b.close() // a session that ends takes its probe with it
		if n := b.srv.Probes(); n != 0 {
			t.Errorf("%d probes at the end", n)
		}
	})
}

// A polling session whose client never comes back.
func TestNeverPolledAgain(t *testing.T) {
	bubble(t, nil, func(t *testing.T, b *bench) {
		for _, eio := range []int{4, 3} {
			began := time.Now()
			b.open(eio, "")
			p := b.peer()
			p.s.Send(tagged(3, "x"))
			time.Sleep(44 * time.Second)
			p.wantUnsent(t, ReasonPingTimeout, 3)
			after(t, began, 45*time.Second, grain)
		}
		if b.srv.Pending() != 0 {
			t.Error("still pending")
		}
	})
}

// The Hub keeps sessions that are over for a while; what they had is not kept with them.
func TestOverIsSmall(t *testing.T) {
	bubble(t, nil, func(t *testing.T, b *bench) {
		b.openWS(4)
		ws := b.peer()
		b.open(4, "")
		polling := b.peer()
		for _, p := range []*peer{ws, polling} {
			p.s.Abort(ReasonForced)
			p.wantEnd(t, ReasonForced)
			synctest.Wait()
			if s := p.s; s.ws != nil || s.poll != nil || s.handler != nil || s.queue != nil {
				t.Errorf("%s: it still has %+v", s.Transport(), s)
			}
			if p.s.Send(tagged(1, "x")) {
				t.Error("sent")
			}
		}
	})
}
