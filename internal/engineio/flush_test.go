package engineio

import (
	"runtime"
	"strings"
	"testing"
	"time"
)

// many opens WebSockets, and waits until nobody writes any more.
func (b *bench) many(n int) (socks []*sock, peers []*peer) {
	for range n {
		socks = append(socks, b.openWS(4))
		peers = append(peers, b.peer())
	}
	for _, p := range peers {
		for deadline := time.Now().Add(patience); !p.quiet(); runtime.Gosched() {
			if time.Now().After(deadline) {
				b.t.Fatal("what opens a WebSocket was not written")
			}
		}
	}
	return socks, peers
}

func (p *peer) quiet() bool {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	return !p.s.writing && !p.s.dirty && len(p.s.queue) == 0
}

// What is sent for a helper to write is written by it.
func TestHelp(t *testing.T) {
	t.Parallel()
	b := start(t, nil)
	socks, peers := b.many(3)
	var batch Batch
	for _, text := range []string{"a", "b"} {
		for _, p := range peers {
			batch.Send(p.s, textPacket(text))
		}
		batch.FlushHelped()
	}
	f := &b.srv.flush
	f.mu.Lock()
	if f.n != len(peers) || f.workers != 0 {
		t.Errorf("%d sessions, %d workers", f.n, f.workers)
	}
	f.mu.Unlock()
	b.srv.Help()
	f.mu.Lock()
	if f.n != 0 || f.workers != 0 {
		t.Errorf("%d sessions, %d workers, after Help", f.n, f.workers)
	}
	f.mu.Unlock()
	for _, c := range socks {
		c.want("4a", "4b")
	}
	b.srv.Help() // of nothing
}

// Others do not wait for a helper, and what they send brings along what was left to it.
func TestHelpIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	b := start(t, func(o *setup) { o.cfg.Outbox = 4096 })
	socks, peers := b.many(2)
	var batch Batch
	batch.Send(peers[0].s, textPacket("a"))
	batch.FlushHelped()
	peers[1].s.Send(textPacket("b"))
	socks[0].want("4a")
	socks[1].want("4b")

	long := strings.Repeat("x", 1025) // a quarter of an outbox
	batch.Send(peers[0].s, textPacket(long))
	batch.FlushHelped()
	socks[0].want("4" + long)
}

// A helper is no worker for ever: what others have sent since it began is left to one.
func TestHelpEnds(t *testing.T) {
	t.Parallel()
	f := &flusher{gate: &gate{}}
	for range 2*share + 1 {
		f.linkLocked(&Session{}) // that has nothing to write
	}
	f.workers = 1
	f.gate.add()
	if f.write(share + 1) { // two shares
		t.Error("it has written all")
	}
	if f.n != 1 || f.workers != 1 {
		t.Errorf("%d sessions, %d workers", f.n, f.workers)
	}
	f.work()
	if n := f.gate.n.Load(); f.n != 0 || f.workers != 0 || n != 0 {
		t.Errorf("%d sessions, %d workers, %d in the gate", f.n, f.workers, n)
	}
}
