package engineio

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestPolling(t *testing.T) {
	t.Parallel()
	b := start(t, func(o *setup) { o.handle = echo })
	q := b.open(4, "")
	b.post(q, "4hello\x1ebAQIDBA==\x1e4\x1e4€").want(t, 200, "ok")
	b.get(q).want(t, 200, "4hello\x1ebAQIDBA==\x1e4\x1e4€")
	waiting := b.later(q)
	b.post(q, "4again").want(t, 200, "ok")
	(<-waiting).want(t, 200, "4again")
}

func TestPolling3(t *testing.T) {
	t.Parallel()
	b := start(t, func(o *setup) { o.handle = echo })
	q := b.open(3, "&b64=1")
	b.post(q, "6:4hello3:4𝄞10:b4AQIDBA==1:2").want(t, 200, "ok")
	b.get(q).want(t, 200, `6:4hello13:4\ud834\udd1e10:b4AQIDBA==1:3`)

	q = b.open(3, "")
	b.post(q, "1:21:21:2").want(t, 200, "ok")
	b.get(q).want(t, 200, "1:3") // many pings, one pong
	b.post(q, "3:4€u").want(t, 200, "ok")
	b.get(q).want(t, 200, `8:4\u20acu`)
	r := b.do("POST", q, "application/octet-stream", "\x00\x04\xff4€\x01\x05\xff\x04\x01\x02\x03\x04")
	r.want(t, 200, "ok")
	r = b.get(q)
	r.want(t, 200, "\x00\x07\xff4\\u20ac\x01\x05\xff\x04\x01\x02\x03\x04")
	if r.header.Get("Content-Type") != "application/octet-stream" {
		t.Errorf("type %q", r.header.Get("Content-Type"))
	}
}

// Clients of 1.x without XHR2 encode text twice.
func TestPolling3EncodedTwice(t *testing.T) {
	t.Parallel()
	b := start(t, nil)
	q := b.open(3, "&b64=1")
	p := b.peer()
	b.post(q, "4:4\u00e2\u0082\u00ac").want(t, 200, "ok") // the bytes of € as runes
	b.post(q, "2:4€3:4né").want(t, 200, "ok")
	p.want(t, "€", "€", "né")
}

func TestPollingHostile(t *testing.T) {
	t.Parallel()
	b := start(t, func(o *setup) { o.cfg.MaxPayload = 10_000 })
	octets := "application/octet-stream"
	for _, c := range []struct {
		name        string
		eio         int
		contentType string
		body        string
		status      int
		reason      Reason
	}{
		{"empty", 4, "", "", 400, ReasonParse},
		{"empty packet", 4, "", "4a\x1e", 400, ReasonParse},
		{"unknown type", 4, "", "abc", 400, ReasonParse},
		{"bad base64", 4, "", "b!!!!", 400, ReasonParse},
		{"NUL", 4, "", "\x00", 400, ReasonParse},
		{"not UTF-8", 4, "", "4\xff\xfe", 400, ReasonTransportError},
		{"open", 4, "", "0", 400, ReasonParse},
		{"ping of a client", 4, "", "2", 400, ReasonParse},
		{"too large", 4, "", strings.Repeat("4", 10_001), 413, ReasonTooLarge},
		{"empty 3", 3, "", "", 400, ReasonParse},
		{"no separator", 3, "", "44444", 400, ReasonParse},
		{"no length", 3, "", ":4a", 400, ReasonParse},
		{"negative length", 3, "", "-1:4a", 400, ReasonParse},
		{"giant length", 3, "", "99999999999999999999999999:4a", 400, ReasonParse},
		{"length beyond the body", 3, "", "5:4a", 400, ReasonParse},
		{"half a surrogate pair", 3, "", "2:4𝄞", 400, ReasonParse},
		{"zero length", 3, "", "0:", 400, ReasonParse},
		{"bad base64 3", 3, "", "6:b4!!!!", 400, ReasonParse},
		{"base64 of another type", 3, "", "6:b2AQID", 400, ReasonParse},
		{"octets: kind", 3, octets, "\x02\x01\xff4", 400, ReasonParse},
		{"octets: digit", 3, octets, "\x00\x0b\xff4", 400, ReasonParse},
		{"octets: no end of length", 3, octets, "\x00\x01", 400, ReasonParse},
		{"octets: no length", 3, octets, "\x00\xff4", 400, ReasonParse},
		{"octets: giant length", 3, octets, "\x00" + strings.Repeat("\x09", 400) + "\xff4", 400, ReasonParse},
		{"octets: beyond the body", 3, octets, "\x01\x09\xff\x04a", 400, ReasonParse},
		{"octets: not UTF-8", 3, octets, "\x00\x02\xff4\xff", 400, ReasonTransportError},
	} {
		t.Run(c.name, func(t *testing.T) {
			q := b.open(c.eio, "")
			p := b.peer()
			ct := c.contentType
			if ct == "" {
				ct = "text/plain;charset=UTF-8"
			}
			if r := b.do("POST", q, ct, c.body); r.status != c.status {
				t.Errorf("answer %d %q %v", r.status, r.body, r.err)
			}
			p.wantEnd(t, c.reason)
			b.get(q).want(t, 400, `{"code":1,"message":"Session ID unknown"}`)
		})
	}
}

