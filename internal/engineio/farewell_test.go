package engineio

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/httphead"
	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsflate"
)

// A teller is a peer with last words.
type teller struct {
	*peer
	say func(p *peer, r Reason) []*Packet
}

func (t *teller) Farewell(r Reason) []*Packet { return t.say(t.peer, r) }

// saysWhy tells the reason, and sends an attachment.
func saysWhy(_ *peer, r Reason) []*Packet {
	return []*Packet{NewPacket(append(make([]byte, Headroom), r...), []byte("bytes")), textPacket("bye")}
}

func telling(o *setup) {
	o.cfg.MaxPayload, o.cfg.Outbox, o.say = 10_000, 256<<10, saysWhy
}

func (p *peer) wantUnsent(t *testing.T, want Reason, unsent ...uint64) {
	t.Helper()
	if e := p.wantEnd(t, want); !slices.Equal(e.unsent, unsent) {
		t.Errorf("unsent %v, want %v", e.unsent, unsent)
	}
}

// A client that writes all that it has before it reads gets to see why the connection ends. It has a second for that, so the
// test does not run beside others.
func TestFarewellTooLarge(t *testing.T) {
	b := start(t, telling)
	cert := testCertificate(t)
	front := tlsFront(t, b, cert)
	big := frameOf(ws.OpText, []byte("4"+strings.Repeat("x", 300_000)))
	half := append(append([]byte{}, frameOf(ws.OpText, []byte("4before"))...), big[:len(big)/2]...)
	overTLS := func() (net.Conn, error) {
		c, err := front()
		if err != nil {
			return nil, err
		}
		return tls.Client(c, &tls.Config{InsecureSkipVerify: true}), nil //nolint:gosec // the test's own certificate
	}
	plain := b.dial
	for name, dial := range map[string]func() (net.Conn, error){"TCP": plain, "TLS": overTLS} {
		for _, eio := range []int{4, 3} {
			for what, data := range map[string][]byte{"whole": big, "half": half} {
				t.Run(fmt.Sprint(name, eio, what), func(t *testing.T) {
					b.dial = dial
					c := b.openWS(eio)
					p := b.peer()
					attachment := "b:bytes"
					if eio == 3 {
						attachment = "b:\x04bytes"
					}
					c.raw(data)
					c.want("4payload too large", attachment, "4bye", "close 1009", "end")
					p.wantUnsent(t, ReasonTooLarge)
				})
			}
		}
	}
	b.dial = plain
}

func TestFarewellToBomb(t *testing.T) {
	t.Parallel()
	b := start(t, func(o *setup) { telling(o); o.cfg.Compression = true })
	ext := wsflate.Parameters{ServerNoContextTakeover: true, ClientNoContextTakeover: true}
	c, err := b.tryWS("EIO=4&transport=websocket", ws.Dialer{Extensions: []httphead.Option{ext.Option()}})
	if err != nil {
		t.Fatal(err)
	}
	c.read()
	bomb, _ := wsflate.CompressFrame(ws.NewTextFrame(bytes.Repeat([]byte("4"), 4<<20)))
	var raw bytes.Buffer
	_ = ws.WriteFrame(&raw, ws.MaskFrame(bomb))
	c.raw(raw.Bytes())
	c.want("4payload too large", "b:bytes", "4bye", "close 1009", "end")
	b.peer().wantUnsent(t, ReasonTooLarge)
}

// A handler that finds a message too large ends the session as one that is too large by itself.
func TestHandlerFindsTooLarge(t *testing.T) {
	t.Parallel()
	b := start(t, func(o *setup) {
		telling(o)
		o.handle = func(p *peer, msg string) error {
			p.s.Send(tagged(7, "never begun"))
			return fmt.Errorf("sum: %w", ErrTooLarge)
		}
	})
	q := b.open(4, "")
	b.post(q, "4x").want(t, 413, `{"code":3,"message":"Payload too large"}`)
	b.get(q).want(t, 200, "4payload too large\x1ebYnl0ZXM=\x1e4bye\x1e1")
	b.peer().wantUnsent(t, ReasonTooLarge, 7)
}

