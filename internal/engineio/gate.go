package engineio

import (
	"sync"
	"sync/atomic"
	"time"
)

// A gate counts what a server has under way: sessions, goroutines, timers.
type gate struct {
	n  atomic.Int64
	mu sync.Mutex
	// idle is closed when n comes to 0; nil while nobody waits. mu guards it.
	idle chan struct{}
}

func (g *gate) add() { g.n.Add(1) }

func (g *gate) done() {
	if g.n.Add(-1) != 0 {
		return
	}
	g.mu.Lock()
	if g.idle != nil && g.n.Load() == 0 {
		close(g.idle)
		g.idle = nil
	}
	g.mu.Unlock()
}

// run starts f on a goroutine that counts.
func (g *gate) run(f func()) {
	g.add()
	go func() {
		f()
		g.done()
	}()
}

// after runs f after d, on a goroutine of its own. The timer counts until f has returned, or stop.
func (g *gate) after(d time.Duration, f func()) *time.Timer {
	g.add()
	return time.AfterFunc(d, func() {
		f()
		g.done()
	})
}

// stop stops a timer made by after; nil is none.
func (g *gate) stop(t *time.Timer) {
	if t != nil && t.Stop() {
		g.done()
	}
}

// wait waits for the count to be 0 (true), or for done (false).
func (g *gate) wait(done <-chan struct{}) bool {
	for {
		g.mu.Lock()
		if g.idle == nil {
			g.idle = make(chan struct{})
		}
		idle := g.idle
		zero := g.n.Load() == 0
		g.mu.Unlock()
		if zero {
			return true
		}
		select {
		case <-idle:
		case <-done:
			return g.n.Load() == 0
		}
	}
}