// A body without a length is counted as it comes.
func TestPostTooLargeChunked(t *testing.T) {
	t.Parallel()
	b := start(t, func(o *setup) { o.cfg.MaxPayload = 10_000 })
	q := b.open(4, "")
	r, _ := http.NewRequest("POST", "http://test/?"+q, io.MultiReader(strings.NewReader(strings.Repeat("4", 20_000))))
	resp, err := b.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != 413 {
		t.Errorf("status %d", resp.StatusCode)
	}
	b.peer().wantEnd(t, ReasonTooLarge)
}

func TestManyPacketsInOneBody(t *testing.T) {
	t.Parallel()
	n := 0
	b := start(t, func(o *setup) { o.handle = func(*peer, string) error { n++; return nil } })
	q := b.open(4, "")
	b.post(q, strings.Repeat("4\x1e", 99_999)+"4").want(t, 200, "ok")
	if n != 100_000 {
		t.Errorf("%d messages", n)
	}
	q = b.open(3, "")
	b.post(q, strings.Repeat("1:2", 100_000)).want(t, 200, "ok")
	b.get(q).want(t, 200, "1:3")
}

func TestConcurrentGets(t *testing.T) {
	t.Parallel()
	b := start(t, nil)
	q := b.open(4, "")
	p := b.peer()
	first := b.later(q)
	waitFor(t, func() bool { return p.waiting() })
	b.get(q).want(t, 400, `{"code":3,"message":"Bad request"}`)
	(<-first).want(t, 200, "1")
	p.wantEnd(t, ReasonTransportError)
	b.get(q).want(t, 400, `{"code":1,"message":"Session ID unknown"}`)
}

// waiting tells whether a GET waits.
func (p *peer) waiting() bool {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	return p.s.poll != nil && p.s.poll.get == getWaits
}

func waitFor(t testing.TB, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it did not come to it")
		}
	}
}

func TestConcurrentPosts(t *testing.T) {
	t.Parallel()
	entered, leave := make(chan struct{}), make(chan struct{})
	b := start(t, func(o *setup) {
		o.handle = func(*peer, string) error { close(entered); <-leave; return nil }
	})
	q := b.open(4, "")
	p := b.peer()
	first := make(chan reply, 1)
	go func() { first <- b.post(q, "4slow") }()
	<-entered
	b.post(q, "4x").want(t, 400, `{"code":3,"message":"Bad request"}`)
	select {
	case <-p.end:
		t.Error("Closed came before Text returned")
	default:
	}
	close(leave)
	p.wantEnd(t, ReasonTransportError)
	(<-first).want(t, 400, `{"code":3,"message":"Bad request"}`)
}

func TestGetGivenUp(t *testing.T) {
	t.Parallel()
	b := start(t, nil)
	q := b.open(4, "")
	p := b.peer()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan reply, 1)
	go func() { done <- b.doContext(ctx, "GET", q, "", "") }()
	waitFor(t, p.waiting)
	cancel()
	p.wantEnd(t, ReasonTransportError)
	<-done
}

