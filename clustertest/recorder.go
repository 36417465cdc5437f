package clustertest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/parleychat/chat"
)

// patience is how long the test waits for what has to come.
const patience = 15 * time.Second

// recorder is a chat.ClusterHandler that keeps what it is told, and complains of calls that come at the same time or too late.
type recorder struct {
	t       *testing.T
	cluster chat.Cluster
	self    chat.Node
	answer  func(ctx context.Context, question []byte) ([]byte, error)

	mu       sync.Mutex // guards all below
	changed  chan struct{}
	name     string
	up       map[string]chat.Node
	downs    []chat.Node
	received map[int][][]byte
	past     map[int][][]byte // the same of History
	signals  [][]byte
	left     bool

	busy      string // a call that is under way, but for Receive
	receiving map[int]bool
}

func (r *recorder) note(call string, f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.left {
		r.t.Errorf("%s: %s after Leave", r.self.Tag, call)
	}
	f()
	close(r.changed)
	r.changed = make(chan struct{})
}

// alone is note for those calls that exclude each other.
func (r *recorder) alone(call string, f func()) {
	r.note(call, func() {
		if r.busy != "" || len(r.receiving) > 0 {
			r.t.Errorf("%s: %s during %q, or Receive of %v", r.self.Tag, call, r.busy, r.receiving)
		}
		r.busy = call
		f()
	})
	runtime.Gosched()
	r.note(call, func() { r.busy = "" })
}

func (r *recorder) Joined(name string) {
	r.alone("Joined", func() {
		if want := fmt.Sprintf("%s.1", r.self.Tag); name != want {
			r.t.Errorf("Joined(%q), want %q", name, want)
		}
		r.name = name
	})
}

func (r *recorder) Up(n chat.Node) {
	r.alone("Up", func() {
		if old, ok := r.up[n.Tag]; ok {
			r.t.Errorf("%s: Up(%v) of one that is up as %v", r.self.Tag, n, old)
		}
		if n.Tag == r.self.Tag {
			r.t.Errorf("%s: Up of itself", r.self.Tag)
		}
		r.up[n.Tag] = n
	})
}

func (r *recorder) Down(n chat.Node) {
	r.alone("Down", func() {
		if old := r.up[n.Tag]; old != n {
			r.t.Errorf("%s: Down(%v) of one that is up as %v", r.self.Tag, n, old)
		}
		delete(r.up, n.Tag)
		r.downs = append(r.downs, n)
	})
}

func (r *recorder) Away(err error) {
	r.alone("Away", func() { r.t.Errorf("%s: Away(%v)", r.self.Tag, err) })
}

func (r *recorder) Back() {
	r.alone("Back", func() { r.t.Errorf("%s: Back", r.self.Tag) })
}

func (r *recorder) Lost(stream int) {
	r.alone("Lost", func() { r.t.Errorf("%s: Lost(%d)", r.self.Tag, stream) })
}

func (r *recorder) History(stream int, publications ...[]byte) {
	r.note("History", func() {
		if r.busy != "" || r.receiving[stream] || r.name != "" || len(r.received[stream]) > 0 {
			r.t.Errorf("%s: History of stream %d during %q, or after Joined or Receive", r.self.Tag, stream, r.busy)
		}
		for _, data := range publications {
			r.past[stream] = append(r.past[stream], slices.Clone(data))
		}
	})
}

func (r *recorder) Receive(stream int, publications ...[]byte) {
	r.note("Receive", func() {
		if r.busy != "" || r.receiving[stream] {
			r.t.Errorf("%s: Receive of stream %d during %q, or another of that stream", r.self.Tag, stream, r.busy)
		}
		r.receiving[stream] = true
		for _, data := range publications {
			r.received[stream] = append(r.received[stream], slices.Clone(data))
		}
	})
	runtime.Gosched()
	r.note("Receive", func() { delete(r.receiving, stream) })
}

func (r *recorder) Signaled(data []byte) {
	r.note("Signaled", func() { r.signals = append(r.signals, slices.Clone(data)) })
}

func (r *recorder) Answer(ctx context.Context, question []byte) ([]byte, error) {
	if r.answer == nil {
		return nil, errors.New("no answer was expected")
	}
	return r.answer(ctx, question)
}

// until waits for a condition, which is called with the recorder locked.
func (r *recorder) until(what string, holds func() bool) {
	r.t.Helper()
	timeout := time.After(patience)
	for {
		r.mu.Lock()
		ok, changed := holds(), r.changed
		r.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-timeout:
			r.mu.Lock()
			defer r.mu.Unlock()
			r.t.Fatalf("%s: no %s; up %v, down %v, received %v, %d signals", r.self.Tag, what, r.up, r.downs, r.counts(), len(r.signals))
		}
	}
}

func (r *recorder) counts() map[int]int {
	counts := map[int]int{}
	for stream, ps := range r.received {
		counts[stream] = len(ps)
	}
	return counts
}

// untilCount waits for so many publications of a stream, and gives them.
func (r *recorder) untilCount(stream, n int) [][]byte {
	r.t.Helper()
	r.until(fmt.Sprintf("%d publications of stream %d", n, stream), func() bool { return len(r.received[stream]) >= n })
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.received[stream])
}
