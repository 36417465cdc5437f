package engineio

import (
	"encoding/base64"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

func unbase64(s string) string {
	b, _ := base64.StdEncoding.DecodeString(s)
	return string(b)
}

// bubble runs f with a server on pipes, on a clock of its own.
func bubble(t *testing.T, edit func(*setup), f func(t *testing.T, b *bench)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, func(o *setup) {
			o.pipes = true
			if edit != nil {
				edit(o)
			}
		})
		f(t, b)
		b.close()
	})
}

// after checks that d has passed since from, less or more by slack.
func after(t *testing.T, from time.Time, d, slack time.Duration) {
	t.Helper()
	if got := time.Since(from); got < d-slack || got > d+slack {
		t.Errorf("after %v, want %v", got, d)
	}
}

const grain = 250 * time.Millisecond

func TestHeartbeat(t *testing.T) {
	bubble(t, nil, func(t *testing.T, b *bench) {
		c := b.ws("EIO=4&transport=websocket")
		c.readSlow()
		last := time.Now()
		for range 5 {
			if m := c.readSlow(); m != "2" {
				t.Fatalf("read %q", m)
			}
			after(t, last, 25*time.Second, grain)
			time.Sleep(19 * time.Second)
			c.send("3")
			last = time.Now()
		}
		if m := c.readSlow(); m != "2" {
			t.Fatalf("read %q", m)
		}
		if m := c.readSlow(); m != "end" {
			t.Fatalf("read %q", m)
		}
		after(t, last, 45*time.Second, grain)
		b.peer().wantEnd(t, ReasonPingTimeout)
	})
}

// The pings keep their interval where the time for an answer is the longer one.
func TestHeartbeatLongTimeout(t *testing.T) {
	patient := func(o *setup) { o.cfg.PingInterval, o.cfg.PingTimeout = 5*time.Second, time.Minute }
	bubble(t, patient, func(t *testing.T, b *bench) {
		c := b.ws("EIO=4&transport=websocket")
		c.readSlow()
		last := time.Now()
		for range 5 {
			if m := c.readSlow(); m != "2" {
				t.Fatalf("read %q", m)
			}
			after(t, last, 5*time.Second, grain)
			c.send("3")
			last = time.Now()
		}
		if m := c.readSlow(); m != "2" {
			t.Fatalf("read %q", m)
		}
		if m := c.readSlow(); m != "end" {
			t.Fatalf("read %q", m)
		}
		after(t, last, 65*time.Second, grain)
		b.peer().wantEnd(t, ReasonPingTimeout)
	})
}

// readSlow is read without the test's own limit.
func (c *sock) readSlow() string {
	return c.readWithin(time.Hour)
}

func TestHeartbeatPolling(t *testing.T) {
	bubble(t, nil, func(t *testing.T, b *bench) {
		q := b.open(4, "")
		began := time.Now()
		b.get(q).want(t, 200, "2")
		after(t, began, 25*time.Second, grain)
		b.post(q, "3").want(t, 200, "ok")
		began = time.Now()
		b.get(q).want(t, 200, "2")
		after(t, began, 25*time.Second, grain)
		b.get(q).want(t, 200, "1")
		after(t, began, 45*time.Second, grain)
		b.peer().wantEnd(t, ReasonPingTimeout)
	})
}

// A request that comes when the time is over finds the session ended, whatever the wheel's grain.
func TestTimeIsOver(t *testing.T) {
	bubble(t, nil, func(t *testing.T, b *bench) {
		q4, q3 := b.open(4, ""), b.open(3, "")
		time.Sleep(45*time.Second - time.Millisecond)
		b.post(q4, "4x").want(t, 200, "ok")
		time.Sleep(time.Millisecond)
		b.get(q4).want(t, 400, `{"code":1,"message":"Session ID unknown"}`)
		b.post(q3, "1:2").want(t, 400, `{"code":1,"message":"Session ID unknown"}`)
		b.peer().wantEnd(t, ReasonPingTimeout)
		b.peer().wantEnd(t, ReasonPingTimeout)
	})
}

func TestHeartbeat3(t *testing.T) {
	bubble(t, nil, func(t *testing.T, b *bench) {
		c := b.openWS(3)
		for range 4 {
			time.Sleep(44 * time.Second)
			c.send("2")
			c.want("3")
			time.Sleep(44 * time.Second)
			c.send("4any packet will do")
		}
		began := time.Now()
		if m := c.readSlow(); m != "end" {
			t.Fatalf("read %q", m)
		}
		after(t, began, 45*time.Second, 2*grain)
		b.peer().wantEnd(t, ReasonPingTimeout)
	})
}

// A handler that blocks is back pressure; the client whose pong waits behind it is alive.
func TestBlockedHandlerIsNoTimeout(t *testing.T) {
	leave := make(chan struct{})
	bubble(t, func(o *setup) {
		leave = make(chan struct{})
		o.handle = func(*peer, string) error { <-leave; return nil }
	}, func(t *testing.T, b *bench) {
		c := b.openWS(4)
		c.send("4slow")
		if m := c.readSlow(); m != "2" {
			t.Fatalf("read %q", m)
		}
		go c.send("3")
		time.Sleep(10 * time.Minute)
		p := b.peer()
		select {
		case e := <-p.end:
			t.Fatalf("ended by %q", e.reason)
		default:
		}
		close(leave)
		for range 3 {
			if m := c.readSlow(); m != "2" {
				t.Fatalf("read %q %v %v", m, p.s.end, time.Now())
			}
			c.send("3")
		}
	})
}

func TestManyHeartbeats(t *testing.T) {
	bubble(t, func(o *setup) { o.cfg.PingInterval, o.cfg.PingTimeout = 300*time.Millisecond, 200*time.Millisecond }, func(t *testing.T, b *bench) {
		ended := 0
		for i := range 200 {
			b.open(3+i%2, "")
			time.Sleep(time.Duration(i%7) * time.Millisecond)
			for len(b.peers) > 0 && len((<-b.peers).end) > 0 {
				ended++
			}
		}
		time.Sleep(501*time.Millisecond + b.srv.wheel.grain)
		synctest.Wait()
		if n := b.srv.Len(); n != 0 {
			t.Errorf("%d sessions of 200 are left", n)
		}
		b.srv.wheel.mu.Lock()
		defer b.srv.wheel.mu.Unlock()
		if b.srv.wheel.armed || b.srv.wheel.n != 0 {
			t.Error("the timer runs for nobody")
		}
	})
}

// The flush of Close is over after a second.
func TestCloseNobodyPolls(t *testing.T) {
	bubble(t, nil, func(t *testing.T, b *bench) {
		q := b.open(4, "")
		p := b.peer()
		began := time.Now()
		p.s.Send(tagged(9, "x"))
		p.s.Close(ReasonForced)
		if e := p.wantEnd(t, ReasonForced); fmt.Sprint(e.unsent) != "[9]" {
			t.Errorf("unsent %v", e.unsent)
		}
		after(t, began, time.Second, 0)
		b.get(q).want(t, 400, `{"code":1,"message":"Session ID unknown"}`)
	})
}

func TestTombstoneEnds(t *testing.T) {
	bubble(t, nil, func(t *testing.T, b *bench) {
		q := b.open(3, "")
		b.post(q, "1:1").want(t, 200, "ok")
		time.Sleep(501 * time.Millisecond)
		b.get(q).want(t, 400, `{"code":1,"message":"Session ID unknown"}`)
	})
}