// One that sends without end is given up after a second, and may read its farewell until then.
func TestFarewellToFlood(t *testing.T) {
	t.Parallel()
	b := start(t, telling)
	c := b.openWS(4)
	p := b.peer()
	stopped := make(chan struct{})
	c.raw(header(0x81, 0xFF, 1<<40))
	go func() {
		defer close(stopped)
		for {
			if _, err := c.conn.Write(make([]byte, 64<<10)); err != nil {
				return
			}
		}
	}()
	c.want("4payload too large", "b:bytes", "4bye", "close 1009")
	p.wantUnsent(t, ReasonTooLarge)
	<-stopped
	if in, _ := b.srv.Bytes(); in > drainMost+4*readBuf {
		t.Errorf("%d bytes were read", in)
	}
}

// A client that is behind and comes round within a second: what was begun is written whole, what was not comes
// back as unsent, and the client learns why. Not beside other tests either.
func TestFarewellToSlowConsumer(t *testing.T) {
	var hub sync.Mutex // a lock that is held while Send is called, and taken by the farewell
	b := start(t, func(o *setup) {
		telling(o)
		o.cfg.Outbox = 8 << 20
		o.say = func(p *peer, r Reason) []*Packet {
			hub.Lock()
			defer hub.Unlock()
			return saysWhy(p, r)
		}
	})
	c := b.openWS(4)
	p := b.peer()
	text := strings.Repeat("x", 10_000)
	p.s.Send(tagged(1, text))
	c.want("4" + text)
	hub.Lock()
	last := uint64(1)
	for p.s.Send(tagged(last+1, text)) {
		last++
	}
	if p.s.Send(textPacket("x")) {
		t.Error("there is room for more after the end")
	}
	hub.Unlock()
	got := uint64(1)
	m := c.read()
	for ; m == "4"+text; m = c.read() {
		got++
	}
	if m != "4slow consumer" {
		t.Fatalf("read %.100q after %d messages", m, got)
	}
	c.want("b:bytes", "4bye", "close 1008", "end")
	var unsent []uint64
	for tag := got + 1; tag <= last; tag++ {
		unsent = append(unsent, tag)
	}
	p.wantUnsent(t, ReasonSlowConsumer, unsent...)
	t.Logf("%d of %d were written", got, last)
}

// One that takes nothing any more costs a second.
func TestFarewellNobodyReads(t *testing.T) {
	bubble(t, telling, func(t *testing.T, b *bench) {
		b.openWS(4)
		p := b.peer()
		text := strings.Repeat("x", 10_000)
		last := uint64(0)
		for p.s.Send(tagged(last+1, text)) {
			last++
		}
		began := time.Now()
		e := p.wantEnd(t, ReasonSlowConsumer)
		after(t, began, closeGrace, 0)
		if uint64(len(e.unsent)) != last || e.unsent[0] != 1 || e.unsent[last-1] != last {
			t.Errorf("unsent %v of %d", e.unsent, last)
		}
	})
}

func TestFarewellByPolling(t *testing.T) {
	bubble(t, telling, func(t *testing.T, b *bench) {
		overflow := func(p *peer) {
			p.s.Send(tagged(1, strings.Repeat("x", 200<<10)))
			if p.s.Send(tagged(2, strings.Repeat("x", 200<<10))) {
				t.Error("there is room for more than the outbox")
			}
		}
		// The next GET takes it.
		q := b.open(4, "")
		p := b.peer()
		overflow(p)
		synctest.Wait()
		left := 0
		for _, last := range saysWhy(p, ReasonSlowConsumer) {
			left += last.Size()
		}
		if bytes, _ := b.srv.Outboxes(); bytes != left {
			t.Errorf("%d bytes are queued, not %d", bytes, left)
		}
		b.post(q, "4x").want(t, 400, `{"code":1,"message":"Session ID unknown"}`)
		b.get(q).want(t, 200, "4slow consumer\x1ebYnl0ZXM=\x1e4bye\x1e1")
		p.wantUnsent(t, ReasonSlowConsumer, 1)

		q = b.open(3, "&b64=1")
		p = b.peer()
		overflow(p)
		b.get(q).want(t, 200, "14:4slow consumer10:b4Ynl0ZXM=4:4bye1:1")
		p.wantUnsent(t, ReasonSlowConsumer, 1)

		// Nobody comes for it.
		b.open(4, "")
		p = b.peer()
		began := time.Now()
		overflow(p)
		p.wantUnsent(t, ReasonSlowConsumer, 1)
		after(t, began, closeGrace, 0)
	})
}