func TestClientCloses(t *testing.T) {
	t.Parallel()
	b := start(t, nil)
	for eio, noop := range map[int]string{4: "6", 3: "1:6"} {
		closing := strings.Replace(noop, "6", "1", 1)
		q := b.open(eio, "")
		p := b.peer()
		waiting := b.later(q)
		waitFor(t, p.waiting)
		b.post(q, closing).want(t, 200, "ok")
		(<-waiting).want(t, 200, noop)
		p.wantEnd(t, ReasonTransportClose)
		b.get(q).want(t, 400, `{"code":1,"message":"Session ID unknown"}`)

		// The GET may come a moment after.
		q = b.open(eio, "")
		b.post(q, closing).want(t, 200, "ok")
		b.peer().wantEnd(t, ReasonTransportClose)
		b.get(q).want(t, 200, noop)
		b.get(q).want(t, 400, `{"code":1,"message":"Session ID unknown"}`)
	}
}

// socket.io-client 4.x counts no event that shares a payload with the end of its session.
func TestShutdownClosesPollingApart(t *testing.T) {
	t.Parallel()
	b := start(t, nil)
	q := b.open(4, "")
	p := b.peer()
	p.s.Send(textPacket("last"))
	p.s.Close(ReasonShutdown)
	b.get(q).want(t, 200, "4last")
	b.get(q).want(t, 200, "1")
	if e := p.wantEnd(t, ReasonShutdown); e.unsent != nil {
		t.Errorf("unsent %v", e.unsent)
	}
}

func TestServerClosesPolling(t *testing.T) {
	t.Parallel()
	b := start(t, nil)
	for eio, want := range map[int]string{4: "4bye\x1e1", 3: "4:4bye1:1"} {
		q := b.open(eio, "")
		p := b.peer()
		p.s.Send(textPacket("bye"))
		p.s.Close(ReasonForced)
		if p.s.Send(textPacket("late")) {
			t.Error("Send after Close")
		}
		b.get(q).want(t, 200, want)
		if e := p.wantEnd(t, ReasonForced); e.unsent != nil {
			t.Errorf("unsent %v", e.unsent)
		}
	}
	q := b.open(4, "")
	p := b.peer()
	waiting := b.later(q)
	waitFor(t, p.waiting)
	p.s.Close(ReasonForced)
	(<-waiting).want(t, 200, "1")
	p.wantEnd(t, ReasonForced)
}

func TestUnsentOverPolling(t *testing.T) {
	t.Parallel()
	b := start(t, nil)
	q := b.open(4, "")
	p := b.peer()
	p.s.Send(tagged(1, "a"))
	b.get(q).want(t, 200, "4a")
	p.s.Send(tagged(2, "b"))
	p.s.Send(textPacket("c"))
	p.s.Send(tagged(3, "d"))
	p.s.Abort(ReasonForced)
	p.s.Abort(ReasonShutdown)
	if e := p.wantEnd(t, ReasonForced); len(e.unsent) != 2 || e.unsent[0] != 2 || e.unsent[1] != 3 {
		t.Errorf("unsent %v", e.unsent)
	}
}

func TestGzip(t *testing.T) {
	t.Parallel()
	b := start(t, nil)
	long := strings.Repeat("long ", 1000)
	q := b.open(4, "")
	p := b.peer()
	p.s.Send(textPacket(long))
	b.get(q).want(t, 200, "4"+long) // the transport asks for gzip and unpacks
	p.s.Send(textPacket(long))
	r, _ := http.NewRequest("GET", "http://test/?"+q, nil)
	r.Header.Set("Accept-Encoding", "gzip;q=1.0, deflate")
	resp, err := b.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.Header.Get("Content-Encoding") != "gzip" || resp.ContentLength > 500 {
		t.Errorf("%v, %d bytes", resp.Header, resp.ContentLength)
	}
}

// A GET that is released is answered at once, and nothing is lost of what comes after.
func TestRelease(t *testing.T) {
	t.Parallel()
	b := start(t, nil)
	for eio, noop := range map[int]string{4: "6", 3: "1:6"} {
		q := b.open(eio, "")
		p := b.peer()
		b.srv.Release(p.s.ID()) // nobody waits
		for range 2 {
			waiting := b.later(q)
			waitFor(t, p.waiting)
			b.srv.Release(p.s.ID())
			(<-waiting).want(t, 200, noop)
		}
		p.s.Send(textPacket("hello"))
		want := "4hello"
		if eio == 3 {
			want = "6:4hello"
		}
		b.get(q).want(t, 200, want)
	}
	b.srv.Release("unknown")
	b.openWS(4)
	b.srv.Release(b.peer().s.ID())
}
