package engineio

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestUpgrade(t *testing.T) {
	t.Parallel()
	b := start(t, func(o *setup) { o.handle = echo })
	for eio, noop := range map[int]string{4: "6", 3: "1:6"} {
		q := b.open(eio, "")
		p := b.peer()
		waiting := b.later(q)
		waitFor(t, p.waiting)
		c := b.probe(q)
		(<-waiting).want(t, 200, noop)
		b.get(q).want(t, 200, noop) // came while probing
		p.s.Send(textPacket("queued"))
		c.send("5", "4hello")
		c.want("4queued", "4hello")
		b.get(q).want(t, 400, `{"code":3,"message":"Bad request"}`)
		b.post(q, "4x").want(t, 400, `{"code":3,"message":"Bad request"}`)
		b.ws(strings.Replace(q, "polling", "websocket", 1)).want("close 1002", "end")
		c.send("4unharmed")
		c.want("4unharmed")
		if p.s.Transport() != "websocket" {
			t.Error(p.s.Transport())
		}
	}
}

// A GET that begins while the client probes and finds the upgrade done is refused.
func TestGetMeetsUpgrade(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, func(o *setup) { o.pipes = true })
		q := b.open(4, "")
		c := b.probe(q)
		waiting := b.later(q)
		synctest.Wait()
		c.send("5")
		(<-waiting).want(t, 400, `{"code":3,"message":"Bad request"}`)
		b.close()
	})
}

func TestProbesThatFail(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, func(o *setup) { o.pipes, o.handle = true, echo })
		q := b.open(4, "")
		url := strings.Replace(q, "polling", "websocket", 1)

		c := b.ws(url) // a second one beside it is refused, the first goes on
		synctest.Wait()
		b.ws(url).want("close 1002", "end")
		c.send("2probe")
		c.want("3probe")
		c.send("4not an upgrade")
		c.want("end")
		synctest.Wait()

		b.ws(url).want("end") // silence: dropped after UpgradeTimeout
		synctest.Wait()

		c = b.probe(q)
		_ = c.conn.Close()
		synctest.Wait()
		b.post(q, "4still polling").want(t, 200, "ok")
		b.get(q).want(t, 200, "4still polling")

		c = b.probe(q)
		c.send("5", "4now")
		c.want("4now")
		b.close()
	})
}

// A client that has probed may have to wait for a poll that hangs elsewhere: it is given as long as it would wait itself.
func TestProbedWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, func(o *setup) { o.pipes, o.handle = true, echo })
		q := b.open(4, "")
		c := b.probe(q)
		time.Sleep(26 * time.Second)
		c.send("5", "4late")
		c.want("2", "4late") // the ping was waiting
		c.send("3")

		q = b.open(4, "")
		began := time.Now()
		c = b.probe(q)
		time.Sleep(26 * time.Second)
		b.get(q).want(t, 200, "2")
		b.post(q, "3").want(t, 200, "ok")
		c.want("end")
		if d := time.Since(began); d != 45*time.Second {
			t.Error(d)
		}
		synctest.Wait()
		b.post(q, "4still polling").want(t, 200, "ok")
		b.get(q).want(t, 200, "4still polling")
		b.close()
	})
}

func TestCloseWhileProbing(t *testing.T) {
	t.Parallel()
	b := start(t, nil)
	q := b.open(4, "")
	c := b.probe(q)
	p := b.peer()
	p.s.Abort(ReasonForced)
	c.want("end")
	p.wantEnd(t, ReasonForced)
}

// Messages flow both ways while the client upgrades: none is lost, none twice, all in order.
func TestUpgradeUnderTraffic(t *testing.T) {
	for _, eio := range []int{4, 3} {
		for i := range 4 {
			t.Run(fmt.Sprintf("EIO=%d/%d", eio, i), func(t *testing.T) {
				t.Parallel()
				upgradeUnderTraffic(t, eio)
			})
		}
	}
}

const traffic = 1000

func upgradeUnderTraffic(t *testing.T, eio int) {
	b := start(t, nil)
	q := b.open(eio, "")
	p := b.peer()
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { // the server's messages, some of them with an attachment
		for i := range traffic {
			var att [][]byte
			if i%10 == 0 {
				att = [][]byte{[]byte(strconv.Itoa(i))}
			}
			p.s.Send(NewPacket(append(make([]byte, Headroom), strconv.Itoa(i)...), att...))
			if i%20 == 0 {
				time.Sleep(100 * time.Microsecond) // spreads them over the upgrade; nothing depends on it
			}
		}
	})
	wg.Go(func() {
		for i := range traffic {
			p.want(t, strconv.Itoa(i))
		}
	})
	got := make(chan string, 4*traffic)
	sent := 0
	post := func(n int) {
		var body strings.Builder
		for ; n > 0 && sent < traffic; n-- {
			m := "4" + strconv.Itoa(sent)
			if eio == 3 {
				m = strconv.Itoa(len(m)) + ":" + m
			} else if body.Len() > 0 {
				m = "\x1e" + m
			}
			body.WriteString(m)
			sent++
		}
		b.post(q, body.String()).want(t, 200, "ok")
	}
	paused, stopped := make(chan struct{}), make(chan struct{})
	go func() { // polls until the probe is answered, and the poll then under way is
		defer close(stopped)
		for {
			r := b.get(q)
			if r.status != http.StatusOK {
				t.Errorf("poll: %d %s %v", r.status, r.body, r.err)
				return
			}
			split(r, eio, got)
			select {
			case <-paused:
				return
			default:
			}
		}
	}()
	post(100)
	post(100)
	c := b.probe(q)
	close(paused)
	post(100)
	<-stopped
	c.send("5")
	for ; sent < traffic; sent++ {
		c.send("4" + strconv.Itoa(sent))
	}
	for i := range traffic {
		next := func() string {
			select {
			case m := <-got:
				return m
			default:
			}
			return strings.Replace(c.read(), "b:\x04", "b:", 1)
		}
		if m := next(); m != "4"+strconv.Itoa(i) {
			t.Fatalf("message %d is %q", i, m)
		}
		if i%10 == 0 {
			if m := next(); m != "b:"+strconv.Itoa(i) {
				t.Fatalf("attachment %d is %q", i, m)
			}
		}
	}
}

// split takes a polling response apart.
func split(r reply, eio int, to chan<- string) {
	body := []byte(r.body)
	for len(body) > 0 {
		var packet string
		switch {
		case eio == 4:
			first, rest, _ := strings.Cut(string(body), "\x1e")
			packet, body = first, []byte(rest)
			if text, ok := strings.CutPrefix(packet, "b"); ok {
				packet = "b:" + unbase64(text)
			}
		case r.header.Get("Content-Type") == "application/octet-stream":
			p, rest, binary, _ := nextOctets3(body)
			packet, body = string(p), rest
			if binary {
				packet = "b:" + packet[1:]
			}
		default:
			p, rest, _, _ := nextText3(body)
			packet, body = string(p), rest
		}
		if packet != "6" {
			to <- packet
		}
	}
}
