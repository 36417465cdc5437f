package simulation_test

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

// A link is a connection in memory with what a network has and net.Pipe has not: a buffer in each direction,
// whose bytes count as sent, and are lost when the link is cut.
type link struct {
	up   *half // to the server
	down *half // from it
}

func newLink(buffer int) *link {
	return &link{up: newHalf(1 << 30), down: newHalf(buffer)} // the clients here are never the ones who wait
}

// cut breaks both directions, with all that is on its way.
func (l *link) cut() {
	l.up.shut(true)
	l.down.shut(true)
}

// A half is one direction.
type half struct {
	mu     sync.Mutex
	cond   *sync.Cond
	buf    []byte
	limit  int
	log    []byte // all that was ever written
	ended  bool   // nothing is written any more
	broken bool   // nor read
	read   deadline
	write  deadline
}

// A deadline of one side. The timer does nothing but wake.
type deadline struct {
	at    time.Time
	timer *time.Timer
}

func newHalf(limit int) *half {
	h := &half{limit: limit}
	h.cond = sync.NewCond(&h.mu)
	return h
}

func (h *half) shut(broken bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ended = true
	h.broken = h.broken || broken
	for _, d := range []*deadline{&h.read, &h.write} {
		if d.timer != nil {
			d.timer.Stop()
		}
	}
	h.cond.Broadcast()
}

func (h *half) setDeadline(d *deadline, at time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	d.at = at
	if left := time.Until(at); !at.IsZero() && left > 0 && !h.ended {
		d.timer = time.AfterFunc(left, func() {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.cond.Broadcast()
		})
	}
	h.cond.Broadcast()
}

func (d *deadline) over() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }

func (h *half) Read(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		switch {
		case h.broken:
			return 0, net.ErrClosed
		case h.read.over():
			return 0, os.ErrDeadlineExceeded
		case len(h.buf) > 0:
			n := copy(p, h.buf)
			h.buf = h.buf[n:]
			h.cond.Broadcast()
			return n, nil
		case h.ended:
			return 0, io.EOF
		}
		h.cond.Wait()
	}
}

func (h *half) Write(p []byte) (n int, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		switch {
		case h.ended || h.broken:
			return n, net.ErrClosed
		case h.write.over():
			return n, os.ErrDeadlineExceeded
		case len(p) == 0:
			return n, nil
		}
		if room := h.limit - len(h.buf); room > 0 {
			k := min(room, len(p))
			h.buf = append(h.buf, p[:k]...)
			h.log = append(h.log, p[:k]...)
			p, n = p[k:], n+k
			h.cond.Broadcast()
			continue
		}
		h.cond.Wait()
	}
}

// wrote tells whether a text was ever written, wherever it is now.
func (h *half) wrote(text string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return bytes.Contains(h.log, []byte(text))
}

// serverEnd is the connection as the Hub has it.
type serverEnd struct{ l *link }

func (e serverEnd) Read(p []byte) (int, error)  { return e.l.up.Read(p) }
func (e serverEnd) Write(p []byte) (int, error) { return e.l.down.Write(p) }

func (e serverEnd) Close() error {
	e.l.up.shut(true)
	e.l.down.shut(false)
	return nil
}

func (e serverEnd) LocalAddr() net.Addr  { return address("192.0.2.2:80") }
func (e serverEnd) RemoteAddr() net.Addr { return address("192.0.2.1:1234") }

func (e serverEnd) SetDeadline(t time.Time) error {
	_ = e.SetReadDeadline(t)
	return e.SetWriteDeadline(t)
}

func (e serverEnd) SetReadDeadline(t time.Time) error {
	e.l.up.setDeadline(&e.l.up.read, t)
	return nil
}

func (e serverEnd) SetWriteDeadline(t time.Time) error {
	e.l.down.setDeadline(&e.l.down.write, t)
	return nil
}

type address string

func (address) Network() string  { return "tcp" }
func (a address) String() string { return string(a) }

// upgrade is the http.ResponseWriter of a WebSocket's handshake: it gives the link away.
type upgrade struct {
	l      *link
	header http.Header
	status int // of a refusal
}

func (u *upgrade) Header() http.Header { return u.header }

func (u *upgrade) WriteHeader(status int) {
	if u.status == 0 {
		u.status = status
	}
}

func (u *upgrade) Write(p []byte) (int, error) {
	u.WriteHeader(http.StatusOK)
	return len(p), nil
}

func (u *upgrade) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn := serverEnd{u.l}
	return conn, bufio.NewReadWriter(bufio.NewReaderSize(conn, 512), bufio.NewWriterSize(conn, 512)), nil
}