// The GET that waits is answered before the POST which is too large, whose client then gives up.
func TestFarewellBeforeTheRefusal(t *testing.T) {
	bubble(t, telling, func(t *testing.T, b *bench) {
		for _, body := range []string{strings.Repeat("4", 10_001), strings.Repeat("4", 900_000)} {
			q := b.open(4, "")
			p := b.peer()
			waiting := b.later(q)
			synctest.Wait()
			b.post(q, body).want(t, 413, `{"code":3,"message":"Payload too large"}`)
			synctest.Wait()
			select {
			case r := <-waiting:
				r.want(t, 200, "4payload too large\x1ebYnl0ZXM=\x1e4bye\x1e1")
			default:
				t.Fatal("the POST was answered before the GET")
			}
			p.wantUnsent(t, ReasonTooLarge)
		}
		// No GET, until after the refusal; and none at all.
		q := b.open(4, "")
		b.post(q, strings.Repeat("4", 10_001)).want(t, 413, `{"code":3,"message":"Payload too large"}`)
		time.Sleep(closeGrace - time.Millisecond)
		b.get(q).want(t, 200, "4payload too large\x1ebYnl0ZXM=\x1e4bye\x1e1")
		b.peer().wantUnsent(t, ReasonTooLarge)
		q = b.open(4, "")
		b.post(q, strings.Repeat("4", 10_001)).want(t, 413, `{"code":3,"message":"Payload too large"}`)
		began := time.Now()
		b.peer().wantUnsent(t, ReasonTooLarge)
		after(t, began, closeGrace, 0)
	})
}

// A body that is announced too large and stalls is refused after a second.
func TestTooLargeBodyStalls(t *testing.T) {
	bubble(t, telling, func(t *testing.T, b *bench) {
		q := b.open(4, "")
		conn, err := b.dial()
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		began := time.Now()
		_, _ = fmt.Fprintf(conn, "POST /?%s HTTP/1.1\r\nHost: x\r\nContent-Length: 20000\r\n\r\n4", q)
		answer := make([]byte, 12)
		if _, err := conn.Read(answer); err != nil || string(answer) != "HTTP/1.1 413" {
			t.Fatalf("%q %v", answer, err)
		}
		after(t, began, closeGrace, 0)
		b.get(q).want(t, 200, "4payload too large\x1ebYnl0ZXM=\x1e4bye\x1e1")
		// A client that asks first is told at once.
		q = b.open(4, "")
		began = time.Now()
		conn2, _ := b.dial()
		defer func() { _ = conn2.Close() }()
		_, _ = fmt.Fprintf(conn2, "POST /?%s HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 20000\r\n\r\n", q)
		if _, err := conn2.Read(answer); err != nil || string(answer) != "HTTP/1.1 413" {
			t.Fatalf("%q %v", answer, err)
		}
		after(t, began, 0, 0)
	})
}

// stuckWriter holds up the bodies that contain what.
type stuckWriter struct {
	http.ResponseWriter
	what    []byte
	reached chan struct{}
	let     chan struct{}
}

func (w *stuckWriter) Write(b []byte) (int, error) {
	if bytes.Contains(b, w.what) {
		close(w.reached)
		<-w.let
	}
	return w.ResponseWriter.Write(b)
}

func (w *stuckWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// What a GET has taken is not dropped while it is being written.
func TestFarewellDuringAPoll(t *testing.T) {
	t.Parallel()
	reached, let := make(chan struct{}), make(chan struct{})
	b := start(t, func(o *setup) {
		telling(o)
		o.wrap = func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				h.ServeHTTP(&stuckWriter{w, []byte("taken"), reached, let}, r)
			})
		}
	})
	q := b.open(4, "")
	p := b.peer()
	p.s.Send(tagged(1, "taken"))
	get := b.later(q)
	<-reached
	p.s.Send(tagged(2, "dropped"))
	p.s.Send(textPacket(strings.Repeat("x", 300<<10)))
	next := b.later(q)
	close(let)
	(<-get).want(t, 200, "4taken")
	(<-next).want(t, 200, "4slow consumer\x1ebYnl0ZXM=\x1e4bye\x1e1")
	p.wantUnsent(t, ReasonSlowConsumer, 2)
}

