package faults_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// A protocol is a generation of clients.
type protocol int

const (
	legacy protocol = 3 // Engine.IO 3, Socket.IO 4: 1.x and 2.x
	modern protocol = 4 // Engine.IO 4, Socket.IO 5: 3.x and 4.x
)

func (p protocol) String() string {
	if p == legacy {
		return "EIO3"
	}
	return "EIO4"
}

func (p protocol) query() string {
	if p == legacy {
		return "EIO=3"
	}
	return "EIO=4"
}

type way int

const (
	overWS way = iota
	overPolling
)

func (w way) String() string {
	if w == overPolling {
		return "polling"
	}
	return "ws"
}

// ways runs f for both protocols over both transports.
func ways(t *testing.T, f func(t *testing.T, p protocol, w way)) {
	for _, p := range []protocol{modern, legacy} {
		for _, w := range []way{overWS, overPolling} {
			t.Run(p.String()+"/"+w.String(), func(t *testing.T) { f(t, p, w) })
		}
	}
}

// A frame is an Engine.IO packet: text with its type, or binary.
type frame struct {
	binary bool
	data   string
}

func text4(data string) frame   { return frame{data: data} }
func binary4(data string) frame { return frame{binary: true, data: data} }

// A wire sends what it is told to.
type wire interface {
	// write gives the status of the POST, or 0.
	write(frames ...frame) (status int, err error)
	read() ([]frame, error)
	close()
}

// A peer is a client that has joined "/". A goroutine takes what comes.
type peer struct {
	wire wire
	p    protocol
	sid  string // of the transport
	in   inbox
	work sync.WaitGroup

	writing sync.Mutex // over polling one POST at a time may be under way
}

func (c *peer) write(frames ...frame) (status int, err error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	return c.wire.write(frames...)
}

// dial opens a session and joins "/". It ends with the test.
func dial(t testing.TB, s *site, p protocol, w way) *peer {
	t.Helper()
	c := open(t, s, p, w)
	if p == modern {
		c.send(t, text4("40"))
	}
	c.expect(t, "40")
	c.in.clear()
	return c
}

// open opens a session.
func open(t testing.TB, s *site, p protocol, w way) *peer {
	t.Helper()
	c := &peer{p: p}
	if w == overPolling {
		c.wire = newPollWire(s.addr, p)
	} else {
		c.wire = dialWS(t, s.addr, p, "")
	}
	c.work.Go(c.readAll)
	t.Cleanup(c.close)
	c.sid = sidOf(c.expect(t, "0{").data)
	return c
}

func sidOf(open string) string {
	_, rest, _ := strings.Cut(open, `"sid":"`)
	sid, _, _ := strings.Cut(rest, `"`)
	return sid
}

func (c *peer) readAll() {
	for {
		frames, err := c.wire.read()
		c.in.add(frames, err)
		if err != nil {
			return
		}
		for _, f := range frames {
			if f.data == "2" && !f.binary && c.p == modern {
				_, _ = c.write(text4("3"))
			}
		}
	}
}

// close ends the connection and waits for the goroutine.
func (c *peer) close() {
	c.wire.close()
	c.work.Wait()
}

// send sends frames, which over polling must be taken.
func (c *peer) send(t testing.TB, frames ...frame) {
	t.Helper()
	status, err := c.write(frames...)
	if err != nil || status != 0 && status != 200 {
		t.Fatalf("send: status %d, %v", status, err)
	}
}

// expect waits for a text that begins with prefix. What came before it stays.
func (c *peer) expect(t testing.TB, prefix string) frame {
	t.Helper()
	return c.expectMatch(t, prefix, func(f frame) bool { return !f.binary && strings.HasPrefix(f.data, prefix) })
}

func (c *peer) expectMatch(t testing.TB, what string, match func(frame) bool) frame {
	t.Helper()
	f, err := c.in.wait(match)
	if err != "" {
		t.Fatalf("waiting for %s: %s; there are %s", what, err, c.in.all())
	}
	return f
}

// alive wants an ack.
func (c *peer) alive(t testing.TB) {
	t.Helper()
	c.send(t, text4(`4277["echo","still here"]`))
	c.expect(t, `4377["still here"]`)
}

// closed waits for the server to end the connection.
func (c *peer) closed(t testing.TB) {
	t.Helper()
	done := func() bool { return c.in.ended() != nil }
	if !eventually(done) {
		t.Fatalf("still open; there are %s", c.in.all())
	}
}

// inbox is what has come.
type inbox struct {
	mu      sync.Mutex
	frames  []frame
	err     error
	changed chan struct{}
}

func (in *inbox) add(frames []frame, err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.frames = append(in.frames, frames...)
	in.err = err
	if in.changed != nil {
		close(in.changed)
		in.changed = nil
	}
}

func (in *inbox) wait(match func(frame) bool) (frame, string) {
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	seen := 0
	for {
		in.mu.Lock()
		for ; seen < len(in.frames); seen++ {
			if f := in.frames[seen]; match(f) {
				in.mu.Unlock()
				return f, ""
			}
		}
		if in.err != nil {
			in.mu.Unlock()
			return frame{}, in.err.Error()
		}
		if in.changed == nil {
			in.changed = make(chan struct{})
		}
		changed := in.changed
		in.mu.Unlock()
		select {
		case <-changed:
		case <-deadline.C:
			return frame{}, "nothing in " + patience.String()
		}
	}
}

// resume takes away the error that ended the reading, for another wire.
func (in *inbox) resume() {
	in.mu.Lock()
	in.err = nil
	in.mu.Unlock()
}

func (in *inbox) take() []frame {
	in.mu.Lock()
	defer in.mu.Unlock()
	frames := in.frames
	in.frames = nil
	return frames
}

func (in *inbox) has(prefix string) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return slices.ContainsFunc(in.frames, func(f frame) bool { return strings.HasPrefix(f.data, prefix) })
}

func (in *inbox) clear() {
	in.mu.Lock()
	in.frames = nil
	in.mu.Unlock()
}

// all is what a failed test shows.
func (in *inbox) all() string {
	in.mu.Lock()
	defer in.mu.Unlock()
	var b strings.Builder
	for _, f := range in.frames[max(0, len(in.frames)-20):] {
		fmt.Fprintf(&b, "%.300q ", f.data)
	}
	return b.String()
}

func (in *inbox) ended() error {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.err
}
