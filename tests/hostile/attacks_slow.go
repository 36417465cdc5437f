package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"github.com/gobwas/ws"
)

// slow are attacks that hold on to things.
var slow = []attack{
	{name: "silence", what: "2,000 TCP connections that say nothing, again when they are closed", must: []string{"closed by the server"}, lasts: 20 * time.Second, run: func(w *world) {
		w.crowd(w.size(2000), 100*time.Millisecond, func(i int) {
			if c, err := w.dial(w.address(i)); err == nil {
				w.untilClosed(c)
			}
		})
	}},
	{name: "heads in drips", what: "1,000 requests whose head comes a byte each 200 ms", must: []string{"closed by the server"}, lasts: 20 * time.Second, run: func(w *world) {
		w.crowd(w.size(1000), 100*time.Millisecond, func(i int) {
			w.drip(i, "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\n"+strings.Repeat("X-A: b\r\n", 1000), 200*time.Millisecond)
		})
	}},
	{name: "bodies in drips", what: "members that poll, 500 of them, each with a POST whose body comes a byte each 200 ms", must: []string{"joined", "closed by the server"}, front: []string{"closed by the server"}, lasts: 20 * time.Second, run: func(w *world) {
		w.crowd(w.size(500), 500*time.Millisecond, func(i int) {
			p := w.polling(i, authOf(w.user()))
			if p == nil {
				return
			}
			defer p.Close()
			if _, err := io.WriteString(p, p.head("POST")+"Content-Length: 100000\r\n\r\n"); err == nil {
				w.dripOn(p, strings.Repeat("4", 100_000), 200*time.Millisecond)
			}
		})
	}},
	{name: "no CONNECT, WebSocket", what: "2,000 WebSockets that shake hands and then say nothing, again when they are closed", must: []string{"opened", "closed by the server"}, lasts: 20 * time.Second, run: func(w *world) {
		w.crowd(w.size(2000), 500*time.Millisecond, func(i int) {
			if c := w.webSocket(i, ""); c != nil {
				w.untilClosed(c)
			}
		})
	}},
	{name: "no CONNECT, polling", what: "polling handshakes from one address that nothing follows, as many as there can be", must: []string{"opened"}, inTime: []string{"handshake 429"}, run: func(w *world) {
		w.crowd(16, 5*time.Millisecond, func(int) {
			c, err := w.dial(w.address(0))
			if err != nil {
				return
			}
			defer c.Close()
			_, err = openPolling(c, w.addr)
			w.answered("handshake", err, "opened")
		})
	}},
	{name: "half-open upgrades", what: "10,000 upgrades that are not completed: a polling session of 20 addresses each, then a WebSocket that is silent, or one that sends the probe and is silent", must: []string{"opened", "upgrade accepted", "probe answered"},
		lasts: 45 * time.Second, run: halfOpen},
	{name: "half-open upgrades of members", what: "the same by members with good tokens, 200 of them", must: []string{"joined", "upgrade accepted"}, lasts: 20 * time.Second, run: func(w *world) {
		w.crowd(w.size(200), time.Second, func(i int) {
			if p := w.polling(i, authOf(w.user())); p != nil {
				w.halfUpgrade(i, p.sid)
				_ = p.Close()
			}
		})
	}},
	{name: "wrong sids", what: "upgrades, polls and POSTs of sessions that there are not", must: []string{"upgrade 400", "GET 400", "POST 400"}, front: []string{"POST 400"}, run: func(w *world) {
		w.crowd(16, 2*time.Millisecond, func(i int) {
			c, err := w.dial(w.address(i))
			if err != nil {
				return
			}
			defer c.Close()
			sid := fmt.Sprintf("AAAAAAAAAAAAAAAAA%03d", i)
			_, err = openWebSocket(c, w.addr, sid)
			w.answered("upgrade", err, "upgraded")
			if c, err = w.dial(w.address(i)); err != nil {
				return
			}
			defer c.Close()
			p := &poller{Conn: c, in: newReader(c), host: w.addr, sid: sid}
			for range 10 {
				_, err = p.do("GET", "", nil)
				w.answered("GET", err, "polled")
				_, err = p.do("POST", "", []byte("40"))
				w.answered("POST", err, "posted")
			}
		})
	}},
	{name: "never reads", what: "30 members that read nothing of what the others write and of the history that they ask for, but send pongs", must: []string{"joined"}, inTime: []string{"closed by the server"}, front: []string{"closed by the server"}, lasts: 40 * time.Second, run: func(w *world) {
		w.crowd(w.size(30), time.Second, func(i int) {
			c := w.member(i, authOf(w.user()))
			if c == nil {
				return
			}
			defer c.Close()
			for n := 0; w.Err() == nil; n++ {
				ask := fmt.Sprintf(`42%d["history",{"room":"chat","limit":200}]`, n)
				if n%8 == 0 {
					ask = "3"
				}
				if c.text(ask) != nil {
					w.count("closed by the server")
					return
				}
				w.sleep(250 * time.Millisecond)
			}
		})
	}},
}