// The refusal of a POST waits for the answer to the GET, however long the client takes to read that.
func TestRefusalWaitsForThePoll(t *testing.T) {
	var reached, let chan struct{}
	stuck := func(o *setup) {
		telling(o)
		reached, let = make(chan struct{}), make(chan struct{}) // the bubble's own
		o.wrap = func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				h.ServeHTTP(&stuckWriter{w, []byte("bye"), reached, let}, r)
			})
		}
	}
	bubble(t, stuck, func(t *testing.T, b *bench) {
		q := b.open(4, "")
		get := b.later(q)
		synctest.Wait()
		post := make(chan reply, 1)
		go func() { post <- b.post(q, strings.Repeat("4", 10_001)) }()
		<-reached
		synctest.Wait()
		if len(post) > 0 {
			t.Error("the POST was answered before the GET")
		}
		close(let)
		(<-get).want(t, 200, "4payload too large\x1ebYnl0ZXM=\x1e4bye\x1e1")
		(<-post).want(t, 413, `{"code":3,"message":"Payload too large"}`)
	})
}

// A GET that comes while the handler is being asked waits for what it says.
func TestPollMeetsFarewell(t *testing.T) {
	slowly := func(o *setup) {
		telling(o)
		o.say = func(p *peer, r Reason) []*Packet {
			time.Sleep(time.Millisecond)
			return saysWhy(p, r)
		}
	}
	bubble(t, slowly, func(t *testing.T, b *bench) {
		q := b.open(4, "")
		b.peer().s.Close(ReasonSlowConsumer)
		b.get(q).want(t, 200, "4slow consumer\x1ebYnl0ZXM=\x1e4bye\x1e1")
	})
}

// The end comes while a writer has been called and holds nothing of the queue.
func TestFarewellBetweenWrites(t *testing.T) {
	t.Parallel()
	b := start(t, telling)
	c := b.openWS(4)
	s := b.peer().s
	waitFor(t, func() bool { // who wrote the open packet may not be back
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.writing {
			return false
		}
		s.writing = true
		s.pins++
		return true
	})
	s.Send(tagged(1, "dropped"))
	s.Close(ReasonSlowConsumer)
	waitFor(t, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.cut
	})
	s.srv.gate.run(s.writeLoop)
	c.want("4slow consumer", "b:bytes", "4bye", "close 1008", "end")
}

// Too much sent within Accept: the client gets what opens the session, and nobody is asked for last words, since
// there is no handler yet.
func TestOverflowInAccept(t *testing.T) {
	t.Parallel()
	for _, direct := range []bool{true, false} {
		b := start(t, func(o *setup) {
			telling(o)
			o.accept = func(s *Session, _ *http.Request) error {
				s.Send(tagged(1, "x"))
				s.Send(textPacket(strings.Repeat("x", 300<<10)))
				return nil
			}
		})
		unsent := []uint64{1}
		if direct {
			c := b.openWS(4)
			m := c.read()
			for m != "close 1008" && m != "end" { // the handler may have been there in time, and the writer
				if m == "4x" {
					unsent = nil
				}
				m = c.read()
			}
			if m != "close 1008" {
				t.Errorf("read %q", m)
			}
			c.want("end")
		} else {
			b.open(4, "")
		}
		b.peer().wantUnsent(t, ReasonSlowConsumer, unsent...)
	}
}

// Nobody is asked where the connection just ends, or the server says so.
func TestNoFarewell(t *testing.T) {
	t.Parallel()
	b := start(t, func(o *setup) {
		telling(o)
		o.say = func(_ *peer, r Reason) []*Packet {
			t.Errorf("asked for %q", r)
			return nil
		}
	})
	for _, r := range []Reason{ReasonForced, ReasonShutdown} {
		c := b.openWS(4)
		b.peer().s.Close(r)
		c.read()
		c.want("end")
	}
	c := b.openWS(4)
	c.send("?")
	c.want("close 1002", "end")
	q := b.open(4, "")
	b.post(q, "?").want(t, 400, `{"code":3,"message":"Bad request"}`)
	b.close()
}

// Close by a bound's reason, as by the layer above for a bound of its own.
func TestCloseWithFarewell(t *testing.T) {
	t.Parallel()
	asked := make(chan Reason, 10)
	b := start(t, func(o *setup) {
		telling(o)
		o.say = func(p *peer, r Reason) []*Packet {
			asked <- r
			return saysWhy(p, r)
		}
	})
	c := b.openWS(4)
	p := b.peer()
	p.s.Close(ReasonSlowConsumer)
	p.s.Close(ReasonTooLarge)
	p.s.Send(textPacket(strings.Repeat("x", 300<<10)))
	c.want("4slow consumer", "b:bytes", "4bye", "close 1008", "end")
	p.wantUnsent(t, ReasonSlowConsumer)
	if n := len(asked); n != 1 {
		t.Errorf("asked %d times", n)
	}
}
