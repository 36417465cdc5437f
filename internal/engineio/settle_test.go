package engineio

import (
	"errors"
	"net/http"
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
		if l := &b.srv.lobby; l.oldest != nil || l.newest != nil || len(l.of) != 0 || evicted.Load() != 2 {
			t.Errorf("left in the lobby: %+v; %d evicted", l, evicted.Load())
		}
	})
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
		c2.want("end")
		after(t, began, 10*time.Second, 0)
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