// answered counts what has come of a request.
func (w *world) answered(what string, err error, ok string) {
	if w.Err() != nil {
		return // it is closed by the attack's end
	}
	if err == nil {
		w.count(ok)
		return
	}
	w.count(what + " " + outcomeOf(err))
}

// webSocket shakes hands; nil: it has not come to that.
func (w *world) webSocket(i int, sid string) *webSocket {
	c, err := w.dial(w.address(i))
	if err != nil {
		return nil
	}
	s, err := openWebSocket(c, w.addr, sid)
	if sid == "" {
		w.answered("handshake", err, "opened")
	} else {
		w.answered("upgrade", err, "upgrade accepted")
	}
	if err != nil {
		_ = c.Close()
		return nil
	}
	return s
}

// member is in the namespace.
func (w *world) member(i int, auth string) *webSocket {
	c := w.webSocket(i, "")
	if c == nil {
		return nil
	}
	err := c.join(auth)
	w.answered("CONNECT", err, "joined")
	if err != nil {
		_ = c.Close()
		return nil
	}
	return c
}

// polling is a member that polls.
func (w *world) polling(i int, auth string) *poller {
	c, err := w.dial(w.address(i))
	if err != nil {
		return nil
	}
	p, err := openPolling(c, w.addr)
	w.answered("handshake", err, "opened")
	if err == nil && auth != "" {
		err = p.join(auth)
		w.answered("CONNECT", err, "joined")
	}
	if err != nil {
		_ = c.Close()
		return nil
	}
	return p
}

// untilClosed reads until the other side closes.
func (w *world) untilClosed(c net.Conn) {
	defer c.Close()
	b := make([]byte, 512)
	for {
		if _, err := c.Read(b); err != nil {
			if w.Err() == nil {
				w.count("closed by the server")
			}
			return
		}
	}
}

func (w *world) drip(i int, text string, each time.Duration) {
	c, err := w.dial(w.address(i))
	if err != nil {
		return
	}
	defer c.Close()
	w.dripOn(c, text, each)
}

// dripOn writes byte by byte, until the connection takes no more. An answer is read and counted.
func (w *world) dripOn(c net.Conn, text string, each time.Duration) {
	var b [512]byte
	for i := range len(text) {
		if w.Err() != nil {
			return
		}
		if _, err := c.Write([]byte{text[i]}); err != nil {
			w.count("closed by the server")
			return
		}
		_ = c.SetReadDeadline(time.Now().Add(each))
		n, err := c.Read(b[:])
		if n > 0 && bytes.HasPrefix(b[:], []byte("HTTP/1.1 ")) {
			w.count("answer " + string(b[9:12]))
		}
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) && w.Err() == nil {
			w.count("closed by the server")
			return
		}
	}
}

// halfOpen makes upgrades as fast as the server has room for them, until there have been 10,000.
func halfOpen(w *world) {
	left := make(chan int, w.size(10_000))
	for i := range w.size(10_000) {
		left <- i
	}
	for range 64 {
		w.go1(func() {
			for w.Err() == nil {
				var i int
				select {
				case i = <-left:
				default:
					return
				}
				if !w.halfOpenOne(i) {
					left <- i
					w.sleep(100 * time.Millisecond)
				}
			}
		})
	}
}

func (w *world) halfOpenOne(i int) bool {
	c, err := w.dial(w.address(i % 20))
	if err != nil {
		return false
	}
	defer c.Close()
	p, err := openPolling(c, w.addr)
	w.answered("handshake", err, "opened")
	if err != nil {
		return false
	}
	s := w.webSocket(i%20, p.sid)
	if s == nil {
		return false
	}
	w.go1(func() { w.waitHalf(i, s) })
	return true
}

func (w *world) halfUpgrade(i int, sid string) {
	if s := w.webSocket(i, sid); s != nil {
		w.waitHalf(i, s)
	}
}

// waitHalf leaves an upgrade where it is, the odd ones behind the probe.
func (w *world) waitHalf(i int, s *webSocket) {
	defer s.Close()
	if i%2 == 1 && s.text("2probe") == nil {
		if op, b, err := s.next(); err == nil && op == ws.OpText && string(b) == "3probe" {
			w.count("probe answered")
		}
	}
	w.untilClosed(s)
}
