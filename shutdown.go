package chat

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/parleychat/chat/internal/engineio"
)

// shutdownPace bounds how many clients are closed in a second, where the deadline leaves the time.
const shutdownPace = 5_000

// Shutdown ends the Hub. New handshakes are refused (503) from now on; clients get the hint server_draining;
// events that have come in are handled and acked; then clients are closed at a pace (their transport only, so
// that they come back to whoever serves the address next), and every goroutine and timer is waited for. When
// ctx ends first, handlers' contexts end, what is left is cut, and ctx's error is returned. It may be called
// again; the host's HTTP server is the host's to shut down, after this.
func (h *Hub) Shutdown(ctx context.Context) error {
	c := h.core
	c.draining.Store(true)
	c.engine.Refuse(refusalDraining)
	c.shutdown.Lock()
	defer c.shutdown.Unlock()
	if c.ended {
		return nil
	}
	stop := context.AfterFunc(ctx, c.cut)
	defer stop()
	c.closeClients(ctx)
	idle := c.engine.Wait(ctx.Done())
	for _, sp := range c.spaces {
		sp.close()
	}
	all := c.handlers.shutDown()
	select {
	case <-all:
	case <-ctx.Done():
		idle = false
	}
	if idle {
		select {
		case <-c.journal.close():
		case <-ctx.Done():
			idle = false
		}
	}
	if !idle {
		c.cut() // stop may come before ctx's end has begun it
	}
	if err := c.legacy.Close(ctx); err != nil {
		return err
	}
	if !idle {
		return context.Cause(ctx)
	}
	c.end()
	c.ended = true
	return nil
}

// closeClients tells the clients, and closes each when what it has sent was handled.
func (h *core) closeClients(ctx context.Context) {
	clients := h.allClients()
	window := time.Duration(len(clients)) * time.Second / shutdownPace
	if deadline, ok := ctx.Deadline(); ok {
		window = min(window, time.Until(deadline)/2)
	}
	for _, c := range clients {
		_ = c.Emit("server_draining", map[string]int64{"reconnect_after_ms": 1000 + rand.Int64N(int64(window/time.Millisecond)+1000)})
	}
	const batch = 50
	for i, c := range clients {
		c.stopTaking()
		c.push(job{hook: func() { c.sess.Close(engineio.ReasonShutdown) }})
		if window > 0 && i%batch == batch-1 && !sleep(ctx, window*batch/time.Duration(len(clients))) {
			break
		}
	}
	h.closeOthers(clients)
}

// closeOthers closes the sessions that no client has come of.
func (h *core) closeOthers(clients []*Client) {
	taken := make(map[*engineio.Session]bool, len(clients))
	for _, c := range clients {
		taken[c.sess] = true
	}
	for _, s := range h.engine.Sessions() {
		if !taken[s] {
			s.Close(engineio.ReasonShutdown)
		}
	}
}

// cut ends what Shutdown's deadline has found.
func (h *core) cut() {
	h.end()
	for _, s := range h.engine.Sessions() {
		s.Abort(engineio.ReasonShutdown)
	}
}

func (h *core) allClients() []*Client {
	var all []*Client
	for _, sp := range h.spaces {
		sp.mu.Lock()
		for _, c := range sp.clients {
			all = append(all, c)
		}
		sp.mu.Unlock()
	}
	return all
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
